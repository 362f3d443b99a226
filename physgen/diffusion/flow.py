r"""Deterministic solvers of the probability flow :math:`dy/ds = (y - D)/s`, one rule each.

The exponential ones integrate :math:`\frac{d}{d\lambda}(y/s) = e^\lambda D, \lambda = -\log s`, exactly for a D that is
a polynomial of lambda. Notation and shapes of :mod:`physgen.diffusion.solver`.
"""

from __future__ import annotations

from torch import Tensor

from physgen.diffusion.solver import Step, log, solver, toward


@solver(order=1)
def euler(now: Step) -> Tensor:
    r"""Euler step of the probability flow = DDIM: :math:`y' = \frac{s'}{s} y + (1 - \frac{s'}{s}) D`.

    Order 1, one evaluation a step. Source: Song, Meng, Ermon, arXiv:2010.02502, eq. 12 without noise, in (y, s).
    """
    return toward(now.denoised, now)


@solver(order=2, evaluations=2)
def heun(now: Step) -> Tensor:
    r"""Heun (explicit trapezoidal) step of the probability flow in s.

    Order 2, two evaluations a step but one for the step to 0. Source: Karras et al., arXiv:2206.00364, algorithm 1.
    """
    slope = (now.y - now.denoised) / now.s
    guess = now.y + slope * (now.s_next - now.s)
    slope_next = (guess - now.evaluate(guess, now.s_next)) / now.s_next
    return now.y + (slope + slope_next) * (0.5 * (now.s_next - now.s))


@solver(order=2, memory=1)
def dpmpp_2m(now: Step) -> Tensor:
    r"""DPM-Solver++(2M): the flow towards :math:`D + \frac{1}{2r}(D - D_{before}), r = h_{before}/h, h = \log(s/s')`.

    Order 2 on any grid, one evaluation a step. The first step has no past and is Euler's, which costs no order; so is
    the step to 0, where h is infinite. Source: Lu et al., arXiv:2211.01095, algorithm 2.
    """
    if not now.past:
        return toward(now.denoised, now)
    s_before, denoised_before = now.past[0]
    ratio = log(s_before / now.s) / log(now.s / now.s_next)
    return toward(now.denoised + (now.denoised - denoised_before) / (2 * ratio), now)
