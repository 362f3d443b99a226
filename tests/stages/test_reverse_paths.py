"""ln Z from both sides of a run: on unseen glasses against the transfer matrix, from starts of three kinds."""

import numpy as np
import pytest

from physgen.cli import main
from physgen.config import load_config
from physgen.domains.spins.exact import log_partition
from physgen.ensemble import load_ensemble
from physgen.errors import InputError
from physgen.stages import DrawOptions, sample, simulate, train
from physgen.stages.weight_words import describe_draws

SPINS = ["data.instances=10", "network={kind: message_passing, width: 8, depth: 4}", "data.temperatures=[1.5 J, 3.0 J]"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with a run of two steps and equilibrium configurations of two unseen 6 x 6 glasses."""
    folder = tmp_path_factory.mktemp("reverse")
    quick = ["tracking.uri=off", "training.steps=2", "training.warmup=1", *SPINS]
    asked = load_config("configs/spins/smoke.yaml", [*quick, f"dataset={folder / 'data.h5'}"])
    simulate(asked, folder / "data.h5")
    train(asked, folder / "runs", device="cpu")
    words = ["data.length=6", "data.instances=2", "data.replicas=100", "data.temperatures=[1.5 J, 3.0 J]", "seed=9"]
    simulate(load_config("configs/spins/smoke.yaml", words), folder / "glasses.h5")
    return folder


def run_of(folder):
    return next((folder / "runs").iterdir())


def test_both_sides_meet_at_the_transfer_matrix(made, capsys):
    output = made / "drawn.h5"
    words = ["-n", "128", "--steps", "10", "--weights", "--like", str(made / "glasses.h5"), "-o", str(output)]
    assert main(["sample", str(run_of(made)), *words]) == 0
    said = capsys.readouterr().out
    assert "100 reverse paths each, from configurations of the ensemble of like" in said
    drawn = load_ensemble(output)
    for i, j in np.ndindex(2, 2):
        law = drawn.isel(disorder=i, temperature=j)
        log_z = log_partition(law["couplings"].values, float(law["temperature"]))[0]
        spread = [4 * float(law[name]) for name in ("log_Z_error", "log_Z_reverse_error")]  # bounds hold in the mean
        assert float(law["log_Z_bound"]) - spread[0] < log_z < float(law["log_Z_upper_bound"]) + spread[1]
        if int(law["log_Z_closed"]):
            assert abs(float(law["log_Z_two_sided"]) - log_z) < 4 * float(law["log_Z_two_sided_error"])
    assert (drawn["log_Z_closed"].sel(temperature=3.0) == 1).all()
    assert (drawn["log_Z_two_sided_error"] < drawn["log_Z_error"]).all()


def test_own_draws_are_no_independent_evidence(made, tmp_path):
    glasses = load_ensemble(made / "glasses.h5").sel(temperature=[3.0]).isel(replica=slice(5))
    options = DrawOptions(64, glasses, steps=10, weights=True, reverse=32)
    drawn = sample(run_of(made), tmp_path / "new.h5", options)
    assert load_ensemble(drawn).attrs["reverse_starts"].startswith("own draws")
    assert "not independent evidence" in describe_draws(drawn)
    generated = sample(run_of(made), tmp_path / "again.h5", DrawOptions(64, drawn, steps=4, weights=True))
    assert "log_Z_closed" not in load_ensemble(generated)  # a model's draws are not starts


@pytest.mark.parametrize("wanted", [-1, 24, 65])
def test_a_number_of_paths_that_says_nothing_is_refused(made, tmp_path, wanted):
    with pytest.raises(InputError, match="reverse = "):
        options = DrawOptions(64, str(made / "glasses.h5"), steps=4, weights=True, reverse=wanted)
        sample(run_of(made), tmp_path / "new.h5", options)
    with pytest.raises(InputError, match="needs weights"):
        sample(run_of(made), tmp_path / "new.h5", DrawOptions(64, reverse=30))


def test_no_reverse_paths_where_none_are_wanted(made, tmp_path):
    options = DrawOptions(32, str(made / "glasses.h5"), steps=4, weights=True, reverse=0)
    drawn = sample(run_of(made), tmp_path / "new.h5", options)
    assert "log_Z_closed" not in load_ensemble(drawn) and "ln Z is one-sided" in describe_draws(drawn)
