"""What is independent is said by the ensemble, in whatever words: errors, pairing, halves and copies follow it."""

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from physgen.diagnostics import make_result, memorization, power_spectrum
from physgen.diagnostics.feature_test import condition_response
from physgen.diagnostics.resampling import halves
from physgen.diagnostics.result import are_paired, units
from physgen.ensemble import independent_units, split, subset, unit_attrs, units_of_samples
from physgen.errors import InputError
from physgen.lattice import mode_bins


def markov_chains(seed, chains=5, draws=8, rho=0.95, size=8, amplitude=None):
    """White Gaussian fields, a chain each: every site goes phi' = rho phi + sqrt(1 - rho^2) noise, in equilibrium."""
    noise = np.random.default_rng(seed).standard_normal((chains, draws, size, size))
    noise[:, 1:] *= np.sqrt(1 - rho**2)
    field = lfilter([1.0], [1.0, -rho], noise, axis=1)
    variables = {}
    if amplitude is not None:
        field *= np.asarray(amplitude)[:, None, None, None]
        variables["amplitude"] = ("chain", np.asarray(amplitude, dtype=float))
    variables["field"] = (("chain", "draw", "y", "x"), field)
    return xr.Dataset(variables, attrs=unit_attrs("chain"))


def error_of_the_mean(modes, draws, rho):
    """Of P(k) = 1 from one chain: |phi_k|^2 forgets as rho^(2 t)."""
    t = np.arange(1, draws)
    return np.sqrt((1 + 2 * np.sum((1 - t / draws) * rho ** (2 * t))) / (draws * modes))


def test_five_chains_are_five_units_and_not_forty():
    found = power_spectrum(markov_chains(0))
    assert found.attrs["n_independent"] == 5 and found.attrs["unit"] == "chain"
    assert found["value"].dims == ("k",) and found.sizes["unit"] == 5


def test_the_error_of_correlated_draws_is_the_true_one():
    """The mean square of the quoted errors, over 40 chains and all bins, within 4 of its own errors sqrt(2 / 39 K)."""
    rho, draws, chains = 0.95, 8, 40
    ensemble = markov_chains(1, chains, draws, rho)
    found = power_spectrum(ensemble)
    modes = mode_bins((8, 8), (1.0, 1.0), None).count / 2
    true = error_of_the_mean(modes, draws, rho) / np.sqrt(chains)
    ratio = float(np.mean((found["error"].values / true) ** 2))
    tolerance = 4 * np.sqrt(2 / (chains - 1) / len(true)) * np.sqrt(1 + 3 / modes.min())  # powers are not Gaussian
    assert abs(ratio - 1) < tolerance < 0.8
    naive = power_spectrum(ensemble.assign_attrs(independent_unit=""))
    assert naive.attrs["n_independent"] == 320
    assert float(np.mean((naive["error"].values / true) ** 2)) < 0.3  # what each draw as a unit would have said


def test_names_do_not_matter():
    chains = markov_chains(2, amplitude=[1.0, 1.2, 1.4, 1.6, 1.8])
    glass = chains.rename(chain="disorder", draw="replica").assign_attrs(independent_unit="disorder")
    stacked = chains.stack(sample=("chain", "draw")).reset_index("sample").drop_vars("draw")
    stacked = stacked.transpose("sample", "y", "x")  # the unit as a label on the samples
    one, other, flat = (power_spectrum(e) for e in (chains, glass, stacked))
    for name in ("value", "error", "per_unit"):
        np.testing.assert_array_equal(one[name], other[name])
        np.testing.assert_allclose(one[name], flat[name], rtol=1e-12)
    assert one["condition"].values.tolist() == other["condition"].values.tolist()
    assert units_of_samples(chains).tolist() == np.repeat(np.arange(5), 8).tolist()
    assert units_of_samples(stacked).tolist() == np.repeat(np.arange(5), 8).tolist()


def test_units_of_equal_conditions_pair_whatever_they_are_called():
    amplitude = np.array([1.0, 1.2, 1.4])
    one = markov_chains(3, 3, amplitude=amplitude)
    other = markov_chains(4, 3, amplitude=amplitude[::-1])
    assert are_paired(power_spectrum(one), power_spectrum(other))
    assert not are_paired(power_spectrum(one), power_spectrum(markov_chains(4, 3, amplitude=amplitude + 0.1)))
    assert not are_paired(power_spectrum(markov_chains(3, 3)), power_spectrum(markov_chains(4, 3)))


