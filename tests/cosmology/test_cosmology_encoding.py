"""Encoding is exact and bounded, symmetries are symmetries, the Gaussian oracle has the training spectrum."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.arrays import make_ensemble
from physgen.domains.cosmology.encoding import overdensity, spectrum_grid
from physgen.domains.cosmology.symmetry import random_symmetry
from physgen.errors import InputError


def ensemble(kind="delta", n=12, side=8, dimension=2, empty=False, seed=0):
    rng = np.random.default_rng(seed)
    density = np.exp(rng.normal(-0.5, 1.0, (n, *[side] * dimension)))
    if empty:
        density[rng.random(density.shape) < 0.1] = 0.0
    scale = {"delta": 1.0, "counts": 8.0, "surface_density": 3e11, "real": 1.0}[kind]
    field = {"delta": density - 1, "real": rng.normal(0, 3.0, density.shape)}.get(kind, scale * density)
    field = np.rint(field) if kind == "counts" else field
    labels = {
        "Omega_m": np.repeat(rng.uniform(0.1, 0.5, n // 3), 3),
        "sigma_8": np.repeat(rng.uniform(0.6, 1, n // 3), 3),
    }
    return make_ensemble(field, kind, 32.0, labels, np.arange(n) // 3, {})


@pytest.mark.parametrize("transform", ["gaussian", "log", "asinh"])
@pytest.mark.parametrize("kind", ["delta", "counts", "surface_density", "real"])
@pytest.mark.parametrize("empty", [False, True])
def test_decoding_inverts_encoding_empty_cells_included(kind, transform, empty):
    domain, data = Domain(transform=transform), ensemble(kind, empty=empty)
    constants = json.loads(json.dumps(domain.fit_encoding(data)))
    x, condition = domain.encode(data, constants)
    assert x.dtype == torch.float32 and x.shape == (12, 1, 8, 8)
    assert abs(x.mean()) < 1e-5 and x.std() == pytest.approx(1, abs=2e-3)
    assert condition["labels"].abs().max() == 1
    back = domain.decode(x, data, constants)
    scale = float(np.abs(data.field).mean())
    np.testing.assert_allclose(back.field.values, data.field.values, rtol=5e-6, atol=5e-6 * scale)
    assert back.attrs["clipped_fraction"] == 0 and back.attrs["field_kind"] == kind
    assert back.field.attrs == data.field.attrs


def test_held_out_empty_cells_are_finite_though_training_had_none():
    domain = Domain()
    constants = domain.fit_encoding(ensemble(empty=False))
    x, _ = domain.encode(ensemble(empty=True, seed=1), constants)
    assert torch.isfinite(x).all()


def test_wild_values_decode_to_bounded_densities_and_are_counted():
    domain, data = Domain(), ensemble()
    constants = domain.fit_encoding(data)
    x = torch.zeros(12, 1, 8, 8)
    x[0], x[1] = 1e4, -1e4
    back = domain.decode(x, data, constants)
    assert np.isfinite(back.field).all() and float(back.field.min()) == -1
    assert float(back.field.max()) <= 101 * float(data.field.max() + 1)
    assert back.attrs["clipped_fraction"] == pytest.approx(2 / 12)


def test_bad_fields_and_labels_are_refused():
    domain, data = Domain(), ensemble()
    constants = domain.fit_encoding(data)
    with pytest.raises(InputError, match="delta is at least -1"):
        domain.encode(data.assign(field=data.field - 3), constants)
    with pytest.raises(InputError, match="fitted on 'delta'"):
        domain.encode(ensemble("counts"), constants)
    with pytest.raises(InputError, match="the grid is"):
        domain.encode(ensemble(side=4), constants)
    with pytest.raises(InputError, match="label 'sigma_8' is missing"):
        domain.condition(data.drop_vars("sigma_8"), constants)
    with pytest.raises(InputError, match="nothing to learn"):
        domain.fit_encoding(data.assign(field=0 * data.field))
    with pytest.raises(InputError, match="field_kind = 'deltas'"):
        domain.fit_encoding(data.assign_attrs(field_kind="deltas"))


def test_a_label_that_never_varies_is_encoded_as_zero():
    data = ensemble()
    data["Omega_m"][:] = 0.3
    domain = Domain()
    labels = domain.condition(data, domain.fit_encoding(data))["labels"]
    assert labels[:, 0].abs().max() < 1e-12 and labels[:, 1].abs().max() == 1


def test_requests_cycle_through_simulations_or_take_what_is_given():
    domain, data = Domain(), ensemble()
    template = domain.request(data, 6, {})
    assert "field" not in template and list(template.simulation.values) == [0, 1, 2, 3, 0, 1]
    np.testing.assert_array_equal(template.Omega_m, data.Omega_m.values[[0, 3, 6, 9, 0, 3]])
    given = domain.request(data, 4, {"Omega_m": 0.3, "sigma_8": 0.8})
    assert (given.Omega_m == 0.3).all() and list(given.simulation.values) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="choose from Omega_m, sigma_8"):
        domain.request(data, 4, {"omega_m": 0.3})
    with pytest.raises(InputError, match="finite"):
        domain.request(data, 4, {"Omega_m": float("nan")})


@pytest.mark.parametrize("dimension", [2, 3])
def test_symmetries_reach_the_whole_group_and_keep_neighbours(dimension):
    """Every image of a field has its power spectrum and histogram; all 8 or 48 point operations occur."""
    x = torch.randn(1, 1, *[4] * dimension, generator=torch.Generator().manual_seed(1))
    moved = random_symmetry(x.expand(4000, *x.shape[1:]), torch.Generator().manual_seed(2))
    flat = moved.flatten(1)
    torch.testing.assert_close(flat.sort(1).values, x.flatten().sort().values.expand_as(flat))
    images = {tuple(row) for row in flat.numpy().round(5).tolist()}
    group = {2: 8 * 16, 3: 48 * 64}[dimension]
    expected = group * (1 - np.exp(-4000 / group))  # distinct among 4000 uniform draws
    assert abs(len(images) - expected) < 5 * np.sqrt(expected) and len(images) <= group
    neighbour = (x * x.roll(1, -1) + x * x.roll(1, -2) + (x * x.roll(1, -3) if dimension == 3 else 0)).sum()
    along = sum((moved * moved.roll(1, -i)).flatten(1).sum(1) for i in range(1, dimension + 1))
    torch.testing.assert_close(along, neighbour.expand_as(along), atol=1e-3, rtol=0)


def test_the_oracle_has_the_spectrum_of_the_training_fields():
    domain, data = Domain(), ensemble(n=300, side=16)
    constants = domain.fit_encoding(data)
    x, _ = domain.encode(data, constants)
    spectrum = spectrum_grid(constants)
    assert spectrum.shape == (1, 16, 16)
    # Parseval: the mean of the spectrum is the mean square
    assert spectrum.mean().item() == pytest.approx(x.square().mean().item(), rel=1e-3)
    denoiser = domain.exact_denoiser(data, constants)
    near = denoiser(x[:4], torch.full((4,), 1e-3), None)
    torch.testing.assert_close(near, x[:4], atol=1e-4, rtol=0)
    # white encoded field: the Wiener filter is a plain shrinking by 1 / (1 + s^2)
    half = denoiser(x, torch.full((300,), 1.0), None)
    assert ((half * x).sum() / x.square().sum()).item() == pytest.approx(0.5, abs=0.01)


def test_densities_become_contrasts_with_the_recorded_mean():
    data = ensemble("surface_density")
    delta = overdensity(data)
    assert abs(float(delta.field.mean())) < 1e-5 and delta.attrs["field_kind"] == "delta"
    half = overdensity(data.assign(field=data.field / 2))
    assert float(half.field.mean()) == pytest.approx(-0.5, abs=1e-4)


def test_the_network_has_the_dimension_and_labels_of_the_data():
    domain, data = Domain(), ensemble(side=8, dimension=3, n=6)
    constants = domain.fit_encoding(data)
    network = domain.network({"kind": "unet", "width": 8, "multipliers": [1, 2]}, constants)
    x, condition = domain.encode(data, constants)
    assert network(x, torch.zeros(6), condition).shape == x.shape
    with pytest.raises(InputError, match="'dit' is unknown"):
        domain.network({"kind": "dit"}, constants)
    with pytest.raises(InputError, match="widht"):
        domain.network({"widht": 8}, constants)


def test_unlabelled_data_have_no_condition():
    data = ensemble().drop_vars(["Omega_m", "sigma_8"])
    domain = Domain()
    constants = domain.fit_encoding(data)
    assert domain.encode(data, constants)[1] == {}
    assert isinstance(domain.request(data, 3, {}), xr.Dataset)


def test_a_condition_far_outside_the_data_is_refused_before_anything_is_drawn():
    like = ensemble()
    middle = float(like["Omega_m"].mean())
    assert np.allclose(Domain().request(like, 3, {"Omega_m": middle})["Omega_m"], middle)
    with pytest.raises(InputError, match="Omega_m = 17 lies far outside the data's range"):
        Domain().request(like, 3, {"Omega_m": 17.0})
