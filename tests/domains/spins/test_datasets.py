"""The cards of the spin data sets say what their recipes make."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from physgen.config import load_config

ROOT = Path(__file__).resolve().parents[3]
CARDS = sorted((ROOT / "datasets").glob("spins-*/dataset.yaml"))


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.parent.name)
def test_the_recipe_makes_the_data_of_the_card(card):
    written = yaml.safe_load(card.read_text())
    experiment = load_config(ROOT / written["recipe"])
    assert experiment.seed == written["seed"]
    made = experiment.data.simulate(experiment.seed, processes=2)
    assert {name: made.sizes[name] for name in made["field"].dims} == written["shape"]
    for name, digest in written["sha256"].items():
        values = np.ascontiguousarray(made[name].values)
        assert hashlib.sha256(values).hexdigest() == digest, f"{card.parent.name}: {name} differs, update its card"


def test_there_are_cards():
    assert CARDS