@pytest.mark.parametrize("labelled", [False, True])
def test_halves_and_splits_share_no_unit(labelled):
    ensemble = markov_chains(5, chains=7).assign_coords(chain=[9, 4, 11, 2, 8, 30, 7])
    if labelled:
        ensemble = ensemble.stack(sample=("chain", "draw")).reset_index("sample").transpose("sample", "y", "x")
    one, other = halves(ensemble, seed=1)
    assert len(set(one["chain"].values)) == len(set(other["chain"].values)) == 3
    assert not set(one["chain"].values) & set(other["chain"].values)
    within = halves(ensemble, seed=1, within=True)
    assert all(set(half["chain"].values) == set(ensemble["chain"].values) for half in within)
    parts = split(ensemble, "chain", {"train": 0.6, "test": 0.4}, seed=0)
    assert not set(parts["train"]["chain"].values) & set(parts["test"]["chain"].values)
    assert all(part.attrs["independent_unit"] == "chain" for part in (*within, *parts.values()))
    assert units(subset(ensemble, 3, 0, "chain")).count == 3


def test_one_unit_has_no_error_and_no_halves():
    ensemble = markov_chains(6)
    for one in (ensemble.isel(chain=[2]), ensemble.assign_coords(chain=np.arange(5)).isel(chain=2)):
        found = power_spectrum(one)
        assert found.attrs["n_independent"] == 1 and np.isnan(found["error"]).all()
        with pytest.raises(InputError, match="1 independent unit cannot be halved"):
            halves(one, seed=0)


def test_a_single_unit_is_divided_by_what_is_independent_within_it():
    ensemble = markov_chains(7, chains=1, draws=8).assign_attrs(unit_within="run draw")
    assert units(ensemble).count == 8 and independent_units(ensemble).name == "draw"
    runs = ensemble.assign_coords(run=("draw", [0, 0, 0, 1, 1, 2, 2, 2]))
    found = power_spectrum(runs)
    assert found.attrs["n_independent"] == 3 and found.attrs["unit"] == "run"
    one, other = halves(runs, seed=0)
    assert not set(one["run"].values) & set(other["run"].values)
    assert units(xr.concat([runs, runs], "chain")).name == "chain"


def test_conditions_are_kept_and_draws_averaged():
    field = np.random.default_rng(8).standard_normal((4, 2, 6, 8, 8))
    ensemble = xr.Dataset(
        {"field": (("chain", "strength", "draw", "y", "x"), field)},
        {"strength": [0.5, 1.0], "draw": np.arange(6)},
        attrs=unit_attrs("chain"),
    )
    assert power_spectrum(ensemble)["value"].dims == ("strength", "k")
    whole = ensemble.assign_coords(strength=[1, 2])  # whole numbers count draws, unless the ensemble says otherwise
    assert power_spectrum(whole)["value"].dims == ("k",)
    said = whole.assign_attrs(unit_attrs("chain", exchangeable=["draw"]))
    assert power_spectrum(said)["value"].dims == ("strength", "k")


def test_without_a_word_on_units_every_sample_is_one():
    ensemble = markov_chains(9).drop_attrs()
    assert power_spectrum(ensemble).attrs["n_independent"] == 40
    one, other = halves(ensemble, seed=0)
    assert one["field"].size == other["field"].size == 4 * 5 * 64
    absent = ensemble.stack(sample=("chain", "draw"), create_index=False).assign_attrs(independent_unit="ladder")
    assert independent_units(absent).name == "sample" and units(absent).count == 40


def test_a_label_over_two_dims_is_refused():
    ensemble = markov_chains(10).assign_coords(run=(("chain", "draw"), np.zeros((5, 8), int)))
    with pytest.raises(InputError, match="must lie along one sample dim"):
        units(ensemble.assign_attrs(independent_unit="run"))


def test_memorization_counts_units_and_leaves_out_shared_ones():
    amplitude = 1 + 0.1 * np.arange(12)
    whole = markov_chains(11, 12, 6, rho=0.9, amplitude=amplitude).assign_coords(chain=np.arange(12))
    train, test, drawn = whole.isel(chain=slice(0, 6)), whole.isel(chain=slice(6, 12)), markov_chains(12, 8, 6)
    found = memorization(drawn, train, test)
    assert found.attrs["leaked"] == 0 and found.attrs["n_independent"] == 8
    overlapping = whole.isel(chain=slice(4, 12), draw=slice(0, 3))  # two chains of the training set
    assert memorization(drawn, train.isel(draw=slice(3, 6)), overlapping).attrs["leaked"] == 2 * 3


def test_labels_along_the_dim_of_the_units_have_a_response():
    amplitude = np.exp(np.linspace(-0.5, 0.5, 24))
    found = condition_response(markov_chains(13, 24, amplitude=amplitude, size=16))
    assert abs(float(found["value"][0]) - 1) < 4 * float(found["error"][0])  # rms is proportional to the label


def test_a_result_of_named_units_needs_no_ensemble():
    found = make_result(np.ones((3, 2)), ("k",), {"k": [1.0, 2.0]}, [4, 5, 6], diagnostic="x", kind="curve")
    assert found["condition"].values.tolist() == ["4", "5", "6"]
