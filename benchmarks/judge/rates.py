"""How often does the judge err where both sides follow one law? Trials of truth against truth with cheap laws."""

import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import xarray as xr
from scipy import stats

from benchmarks.judge.data import draw_spins, field_domain, spin_domain
from physgen.stages import evaluate_ensembles

CELLS, MAPS, SIDE = 32, 3, 25.0
STATED = 0.01  # rate of false alarms that a verdict claims
SPIN_STREAM = 100


@dataclass(frozen=True)
class Law:
    """One set-up of trials.

    Attributes:
        name: in the table.
        units: independent units of the reference and of the other side.
        paired: whether both sides have the same conditions.
        dex: standard deviation of log10 of the density; 0 for spins.
    """

    name: str
    units: tuple[int, int]
    paired: bool
    dex: float


LAWS = (
    Law("1.6 dex, 10 against 40 units", (10, 40), False, 1.6),
    Law("1.6 dex, 10 units, equal conditions", (10, 10), True, 1.6),
    Law("glass 8 x 8, 10 instances, equal couplings", (10, 10), True, 0.0),
    Law("1.6 dex, 40 units, equal conditions", (40, 40), True, 1.6),
    Law("1.6 dex, 40 against 10 units", (40, 10), False, 1.6),
    Law("1.6 dex, 40 against 40 units", (40, 40), False, 1.6),
    Law("0.3 dex, 10 units, equal conditions", (10, 10), True, 0.3),
    Law("glass 8 x 8, 24 instances, equal couplings", (24, 24), True, 0.0),
)


def lognormal_maps(seed, units, dex, labels_seed):
    """MAPS maps of 1/k lognormal fields for each unit, of an amplitude that follows its label and differs within 20 %.

    Maps of a unit share their amplitude: they depend on each other, as the slabs of a simulation do.
    """
    axis = np.fft.fftfreq(CELLS, 1 / CELLS)
    k = np.hypot(axis[:, None], axis)
    gain = np.where(k > 0, 1 / np.maximum(k, 1), 0)
    label = np.random.default_rng([labels_seed, 1]).uniform(0.5, 1.5, units)
    rng = np.random.default_rng([seed, 2])
    white = np.fft.fft2(rng.standard_normal((units, MAPS, CELLS, CELLS)))
    field = np.fft.ifft2(white * gain).real
    field *= dex / np.sqrt((gain**2).mean())
    field *= (label**0.3 * np.exp(0.1 * rng.standard_normal(units)))[:, None, None, None]
    density = 10 ** (4.5 + field.reshape(-1, CELLS, CELLS))
    centres = (np.arange(CELLS) + 0.5) * SIDE / CELLS
    return xr.Dataset(
        {
            "field": (("sample", "y", "x"), density.astype(np.float32), {"units": "(Msun/h)/(Mpc/h)^2"}),
            "Omega_m": ("sample", np.repeat(label, MAPS)),
            "simulation": ("sample", np.repeat(np.arange(units), MAPS)),
        },
        {d: (d, centres, {"units": "Mpc/h"}) for d in ("y", "x")},
        {"domain": "cosmology", "independent_unit": "simulation", "field_kind": "surface_density", "box_size": SIDE,
         "box_size_units": "Mpc/h", "periodic": 1, "redshift": 0.0},
    )  # fmt: skip


def sides(law, trial):
    """(domain, reference, other) of one trial: one law, other random numbers."""
    if law.dex:
        seeds = [10_000 + 2 * trial, 10_001 + 2 * trial]
        labels = [seeds[0], seeds[0] if law.paired else seeds[1]]
        made = [lognormal_maps(s, n, law.dex, m) for s, n, m in zip(seeds, law.units, labels, strict=True)]
        mean = float(made[0]["field"].mean())  # one mean for both, as the evaluation has it
        return field_domain(), *(m.assign_attrs(mean_density=mean) for m in made)
    domain = spin_domain()
    template = _glass(law.units[0], trial)
    return domain, *(draw_spins(template, SPIN_STREAM + 2 * trial + side) for side in (0, 1))


def _glass(instances, trial):
    import dataclasses

    domain = dataclasses.replace(spin_domain(), instances=instances, replicas=16)
    return domain.simulate(1000 + trial)


def one_trial(job):
    """[(diagnostic, verdict, p of equality)] of one trial."""
    import torch

    torch.set_num_threads(1)
    law, trial = job
    domain, reference, other = sides(law, trial)
    found = evaluate_ensembles(other, reference, domain=domain).summary["verdicts"]
    return [(v["diagnostic"], v.get("verdict"), v.get("p_value")) for v in found]


def measure_rates(trials, laws=LAWS, minutes=60.0, progress=print):
    """{law: [verdicts of each trial]}; trials run in processes of one thread each, no new law begins after minutes."""
    started = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        found = {}
        for law in laws:
            if time.monotonic() - started > 60 * minutes:
                break
            found[law.name] = list(pool.map(one_trial, [(law, i) for i in range(trials)], chunksize=4))
            progress(next(iter(rate_rows({law.name: found[law.name]}))))
    return found


def rate_rows(found):
    """Rows of the table: law, trials, any fail, worst diagnostic, p values below 1 %, uniformity of p."""
    for law, trials in found.items():
        fails = Counter(name for trial in trials for name, verdict, _ in trial if verdict == "fail")
        any_fail = sum(any(verdict == "fail" for _, verdict, _ in trial) for trial in trials)
        worst = max(fails, key=fails.get) if fails else None
        yield {
            "law": law,
            "trials": len(trials),
            "diagnostics": len(trials[0]),
            "some diagnostic fails": proportion(any_fail, len(trials)),
            "worst diagnostic": f"{worst} {proportion(fails[worst], len(trials))}" if worst else "none fails",
            "p of equality below 1 %": below_one_percent(trials),
        }


def below_one_percent(trials):
    """Diagnostic with the most p values below STATED, and its share."""
    below, valid = Counter(), Counter()
    for name, _, p in (one for trial in trials for one in trial):
        if p is not None and np.isfinite(p):
            valid[name] += 1
            below[name] += p < STATED
    if not valid:
        return ""
    worst = max(valid, key=lambda name: below[name] / valid[name])
    total = proportion(sum(below.values()), sum(valid.values()))
    return f"{total} of all; most {worst} {proportion(below[worst], valid[worst])}"


def proportion(count, total):
    """'3.0 % (1.4 to 5.6)': a rate with its 95 % Clopper-Pearson interval."""
    low = stats.beta.ppf(0.025, count, total - count + 1) if count else 0.0
    high = stats.beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
    return f"{100 * count / total:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
