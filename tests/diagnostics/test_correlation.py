"""Two-point correlation: direct sums, exact laws, invariances."""

import numpy as np
import pytest

from physgen.diagnostics.correlation import correlation_array, two_point_correlation


@pytest.mark.parametrize(("grid", "spacing"), [((9,), (0.5,)), ((6, 8), (1.0, 0.75)), ((4, 5, 6), (1.0, 1.0, 1.2))])
def test_equals_the_direct_sum_over_pairs(grid, spacing):
    field = np.random.default_rng(0).standard_normal(grid)
    edges = np.array([0.0, 0.6, 1.3, 2.1, 2.8])
    r, xi, shifts = correlation_array(field, spacing, bins=edges)
    total, length, count = np.zeros(4), np.zeros(4), np.zeros(4)
    for shift in np.ndindex(*grid):
        step = [min(s, n - s) * a for s, n, a in zip(shift, grid, spacing, strict=True)]
        size = np.sqrt(np.sum(np.square(step)))
        j = np.searchsorted(edges, size, side="right") - 1
        if j < 4:
            total[j] += (field * np.roll(field, [-s for s in shift], tuple(range(len(grid))))).mean()
            length[j] += size
            count[j] += 1
    filled = count > 0
    np.testing.assert_allclose(xi, total[filled] / count[filled], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(r, length[filled] / count[filled], rtol=1e-12)
    np.testing.assert_array_equal(shifts, count[filled])


def test_first_bin_is_the_mean_square_alone():
    field = np.random.default_rng(1).standard_normal((3, 10, 10))
    r, xi, shifts = correlation_array(field, (2.0, 2.0))
    assert r[0] == 0 and shifts[0] == 1 and r[-1] <= 10 + 1
    np.testing.assert_allclose(xi[:, 0], (field**2).mean(axis=(1, 2)), rtol=1e-12)


def test_ising_chain_has_the_exact_correlation(lattice):
    """Closed chain at coupling K: <s_0 s_r> = (t^r + t^(N-r)) / (1 + t^N), t = tanh K."""
    rng, n, t = np.random.default_rng(2), 32, np.tanh(0.6)
    bonds = np.where(rng.random((20000, n)) < (1 + t) / 2, 1, -1)
    bonds = bonds[bonds.prod(axis=1) == 1]  # a closed chain: the bonds multiply to one
    spins = np.cumprod(bonds, axis=1).astype(np.int8)
    found = two_point_correlation(lattice(spins, units="lattice spacing"))
    r = found["r"].values
    exact = (t**r + t ** (n - r)) / (1 + t**n)
    z = ((found["value"] - exact) / found["error"]).values[1:]
    assert found["value"].values[0] == 1.0 and np.abs(z).max() < 4


def test_white_noise_is_correlated_at_zero_only(lattice):
    found = two_point_correlation(lattice(np.random.default_rng(3).standard_normal((200, 16, 16))))
    z = (found["value"] / found["error"]).values[1:]
    assert np.abs(z).max() < 4 and abs((found["value"][0] - 1) / found["error"][0]) < 4


def test_connected_subtracts_the_mean_and_shifts_do_nothing():
    field = np.random.default_rng(4).standard_normal((12, 12))
    plain = correlation_array(field - field.mean(), (1.0, 1.0))[1]
    moved = correlation_array(np.roll(field, (5, 2), (0, 1)) + 7, (1.0, 1.0), connected=True)[1]
    np.testing.assert_allclose(moved, plain, atol=1e-12)
