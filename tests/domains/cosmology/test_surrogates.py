"""Cheap surrogates from the initial phases of a simulation, and the name of these phases."""

import numpy as np
import pytest

from physgen.diagnostics.spectrum import cross_spectrum, power_spectrum
from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.background import CosmologyParams
from physgen.domains.cosmology.simulate import SimulationBox, linear_contrast, linear_field, phases_digest
from physgen.ensemble.pairing import paired_ensemble, starts_of_units

SMALL = {"cells": 16, "particles": 16, "dimension": 3, "box_size": 128.0, "simulations": 2, "mesh_factor": 1.0}
ONE_LAW = {"Omega_m": (0.3, 0.3), "sigma_8": (0.8, 0.8)}


@pytest.fixture(scope="module")
def made():
    """simulator -> two boxes of the same phases."""
    ways = {"fastpm": {"steps": 5}, **{name: {"simulator": name} for name in ("2lpt", "zeldovich", "linear")}}
    return {name: Domain(**SMALL, **ONE_LAW, **settings).simulate(4) for name, settings in ways.items()}


def test_all_simulators_share_the_phases_that_they_name(made):
    for name, one in made.items():
        np.testing.assert_array_equal(one["phases"], made["fastpm"]["phases"])
        assert name == "fastpm" or one.attrs["generator"] != made["fastpm"].attrs["generator"]


@pytest.mark.parametrize(("simulator", "least"), [("2lpt", 0.995), ("zeldovich", 0.985), ("linear", 0.8)])
def test_large_scales_are_those_of_the_simulation(made, simulator, least):
    """Cross-correlation of the two largest shells; the order of the theories is that of their fidelity there."""
    r = cross_spectrum(made["fastpm"], made[simulator])["correlation"][:2]
    assert (r > least).all(), r.values


def test_linear_power_grows_as_theory_says_and_resamples_without_loss():
    """The same modes on a finer lattice have the same power in every shell that both resolve."""
    params, box = CosmologyParams(0.3, 0.8, 0.049, 0.67, 0.96), SimulationBox(100.0, 16)
    modes = linear_field(params, box, 3)
    fields = [linear_contrast(modes, params, cells, 0.0).numpy() for cells in (16, 24, 12)]
    shells = [_power(field)[:5] for field in fields]
    np.testing.assert_allclose(shells[1], shells[0], rtol=2e-3)
    np.testing.assert_allclose(shells[2][:4], shells[0][:4], rtol=2e-3)
    early = linear_contrast(modes, params, 16, 1.0).numpy()
    assert 0.36 < np.var(early) / np.var(fields[0]) < 0.40  # D(z = 1)^2 of Omega_m = 0.3 is 0.61^2


def _power(field):
    from physgen.diagnostics.spectrum import power_spectrum_array

    cells = len(field)
    return power_spectrum_array(field, (100.0 / cells,) * 3)[1]


def test_further_numbers_have_other_phases_and_the_first_are_shared():
    law = {**SMALL, "simulator": "linear"}
    first, more = (Domain(**{**law, **ONE_LAW, "simulations": n}).simulate(4) for n in (2, 5))
    beyond = Domain(**{**law, **ONE_LAW, "simulations": 3, "first_simulation": 2}).simulate(4)
    np.testing.assert_array_equal(more["phases"][:2], first["phases"])
    np.testing.assert_array_equal(more["field"][2:], beyond["field"])
    np.testing.assert_array_equal(beyond["simulation"], [2, 3, 4])
    assert len(np.unique(more["phases"])) == 5
    assert phases_digest(16, 1) != phases_digest(16, 2) != phases_digest(17, 2)


def test_slabs_of_a_pair_are_matched_map_by_map():
    slabs = {**SMALL, **ONE_LAW, "dimension": 2, "thickness": 32.0, "slabs_per_axis": 2}
    costly, cheap = (Domain(**slabs, **s).simulate(4) for s in ({"steps": 5}, {"simulator": "2lpt"}))
    assert len(starts_of_units(costly)) == 2
    pair = paired_ensemble(costly, cheap.isel(sample=np.r_[6:12, 0:6]))
    both = zip(pair["field"].values, pair["surrogate"].values, strict=True)
    assert min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in both) > 0.8


def test_linear_fields_may_lie_below_an_empty_cell(made):
    assert made["linear"].attrs["field_kind"] == "real" and float(made["linear"]["field"].min()) < -1
    assert power_spectrum(made["linear"])["value"].min() > 0
