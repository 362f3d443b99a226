"""Suites: hypercube, slabs, and independence of the number of processes."""

import numpy as np
import pytest
import torch

from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.painting import Painting, project_slabs
from physgen.domains.cosmology.suite import latin_hypercube
from physgen.ensemble import check_ensemble, spacing
from physgen.errors import InputError
from physgen.processes import spawning

TINY = {
    "cells": 16, "particles": 16, "box_size": 32.0, "thickness": 8.0, "simulations": 3, "steps": 3,
    "linear_power": "eisenstein_hu",
}  # fmt: skip


def test_every_interval_of_the_hypercube_holds_one_point():
    points = latin_hypercube(50, [(0.1, 0.5), (0.6, 1.0)], seed=3)
    for column, low in zip(points.T, (0.1, 0.6), strict=True):
        assert sorted(((column - low) / 0.4 * 50).astype(int)) == list(range(50))
    assert np.array_equal(points, latin_hypercube(50, [(0.1, 0.5), (0.6, 1.0)], seed=3))
    assert not np.array_equal(points, latin_hypercube(50, [(0.1, 0.5), (0.6, 1.0)], seed=4))


def test_slabs_are_means_along_each_axis_and_keep_the_cosmic_mean():
    delta = torch.randn(8, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = project_slabs(delta, Painting(8, 2, slab_cells=2, slabs_per_axis=4))
    assert maps.shape == (12, 8, 8)
    torch.testing.assert_close(maps[1], delta[2:4].mean(0))
    torch.testing.assert_close(maps[4 + 3], delta[:, 6:8].mean(1))
    torch.testing.assert_close(maps[8], delta[:, :, 0:2].mean(2))
    for axis in range(3):
        torch.testing.assert_close(maps[4 * axis : 4 * axis + 4].mean(), delta.mean())
    assert maps.mean((1, 2)).std() > 0
    some = project_slabs(delta, Painting(8, 2, slab_cells=2, slabs_per_axis=2))
    torch.testing.assert_close(some[:2], maps[[0, 2]])


def test_the_number_of_processes_changes_nothing_to_the_last_bit(monkeypatch):
    monkeypatch.setattr(spawning, "START_SECONDS", 0.0)  # spawned however short
    seen = []
    alone = Domain(**TINY).simulate(seed=7, progress=lambda done, total: seen.append((done, total)))
    together = Domain(**TINY).simulate(seed=7, processes=2)
    assert alone.identical(together)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_simulated_ensemble_says_what_it_is():
    ensemble = check_ensemble(Domain(**TINY).simulate(seed=1))
    assert ensemble.field.dims == ("sample", "y", "x") and ensemble.field.dtype == np.float32
    assert spacing(ensemble) == (2.0, 2.0) and ensemble.x.attrs["units"] == "Mpc/h"
    assert float(ensemble.x[0]) == 1.0
    assert ensemble.attrs["field_kind"] == "delta" and ensemble.attrs["slab_thickness"] == 8.0
    assert list(ensemble.simulation.values) == [0] * 12 + [1] * 12 + [2] * 12
    per_simulation = ensemble.field.values.reshape(3, -1).mean(1)
    np.testing.assert_allclose(per_simulation, 0, atol=1e-5)  # the mean is that of the box
    for name, low, high in (("Omega_m", 0.1, 0.5), ("sigma_8", 0.6, 1.0)):
        values = ensemble[name].values.reshape(3, 12)
        assert (values == values[:, :1]).all() and values.min() >= low and values.max() <= high


def test_boxes_have_three_dimensions():
    ensemble = Domain(**{**TINY, "dimension": 3, "simulations": 2}).simulate(seed=1)
    assert ensemble.field.dims == ("sample", "z", "y", "x") and ensemble.field.shape == (2, 16, 16, 16)
    np.testing.assert_allclose(ensemble.field.mean(("z", "y", "x")), 0, atol=1e-5)
    assert "slab_thickness" not in ensemble.attrs


def test_power_grows_with_sigma_8_and_falls_with_redshift():
    def variance(**values):
        return float(Domain(**{**TINY, "simulations": 1, **values}).simulate(seed=2).field.var())

    low, high = variance(sigma_8=(0.6, 0.6)), variance(sigma_8=(1.0, 1.0))
    assert high > 1.3 * low
    assert variance(sigma_8=(0.6, 0.6), redshift=2.0) < 0.6 * low


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thickness": 9.0}, "whole number of cells"),
        ({"thickness": 8.0, "slabs_per_axis": 5}, "do not fit"),
        ({"cells": 64}, "raise particles"),
        ({"Omega_m": (0.5, 0.1)}, "does not satisfy 0 < low <= high"),
        ({"Omega_m": (0.04, 0.1)}, "Omega_b"),
        ({"dimension": 4}, "must be 2"),
    ],
)
def test_impossible_settings_are_explained(values, message):
    with pytest.raises(InputError, match=message):
        Domain(**{**TINY, **values})


def test_several_snapshots_make_the_redshift_a_label():
    single = Domain(**TINY).simulate(seed=1)
    ensemble = check_ensemble(Domain(**TINY, snapshots=3, highest_redshift=4.0).simulate(seed=1))
    assert ensemble.sizes["sample"] == 3 * single.sizes["sample"] and "redshift" not in ensemble.attrs
    redshift = ensemble["redshift"].values.reshape(3, 3, 12)
    assert (redshift == redshift[..., :1]).all() and (np.diff(redshift[..., 0], axis=1) < 0).all()
    assert (ensemble["simulation"].values.reshape(3, 36) == [[0], [1], [2]]).all()
    scatter = ensemble["field"].values.reshape(3, 3, -1).std(axis=2)
    assert (np.diff(scatter, axis=1) > 0).all()  # structure grows
    with pytest.raises(InputError, match="highest_redshift"):
        Domain(**TINY, snapshots=2, redshift=3.0)


def test_a_reference_is_simulated_under_the_conditions_of_generated_fields():
    domain = Domain(**TINY, snapshots=2)
    data = domain.simulate(seed=1)
    constants = domain.fit_encoding(data)
    template = domain.request(data, 5, {}, constants)
    made = check_ensemble(domain.simulate_given(template, seed=1))
    assert made.sizes["sample"] == 12 * len(np.unique(template[["simulation", "redshift"]].to_array().values, axis=1).T)
    rows = {tuple(row) for row in made[["simulation", "Omega_m", "sigma_8", "redshift"]].to_array().values.T}
    assert rows == {
        tuple(row) for row in template[["simulation", "Omega_m", "sigma_8", "redshift"]].to_array().values.T
    }
    one = data.isel(sample=[12])  # the simulation of the suite has these very conditions, and other phases
    again = domain.simulate_given(one, seed=1)
    assert again.attrs["redshift"] == pytest.approx(float(one["redshift"][0])) and "redshift" not in again
    assert not np.array_equal(again["field"][0], one["field"][0])
    assert again.identical(domain.simulate_given(one, seed=1, processes=2))
    with pytest.raises(InputError, match="no sigma_8"):
        domain.simulate_given(template.drop_vars("sigma_8"), seed=1)
    with pytest.raises(InputError, match="pairs of Omega_m"):
        domain.simulate_given(template.assign(simulation=("sample", [0] * 5)), seed=1)
