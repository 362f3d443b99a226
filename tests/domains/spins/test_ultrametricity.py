"""Ultrametricity: exact trees, independent replicas in closed form, triples against brute force."""

from itertools import combinations

import numpy as np
import pytest
from scipy.linalg import hadamard

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import from_arrays
from physgen.domains.spins.ultrametricity import (
    law_of_ratio,
    triple_differences,
    ultrametricity,
    ultrametricity_law,
)
from physgen.errors import InputError


def glass(spins, field=None):
    """Spins (D, R, N) on rings, in random couplings, at T = 1."""
    bonds = np.random.default_rng(0).normal(size=(len(spins), 1, spins.shape[-1]))
    return from_arrays(spins[:, None], bonds, [1.0], external_field=field)


def independent(folded):
    """Law of the differences of three independent configurations of 6 free spins, from all of them; and sigma(q)."""
    states = enumerate_spins(6).numpy().astype(float)
    first = states.mean(axis=1)  # one configuration is all up, by symmetry
    three = np.stack(np.broadcast_arrays(first[:, None], first[None], states @ states.T / 6)).reshape(3, -1)
    three = np.sort(np.abs(three) if folded else three, axis=0)
    differences = three[1] - three[0]
    return np.bincount(np.rint(3 * differences).astype(int), minlength=7) / 4096, three.std()


@pytest.mark.parametrize("folded", [True, False])
def test_independent_replicas_have_the_law_of_all_triples(folded):
    rng = np.random.default_rng(1)
    spins = rng.choice([-1, 1], (300, 8, 6)).astype(np.int8)
    made = glass(spins, None if folded else np.full((300, 6), 0.5))
    differences, width = independent(folded)
    found = ultrametricity(made).isel(temperature=0)
    exact = differences @ np.arange(7) / 3 / width
    assert float(found["error"]) < 0.03 and abs(float(found["value"]) - exact) < 4 * float(found["error"])
    law = ultrametricity_law(made).isel(temperature=0)
    wanted = law_of_ratio(differences, np.array(width), 1 / 3)
    seen = wanted > 0
    pulls = (law["value"].values - wanted)[seen] / law["error"].values[seen]
    assert np.abs(pulls).max() < 4.5 and float(law["value"].sum() * 0.2) == pytest.approx(1)


def test_leaves_of_a_tree_have_no_deviation():
    """Blocks of Hadamard rows: q = 1/2 at least, 3/4 within a branch, 1 of a leaf with itself."""
    rows = hadamard(16)
    common, branch, leaf = np.tile(rows[0], 2), rows[1:], rows[1:]
    one = np.array([np.concatenate([common, branch[b], leaf[3 * b + i]]) for b in range(4) for i in range(3)])
    made = glass(np.stack([one * flips[:, None] for flips in np.random.default_rng(2).choice([-1, 1], (20, 12))]))
    found = ultrametricity(made)
    assert float(found["value"][0]) == pytest.approx(0, abs=1e-6)
    law = ultrametricity_law(made).isel(temperature=0)
    assert float(law["value"][0] * law["width"][0]) == pytest.approx(1)  # all within half a step of the overlap
    independent = glass(np.random.default_rng(3).choice([-1, 1], (20, 12, 64)))
    assert float(ultrametricity(independent)["value"][0]) > 0.5


def test_triples_are_all_up_to_48_replicas_and_groups_beyond():
    q = np.random.default_rng(4).normal(size=(2, 7, 7))
    q = q + np.swapaxes(q, -1, -2)
    wanted = []
    for a, b, c in combinations(range(7), 3):
        low, middle, _ = np.sort([q[0, a, b], q[0, b, c], q[0, a, c]])
        wanted.append(middle - low)
    np.testing.assert_allclose(np.sort(triple_differences(q)[0]), np.sort(wanted))
    assert triple_differences(np.zeros((50, 50))).shape == (2 * 2300,)  # two groups of 25
    with pytest.raises(InputError, match="at least 3"):
        ultrametricity(glass(np.ones((4, 2, 6), np.int8)))


def test_steps_of_the_overlap_are_spread_evenly():
    """Against counts of values that are spread at random over a step."""
    rng = np.random.default_rng(5)
    probabilities = rng.dirichlet(np.ones(9))
    steps = np.abs(rng.choice(9, 400_000, p=probabilities) + rng.uniform(-0.5, 0.5, 400_000))
    counts = np.histogram(np.minimum(steps * 0.25 / 0.3, 3.99), np.linspace(0, 4, 21))[0] / 400_000
    wanted = law_of_ratio(probabilities, np.array(0.3), 0.25) * 0.2
    assert np.abs(counts - wanted).max() < 5 * (0.25 / 400_000) ** 0.5
