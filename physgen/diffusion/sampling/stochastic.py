r"""Stochastic solvers of the reverse SDE :math:`dy = \nabla\log p_s\,d\tau + dW, \tau = -s^2`, one rule each.

Notation and shapes of :mod:`physgen.diffusion.sampling.solver`.
"""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from physgen.diffusion.convention import Level, bridge_draw, elapsed, log, sqrt
from physgen.diffusion.sampling.deterministic import extrapolated, heun
from physgen.diffusion.sampling.solver import Churn, Solver, Step, solver


@solver(order=1, draws=1)
def ancestral(now: Step) -> Tensor:
    r"""DDPM: draw from :math:`q(y'|y, x_0 = D) = N((1 - \rho) y + \rho D, s'^2 \rho), \rho = 1 - s'^2/s^2`.

    Weak order 1, one evaluation a step, stochastic.
    Source: Ho, Jain, Abbeel, arXiv:2006.11239, eqs. 6 and 7, in (y, s).
    """
    return bridge_draw(now.y, now.denoised, now.s, now.s_next, now.noise())


@solver(order=1, draws=1)
def euler_maruyama(now: Step) -> Tensor:
    r"""Euler-Maruyama: :math:`y' = y + \Delta (D - y)/s^2 + \sqrt\Delta z, \Delta = s^2 - s'^2`, the clock being s^2.

    Weak order 1, one evaluation a step, stochastic; the step to 0 adds no noise. The mean is that of :data:`ancestral`,
    the variance larger by :math:`s^2/s'^2`. Source: Song et al., arXiv:2011.13456, eq. 6.
    """
    time = elapsed(now.s, now.s_next)
    return now.y + (now.denoised - now.y) * (time / (now.s * now.s)) + now.noise() * sqrt(time)


@solver(order=2, draws=1, memory=1)
def dpmpp_2m_sde(now: Step) -> Tensor:
    r"""SDE-DPM-Solver++(2M): :data:`ancestral` towards the D of :data:`dpmpp_2m`.

    Weak order 2 (the noise that D picks up within a step enters with the next one), one evaluation a step, stochastic.
    Source: Lu et al., arXiv:2211.01095, appendix A.
    """
    aim = extrapolated(now.denoised, now.past[0], now.s, now.s_next) if now.past else now.denoised
    return bridge_draw(now.y, aim, now.s, now.s_next, now.noise())


def heun_churn(churn: float = 10.0, lowest: float = 0.0, highest: float = math.inf, inflation: float = 1.0) -> Solver:
    r"""Heun with churn: before each step fresh noise raises s to :math:`s (1 + \gamma), \gamma = \min(churn/steps,
    \sqrt2 - 1)`; then :data:`heun` from there.

    Weak order 2, two evaluations a step, stochastic. The fresh noise is exact, so it forgets errors and adds none.

    Args:
        churn: noise put in over all steps, about the sum of gamma; 0 is :data:`heun`.
        lowest, highest: levels between which noise is put in.
        inflation: factor of the standard deviation of the noise, 1 for the right one.

    Source: Karras et al., arXiv:2206.00364, algorithm 2 (S_churn, S_tmin, S_tmax, S_noise).
    """
    if not (churn >= 0 and inflation >= 0):
        raise ValueError(f"churn and inflation must be >= 0, got {churn} and {inflation}; 0 and 1 are plain Heun")

    def raised(s: Level, steps: int) -> Level:
        gamma = min(churn / steps, math.sqrt(2) - 1)
        if isinstance(s, Tensor):
            return s * (1 + gamma * ((s >= lowest) * (s <= highest)).to(s.dtype))
        return s * (1 + gamma) if lowest <= s <= highest else s

    return replace(heun, draws=1, churn=Churn(raised, inflation), name="heun_churn")


def predictor_corrector(strength: float = 1.0) -> Solver:
    r"""A step of :data:`ancestral`, then one of Langevin at the new level: :math:`y + \epsilon\,\nabla\log p_{s'}(y) +
    \sqrt{2\epsilon} z`.

    :math:`\epsilon = strength \cdot s'^2 \log(s/s')` shrinks with the step, so that the bias of the corrector does too:
    weak order 1. Two evaluations a step, stochastic. (With the constant signal-to-noise ratio r of the source,
    :math:`\epsilon \approx 2 r^2 s'^2`, a relative bias of about r^2 stays at any number of steps.)
    Source: Song et al., arXiv:2011.13456, algorithms 2 and 4.
    """
    if not strength > 0:
        raise ValueError(f"the strength of the corrector must be positive, got {strength}; for none take 'ancestral'")

    def correct(now: Step) -> Tensor:
        y = ancestral.rule(now)
        step = log(now.s / now.s_next) * strength
        return langevin_step(y, now.evaluate(y, now.s_next), now.s_next, step, now.noise())

    return Solver(correct, order=1, draws=2, evaluations=2, name="predictor_corrector")


def annealed_langevin(inner: int = 5, step: float = 0.1) -> Solver:
    r"""At each level ``inner`` Langevin steps :math:`y + \epsilon\,\nabla\log p_{s}(y) + \sqrt{2\epsilon} z, \epsilon =
    step \cdot s^2`; no step between levels.

    Order 0: more levels do not remove its bias. A mode of variance P relaxes at a rate :math:`\epsilon/(P + s^2)`, and
    to the variance :math:`(P + s^2)/(1 - \frac{\epsilon}{2 (P + s^2)})`. It is right for a small ``step`` and many
    inner ones. ``inner`` evaluations a level, stochastic.
    Source: Song, Ermon, arXiv:1907.05600, algorithm 1.
    """
    if not (inner >= 1 and 0 < step < 2):
        raise ValueError(f"Langevin needs inner >= 1 and 0 < step < 2 (stability), got {inner} and {step}")

    def relax(now: Step) -> Tensor:
        y = langevin_step(now.y, now.denoised, now.s, step, now.noise())
        for _ in range(inner - 1):
            y = langevin_step(y, now.evaluate(y, now.s), now.s, step, now.noise())
        return y

    return Solver(relax, order=0, draws=inner, evaluations=inner, name="annealed_langevin")


def langevin_step(y: Tensor, denoised: Tensor, s: Level, step: Level, noise: Tensor) -> Tensor:
    r"""Unadjusted Langevin step :math:`y + \epsilon\,\nabla\log p_s(y) + \sqrt{2\epsilon} z`, with :math:`\epsilon =
    step \cdot s^2`.

    Args:
        y: (B, C, \*grid). denoised: D(y, s). noise: z, standard normal like y.
        step: in units of s^2; stable below 2.
    """
    return y + (denoised - y) * step + noise * (s * sqrt(2 * step))
