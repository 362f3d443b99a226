"""``physgen simulate`` from the command line: a network as a move of the Monte Carlo; models that no network takes."""

import contextlib
from pathlib import Path

import pytest

from physgen.cli import main
from physgen.ensemble import load_ensemble

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SPINS, FIELDS = (str(CONFIGS / name / "smoke.yaml") for name in ("spins", "cosmology"))
FEW = ("data.length=4", "data.instances=1", "data.replicas=4", "data.temperatures=[1.5 J]", "data.sweeps=1000")
MOVES = ("--proposals", "glass:ea2d")


def run(capsys, *words):
    """(exit status, stdout, stderr)."""
    with contextlib.suppress(SystemExit):
        status = main([str(word) for word in words])
    return (status, *capsys.readouterr())


def test_a_shipped_network_proposes(tmp_path, capsys):
    path = tmp_path / "moved.h5"
    status, said, _ = run(capsys, "simulate", SPINS, *FEW, *MOVES, "--every", 500, "--processes", 1, "-o", path)
    made = load_ensemble(path)
    accepted = int(made.attrs["proposals_accepted"])
    assert status == 0 and f"{accepted} of 8 proposals were accepted" in said
    assert made.attrs["proposals"] == 8 and made.attrs["proposals_every"] == 500  # four ladders, twice
    assert made.attrs["proposals_of"] == "glass:ea2d" and made.attrs["equilibration"] == "passed"
    assert made.attrs["model"] == "edwards_anderson" and made.sizes["replica"] == 4


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((SPINS, *FEW, "--every", 3), "name it by --proposals"),
        ((SPINS, *FEW, "--proposals", "nobody"), "nobody is not a run"),
        ((SPINS, *FEW, *MOVES, "--every", 0), "give at least 1"),
        ((FIELDS, *MOVES), "a network for spins, the experiment simulates cosmology"),
        ((SPINS, *FEW, "data.method=transfer_matrix", *MOVES), "set method=parallel_tempering"),
        ((SPINS, *FEW, "data.dimension=3", *MOVES), "propose with one trained on it"),
        ((SPINS, *FEW, "data.model=p_spin", *MOVES), "couplings of two spins"),
        ((SPINS, *FEW, "data.couplings=planted_bimodal", *MOVES), "simulate them as they are"),
    ],
)
def test_what_cannot_be_proposed_is_one_message(words, problem, tmp_path, capsys):
    output = tmp_path / "none.h5"
    status, said, error = run(capsys, "simulate", *words, "--processes", 1, "-o", output)
    assert status == 2 and problem in error and "Traceback" not in said + error and not output.exists()


def test_a_physics_without_such_a_monte_carlo_says_so():
    from physgen.domains.contract import get_domain
    from physgen.errors import InputError

    with pytest.raises(InputError, match="no Monte Carlo that takes proposals"):
        get_domain("points")().simulate_proposed(0, None, 10)


def test_training_on_three_spins_at_a_time_is_one_message(tmp_path, capsys):
    path = tmp_path / "triples.h5"
    model = ("data.model=p_spin", "data.length=5", "data.instances=6", "data.replicas=2", "data.temperatures=[1.0 J]")
    status, said, _ = run(capsys, "simulate", SPINS, *model, "--processes", 1, "-o", path)
    assert status == 0 and "physgen train cannot take it (networks know couplings of two spins" in said
    with contextlib.chdir(tmp_path):
        status, said, error = run(capsys, "train", SPINS, *model, f"dataset={path}", "tracking.uri=off")
    assert status == 2 and "can be judged, and judge others, with physgen evaluate" in error
    assert "Traceback" not in error and not list(tmp_path.glob("runs/*"))
