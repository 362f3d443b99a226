"""One fake before the judge, in a process of its own."""

import numpy as np

from benchmarks.judge import data, field_fakes, spin_fakes
from physgen.stages import evaluate_ensembles

SIMULATIONS, TRAINING_SIMULATIONS = 27, 40
TRUTH, COPIES = "truth", "copies"  # words of the rows that are judged with their training set


def density_maps(seed):
    """What the fakes of maps are made of."""
    return field_fakes.Maps(
        data.fields("independent", SIMULATIONS), data.fields("training", TRAINING_SIMULATIONS),
        data.fields("zeldovich", SIMULATIONS), np.random.default_rng(seed),
    )  # fmt: skip


def configurations(seed):
    """What the fakes of spins are made of."""
    return spin_fakes.Configurations(data.spins("independent"), data.spins("training"), np.random.default_rng(seed))


KINDS = {
    "fields": (density_maps, field_fakes.FAKES, data.field_domain, lambda: data.fields("reference", SIMULATIONS)),
    "spins": (configurations, spin_fakes.FAKES, data.spin_domain, lambda: data.spins("reference")),
}


def judge_fake(kind, name):
    """Verdicts on one fake."""
    import torch

    torch.set_num_threads(1)
    source, fakes, domain, reference = KINDS[kind]
    made = source([1, list(fakes).index(name)])
    train = made.training if name.startswith(TRUTH) or COPIES in name else None
    return evaluate_ensembles(fakes[name](made), reference(), train, domain=domain()).summary["verdicts"]
