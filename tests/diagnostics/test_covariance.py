"""Covariance and chi^2 of ln P at fixed labels: zero and one for Gaussian maps, blind to labels, awake to spread."""

import numpy as np
import pytest
import xarray as xr

from physgen.diagnostics.chi_square import left_out_chi_square
from physgen.diagnostics.comparison import MeasuredReference, compare_results
from physgen.diagnostics.covariance import at_fixed_labels, off_diagonal_correlation, power_covariance
from physgen.errors import InputError

CELLS, MAPS = 32, 3


def maps(rng, units=40, common=0.0, labelled=True, amplitude=None):
    """White maps times exp(label) and, where ``common`` is set, times exp(a normal number of each map)."""
    label = np.linspace(-0.5, 0.5, units) if amplitude is None else amplitude
    gain = np.repeat(label if labelled else 0 * label, MAPS) + common * rng.standard_normal(units * MAPS)
    variables = {
        "field": (
            ("sample", "y", "x"),
            rng.standard_normal((units * MAPS, CELLS, CELLS)) * np.exp(gain)[:, None, None],
        ),
        "simulation": ("sample", np.repeat(np.arange(units), MAPS)),
    }
    if labelled:
        variables["gain"] = ("sample", np.repeat(label, MAPS))
    return xr.Dataset(variables, {d: np.arange(float(CELLS)) for d in "yx"}, {"independent_unit": "simulation"})


@pytest.mark.parametrize("labelled", [True, False])
def test_modes_of_gaussian_maps_are_independent_whatever_the_labels(labelled):
    found = power_covariance(maps(np.random.default_rng(0), labelled=labelled))
    pull = found["value"] / found["error"]
    assert float(abs(pull).max()) < 4
    assert float(found["error"].max()) < 0.15  # 120 maps: 1/sqrt(120) = 0.09
    assert found.attrs["matrix"] == "k_low k_high"


def test_a_common_gain_correlates_all_bands_by_its_share_of_the_variance():
    """Of ln P, variance 4 g^2 of the gain beside trigamma(modes) of the band; known bands, known correlation."""
    gain = 0.2
    found = power_covariance(maps(np.random.default_rng(1), common=gain))
    from scipy.special import polygamma

    from physgen.diagnostics.covariance import judged_edges
    from physgen.lattice import mode_bins

    modes = mode_bins((CELLS, CELLS), (1.0, 1.0), judged_edges((1.0, 1.0))).count / 2
    share = 4 * gain**2 + polygamma(1, modes)  # ln of a mean of exponential numbers
    first, second = np.triu_indices(len(modes), 1)
    expected = 4 * gain**2 / np.sqrt(share[first] * share[second])
    assert np.abs((found["value"] - expected) / found["error"]).max() < 4
    mean = off_diagonal_correlation(maps(np.random.default_rng(1), common=gain))
    assert abs(float(mean["value"]) - expected.mean()) < 4 * float(mean["error"])


def test_what_follows_the_labels_is_taken_off():
    ensemble = maps(np.random.default_rng(2))
    power = 2 * np.repeat(ensemble["gain"].values[::MAPS], MAPS)[:, None]
    np.testing.assert_allclose(at_fixed_labels(ensemble, power), 0, atol=1e-10)


def ratio(reference, generated, seed=0):
    measured = MeasuredReference(reference, seed)

    class Diagnostic:
        against = staticmethod(left_out_chi_square)

    return measured.compare(generated, Diagnostic())


@pytest.mark.parametrize("labelled", [True, False])
def test_the_ratio_of_equal_laws_is_one_at_equal_conditions_and_at_others(labelled):
    rng = np.random.default_rng(3)
    truth = maps(rng, labelled=labelled)
    for other in (maps(rng, labelled=labelled), maps(rng, 30, labelled=labelled, amplitude=rng.uniform(-0.4, 0.4, 30))):
        found, _, comparison = ratio(truth, other)
        assert abs(float(found["value"]) - 1) < 4 * float(found["error"])
        assert abs(float(comparison["ratio"]) - 1) < 4 * float(comparison["ratio_error"])
        assert float(comparison["ratio_error"]) < 0.1


def test_maps_of_one_simulation_do_not_make_a_perfect_emulator_look_worse():
    """Maps of a unit share a gain: against their own unit new draws look wide, against the other units they do not."""
    rng = np.random.default_rng(4)

    def drawn():
        label = np.linspace(-0.5, 0.5, 40)
        made = maps(rng, amplitude=label + 0.15 * rng.standard_normal(40))
        return made.assign(gain=("sample", np.repeat(label, MAPS)))

    comparison = ratio(drawn(), drawn())[2]
    assert abs(float(comparison["ratio"]) - 1) < 4 * float(comparison["ratio_error"])


def test_too_wide_a_scatter_and_too_narrow_a_one_are_seen():
    rng = np.random.default_rng(5)
    truth, wide = maps(rng, common=0.1), maps(rng, common=0.25)
    assert float(ratio(truth, wide)[2]["ratio"]) > 1.5
    assert float(ratio(wide, truth)[2]["ratio"]) < 0.8


def test_a_scatter_needs_units():
    with pytest.raises(InputError, match="at least 8"):
        left_out_chi_square(maps(np.random.default_rng(6), 7))


def test_pairs_are_compared_point_by_point():
    rng = np.random.default_rng(7)
    comparison = compare_results(*(power_covariance(maps(rng, common=c)) for c in (0.0, 0.3)))
    assert float(comparison["z"].mean()) > 4
