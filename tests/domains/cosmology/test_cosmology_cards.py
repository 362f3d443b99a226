"""Dataset cards tell what their recipe makes, under the same headings."""

from pathlib import Path

import pytest
import yaml

from physgen.config import load_config
from physgen.domains.cosmology.domain import Cosmology

ROOT = Path(__file__).resolve().parents[3]
CARDS = sorted((ROOT / "datasets").glob("cosmology-*"))


def headings(card):
    return [line for line in (card / "README.md").read_text().splitlines() if line.startswith("## ")]


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.name)
def test_cards_share_their_headings(card):
    assert headings(card) == headings(CARDS[0])


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.name)
def test_recipes_make_the_shape_on_the_card(card):
    content = yaml.safe_load((card / "dataset.yaml").read_text())
    assert content["name"] == card.name and content["domain"] == Cosmology.name and content["licence"]
    if "recipe" not in content:
        assert content["command"].split()[2] in Cosmology.formats
        return
    experiment = load_config(ROOT / content["recipe"])
    data = experiment.data
    maps = 3 * data.slabs_per_axis if data.dimension == 2 else 1
    axes = {"z": data.cells} if data.dimension == 3 else {}
    assert content["shape"] == {"sample": data.simulations * maps, **axes, "y": data.cells, "x": data.cells}
    assert content["seed"] == experiment.seed
