"""Laws about curves in the plane: density, entropy and denoiser by independent ways."""

import math

import numpy as np
import pytest
import torch

from physgen.domains.points import Points
from physgen.domains.points.curves import CURVES, CurveLaw, curve_law
from physgen.domains.points.laws import law_of


def grid_of(law, cells, reach):
    """Centres (N, 2) of a square lattice about the law, and the area of a cell."""
    edge = torch.linspace(-reach, reach, cells + 1, dtype=torch.float64)
    centre = (edge[1:] + edge[:-1]) / 2
    return torch.cartesian_prod(centre, centre), float(edge[1] - edge[0]) ** 2


@pytest.mark.parametrize("name", CURVES)
def test_the_entropy_along_the_curve_is_that_over_the_plane(name):
    """A sum over a lattice is exact to e^{-2 (pi sigma/spacing)^2} for a smooth density: cells of 3 sigma/4."""
    law = curve_law(name, 0.1, (0.3, 0.7))
    y, area = grid_of(law, 80, 3.0)
    log_p = law.exact.log_density(y, torch.tensor(0.0))
    p = log_p.exp() * area
    assert float(p.sum()) == pytest.approx(1, abs=1e-8)
    assert law.entropy() == pytest.approx(-float((p * log_p).sum()), abs=1e-6)


def test_a_thin_curve_has_the_entropy_of_its_length_and_its_noise():
    """A circle of radius sqrt 2, uniform: ln(2 pi r) + ln(2 pi e sigma^2)/2, up to the order (sigma/r)^2."""
    ring = CurveLaw(CURVES["rings"][:1], 0.01, (1.0,))
    thin = math.log(2 * math.pi * math.sqrt(2)) + 0.5 * math.log(2 * math.pi * math.e * 0.01**2)
    assert ring.entropy() == pytest.approx(thin, abs=0.01**2)


def test_the_rule_along_the_curve_has_converged():
    """Twice the nodes: the same density and denoiser, to the rounding of large squares."""
    law = curve_law("swiss_roll", 0.05, (1.0,))
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000  # midpoints, far finer than the noise
    y = law.sample(40, torch.Generator().manual_seed(1))
    for s in (0.0, 0.3):
        variance = 0.05**2 + s**2
        apart = (y[:, None] - law.on_piece(0, u)).square().sum(2)
        log_p = torch.logsumexp(-apart / 2 / variance, 1) - math.log(20_000 * 2 * math.pi * variance)
        torch.testing.assert_close(law.exact.log_density(y, torch.tensor(s)), log_p, rtol=0, atol=1e-6)


def test_samples_have_the_moments_and_the_density_of_the_law():
    law, count = curve_law("two_moons", 0.2, (0.3, 0.7)), 20_000
    x = law.sample(count, torch.Generator().manual_seed(0))
    points, weights, _ = law.nodes
    for power in (1, 2):  # of the law: the nodes, and sigma^2 more in the square
        exact = weights @ points**power + (power == 2) * 0.2**2
        assert ((x**power).mean(0) - exact).abs().max() < 4 * float((x**power).std(0).max()) / count**0.5
    log_p = law.exact.log_density(x, torch.tensor(0.0))
    assert abs(float(log_p.mean()) + law.entropy()) < 4 * float(log_p.std()) / count**0.5
    part = law.classes(x).mean(0)
    assert float(part[0]) == pytest.approx(0.3, abs=4 * (0.21 / count) ** 0.5)


def test_the_roll_is_uniform_in_its_angle():
    domain = Points(law="swiss_roll", dimension=2, sigma=0.001, count=4000, scaling="none")
    law, x = law_of(domain), domain.simulate(1).field.values
    mean, scale = curve_law("swiss_roll", 0.001, (1.0,))._frame
    radius = np.linalg.norm(x * scale + mean.numpy(), axis=1)  # = t, uniform in (1.5 pi, 4.5 pi)
    u = (radius / 1.5 / math.pi - 1) / 2
    assert abs(u.mean() - 0.5) < 4 * (1 / 12 / 4000) ** 0.5 and np.ptp(u) < 1.01
    assert law.classes is None and abs(float((x**2).mean()) - 1) < 0.03
