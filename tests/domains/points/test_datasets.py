"""The card of the vectors says what its recipe makes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from physgen.config import load_config

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["points-demo", "points-swiss-roll", "points-heartbeat"])
def test_the_recipe_makes_the_data_of_the_card(name):
    written = yaml.safe_load((ROOT / "datasets" / name / "dataset.yaml").read_text())
    experiment = load_config(ROOT / written["recipe"])
    made = experiment.data.simulate(experiment.seed, processes=2)
    assert experiment.seed == written["seed"] and dict(made.field.sizes) == written["shape"]
    digest = hashlib.sha256(np.ascontiguousarray(made.field.values)).hexdigest()
    assert digest == written["sha256"]["field"], "field differs, update the card"
    if name != "points-demo":
        return
    largest = np.linalg.eigvalsh(np.cov(made.field.values.T))[-1]
    assert abs(largest / 7.72 - 1) < 4 * (2 / 12_000) ** 0.5
