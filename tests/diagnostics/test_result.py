"""The form of a result: units, errors, kept conditions."""

import subprocess
import sys

import numpy as np
import pytest

from physgen.diagnostics.result import make_result, result_of_samples, units


def test_value_and_error_are_mean_and_standard_error_over_units():
    per_unit = np.random.default_rng(0).standard_normal((7, 3))
    coords = {"k": ([1.0, 2.0, 3.0], {"units": "h/Mpc"})}
    found = make_result(per_unit, ("k",), coords, range(7), diagnostic="x", kind="curve")
    np.testing.assert_allclose(found["value"], per_unit.mean(axis=0))
    np.testing.assert_allclose(found["error"], per_unit.std(axis=0, ddof=1) / np.sqrt(7))
    assert found.attrs["n_independent"] == 7 and found["k"].attrs["units"] == "h/Mpc"


def test_one_unit_has_a_value_but_no_error():
    found = make_result(np.ones((1, 2)), ("k",), {"k": [1.0, 2.0]}, diagnostic="x", kind="curve")
    assert np.all(found["value"] == 1) and np.isnan(found["error"]).all()


@pytest.mark.parametrize("attrs", [{"diagnostic": "x"}, {"kind": "curve"}, {"diagnostic": "x", "kind": "picture"}])
def test_a_result_without_name_or_known_kind_is_refused(attrs):
    with pytest.raises(ValueError, match="needs diagnostic"):
        make_result(np.ones((2, 2)), ("k",), {}, **attrs)


def test_samples_of_one_simulation_are_one_unit(lattice):
    """Fully correlated maps of a simulation must not shrink the error."""
    rng = np.random.default_rng(1)
    simulation = np.repeat([7, 3, 11, 5], 5)[rng.permutation(20)]
    level = {s: rng.standard_normal() for s in (3, 5, 7, 11)}
    ensemble = lattice(np.zeros((20, 4, 4)))
    ensemble["simulation"] = ("sample", simulation)
    statistic = np.array([level[s] for s in simulation])[:, None]
    found = result_of_samples(ensemble, statistic, (), {}, diagnostic="x", kind="scalar")
    assert found["unit"].values.tolist() == [3, 5, 7, 11]
    np.testing.assert_allclose(found["per_unit"], [level[s] for s in (3, 5, 7, 11)])
    assert found["error"] == pytest.approx(np.std(list(level.values()), ddof=1) / 2)


def test_disorder_is_the_unit_and_temperature_is_kept(spin_ensemble):
    ensemble = spin_ensemble(np.random.default_rng(2), [9, 4, 6], replicas=5)
    magnetization = ensemble["field"].mean(("y", "x")).values.reshape(-1, 1)
    found = result_of_samples(ensemble, magnetization, (), {}, diagnostic="m", kind="curve")
    assert found["value"].dims == ("temperature",) and found.attrs["unit"] == "disorder"
    expected = ensemble["field"].mean(("replica", "y", "x")).sel(disorder=[4, 6, 9])
    np.testing.assert_allclose(found["per_unit"], expected)
    assert found["temperature"].attrs["units"] == "J"


def test_without_labels_every_sample_is_a_unit(lattice, spin_ensemble):
    assert units(lattice(np.zeros((6, 4, 4)))).count == 6 and units(lattice(np.zeros((6, 4, 4)))).ids is None
    one = spin_ensemble(np.random.default_rng(3), [1], replicas=5).isel(disorder=0, drop=True)
    group = units(one)
    assert (group.count, group.dims, group.shape) == (5, ("temperature",), (2,))


def test_array_functions_import_without_xarray():
    """A bare GPU machine has torch, numpy and scipy alone."""
    code = "import sys, physgen.diagnostics; sys.exit('xarray' in sys.modules or 'h5netcdf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
