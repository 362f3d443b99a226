"""The zero mode of an encoded field stands for the mean of the field: one to one, and what is drawn has it."""

import json

import numpy as np
import pytest
import torch

from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.arrays import make_ensemble
from physgen.domains.cosmology.zero_mode import shift_to_mean


def slabs(seed=0, n=60, kind="delta", conserved=False):
    """Lognormal maps whose mean fluctuates."""
    rng = np.random.default_rng(seed)
    density = np.exp(rng.normal(-0.5, 1.0, (n, 8, 8)))
    density /= density.mean((1, 2), keepdims=True)
    if not conserved:
        density *= 1 + rng.normal(0, 0.1, (n, 1, 1))
    field = {"delta": density - 1, "surface_density": 3e11 * density, "real": density - 1}[kind]
    return make_ensemble(field, kind, 32.0, {}, np.arange(n), {})


def zero_modes(x):
    return x.double().mean((1, 2, 3)).numpy()


@pytest.mark.parametrize("transform", ["gaussian", "log", "asinh"])
@pytest.mark.parametrize("kind", ["delta", "surface_density", "real"])
def test_zero_modes_are_the_means_of_the_field(kind, transform):
    domain, data = Domain(transform=transform), slabs(kind=kind)
    constants = json.loads(json.dumps(domain.fit_encoding(data)))
    x, _ = domain.encode(data, constants)
    means = data["field"].values.mean((1, 2), dtype=np.float64)
    slope, centre = np.polyfit(means, zero_modes(x), 1)
    np.testing.assert_allclose(zero_modes(x), slope * means + centre, atol=2e-6)
    assert slope > 0 and abs(zero_modes(x).mean()) < 1e-5
    assert abs(x).max() < 10
    # the other modes are those of the encoded cells
    plain, _ = Domain(transform=transform, zero_mode="encoded").encode(
        data, Domain(transform=transform, zero_mode="encoded").fit_encoding(data)
    )
    torch.testing.assert_close(x - x.mean((2, 3), keepdim=True), plain - plain.mean((2, 3), keepdim=True))
    assert constants["spectrum"][0] == pytest.approx(64 * np.mean(zero_modes(x) ** 2), rel=1e-4)


def test_what_is_drawn_has_the_mean_that_its_zero_mode_says():
    """Whatever the other modes are: a peak that came out too high takes its mass from the rest of its map."""
    domain, data = Domain(), slabs()
    constants = domain.fit_encoding(data)
    x, _ = domain.encode(data, constants)
    wild = x.clone()
    wild[:, :, 2, 3] += 2.5
    wild -= (wild - x).mean((2, 3), keepdim=True)
    drawn = domain.decode(wild, data, constants)["field"].values
    np.testing.assert_allclose(drawn.mean((1, 2)), data["field"].values.mean((1, 2)), atol=1e-5)
    assert (drawn[:, 2, 3] > data["field"].values[:, 2, 3]).mean() > 0.9


def test_boxes_that_hold_the_cosmic_mean_are_drawn_with_it():
    domain, data = Domain(), slabs(conserved=True)
    constants = domain.fit_encoding(data)
    assert constants["zero_mode"]["slope"] == 0
    x, _ = domain.encode(data, constants)
    np.testing.assert_allclose(domain.decode(x, data, constants)["field"], data["field"], rtol=1e-4, atol=1e-5)
    drawn = domain.decode(x + 0.3 * torch.randn(60, 1, 1, 1), data, constants)["field"].values
    np.testing.assert_allclose(drawn.mean((1, 2)), 0, atol=1e-6)


def test_a_mean_below_the_empty_field_is_met_as_nearly_as_can_be():
    field = shift_to_mean(np.zeros((2, 4, 4)) - 3.0, lambda x: np.maximum(x, 0.0), {"mean": 0.5, "slope": 1.0})
    np.testing.assert_allclose(np.maximum(field, 0).mean((1, 2)), 0.0)
    met = shift_to_mean(np.zeros((2, 4, 4)) + 40.0, np.cbrt, {"mean": 0.0, "slope": 10.0})
    np.testing.assert_allclose(np.cbrt(met).mean((1, 2)), 4.0, atol=1e-8)
