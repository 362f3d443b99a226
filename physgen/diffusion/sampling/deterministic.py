r"""Deterministic solvers of the probability flow :math:`dy/ds = (y - D)/s`, one rule each.

The exponential ones take the linear part exactly: with :math:`\lambda = -\log s` and a step h in lambda,

.. math:: y' = \frac{s'}{s} y + \int_0^h e^{\tau - h} D(\lambda + \tau)\,d\tau .

Notation and shapes of :mod:`physgen.diffusion.sampling.solver`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from physgen.diffusion.convention import Level, log
from physgen.diffusion.sampling.solver import Solver, Step, solver, toward


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

    Order 2 on any levels, one evaluation a step. The first step has no past and is Euler's, which costs no order; so is
    the step to 0, where h is infinite. Source: Lu et al., arXiv:2211.01095, algorithm 2.
    """
    if not now.past:
        return toward(now.denoised, now)
    return toward(extrapolated(now.denoised, now.past[0], now.s, now.s_next), now)


def extrapolated(denoised: Tensor, before: tuple[Level, Tensor], s: Level, s_next: Level) -> Tensor:
    r""":math:`D + \frac{1}{2r}(D - D_{before})`, the denoised in the middle of the step by the line through two."""
    s_before, denoised_before = before
    ratio = log(s_before / s) / log(s / s_next)
    return denoised + (denoised - denoised_before) / (2 * ratio)


def exponential_multistep(order: int) -> Solver:
    r"""Exponential Adams-Bashforth: D is the polynomial in :math:`\lambda` through the last ``order`` denoised.

    One evaluation a step. The first steps have a shorter past: they leave an error of second order, but with the small
    factor :math:`P/s_{max}^2`, so that the stated order is seen from well above the largest mode on.
    Source: Hochbruck and Ostermann, Acta Numerica 19 (2010), 209, section 2.5.
    """
    if order < 1:
        raise ValueError(f"an exponential multistep solver has an order of at least 1, got {order}; 2 to 4 are of use")

    def multistep(now: Step) -> Tensor:
        h = log(now.s / now.s_next)
        nodes = [log(now.s / s) for s, _ in now.past]  # of lambda, counted from here
        y = toward(now.denoised, now)
        basis: list[Level] = [1.0]  # coefficients of prod (tau - node) over the nodes used so far
        moments: list[Level] = [(now.s - now.s_next) / now.s]  # integrals of exp(tau - h) tau^j
        for k, difference in enumerate(_divided_differences([0.0, *nodes], [now.denoised, *(d for _, d in now.past)])):
            node = 0.0 if k == 0 else nodes[k - 1]
            basis = [a - node * b for a, b in zip([0.0, *basis], [*basis, 0.0], strict=True)]
            moments.append(h ** (k + 1) - (k + 1) * moments[k])
            y = y + difference * sum(b * m for b, m in zip(basis, moments, strict=True))
        return y

    multistep.__name__ = f"exponential_multistep({order})"
    return Solver(multistep, order, memory=order - 1)


def _divided_differences(nodes: Sequence[Level], values: Sequence[Tensor]) -> Iterator[Tensor]:
    """Newton's divided differences of the first two, three, ... values."""
    row = list(values)
    for width in range(1, len(nodes)):
        row = [(row[i + 1] - row[i]) / (nodes[i + width] - nodes[i]) for i in range(len(row) - 1)]
        yield row[0]
