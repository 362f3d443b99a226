"""Solvers with settings of their own: churn, Langevin, adaptive steps; and the numbering of their noise."""

import math

import pytest
import torch

from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import noise_like
from physgen.diffusion.sampling.adaptive import AdaptiveFlow
from physgen.diffusion.sampling.samplers import SAMPLERS
from physgen.diffusion.sampling.solver import Solver
from physgen.diffusion.sampling.stochastic import annealed_langevin, heun_churn

WALKERS = [name for name, sampler in SAMPLERS.items() if isinstance(sampler, Solver)]
HALF = torch.logspace(1, -1, 9, dtype=torch.float64)
FALLING = torch.cat([HALF, HALF[1:-1].flip(0)])


def mixture():
    means = noise_like(1, "means", range(3), (2, 3), dtype=torch.float64)
    return GaussianMixture(means, torch.tensor([0.1, 0.3, 0.2], dtype=torch.float64))


@pytest.mark.parametrize("step", [0.05, 0.5])
def test_annealed_langevin_keeps_the_stated_bias(step):
    """Relaxed at s = 1 a mode has the variance (P + 1)/(1 - epsilon/(2 (P + 1))) of the unadjusted chain."""
    power = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    chain = annealed_langevin(inner=int(100 / step), step=step)
    start = torch.zeros(1 + 2 * chain.draws, 3, dtype=torch.float64)
    start[0] = 2.0

    def noise(i):
        kick = torch.zeros(len(start), 1, dtype=torch.float64)
        kick[1 + i] = 1
        return kick

    relaxed = chain.integrate(lambda y, s: y * power / (power + s**2), [2.0, 1.0, 0.5], start, noise).square().sum(0)
    torch.testing.assert_close(relaxed, (power + 1) / (1 - step / (2 * (power + 1))), rtol=1e-9, atol=0)


def test_churn_is_limited_inflated_and_confined():
    """Without churn it is Heun; with it the first lift is by (1 + gamma), within the levels asked for only."""
    law, levels = mixture(), log_uniform(20.0, 0.05, 8)
    y = 20 * noise_like(0, "test", range(4), (2, 3), dtype=torch.float64)
    ones = torch.ones_like(y)
    heun = SAMPLERS["heun"](law, levels, y)
    for quiet in (heun_churn(0.0), heun_churn(5.0, lowest=21.0), heun_churn(5.0, highest=0.04)):
        torch.testing.assert_close(quiet(law, levels, y, None, lambda _: ones), heun, rtol=1e-12, atol=1e-12)
    for churn, gamma in ((0.8, 0.1), (100.0, math.sqrt(2) - 1)):
        once = heun_churn(churn, lowest=19.0, inflation=1.5)(law, levels, y, None, lambda _: ones)
        lifted = y + 1.5 * 20 * math.sqrt((1 + gamma) ** 2 - 1) * ones
        by_hand = torch.cat([levels[:1] * (1 + gamma), levels[1:]])
        torch.testing.assert_close(once, SAMPLERS["heun"](law, by_hand, lifted), rtol=1e-10, atol=1e-10)


def test_every_step_and_draw_has_its_own_noise():
    asked = []

    def noise(i):
        asked.append(i)
        return torch.zeros(1, 1, 8)

    field = GaussianField(torch.ones(1, 8))
    for name in WALKERS:
        asked.clear()
        SAMPLERS[name](field, log_uniform(20.0, 0.05, 5), torch.ones(1, 1, 8), None, noise)
        assert len(set(asked)) == len(asked) <= SAMPLERS[name].draws * 5, name
        assert all(i < SAMPLERS[name].draws * 5 for i in asked), name


def test_adaptive_flow_stays_within_its_tolerance():
    field = GaussianField(FALLING[None])
    y = 100 * noise_like(0, "test", range(4), (1, 16), dtype=torch.float64)
    exact = torch.fft.fft(y, norm="ortho")
    power = field.spectrum
    # y_k shrinks like sqrt(P + s^2) along the flow; the end is the Wiener filter at s_min
    exact = exact * torch.sqrt((power + 1e-4) / (power + 1e4)) * power / (power + 1e-4)
    for tolerance in (1e-4, 1e-7):
        x = AdaptiveFlow(tolerance, tolerance)(field, torch.tensor([100.0, 0.01, 0.0], dtype=torch.float64), y)
        error = float((torch.fft.fft(x, norm="ortho") - exact).abs().max())
        # local errors of about fifty steps, in units of a y that is 100 at the start and of order 1 later
        assert 0 < error < 50 * tolerance * 100
