"""Posterior weights over all images of the data, against those that are written out one by one."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes import orbits
from physgen.diagnostics.regimes.closed_forms import gaussian_collapse_time
from physgen.diagnostics.regimes.collapse import draw_noise, excess_entropy, starts
from physgen.diagnostics.regimes.orbits import Images, Orbit
from physgen.errors import InputError
from physgen.lattice import Symmetry, translations

N, DRAWS, SEED, T = 5, 12, 3, 0.6
S = math.sqrt(math.expm1(2 * T))


def written_out(x, orbit):
    grid = tuple(x.shape[2:])
    shifts = translations(grid) if orbit.translations else (Symmetry(),)
    signs = (1, -1) if orbit.flip else (1,)
    moved = [sign * t.move(g.move(x)) for g in orbit.symmetries(grid) for t in shifts for sign in signs]
    return torch.stack(moved, dim=1).flatten(2)  # (n, |G|, d)


@pytest.mark.parametrize(
    ("orbit", "shape", "size"),
    [
        (Orbit(translations=True), (2, 4, 4), 16),
        (Orbit(translations=True, point_group=True), (1, 4, 6), 96),
        (Orbit(translations=True, point_group=True, flip=True), (1, 4, 4), 256),
        (Orbit(translations=True, point_group=True, spacing=(1.0, 2.0)), (1, 3, 3), 36),
        (Orbit(point_group=True), (1, 5, 5), 8),
        (Orbit(flip=True), (1, 9), 2),
        (Orbit(translations=True), (1, 2, 3, 4), 24),
    ],
)
def test_sums_over_images_are_those_of_images_written_out(orbit, shape, size):
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((N, *shape)))
    images = written_out(x, orbit)
    assert orbit.size(shape[1:]) == size == images.shape[1]
    own, z = torch.as_tensor(starts(N, DRAWS, SEED)), draw_noise(0, DRAWS, x.shape[1:], SEED)
    y = (x[own] + S * z).flatten(1)
    squares = torch.cdist(y, images.flatten(0, 1)).square().unflatten(1, images.shape[:2])
    logs = (z.flatten(1).square().sum(1)[:, None, None] - squares / S**2) / 2
    ((sums, doubles),) = Images(x, orbit, S).log_sums(own, z, np.array([S]))
    np.testing.assert_allclose(sums, torch.logsumexp(logs, 2), atol=2e-4)
    np.testing.assert_allclose(doubles, torch.logsumexp(2 * logs, 2), atol=4e-4)


def test_precision_is_double_where_noise_is_small():
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((3, 1, 8)))
    assert Images(x, Orbit(translations=True), 1.0).x.dtype == torch.float32
    assert Images(x, Orbit(translations=True), 0.01).x.dtype == torch.float64


def test_pruning_loses_less_than_it_says(monkeypatch):
    """Nothing is pruned with an endless margin."""
    x = torch.as_tensor(np.random.default_rng(1).standard_normal((40, 1, 6, 6)))
    own, z = torch.arange(10), draw_noise(0, 10, x.shape[1:], SEED)
    s = np.array([0.15, 0.3])
    pruned = list(Images(x, Orbit(translations=True), 0.15).log_sums(own, z, s))
    monkeypatch.setattr(orbits, "MARGIN", math.inf)
    exact = list(Images(x, Orbit(translations=True), 0.15).log_sums(own, z, s))
    assert not torch.equal(pruned[0][0], exact[0][0]), "nothing was pruned: the test shows nothing"
    for (cut, _), (full, _) in zip(pruned, exact, strict=True):
        assert bool((cut <= full + 1e-9).all())
        assert bool((full - cut <= math.log(36)).all())
        others = torch.ones_like(full, dtype=torch.bool)
        others[torch.arange(10), own] = False
        left = [torch.logsumexp(v.masked_fill(~others, -math.inf), dim=1) for v in (cut, full)]
        np.testing.assert_allclose(left[0], left[1], atol=math.exp(-14))


def test_two_symmetric_copies_are_one_datum_of_an_orbit():
    """Data that are images of one another are told apart without the group, and not with it."""
    a = np.random.default_rng(2).standard_normal((1, 1, 6, 6))
    x = torch.as_tensor(np.concatenate([a, -a, np.roll(a, 2, axis=3)]))
    apart = excess_entropy(x, [0.05], draws=30, seed=0)
    flipped = excess_entropy(x[:2], [0.05], draws=30, seed=0, orbit="flip")
    shifted = excess_entropy(x[[0, 2]], [0.05], draws=30, seed=0, orbit="translations")
    assert float(apart["order_parameter"][0]) == pytest.approx(1.0, abs=1e-6)
    assert float(flipped["order_parameter"][0]) == pytest.approx(0.5, abs=1e-6)
    assert float(shifted["order_parameter"][0]) == pytest.approx(0.5, abs=1e-6)
    assert float(shifted["empirical"][0]) == pytest.approx(math.log(2) / 36, rel=1e-3)
    assert shifted.attrs["alpha"] == pytest.approx(math.log(72) / 36)


def test_collapse_of_fields_with_their_translations_agrees_with_the_closed_form(red_noise):
    rng, n, grid = np.random.default_rng(8), 40, (12, 12)
    x = torch.as_tensor(red_noise(rng, n, grid, slope=2.0))[:, None].double()
    power = torch.fft.fft2(torch.as_tensor(red_noise(rng, 4000, grid, slope=2.0)), norm="ortho").abs().square().mean(0)
    t_c = gaussian_collapse_time(power.numpy(), n, 144)
    found = excess_entropy(x, t_c * np.array([0.6, 0.8, 1.0, 1.2, 1.4]), draws=150, seed=0, orbit="translations")
    assert abs(float(found["t_C"]) - t_c) < 3 * float(found["t_C_error"])
    assert float(found["t_C_error"]) < 0.05 * t_c
    assert abs(float(found["t_C_gaussian"]) - t_c) < 4 * float(found["t_C_gaussian_error"])
    assert float(abs(found["nishimori"] / found["nishimori_error"]).max()) < 4
    alone = gaussian_collapse_time(power.numpy(), n)
    assert t_c < 0.8 * alone, "images make data harder to tell apart"


def test_an_orbit_without_a_grid_is_refused():
    with pytest.raises(InputError, match="without a grid"):
        excess_entropy(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), [0.5], orbit="translations")
    with pytest.raises(InputError, match="must be one of"):
        Orbit.named("knots")
