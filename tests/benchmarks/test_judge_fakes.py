"""Fakes keep what they claim to keep and change what they claim to change."""

import dataclasses

import numpy as np
import pytest

from benchmarks.judge import data, field_fakes, rates, spin_fakes

CELLS, UNITS, MAPS = 16, 3, 4


@pytest.fixture(scope="module")
def maps():
    import xarray as xr

    rng = np.random.default_rng(0)
    k = field_fakes.wavenumbers(CELLS)
    gain = np.where(k > 0, 1 / np.maximum(k, 1), 0.02)

    def made():
        field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((UNITS * MAPS, CELLS, CELLS))) * gain).real
        density = np.exp(2 * field - 0.5 * (2 * field).var())
        number = np.repeat(np.arange(UNITS), MAPS)
        return xr.Dataset({"field": (("sample", "y", "x"), density - 1), "simulation": ("sample", number)})

    return field_fakes.Maps(made(), made(), made(), rng)


def density(ensemble):
    return 1 + ensemble["field"].values


def spectrum(field):
    return np.abs(np.fft.fft2(field)) ** 2


def test_the_copula_keeps_the_one_point_law_of_each_simulation(maps):
    fake = density(field_fakes.gaussian_copula(maps))
    for rows in maps.simulations:
        np.testing.assert_array_equal(np.sort(fake[rows], axis=None), np.sort(maps.density[rows], axis=None))
    assert not np.allclose(fake, maps.density)


def test_random_phases_keep_every_modulus_of_the_logarithm(maps):
    fake = np.log(density(field_fakes.random_phases(maps)))
    np.testing.assert_allclose(spectrum(fake), spectrum(maps.logarithm), rtol=1e-6, atol=1e-6)
    assert not np.allclose(fake, maps.logarithm)


def test_the_lognormal_field_has_the_spectrum_of_the_truth(maps):
    """Mean over all modes of 200 drawn sets: the Parseval sum is the variance, 5 standard errors."""
    first = maps.simulations[0]
    drawn = [density(field_fakes.lognormal(maps))[first] for _ in range(200)]
    mean = maps.density[first].mean()
    variance = [spectrum(d / mean - 1).mean() / CELLS**2 for d in drawn]
    expected = spectrum(maps.density[first] / mean - 1).mean() / CELLS**2
    assert abs(np.mean(variance) - expected) < 5 * np.std(variance) / np.sqrt(200) + 0.05 * expected  # clipped modes


def test_one_bin_alone_is_changed(maps):
    fake = np.log(density(field_fakes.wrong_bin(maps, 0.3, shell=4)))
    ratio = spectrum(fake) / spectrum(maps.logarithm)
    inside = np.rint(field_fakes.wavenumbers(CELLS)) == 4
    np.testing.assert_allclose(ratio[:, inside], 1.3, rtol=1e-6)
    np.testing.assert_allclose(ratio[:, ~inside], 1.0, rtol=1e-6)


def test_swapped_labels_keep_all_maps(maps):
    fake = density(field_fakes.swapped_labels(maps))
    np.testing.assert_array_equal(np.sort(fake, axis=None), np.sort(maps.density, axis=None))
    for rows in maps.simulations:
        assert not np.isclose(fake[rows].std(), maps.density[rows].std())


def test_the_scatter_between_simulations_is_halved_at_equal_mean(maps):
    fake = density(field_fakes.narrow_scatter(maps))

    def scatter(rho):
        return np.std([np.log(np.log(rho[rows]).std()) for rows in maps.simulations])

    assert scatter(fake) == pytest.approx(0.5 * scatter(maps.density), rel=1e-6)
    for rows in maps.simulations:
        assert fake[rows].mean() == pytest.approx(maps.density[rows].mean(), rel=1e-6)


def test_a_fraction_of_the_maps_are_copies(maps):
    fake = density(field_fakes.copies(maps, 0.25, noise=0.0))
    training = [np.sort(one, axis=None) for one in 1 + maps.training["field"].values]
    copied = [any(np.allclose(np.sort(one, axis=None), t) for t in training) for one in fake]
    assert sum(copied) == 3


@pytest.fixture(scope="module")
def configurations():
    domain = dataclasses.replace(data.spin_domain(), instances=2, replicas=64, length=6)
    template = domain.simulate(1)
    return spin_fakes.Configurations(*(data.draw_spins(template, s) for s in (1, 2)), np.random.default_rng(3))


def energies(ensemble):
    return ensemble["energy"].values.mean(2)


def test_half_of_the_states_keeps_the_energies_and_turns_all_to_one_side(configurations):
    fake = spin_fakes.half_of_the_states(configurations)
    np.testing.assert_array_equal(fake["energy"], configurations.truth["energy"])
    spins = fake["field"].values.reshape(2, 3, 64, -1)
    assert np.all((spins * spins[:, :1, :1]).sum(-1) >= 0)


def test_two_temperatures_have_the_exact_mean_energy_and_more_scatter(configurations):
    fake, truth = spin_fakes.two_temperatures(configurations), configurations.truth
    error = fake["energy"].values.std(2) / np.sqrt(64)
    assert np.all(np.abs(energies(fake) - truth["exact_energy"].values) < 5 * error)
    assert fake["energy"].values.std(2).mean() > 1.15 * truth["energy"].values.std(2).mean()


def test_hotter_spins_have_more_energy_and_shuffled_bonds_fit_nothing(configurations):
    truth = energies(configurations.truth).mean()
    assert energies(spin_fakes.heated(configurations, 0.1)).mean() > truth
    assert energies(spin_fakes.shuffled_couplings(configurations)).mean() > 0.3 * truth


def test_rates_carry_their_confidence_interval():
    """Clopper and Pearson: no event in 300 trials excludes 1.2 % and more at 97.5 %."""
    assert rates.proportion(0, 300) == "0.0 % (0.0 to 1.2)"
    assert rates.proportion(3, 300) == "1.0 % (0.2 to 2.9)"
