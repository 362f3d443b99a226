r"""ln Z from paths of both directions: from below, from above, and joined by Bennett's acceptance ratio.

With F the law of drawn paths, R that of *reverse paths*, noised upwards from a configuration of the target, and w the
weight of a path (:mod:`physgen.diffusion.inference.path_weights`), the same function of the path in both laws,

.. math:: dR/dF = w/Z, \qquad E_F[w] = Z, \qquad E_R[1/w] = 1/Z, \qquad E_F[\ln w] \le \ln Z \le E_R[\ln w]

(Crooks, Phys. Rev. E 60 (1999), 2721, with :math:`\ln w` for minus the dissipated work). For every function f,
:math:`Z\,E_R[f/w] = E_F[f]`. With :math:`c = \ln Z + \ln(N_F/N_R)` and the logistic function g, the choice of least
variance for independent paths is :math:`E_F[g(\ln w - c)]` against :math:`E_R[g(c - \ln w)]`:

.. math:: \sum_F g(\ln w - c) = \sum_R g(c - \ln w)

(Bennett, J. Comput. Phys. 22 (1976), 245, eqs. 12 and 13; maximum likelihood by Shirts, Bair, Hooker and Pande,
Phys. Rev. Lett. 91 (2003), 140601). g lies in [0, 1]: a single path of huge weight, which ruins either of the one-sided
values, does not ruin this one. What is left to fail is overlap: no path of F looks like one of R; then few summands
carry the sums, and no error is given.

What the start of a reverse path is decides what two sides prove. From configurations of the target that were made
without the model, modes that the model never visits show: ln Z from above exceeds ln Z from below. From the model's own
draws, chosen by their weights, they do not, and agreement says only that the paths are consistent.

Shapes: N_F and N_R log-weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from physgen.diffusion.inference.weight_statistics import (
    LONGEST_TAIL,
    effective_fraction,
    summarise_weights,
    tail_shape,
)

FEWEST_COUNT = 10.0  # summands that carry each of Bennett's sums; of fewer, the spread of those seen is no error
LARGEST_GAP = 4.0  # standard errors between the two one-sided values
HALVINGS = 200  # of the bracket of ln Z: to the last digit of float64


@dataclass(frozen=True)
class TwoSided:
    r"""ln Z from both sides (:func:`bennett`).

    Attributes:
        log_Z: Bennett's acceptance ratio.
        log_Z_error: standard error, linearised: of independent paths alone.
        forward: :math:`\ln \langle w \rangle_F`, with ``forward_error`` (jackknife) and ``forward_tail``.
        reverse: :math:`-\ln \langle 1/w \rangle_R`, with ``reverse_error`` and ``reverse_tail``, of 1/w.
        lower: :math:`\langle \ln w \rangle_F`, in the mean below ln Z whatever the tails.
        upper: :math:`\langle \ln w \rangle_R`, in the mean above it.
        tail: the larger Pareto shape of the summands of Bennett's two sums.
        counts: the smaller effective number of summands of the two sums.
    """

    log_Z: float
    log_Z_error: float
    forward: float
    forward_error: float
    forward_tail: float
    reverse: float
    reverse_error: float
    reverse_tail: float
    lower: float
    upper: float
    tail: float
    counts: float

    @property
    def gap(self) -> float:
        """ln Z from above minus that from below: 0 within its error."""
        return self.reverse - self.forward

    @property
    def gap_error(self) -> float:
        """Standard error of the gap, worth something where both tails are short."""
        return math.hypot(self.forward_error, self.reverse_error)

    @property
    def disagrees(self) -> bool:
        """Whether both sides have errors that mean something and contradict each other: R is not of this law."""
        judged = _largest([self.forward_tail, self.reverse_tail]) <= LONGEST_TAIL
        return judged and abs(self.gap) > LARGEST_GAP * self.gap_error

    @property
    def is_closed(self) -> bool:
        """Whether ``log_Z_error`` is an error: the sums are carried by many paths, and the sides do not disagree."""
        return self.tail <= LONGEST_TAIL and self.counts >= FEWEST_COUNT and not self.disagrees


def bennett(forward: Tensor, reverse: Tensor) -> TwoSided:
    r"""ln Z from log-weights of drawn paths (N_F,) and of reverse paths (N_R,), both of :math:`\ln w`.

    Error (Bennett 1976, eq. 10a, both sums): :math:`\sigma^2 = \sum_{F, R} \mathrm{Var}(g)/(N \langle g \rangle^2)`.
    Starts of reverse paths that depend on each other make it too small. The bias is of order 1/N.

    Raises:
        ValueError: fewer than two log-weights of a side, or one that is NaN or +infinity.
    """
    down, up = summarise_weights(forward), summarise_weights(-reverse)
    ahead, back = forward.double(), reverse.double()
    offset = math.log(len(ahead) / len(back))
    seen = torch.cat([ahead, back])
    low, high = float(seen[seen > -math.inf].min()) - abs(offset) - 1, float(seen.max()) + abs(offset) + 1
    for _ in range(HALVINGS):
        log_z = 0.5 * (low + high)
        excess = torch.sigmoid(ahead - log_z - offset).sum() - torch.sigmoid(log_z + offset - back).sum()
        low, high = (log_z, high) if excess > 0 else (low, log_z)
    sums = [logsigmoid(ahead - log_z - offset), logsigmoid(log_z + offset - back)]
    fractions = [effective_fraction(one) for one in sums]
    variance = sum((1 / part - 1) / (len(one) - 1) for part, one in zip(fractions, sums, strict=True))
    return TwoSided(
        log_Z=log_z,
        log_Z_error=math.sqrt(max(variance, 0.0)),
        forward=down.log_Z,
        forward_error=down.log_Z_error,
        forward_tail=down.tail,
        reverse=-up.log_Z,
        reverse_error=up.log_Z_error,
        reverse_tail=up.tail,
        lower=float(ahead.mean()),
        upper=float(back.mean()),
        tail=_largest([tail_shape(one) for one in sums]),
        counts=min(part * len(one) for part, one in zip(fractions, sums, strict=True)),
    )


def _largest(shapes: list[float]) -> float:
    """The largest, NaN where one is not known."""
    return math.nan if any(math.isnan(one) for one in shapes) else max(shapes)
