"""The gradient of the variance of path weights: beside that of a divergence in closed form, and as a training."""

import math

import pytest
import torch

from physgen.diffusion.inference.reverse_kernels import LocalCovariance, SpinMixture
from physgen.diffusion.learning import PathVariance, Recipe, TrainingState, train
from physgen.diffusion.levels import log_uniform

LEVELS = torch.tensor([2.0, 0.8, 0.0], dtype=torch.float64)


class Shrinking(torch.nn.Module):
    """D = a y / (1 + s^2), exact for N(0, 1) at a = 1; the mean of x0 is forgotten where a is not 1."""

    def __init__(self, a):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, y, s, condition=None):
        return self.a * y / (1 + s.square()).reshape(-1, *[1] * (y.ndim - 1))


class Wide(LocalCovariance):
    """Gaussian steps of variance (the bridge's) + rho^2/2, whatever D is."""

    def variance(self, denoised, s, s_next):
        return super().variance(torch.full_like(denoised, 0.5**0.5), s, s_next)


def divergence(a):
    """KL of the path law from q ~ N(0, 1) noised, for one site: two Gaussian steps, moments carried along."""
    second = torch.tensor(1 + 2.0**2, dtype=torch.float64)  # of y at the first level, mean 0
    entropy = -0.5 * (torch.log(2 * math.pi * second) + 1)  # <ln p> of the start
    energy = torch.zeros((), dtype=torch.float64)
    for s, s_next in ((2.0, 0.8), (0.8, 0.0)):
        rho = 1 - s_next**2 / s**2
        slope = (1 - rho) + rho * a / (1 + s**2)
        variance = s_next**2 * rho + rho**2 / 2
        ahead = slope**2 * second + variance
        gap = (1 - slope) ** 2 * second + variance  # <(y - y')^2>
        entropy = entropy - 0.5 * (math.log(2 * math.pi * variance) + 1)
        energy = energy + 0.5 * (gap / (s**2 - s_next**2) + math.log(2 * math.pi * (s**2 - s_next**2)))
        second = ahead
    return entropy + energy + 0.5 * second + 0.5 * math.log(2 * math.pi)


@pytest.mark.parametrize("taken", [1, 2])
def test_the_gradient_is_that_of_the_divergence_of_paths(taken):
    def log_target(x, condition):
        return -0.5 * x.square().flatten(1).sum(1)

    torch.manual_seed(3)
    denoiser, sites = Shrinking(0.6), 2
    loss = PathVariance(denoiser, (Wide(), "gaussian"), LEVELS, log_target, paths=8, taken=taken)
    found = []
    for _ in range(60):
        denoiser.zero_grad()
        loss(torch.zeros(800, 1, sites, dtype=torch.float64), None, None, None).mean().backward()
        found.append(float(denoiser.a.grad))
    a = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(divergence(a), a)  # of one site: the loss is for each site
    estimate = torch.tensor(found)
    error = float(estimate.std() / len(found) ** 0.5)
    assert error < abs(float(exact)) / 8
    assert abs(float(estimate.mean()) - float(exact)) < 4 * error


class Tilted(torch.nn.Module):
    """D = tanh(y/s^2 + a beta h), exact for spins that do not see each other in a field h at a = 1."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, y, s, condition):
        return torch.tanh(y / s.reshape(-1, 1, 1).square() + self.a * condition["field"])


def test_spins_learn_their_field_without_a_configuration_of_the_law():
    """Those of the batch are all up. At a = 1 all weights are Z: no noise is left in the gradient."""
    fields = torch.randn(512, 1, 6, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    state = TrainingState(
        Tilted(),
        Recipe(120, 64, 0.03, warmup=1),
        loss=lambda made: PathVariance(made, (SpinMixture(), "bernoulli"), log_uniform(8.0, 0.25, 8), in_a_field),
    )
    steps = list(train(state, torch.ones(512, 1, 6, dtype=torch.float64), {"field": fields}))
    assert state.model.a.item() == pytest.approx(1, abs=0.1)  # from 0
    assert steps[-1].loss < 1e-3 * steps[0].loss
    with torch.no_grad():
        state.model.a.fill_(1)
    state.model.zero_grad()
    exact = state.loss(torch.ones(64, 1, 6, dtype=torch.float64), None, None, {"field": fields[:64]})
    exact.mean().backward()
    assert float(exact.detach().max()) < 1e-12
    assert abs(float(state.model.a.grad)) < 1e-8


def in_a_field(x, condition):
    return (x * condition["field"]).flatten(1).sum(1)


def test_what_it_refuses():
    def loss(levels=LEVELS, **options):
        return PathVariance(Shrinking(1.0), (Wide(), "gaussian"), levels, lambda x, c: x.sum(), **options)

    with pytest.raises(ValueError, match="end at 0, got 0.8"):
        loss(LEVELS[:2])
    with pytest.raises(ValueError, match="two paths of a condition or more, got 1"):
        loss(paths=1)
    with pytest.raises(ValueError, match="1 to 2 steps of each in the gradient, got 3"):
        loss(taken=3)
    with pytest.raises(ValueError, match="a batch of 6 is no multiple of 4 paths"):
        loss(paths=4, taken=1)(torch.zeros(6, 1, 2), None, None, None)
