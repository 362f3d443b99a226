"""Weights on graphs: ln Z of unseen couplings, of another number of spins, is exact; an edge list is enough."""

import numpy as np
import pytest

from physgen.cli import main
from physgen.config import load_config
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.ensemble import load_ensemble
from physgen.stages import DrawOptions, sample, simulate, train

from .test_weighing import CONFIGS

MODELS = {
    "tap": ["data.model=sherrington_kirkpatrick", "data.temperatures=[1.2 J, 2.0 J]"],
    "bethe": ["data.model=random_regular", "data.temperatures=[1.0 J, 2.0 J]"],
    "field": ["data.model=random_regular", "data.temperatures=[1.0 J, 2.0 J]", "data.random_field=1.0 J"],
}
THEORY = {"tap": "tap", "bethe": "bethe", "field": "bethe"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """model -> folder of a run of two steps on graphs of 8 spins."""
    made = {}
    for model, words in MODELS.items():
        folder = tmp_path_factory.mktemp(model)
        network = f"network={{kind: graph_passing, width: 8, depth: 4, theory: {THEORY[model]}}}"
        quick = ["tracking.uri=off", "training.steps=2", "training.warmup=1", "data.length=8", "data.instances=10"]
        asked = load_config(
            CONFIGS / "spins" / "smoke.yaml", [network, *quick, *words, f"dataset={folder / 'data.h5'}"]
        )
        simulate(asked, folder / "data.h5")
        made[model] = train(asked, folder / "runs", device="cpu")
    return made


@pytest.mark.parametrize("model", MODELS)
def test_ln_z_is_exact_on_unseen_graphs_of_another_size(trained, tmp_path, model):
    words = [*MODELS[model], "data.length=12", "data.instances=3", "data.replicas=1", "seed=9"]
    like = simulate(load_config(CONFIGS / "spins" / "smoke.yaml", words), tmp_path / "like.h5")
    drawn = sample(trained[model], tmp_path / "new.h5", DrawOptions(256, like, steps=16, weights=True, seed=1))
    made = load_ensemble(drawn)
    pulls = []
    for i, j in np.ndindex(3, 2):
        law = made.isel(disorder=i, temperature=j)
        couplings = law["couplings"].values.astype(float)
        outer = law["external_field"].values.astype(float) if "external_field" in law else None
        exact = enumerate_graph(12, made["edges"].values, couplings, float(law["temperature"]), outer)
        pulls.append((float(law["log_Z"]) - exact.log_partition) / float(law["log_Z_error"]))
    assert np.square(pulls).sum() < 22.5  # chi^2 of 6, one in a thousand
    assert (made["effective_fraction"] > 0.3).all() and float(made["log_Z_error"].max()) < 0.1


def test_an_edge_list_of_a_stranger_is_drawn(trained, tmp_path, capsys):
    rng = np.random.default_rng(3)
    edges = [(i, j) for i in range(9) for j in range(i) if rng.random() < 0.5]
    rows = "\n".join(f"{i} {j} {rng.normal() / 3:.6f}" for i, j in edges)
    (tmp_path / "mine.txt").write_text(f"# H = -sum J s s\n{rows}\n")
    words = ["--condition", "temperature=1.5", "-n", "32", "--steps", "8", "--weights", "-o", str(tmp_path / "new.h5")]
    assert main(["sample", str(trained["tap"]), "--like", str(tmp_path / "mine.txt"), *words]) == 0
    assert "of 32 draws count" in capsys.readouterr().out
    assert load_ensemble(tmp_path / "new.h5").sizes["site"] == 9


def test_a_list_with_fields_is_drawn_by_a_network_that_knows_them(trained, tmp_path, capsys):
    rows = "\n".join(f"{i} {i} {0.1 * i - 0.4:.2f}\n{i} {(i + 1) % 9} 0.7" for i in range(9))
    (tmp_path / "mine.txt").write_text(f"# vartype=SPIN\n{rows}\n")
    words = ["--condition", "temperature=1.5", "-n", "25", "--steps", "4", "--weights", "-o", str(tmp_path / "new.h5")]
    command = ["sample", str(trained["field"]), "--like", str(tmp_path / "mine.txt"), *words]
    assert main(command) == 0 and "external_field" in load_ensemble(tmp_path / "new.h5")
    command[1] = str(trained["bethe"])
    command[-1] = str(tmp_path / "other.h5")
    assert main(command) == 2 and "trained without any" in capsys.readouterr().err


def test_a_network_of_a_lattice_is_refused_for_a_graph(tmp_path, capsys):
    words = ["data.model=sherrington_kirkpatrick", "data.length=8", f"dataset={tmp_path / 'sk.h5'}"]
    assert main(["simulate", str(CONFIGS / "spins" / "smoke.yaml"), *words, "-o", str(tmp_path / "sk.h5")]) == 0
    command = ["train", str(CONFIGS / "spins" / "smoke.yaml"), *words, "--runs", str(tmp_path / "runs")]
    assert main(command) == 2
    assert "graph_passing" in capsys.readouterr().err
