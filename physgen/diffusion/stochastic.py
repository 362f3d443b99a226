r"""Stochastic solvers of the reverse SDE :math:`dy = \nabla\log p_s\,d\tau + dW, \tau = -s^2`, one rule each.

Notation and shapes of :mod:`physgen.diffusion.solver`.
"""

from __future__ import annotations

from torch import Tensor

from physgen.diffusion.solver import Step, elapsed, solver, sqrt


@solver(order=1, draws=1)
def ancestral(now: Step) -> Tensor:
    r"""DDPM: draw from :math:`q(y'|y, x_0 = D) = N((1 - \rho) y + \rho D, s'^2 \rho), \rho = 1 - s'^2/s^2`.

    Weak order 1, one evaluation a step, stochastic.
    Source: Ho, Jain, Abbeel, arXiv:2006.11239, eqs. 6 and 7, in (y, s).
    """
    share = elapsed(now) / (now.s * now.s)
    return now.y * (1 - share) + now.denoised * share + now.noise() * (now.s_next * sqrt(share))


@solver(order=1, draws=1)
def euler_maruyama(now: Step) -> Tensor:
    r"""Euler-Maruyama: :math:`y' = y + \Delta (D - y)/s^2 + \sqrt\Delta z, \Delta = s^2 - s'^2`, the clock being s^2.

    Weak order 1, one evaluation a step, stochastic; the step to 0 adds no noise. The mean is that of :data:`ancestral`,
    the variance larger by :math:`s^2/s'^2`. Source: Song et al., arXiv:2011.13456, eq. 6.
    """
    time = elapsed(now)
    return now.y + (now.denoised - now.y) * (time / (now.s * now.s)) + now.noise() * sqrt(time)
