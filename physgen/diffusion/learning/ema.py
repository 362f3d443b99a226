r"""EMA of the weights over training with power-function profiles, and an EMA of any width made afterwards.

The EMA of the weights :math:`\theta(\tau)` after t updates is, in continuous time,

.. math:: \hat\theta_\gamma(t) = \int_0^t p_\gamma(\tau; t)\, \theta(\tau)\, d\tau, \qquad
          p_\gamma(\tau; t) = \frac{(\gamma + 1)\, \tau^\gamma}{t^{\gamma + 1}},

whose width in units of t, the standard deviation of p, is :math:`\sqrt{\gamma + 1}/((\gamma + 2)\sqrt{\gamma +
3})`. Any other profile is approached by a combination of stored snapshots :math:`\sum_i c_i p_i`, with c the
least-squares solution of :math:`\langle p_i, p_j\rangle c_j = \langle p_i, p\rangle`. All inner products are closed.

Source: Karras et al., arXiv:2312.02696, section 3 and appendix C (from the formulas).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WIDTHS = (0.05, 0.10)  # the two profiles that the paper stores


def width_of(exponent: float) -> float:
    r"""Relative width :math:`\sqrt{\gamma + 1}/((\gamma + 2)\sqrt{\gamma + 3})` of the exponent gamma >= 0."""
    return math.sqrt(exponent + 1) / ((exponent + 2) * math.sqrt(exponent + 3))


def exponent_of(width: float) -> float:
    r"""The exponent gamma of a relative width in (0, :math:`1/\sqrt{12}`], by bisection: 16.97 of 0.05, 6.94 of 0.1."""
    if not 0 < width <= width_of(0):
        raise ValueError(
            f"the relative width of an EMA lies in (0, {width_of(0):.4f}], got {width}; 0.05 to 0.2 are usual"
        )
    low, high = 0.0, 1.0 / width  # the width is below 1/gamma
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if width_of(middle) > width else (low, middle)
    return (low + high) / 2


def ema_decay(update: int, exponent: float) -> float:
    r"""Decay :math:`(1 - 1/t)^{\gamma + 1}` of update t = 1, 2, ...; the first one replaces the initial weights.

    The weights of update i then count :math:`(i^{\gamma+1} - (i-1)^{\gamma+1})/t^{\gamma+1}` in the average.
    Source: Karras et al. 2312.02696, section 3.1 (power-function profile).
    """
    return (1 - 1 / update) ** (exponent + 1)


def ema_gain(update: Tensor, accepted: Tensor, exponent: float) -> Tensor:
    """1 - :func:`ema_decay` of an update counted on the device, 0 where it was not accepted; () float64."""
    gain = 1 - (1 - 1 / update.double().clamp(min=1)) ** (exponent + 1)
    return torch.where(accepted > 0, gain, 0.0)


def blend(averages: Sequence[Tensor], weights: Sequence[Tensor], gain: Tensor, at_once: bool | None = None) -> None:
    """averages += gain (weights - averages) in place, with a gain that the host does not know.

    A gain of 0 leaves every bit as it is. ``at_once``: a few launches for all tensors, at the price of a copy of
    them; None does so on a GPU.
    """
    if averages[0].device.type == "cuda" if at_once is None else at_once:
        change = torch._foreach_sub(list(weights), list(averages))
        torch._foreach_mul_(change, gain.to(averages[0].dtype))
        torch._foreach_add_(list(averages), change)
    else:
        gains = {dtype: gain.to(dtype) for dtype in {average.dtype for average in averages}}
        torch._foreach_lerp_(list(averages), list(weights), [gains[average.dtype] for average in averages])


@dataclass(frozen=True)
class Snapshot:
    """An EMA after ``update`` updates with the profile of ``exponent``; ``weights`` by parameter name."""

    update: int
    exponent: float
    weights: Mapping[str, Tensor]


class PowerEMA:
    """EMAs of the parameters of a model, one for each relative width.

    The caller of the training loop holds it, calls :meth:`update` after each accepted step, and now and then stores
    :meth:`snapshots`, e.g. every few per cent of the run: :func:`synthesize` needs those after the fact.

    Args:
        model: module; the EMAs live on its device, in its dtype.
        widths: relative widths; two suffice for any width between them and beyond.
    """

    def __init__(self, model: nn.Module, widths: Sequence[float] = WIDTHS) -> None:
        self.exponents = [exponent_of(width) for width in widths]
        start = {name: parameter.detach() for name, parameter in model.named_parameters()}
        self.emas = [{name: value.clone() for name, value in start.items()} for _ in self.exponents]
        self._count = torch.zeros((), dtype=torch.int64, device=next(iter(start.values())).device)

    @property
    def count(self) -> int:
        """Updates taken in. Waits for the device."""
        return int(self._count)

    def update(self, model: nn.Module, accepted: Tensor | None = None) -> None:
        """Take in the weights after one more update; nothing changes where ``accepted``, on the device, is 0."""
        accepted = torch.ones_like(self._count) if accepted is None else accepted
        self._count += (accepted > 0).long()
        with torch.no_grad():
            weights = [parameter.detach() for parameter in model.parameters()]
            for exponent, ema in zip(self.exponents, self.emas, strict=True):
                blend(list(ema.values()), weights, ema_gain(self._count, accepted, exponent))

    def snapshots(self) -> list[Snapshot]:
        """Copies of the EMAs as they are, on the CPU."""
        count = self.count
        return [
            Snapshot(count, exponent, {name: value.detach().cpu().clone() for name, value in ema.items()})
            for exponent, ema in zip(self.exponents, self.emas, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold: count, exponents and EMAs."""
        return {"count": self.count, "exponents": self.exponents, "emas": self.emas}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict` of the same widths; ValueError for others."""
        if state["exponents"] != self.exponents:
            raise ValueError(
                f"these EMAs have exponents {self.exponents}, the stored ones {state['exponents']}; the widths differ"
            )
        self._count.fill_(int(state["count"]))
        for ema, stored in zip(self.emas, state["emas"], strict=True):
            for name, value in ema.items():
                value.copy_(stored[name])


def synthesize(
    snapshots: Sequence[Snapshot], width: float, update: int | None = None
) -> tuple[dict[str, Tensor], float]:
    r"""The EMA of a relative width at an update, from snapshots of other widths and updates.

    Their weights are asked for one tensor at a time, so that they may be read from a file when they are.

    Args:
        snapshots: of one run. width: relative width wanted. update: None is that of the latest snapshot.

    Returns:
        the parameters by name (``model.load_state_dict(parameters, strict=False)``), and the residual :math:`\|\sum_i
        c_i p_i - p\|/\|p\|` of the profile: the part of the EMA that the snapshots miss.

    Raises:
        ValueError: no snapshot, or an update beyond the latest.
    """
    coefficients, residual = synthesis_coefficients(snapshots, width, update)
    parameters = {
        name: sum(
            (c * snapshot.weights[name].double() for c, snapshot in zip(coefficients, snapshots, strict=True)),
            torch.zeros((), dtype=torch.float64),
        ).to(value.dtype)
        for name, value in snapshots[0].weights.items()
    }
    return parameters, residual


def synthesis_coefficients(
    snapshots: Sequence[Snapshot], width: float, update: int | None = None
) -> tuple[Tensor, float]:
    """The coefficients c (snapshots,) and the residual of :func:`synthesize`, from the profiles alone."""
    if not snapshots:
        raise ValueError("a synthesis needs at least one snapshot, got none: store some during the training")
    latest = max(snapshot.update for snapshot in snapshots)
    when = latest if update is None else update
    if not 1 <= when <= latest:
        raise ValueError(f"an EMA can be made for updates 1 to {latest}, got {when}; later weights are not stored")
    profiles = [(snapshot.update, snapshot.exponent) for snapshot in snapshots]
    wanted = (when, exponent_of(width))
    matrix = torch.tensor([[_inner(a, b) for b in profiles] for a in profiles], dtype=torch.float64)
    right = torch.tensor([_inner(a, wanted) for a in profiles], dtype=torch.float64)
    scale = matrix.diagonal().rsqrt()  # unit profiles: a matrix that is better conditioned
    coefficients = scale * torch.linalg.lstsq(scale[:, None] * matrix * scale, scale * right, driver="gelsd").solution
    missed = 1 - (2 * coefficients @ right - coefficients @ matrix @ coefficients) / _inner(wanted, wanted)
    return coefficients, math.sqrt(max(float(missed), 0.0))


def _inner(a: tuple[int, float], b: tuple[int, float]) -> float:
    r"""Of two profiles (end t, exponent): :math:`\langle p_a, p_b\rangle = \frac{(\gamma_a + 1)(\gamma_b +
    1)}{\gamma_a + \gamma_b + 1} (t_a/t_b)^{\gamma_b}/t_b` for :math:`t_a \le t_b`."""
    (t_early, _), (t_late, power) = sorted([a, b], key=lambda profile: profile[0])
    return (a[1] + 1) * (b[1] + 1) / (a[1] + b[1] + 1) * (t_early / t_late) ** power / t_late
