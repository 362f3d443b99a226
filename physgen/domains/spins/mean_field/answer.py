"""Whether a diffusion model can sample a mean-field glass at all, in words and numbers: "cannot" is an answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from physgen.domains.spins.mean_field.lines import Lines, critical_lines, denoising_jump
from physgen.errors import InputError

LEAST_EFFECTIVE = 0.01  # share of the draws below which weights are of no use


class Answer(NamedTuple):
    r"""What is possible for N spins at one temperature.

    Attributes:
        diffusion: whether paths of a denoiser that can be computed still overlap with those of the exact one.
        monte_carlo: whether local Monte Carlo reaches equilibrium in a time that does not grow exponentially in N.
        divergence: least path divergence of a computable denoiser, nats per spin; nan where it is not known.
        effective: largest effective sample size of its path weights over their number, :math:`e^{-N D}`; nan as above.
        reason: one sentence with the temperatures that decide.
    """

    diffusion: bool
    monte_carlo: bool
    divergence: float
    effective: float
    reason: str


def can_sample(temperature: float, spins: int, p: int = 3, spherical: bool = False) -> Answer:
    r"""Whether N spins of a p-spin glass can be sampled by diffusion, and by Monte Carlo.

    The effective sample size of weights w = dP/dQ of N spins is :math:`1/E_P[w] \le e^{-KL(P|Q)}` (Jensen), and KL is
    N times the divergence of :class:`physgen.domains.spins.mean_field.Jump`, to leading order in N. It bounds
    denoisers that can be computed (state evolution, AMP); an exact one, such as enumeration gives, has no such bound.

    Args:
        temperature: in units of J; couplings of variance :math:`p!/2N^{p-1}`.
        spins: N.

    Raises:
        InputError: a temperature or a number of spins that is not positive; a model that ``PSpin`` does not take.
    """
    if not temperature > 0 or spins < 1:
        raise InputError(f"temperature {temperature} J and {spins} spins must both be positive: correct them")
    lines = critical_lines(p, spherical)
    if temperature <= lines.dynamical and p > 2 or temperature <= lines.kauzmann:
        return Answer(False, False, *_below(temperature, spins, lines, p, spherical), _glass(temperature, lines, p))
    jump = denoising_jump(temperature, p, spherical)
    if jump is None:
        reason = f"T = {temperature:g} J is above T_tri = {lines.tricritical:.4f} J: no transition along the noise"
        return Answer(True, True, 0.0, 1.0, reason)
    effective = float(np.exp(-spins * jump.divergence))
    can = effective >= LEAST_EFFECTIVE
    reason = (
        f"T = {temperature:g} J lies between T_d = {lines.dynamical:.4f} and T_tri = {lines.tricritical:.4f} J: a "
        f"denoiser that can be computed misses the jump at gamma^2 = {jump.equal:.4f}, which costs "
        f"{jump.divergence:.2g} nats a spin. With {spins} spins at most {effective:.2g} of the draws count"
        f"{': few enough spins' if can else '; take Monte Carlo, which works here'}"
    )
    return Answer(can, True, jump.divergence, effective, reason)


def _below(temperature: float, spins: int, lines: Lines, p: int, spherical: bool) -> tuple[float, float]:
    """Divergence and effective share below T_d, where they are known."""
    if temperature <= lines.kauzmann:
        return np.nan, np.nan
    jump = denoising_jump(temperature, p, spherical)
    cost = jump.divergence if jump else 0.0
    return cost, float(np.exp(-spins * cost))


def _glass(temperature: float, lines: Lines, p: int) -> str:
    if p == 2:
        return (
            f"T = {temperature:g} J is not above T = 1 J: the glass breaks replica symmetry, no stable algorithm "
            "samples it as N grows; take parallel tempering of a small system, whose equilibrium is tested"
        )
    static = temperature <= lines.kauzmann
    return (
        f"T = {temperature:g} J is not above T_{'K' if static else 'd'} = "
        f"{lines.kauzmann if static else lines.dynamical:.4f} J: "
        f"{'few states hold the measure' if static else 'it is split into exponentially many states'}, diffusion and "
        "Monte Carlo take times that grow exponentially in N; take a small system, or plant a configuration"
    )
