"""``physgen certify``: what it prints, writes, counts and refuses. What the identities find, their domain tests."""

import json
from pathlib import Path

import numpy as np
import pytest

from physgen.cli import main
from physgen.config import load_config
from physgen.domains.contract import get_domain
from physgen.ensemble import load_ensemble, save_ensemble
from physgen.errors import InputError
from physgen.stages import simulate, train
from physgen.stages.certification import CertifyOptions, certify, certify_ensemble

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("certified")


@pytest.fixture(scope="module")
def exact(folder):
    return simulate(load_config(CONFIGS / "spins" / "smoke.yaml", ["data.instances=30"]), folder / "exact.h5")


@pytest.fixture(scope="module")
def run(folder):
    """Message passing of two steps, on planted configurations of 3^3."""
    words = [
        "data.couplings=planted_bimodal", "data.method=planted", "data.replicas=1", "data.temperatures=[2 J]",
        "data.dimension=3", "data.length=3", "data.boundary=periodic", "data.instances=30", "name=planted",
        "network={kind: message_passing, width: 8, depth: 4}", "training.steps=2", "training.warmup=1",
        "tracking.uri=off", f"dataset={folder / 'planted.h5'}",
    ]  # fmt: skip
    config = load_config(CONFIGS / "spins" / "smoke.yaml", words)
    simulate(config, folder / "planted.h5")
    return train(config, folder / "runs", device="cpu")


def test_a_table_on_the_screen_and_all_numbers_in_a_file(exact, folder, capsys):
    output = folder / "certificate.json"
    assert main(["certify", str(exact), "-o", str(output)]) == 0
    said = capsys.readouterr().out
    written = json.loads(output.read_text())
    assert written["verdict"] in ("pass", "open") and written["false_alarms"] == 0.01
    assert {"name", "where", "value", "expected", "error", "z", "verdict", "detectable"} <= set(written["rows"][0])
    assert all(row["name"] in said for row in written["rows"]) and "0 fail" in said
    assert "absent: nishimori: T = 1, 2: the couplings are not biased" in said and f"wrote {output}" in said


def test_a_failure_is_shown_and_is_no_failure_of_the_command(exact, folder, capsys):
    """As of evaluate: 0 where it could judge, whatever the verdict."""
    wrong = load_ensemble(exact)
    temperature = ("temperature", wrong["temperature"].values * 1.3, wrong["temperature"].attrs)
    save_ensemble(wrong.assign_coords(temperature=temperature), folder / "wrong.h5")
    assert main(["certify", str(folder / "wrong.h5")]) == 0
    said = capsys.readouterr().out
    assert "FAIL" in said and "NOT in equilibrium" in said
    assert certify(folder / "wrong.h5").verdict == "fail"


def test_draws_of_a_run_on_another_lattice_and_with_weights(run, folder, capsys):
    words = [
        "data.couplings=planted_bimodal", "data.method=planted", "data.replicas=1", "data.temperatures=[2 J]",
        "data.dimension=3", "data.length=4", "data.boundary=periodic", "data.instances=9", "seed=3",
    ]  # fmt: skip
    like = simulate(load_config(CONFIGS / "spins" / "smoke.yaml", words), folder / "like.h5")
    assert main(["certify", str(run), "--like", str(like), "-n", "3", "--steps", "4", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "9 independent units" in said and "nishimori_q2" in said and "drawn from the run planted" in said
    options = CertifyOptions(like=like, n=25, weights=True, steps=4, device="cpu")
    assert "self-normalised" in certify(run, options=options).table


def test_weights_without_a_tail_get_one(exact):
    made = load_ensemble(exact)
    made = made.isel(replica=np.tile(np.arange(8), 5)).assign_coords(replica=np.arange(40))
    heavy = np.random.default_rng(1).pareto(0.4, size=[made.sizes[d] for d in ("disorder", "temperature", "replica")])
    weighted = made.assign(log_weight=(("disorder", "temperature", "replica"), np.log1p(heavy)))
    found = certify_ensemble(weighted)
    assert {row.verdict for row in found.rows} == {"open"} and "too heavy a tail" in found.table


def test_what_cannot_be_certified_is_said(exact, folder, capsys):
    np.save(folder / "fields.npy", np.ones((8, 4, 4)))
    conditions = load_ensemble(exact)
    for words, message in (
        (["nothing.h5"], "nothing.h5 does not exist"),
        ([str(folder / "fields.npy")], "names no physics"),
        ([str(exact), "-n", "5"], "n is of what a run draws"),
        ([str(exact), "-o", str(folder / "x")], "ends in .json"),
        ([str(exact), "--false-alarms", "2"], "between 0 and 1"),
    ):
        assert main(["certify", *words]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(InputError, match="knows no identities"):
        certify_ensemble(conditions.drop_vars("couplings").assign_attrs(domain="points"))
    assert get_domain("points")().identities(conditions) is None
