"""The laws of vectors: their samples have the moments they should, their denoisers are posterior means."""

import dataclasses

import numpy as np
import pytest
import torch

from physgen.diffusion.exact import EmpiricalMeasure
from physgen.domains.points import Points
from physgen.domains.points.laws import SETTINGS, class_means, law_of
from physgen.errors import InputError
from physgen.networks.mlp import MLP

FOUR = {"law": "mixture", "weights": (0.1, 0.2, 0.3, 0.4), "sigma": 0.5}
KNOWN = [
    {},
    FOUR,
    {"law": "mixture", "means": ((2.0,) * 8, (0.0,) * 8, (-1.0,) * 8), "weights": (1.0, 1.0, 2.0)},
    {"law": "gaussian", "slope": 2.0},
    {"law": "hidden_manifold", "sigma": 0.1, "latent": 3},
    {"law": "curie_weiss", "beta": 1.3, "external_field": 0.05},
    {"law": "ising_chains", "bonds": (0.8, -0.4), "tilts": (0.2, 0.0), "weights": (0.25, 0.75)},
    {"law": "swiss_roll", "dimension": 2, "sigma": 0.3},
    {"law": "two_moons", "dimension": 2, "sigma": 0.3, "weights": (0.3, 0.7)},
    {"law": "rings", "dimension": 2, "sigma": 0.3},
    {"law": "heartbeat", "period": 3},
    {"law": "sequences", "sequences": ((1, 0, 0, 1, 1, 0, 0, 0), (0,) * 8, (1,) * 8), "weights": (0.5, 0.3, 0.2)},
    {"law": "parity"},
]
named = pytest.mark.parametrize("fields", KNOWN, ids=lambda f: f.get("law", "two_gaussians"))


@named
def test_the_exact_denoiser_is_the_posterior_mean(fields):
    """E[D (x0 - D)] = 0 and E[x0 - D] = 0, in what a network sees, at three levels; 4 standard errors."""
    domain = Points(count=6000, **fields)
    ensemble = domain.simulate(seed=3)
    constants = domain.fit_encoding(ensemble)
    x, _ = domain.encode(ensemble, constants)
    denoiser = domain.exact_denoiser(ensemble, constants)
    assert x.shape == (6000, domain.dimension) and abs(float(x.square().mean()) - 1) < 1e-4
    for s in (0.3, 1.0, 3.0):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
        found = denoiser(x + s * noise, torch.tensor(s))
        for zero in ((found * (x - found)).sum(1), (x - found).sum(1)):
            assert abs(float(zero.mean())) <= 4 * float(zero.std()) / 6000**0.5, (s, zero.mean())
        assert (x - found).square().mean() < min(s**2, 1)


@named
def test_the_density_is_that_whose_slope_the_denoiser_is(fields):
    domain = Points(count=50, **fields)
    ensemble = domain.simulate(seed=1)
    law = domain.exact_denoiser(ensemble, domain.fit_encoding(ensemble))
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(3, domain.dimension, dtype=torch.float64, generator=generator).requires_grad_()
    (slope,) = torch.autograd.grad(law.log_density(y, torch.full((3,), 0.7)).sum(), y)
    torch.testing.assert_close(slope, law.score(y.detach(), torch.full((3,), 0.7)), rtol=1e-5, atol=1e-6)
    assert law.sample(5, torch.Generator().manual_seed(0)).shape == (5, domain.dimension)


def test_classes_have_their_places_and_weights():
    two, four = class_means(Points(separation=2.0)), class_means(Points(**FOUR))
    assert two.tolist() == [[2.0] * 8, [-2.0] * 8]
    assert (four.square().sum(1) == 8).all() and len(torch.unique(four, dim=0)) == 4
    assert float((four @ four.T).min()) == -8 and (four.sum(0) == 0).all()
    drawn = law_of(Points(**FOUR)).sample(20_000, torch.Generator().manual_seed(0))
    nearest = torch.cdist(drawn, four).argmin(1).bincount() / 20_000  # sigma/2 apart by 4: one in 1e4 is not
    weights = torch.tensor(FOUR["weights"])
    assert ((nearest - weights).abs() < 4 * (weights * (1 - weights) / 20_000).sqrt() + 1e-3).all()


