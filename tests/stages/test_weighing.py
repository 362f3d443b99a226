"""Weights of a run: ln Z and means are exact on couplings and lattices that it has never seen, or no claim is made."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from physgen.cli import main
from physgen.config import load_config
from physgen.diffusion.inference.weight_statistics import reweighted_mean
from physgen.domains.spins.exact import log_partition
from physgen.ensemble import check_ensemble, load_ensemble, save_ensemble
from physgen.errors import InputError
from physgen.report.evaluation_prose import banner_of
from physgen.stages import DrawOptions, sample, simulate, train
from physgen.stages.weighing import STATISTICS, resampled
from physgen.stages.weight_words import describe_draws

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SPINS = ["data.instances=10", "network={kind: message_passing, width: 8, depth: 4}", "data.temperatures=[1.5 J, 3.0 J]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(domain, words) -> folder of a run of two steps; message passing is belief propagation then."""

    @functools.cache
    def make(name, *words):
        folder = tmp_path_factory.mktemp(name)
        quick = ["tracking.uri=off", "training.steps=2", "training.warmup=1", *words]
        asked = load_config(CONFIGS / name / "smoke.yaml", [*quick, f"dataset={folder / 'data.h5'}"])
        simulate(asked, folder / "data.h5")
        return train(asked, folder / "runs", device="cpu")

    return make


@pytest.fixture(scope="module")
def drawn(trained, tmp_path_factory):
    """Draws with weights on two unseen glasses of another lattice, 6 x 6."""
    folder = tmp_path_factory.mktemp("drawn")
    words = ["data.length=6", "data.instances=2", "data.replicas=1", "data.temperatures=[1.5 J, 3.0 J]", "seed=9"]
    like = simulate(load_config(CONFIGS / "spins" / "smoke.yaml", words), folder / "glasses.h5")
    return sample(trained("spins", *SPINS), folder / "drawn.h5", DrawOptions(256, like, steps=12, weights=True, seed=1))


def test_ln_z_and_energies_are_exact_on_another_lattice(drawn):
    made = load_ensemble(drawn)
    assert made["log_weight"].dims == ("disorder", "temperature", "replica")
    assert all(made[name].dims == ("disorder", "temperature") for name in STATISTICS)
    assert made.attrs["levels"] == "least dissipation" and made.sizes["x"] == 6
    for i in range(2):
        for j, temperature in enumerate(made["temperature"].values.tolist()):
            law = made.isel(disorder=i, temperature=j)
            log_z, energy = log_partition(law["couplings"].values, temperature)
            assert abs(float(law["log_Z"]) - log_z) < 4 * float(law["log_Z_error"])
            assert float(law["log_Z_bound"]) < log_z
            values, weights = (torch.from_numpy(law[name].values.astype(float)) for name in ("energy", "log_weight"))
            mean, error = reweighted_mean(values, weights)
            assert abs(float(mean) - energy) < 4 * float(error)
    hot = made.sel(temperature=3.0)
    assert (hot["tail"] < 0.7).all() and (hot["effective_fraction"] > 0.3).all()


def test_no_effective_sample_size_is_said_of_a_heavy_tail(drawn, tmp_path):
    made = load_ensemble(drawn)
    assert describe_draws(drawn).count("of 256 draws count") == 2  # a line for each temperature
    heavy = made.assign(tail=(made["tail"].dims, np.array([[0.9, 0.1], [1.2, 0.8]]), made["tail"].attrs))
    cold, hot = describe_draws(save_ensemble(heavy, tmp_path / "heavy.h5")).split("\n")[:2]
    assert "allows no effective sample size in any of 2 laws" in cold and "0.90 at least" in cold
    assert "of 256 draws count" in hot and "1 of 2 laws have too heavy a tail" in hot


def test_resampled_configurations_are_of_their_law(drawn):
    made = load_ensemble(drawn)
    taken = resampled(made, 64, seed=2)
    assert check_ensemble(taken).sizes["replica"] == 64 and taken["field"].dims == made["field"].dims
    size = 256 * made["effective_fraction"].values
    for i, j in np.ndindex(2, 2):
        old, new = (one.isel(disorder=i, temperature=j) for one in (made, taken))
        assert np.isin(new["energy"].values, old["energy"].values).all()
        energy = log_partition(new["couplings"].values, float(new["temperature"]))[1]
        spread = float(old["energy"].std()) * (1 / 64 + 1 / size[i, j]) ** 0.5
        assert abs(float(new["energy"].mean()) - energy) < 4 * spread
        assert int(new["certified"]) == (size[i, j] >= 64 and float(old["tail"]) <= 0.7)
    assert "--resample" in banner_of(made) and banner_of(taken) == ""  # what is judged is said before the verdicts
    assert taken["certified"].sum() >= 2 and resampled(made, 250, seed=2)["certified"].sum() == 0


def test_the_command_says_what_the_weights_are_worth(trained, tmp_path, capsys):
    run = trained("spins", *SPINS)
    words = [
        "sample",
        str(run),
        "-n",
        "25",
        "--steps",
        "6",
        "--weights",
        "--resample",
        "5",
        "-o",
        str(tmp_path / "new.h5"),
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "of 25 draws count, ln Z" in said and "of the law itself in" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"n": 8}, "at least 25"),
        ({"n": 25, "sampler": "heun"}, "their own kernel and levels"),
        ({"n": 25, "resample": 0}, "at least 1"),
        ({"n": 25, "levels": "log-uniform"}, "their own kernel and levels"),
    ],
)
def test_weights_that_would_say_nothing_are_refused(words, said, trained, tmp_path):
    with pytest.raises(InputError, match=said):
        sample(trained("spins", *SPINS), tmp_path / "new.h5", DrawOptions(**words, steps=4, weights=True))


def test_a_physics_without_a_law_and_a_network_of_one_lattice_are_refused(trained, drawn, tmp_path):
    with pytest.raises(InputError, match="does not know of its data"):
        sample(trained("cosmology"), tmp_path / "new.h5", DrawOptions(25, steps=4, weights=True))
    like = load_ensemble(drawn.parent / "glasses.h5").sel(temperature=[1.5])  # a temperature that it knows
    with pytest.raises(InputError, match=r"lattice \(6, 6\), the run \(4, 4\)"):
        sample(trained("spins"), tmp_path / "new.h5", DrawOptions(25, like, steps=4))
