"""training.target: a network learns towards means of less scatter, and what has none is refused before a run exists."""

from pathlib import Path

import pytest

from physgen.config import load_config
from physgen.ensemble import load_ensemble
from physgen.errors import InputError
from physgen.stages import simulate, train
from physgen.tracking.journal import read_journal

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
QUICK = ["tracking.uri=off", "training.steps=3", "training.warmup=1", "training.log_every=1"]
GLASS = [*QUICK, "network={kind: message_passing, width: 8, depth: 3}"]


def asked(domain, folder, *words):
    return load_config(CONFIGS / domain / "smoke.yaml", [*words, f"dataset={folder / f'{domain}.h5'}"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("data")
    for domain in ("cosmology", "spins"):
        simulate(asked(domain, made), made / f"{domain}.h5")
    return made


def test_the_first_loss_falls_with_the_scatter_of_its_target(folder, tmp_path):
    """Of the same network on the same batch: what is left of an exact mean is the excess over the exact denoiser."""
    first = {}
    for target in ("sample", "conditional", "exact"):
        run = train(asked("spins", folder, *GLASS, f"training.target={target}"), tmp_path / target, device="cpu")
        losses = [
            entry["metrics"]["train/loss"] for entry in read_journal(run) if "train/loss" in entry.get("metrics", {})
        ]
        first[target] = losses[0]
        assert load_ensemble(run / "data" / "test.h5").sizes["replica"] == 8
    assert first["exact"] < first["conditional"] < first["sample"]
    assert first["exact"] < 0.2 * first["sample"]


def test_where_no_mean_is_known_it_is_said_and_no_run_is_left(folder, tmp_path):
    with pytest.raises(InputError, match="training.target=exact: cosmology gives no such mean"):
        train(asked("cosmology", folder, *QUICK, "training.target=exact"), tmp_path, device="cpu")
    words = ["data.boundary=periodic", "data.method=enumeration", "data.instances=10"]
    torus = asked("spins", tmp_path, *GLASS, *words, "training.target=exact")
    simulate(torus, tmp_path / "spins.h5")
    with pytest.raises(InputError, match="free boundary along the first dim"):
        train(torus, tmp_path, device="cpu")
    assert not [path for path in tmp_path.rglob("*smoke*") if path.is_dir()]
