"""Two files in one frame: what differs is refused, both are divided by the means of the reference."""

import numpy as np
import pytest
import xarray as xr

from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.arrays import make_ensemble
from physgen.domains.cosmology.encoding import overdensity
from physgen.domains.cosmology.statistics import DIAGNOSTICS, power_spectrum
from physgen.errors import InputError


def maps(n=12, seed=0, kind="delta", scale=1.0, side=16, box=25.0, **attrs):
    g = np.random.default_rng(seed).normal(size=(n, side, side))
    field = scale * np.exp(0.5 * g - 0.125) - (1 if kind == "delta" else 0)
    return make_ensemble(field, kind, box, {}, np.arange(n), {"redshift": 0.0, "slab_thickness": 5.0} | attrs)


def hypercube(seed, maps_each=15, cosmologies=20, scale=1.0):
    """Maps of matter: the mean density goes with Omega_m, delta has one law everywhere; its own means stand beside."""
    rng = np.random.default_rng(seed)
    Omega_m = np.repeat(np.linspace(0.1, 0.5, cosmologies), maps_each)
    delta = np.exp(0.5 * rng.normal(size=(len(Omega_m), 16, 16)) - 0.125) - 1
    field = scale * Omega_m[:, None, None] * 2.775e11 * 5 * (1 + delta)
    made = make_ensemble(field, "surface_density", 25.0, {"Omega_m": Omega_m}, np.arange(len(Omega_m)) // maps_each, {})
    own = ("sample", Omega_m * 2.775e11 * 5 * scale, {"long_name": "mean density of the cosmology", "units": "1"})
    return made.drop_vars("mean_density", errors="ignore").assign_coords(mean_density=own), delta


def changed(ensemble, **attrs):
    return ensemble.assign_attrs(attrs)


def with_unit(ensemble, unit):
    return ensemble.assign_coords({d: (d, ensemble[d].values, {"units": unit}) for d in ("y", "x")})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: with_unit(maps(), "Mpc"), "unit of y, x differs: generated has Mpc, the reference Mpc/h"),
        (lambda: changed(maps(), redshift=2.0), "redshift differs: generated has 2.0, the reference 0.0"),
        (lambda: changed(maps(), slab_thickness=10.0), "slab_thickness differs: generated has 10.0, the reference 5.0"),
        (lambda: changed(maps(), periodic=0), "periodic differs: generated has 0, the reference 1"),
        (lambda: maps(box=50.0), "box of 50, the reference cells of 1.5625 in a box of 25"),
        (lambda: maps(side=8), "lattice differs"),
        (lambda: maps(kind="counts", scale=8.0), "field_kind differs: generated has counts, the reference delta"),
        (lambda: maps().expand_dims(component=2, axis=1), "number of components differs: generated has 2"),
        (lambda: maps().expand_dims(redshift=[0.0, 1.0], axis=1), "sample dims differs"),
        (lambda: maps().assign(mask=(("y", "x"), np.eye(16, dtype=np.int8))), "93.8 % of the cells are masked"),
    ],
)
def test_what_differs_is_refused_with_both_values(other, said):
    with pytest.raises(InputError, match=said):
        Domain().confront(maps(seed=1), other(), "generated")


def test_all_differences_are_said_at_once():
    with pytest.raises(InputError) as raised:
        Domain().confront(maps(), changed(with_unit(maps(), "Mpc"), redshift=2.0), "generated")
    assert "Mpc/h" in str(raised.value) and "redshift differs: generated has 2.0" in str(raised.value)


def test_units_of_the_field_are_compared():
    reference, other = (maps(seed=s, kind="surface_density", scale=3e11) for s in (0, 1))
    other.field.attrs["units"] = "Msun/kpc^2"
    with pytest.raises(InputError, match=r"unit of the field differs: generated has Msun/kpc\^2"):
        Domain().confront(reference, other, "generated")


def test_what_one_side_does_not_say_is_noted_and_taken_from_the_reference():
    reference = maps(seed=1)
    bare = maps().drop_vars(["y", "x"])
    bare.attrs = {}
    seen = Domain().confront(reference, bare, "generated")
    for word in ("field_kind", "redshift", "slab_thickness", "periodicity", "x has a coordinate in one file alone"):
        assert word in seen.attrs["frame_notes"]
    np.testing.assert_array_equal(seen.x, reference.x)
    assert Domain().confront(reference, maps(), "generated").attrs["frame_notes"] == ""
    assert "0.95" not in Domain().confront(maps(redshift=0.954), maps(redshift=0.95), "g").attrs["frame_notes"]


