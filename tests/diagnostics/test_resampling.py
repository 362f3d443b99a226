"""Jackknife, halves, autocorrelation times: exact identities and known processes."""

import numpy as np
import pytest

from physgen.diagnostics.resampling import WINDOW, halves, integrated_time, jackknife
from physgen.errors import InputError


def test_jackknife_of_a_mean_is_the_standard_error():
    data = np.random.default_rng(0).standard_normal((12, 3))
    estimate, error, pseudo = jackknife(data, lambda m: m)
    np.testing.assert_allclose(pseudo, data, rtol=1e-12)
    np.testing.assert_allclose(estimate, data.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(error, data.std(axis=0, ddof=1) / np.sqrt(12), rtol=1e-12)


def test_jackknife_removes_the_bias_of_a_square_exactly():
    """The unbiased estimate of mu^2 is m^2 - s^2/n."""
    data = np.random.default_rng(1).standard_normal(9) + 2
    estimate, _, _ = jackknife(data, np.square)
    assert estimate == pytest.approx(data.mean() ** 2 - data.var(ddof=1) / 9, rel=1e-12)


def test_jackknife_of_one_unit_is_refused():
    with pytest.raises(InputError, match="at least 2"):
        jackknife(np.ones((1, 3)), np.square)


def test_halves_over_units_share_no_simulation(lattice):
    ensemble = lattice(np.arange(30.0)[:, None] + np.zeros((30, 4)))
    ensemble["simulation"] = ("sample", np.repeat(np.arange(10), 3))
    one, two = halves(ensemble, seed=1)
    assert one.sizes == two.sizes and one.sizes["sample"] == 15
    assert not set(one["simulation"].values) & set(two["simulation"].values)


def test_halves_within_units_share_every_condition_and_no_sample(lattice, spin_ensemble):
    ensemble = lattice(np.arange(50.0)[:, None] + np.zeros((50, 4)))
    ensemble["simulation"] = ("sample", np.repeat(np.arange(10), 5))
    parts = halves(ensemble, seed=1, within=True)
    for part in parts:
        assert np.bincount(part["simulation"]).tolist() == [2] * 10
    assert not set(parts[0]["field"].values[:, 0]) & set(parts[1]["field"].values[:, 0])
    spins = spin_ensemble(np.random.default_rng(0), [3, 1], replicas=6)
    one, two = halves(spins, seed=1, within=True)
    assert one.sizes == two.sizes and one["disorder"].values.tolist() == [3, 1]
    assert sorted([*one["replica"].values, *two["replica"].values]) == list(range(6))


def test_halves_depend_on_the_seed_alone(lattice):
    ensemble = lattice(np.arange(20.0)[:, None] + np.zeros((20, 4)))
    first, again, other = (halves(ensemble, seed)[0]["field"].values[:, 0].tolist() for seed in (1, 1, 2))
    assert first == again != other
    with pytest.raises(InputError, match="cannot be halved"):
        halves(ensemble.isel(sample=[0]), seed=1)


def autoregressive(rho, n, chains, seed):
    rng = np.random.default_rng(seed)
    series = np.empty((n, chains))
    series[0] = rng.normal(size=chains)
    for t in range(1, n):
        series[t] = rho * series[t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=chains)
    return series


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.97])
def test_autocorrelation_time_of_an_autoregressive_process(rho):
    """tau = (1 + rho) / (2 (1 - rho)); its standard error is tau sqrt(2 (2 W + 1) / n) (Sokal)."""
    n, chains = 20_000, 4
    exact = (1 + rho) / (1 - rho) / 2
    found = integrated_time(autoregressive(rho, n, chains, seed=1))
    error = exact * np.sqrt(2 * (2 * WINDOW * exact + 1) / (n * chains))
    truncated = exact * np.exp(-WINDOW)  # bias of the window
    assert abs(found - exact) < 4 * error + truncated


def test_chains_stuck_in_different_places_have_a_long_autocorrelation_time():
    series = autoregressive(0.2, 2000, 4, seed=2) * 0.1 + np.array([-1.0, -1.0, 1.0, 1.0])
    assert integrated_time(series) > 300
    assert integrated_time(np.ones((100, 2))) == 0.5
    with pytest.raises(InputError, match="at least 8 measurements"):
        integrated_time(np.zeros((4, 1)))