def test_the_spectrum_and_the_manifold_are_as_said():
    x = law_of(Points(law="gaussian", spectrum=(4.0, 1.0, 0.0), dimension=3)).sample(4000, torch.Generator())
    variance = x.var(0)
    assert abs(variance[0] / 4 - 1) < 4 * (2 / 4000) ** 0.5 and abs(variance[1] - 1) < 4 * (2 / 4000) ** 0.5
    assert variance[2] == 0
    for activation in ("linear", "tanh"):
        flat = Points(law="hidden_manifold", sigma=0.0, latent=2, activation=activation, dimension=6)
        sizes = torch.linalg.svdvals(law_of(flat).sample(200, torch.Generator()).double())
        assert int((sizes > 1e-6 * sizes[0]).sum()) == (2 if activation == "linear" else 6)
    assert flat.exact_denoiser(flat.simulate(1), flat.fit_encoding(flat.simulate(1))) is None


CHANGED = {
    "law": "curie_weiss", "dimension": 7, "count": 60, "separation": 2.0, "sigma": 0.3, "weights": (0.9, 0.1),
    "means": ((1.0,) * 8, (3.0,) * 8), "spectrum": (2.0,) * 8, "slope": 3.0, "latent": 1, "activation": "tanh",
    "law_seed": 1, "beta": 2.0, "external_field": 0.7, "bonds": (0.1, 0.2), "tilts": (1.0, 0.0), "scaling": "none",
    "period": 4, "sequences": ((0,) * 8, (0, 1) * 4), "binary": True,
}  # fmt: skip
NEEDED = {"sequences": {"sequences": ((1,) * 8, (0,) * 8)}, "curie_weiss": {"external_field": 0.3}}


@pytest.mark.parametrize("name", CHANGED)
def test_every_field_changes_the_data_or_how_they_are_seen(name):
    assert set(CHANGED) == {field.name for field in dataclasses.fields(Points)}
    law = next((law for law, used in SETTINGS.items() if name in used), "two_gaussians")
    law = "curie_weiss" if name == "binary" else law
    seen = []
    for fields in ({}, {name: CHANGED[name]}):
        domain = Points(**{"count": 50, "law": law} | NEEDED.get(law, {}) | fields)
        made = domain.simulate(seed=2)
        seen.append(domain.encode(made, domain.fit_encoding(made))[0].numpy())
    assert seen[0].shape != seen[1].shape or not np.array_equal(*seen)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weights": (0.5, -0.5)}, "positive"),
        ({"weights": (1.0,)}, "law mixture"),
        ({"law": "mixture", "means": ((1.0, 2.0), (1.0, 2.0))}, "of 8 numbers each"),
        ({"law": "mixture", "weights": (1.0,) * 5, "dimension": 2}, "5 classes"),
        ({"law": "gaussian", "spectrum": (1.0, 2.0)}, "8 variances"),
        ({"law": "curie_weiss", "beta": -1.0}, "beta must be positive"),
        ({"law": "ising_chains", "bonds": (1.0,)}, "1 bonds, 2 weights"),
        ({"law": "swiss_roll"}, "dimension: 2"),
        ({"law": "rings", "dimension": 2, "sigma": 0.0}, "sigma 0 is below 0.001"),
        ({"law": "two_moons", "dimension": 2, "weights": (1.0,)}, "2 pieces, got 1 weights"),
        ({"law": "heartbeat", "period": 9}, "1 to dimension = 8"),
        ({"law": "sequences"}, "8 ones and zeros"),
        ({"law": "sequences", "sequences": ((1, 2), (0, 0)), "dimension": 2}, r"got \[1, 2\]"),
        ({"law": "sequences", "sequences": ((1, 0), (1, 0)), "dimension": 2}, "of which 1 differ"),
    ],
)
def test_fields_that_name_no_law_are_refused(fields, said):
    with pytest.raises(InputError, match=said):
        Points(**fields)


def test_the_perfect_memorizer_and_the_network_of_the_paper():
    domain = Points(count=20, scaling="none")
    made = domain.simulate(seed=1)
    constants = domain.fit_encoding(made)
    x, _ = domain.encode(made, constants)
    assert np.array_equal(x.numpy(), made.field.values)
    found = EmpiricalMeasure(x)(x + 0.01, torch.tensor(0.05))
    torch.testing.assert_close(found, x, rtol=0, atol=1e-5)
    options = {"kind": "mlp", "width": 128, "blocks": 3, "modulation": "added"}
    network = domain.network(options, constants | {"channels": 8, "condition_shapes": {}})
    assert isinstance(network, MLP) and sum(p.numel() for p in network.parameters()) == 102_024