def test_a_field_ten_times_too_dense_is_so_in_every_density_statistic():
    """P is 100 times larger. (Spectra of log10(1 + delta) do not know a factor: it only moves their mean.)"""
    reference, same = (maps(40, seed, "surface_density", 4e11) for seed in (0, 1))
    dense = maps(40, 1, "surface_density", 4e12)
    domain = Domain()
    spectra = [power_spectrum(domain.confront(reference, e, "generated")) for e in (same, dense)]
    np.testing.assert_allclose(spectra[1].value, 100 * spectra[0].value, rtol=0.01)
    for name in {"correlation", "one_point", "mean_density"} & set(DIAGNOSTICS):
        results = [DIAGNOSTICS[name](domain.confront(reference, e, "generated")) for e in (same, dense)]
        assert not np.allclose(*(r.value for r in results), equal_nan=True, rtol=0.5), name
    means = [float(overdensity(domain.confront(reference, e, "generated")).field.mean()) for e in (same, dense)]
    assert abs(means[0]) < 5 * 0.53 / np.sqrt(40 * 256) * np.sqrt(2) and means[1] == pytest.approx(9, abs=0.3)


def test_one_mean_for_both_keeps_heavy_tails_from_moving_the_spectrum():
    """log10 standard deviation 1.6: the own means of two sets of one law differ by tens of per cent, the frame not."""
    domain, reference = Domain(), maps(kind="positive", scale=1.0)
    other = maps(seed=3, kind="positive", scale=1.0)
    reference, other = (
        e.assign(field=e.field**8).drop_vars("mean_density", errors="ignore") for e in (reference, other)
    )
    reference, other = (e.assign_attrs(mean_density=float(e.field.mean())) for e in (reference, other))
    seen = domain.confront(reference, other, "generated")
    assert other.attrs["mean_density"] != reference.attrs["mean_density"] == seen.attrs["mean_density"]
    np.testing.assert_allclose(overdensity(seen).field, other.field / reference.attrs["mean_density"] - 1, rtol=1e-4)


def test_each_cosmology_is_divided_by_its_own_mean_where_the_reference_says_so():
    """P of delta is the cell area times the variance; one mean for all would give 1.15 times that."""
    reference, delta = hypercube(0)
    power = power_spectrum(reference).value.values.mean()
    assert power == pytest.approx(delta.var() * (25 / 16) ** 2, rel=0.02)
    other, _ = hypercube(1, scale=10.0)  # its own means would hide the factor
    seen = Domain().confront(reference, other, "generated")
    assert float(overdensity(seen).field.mean()) == pytest.approx(9, abs=0.05) and seen.attrs["frame_notes"] == ""
    unlabelled = other.drop_vars("mean_density").isel(sample=slice(None, None, -1))
    again = Domain().confront(reference, unlabelled, "generated")
    np.testing.assert_allclose(again.mean_density, seen.mean_density.values[::-1])


def test_the_mean_at_a_cosmology_that_the_reference_has_not_is_inferred_and_noted():
    reference, _ = hypercube(0)
    other, _ = hypercube(1, cosmologies=7)
    seen = Domain().confront(reference, other, "generated")
    np.testing.assert_allclose(seen.mean_density, other.Omega_m * 2.775e11 * 5, rtol=1e-6)
    assert "the mean there is inferred" in seen.attrs["frame_notes"]


def test_drawn_fields_carry_the_mean_density_of_their_cosmology():
    domain, (reference, _) = Domain(), hypercube(0)
    constants = domain.fit_encoding(reference)
    assert list(constants["labels"]) == ["Omega_m"]  # the mean is no label
    template = domain.request(reference, 7, {}, constants)
    np.testing.assert_allclose(template.mean_density, template.Omega_m * 2.775e11 * 5)
    given = domain.request(reference, 3, {"Omega_m": 0.3333}, constants)
    np.testing.assert_allclose(given.mean_density, 0.3333 * 2.775e11 * 5)


def test_components_of_different_kinds_are_divided_by_their_own_means():
    rng = np.random.default_rng(0)
    density = 3e11 * np.exp(rng.normal(size=(8, 16, 16)))
    velocity = rng.normal(0, 300, (8, 16, 16))
    centres = {d: (d, np.arange(16) + 0.5, {"units": "Mpc/h"}) for d in ("y", "x")}
    field = (("sample", "component", "y", "x"), np.stack([density, velocity], axis=1).astype(np.float32))
    attrs = {"field_kind": "surface_density, real", "mean_density": [float(density.mean()), 1.0]}
    two = xr.Dataset({"field": field}, centres, attrs)
    seen = overdensity(Domain().confront(two, two.assign_attrs(mean_density=[1.0, 1.0]), "generated"))
    assert abs(float(seen.field[:, 0].mean())) < 1e-4 and seen.attrs["field_kind"] == "delta, real"
    np.testing.assert_array_equal(seen.field[:, 1], two.field[:, 1])
