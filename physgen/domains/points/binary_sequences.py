r"""Laws of sequences of ones and zeros, as +1 and -1, with their exact denoisers and probabilities.

================  ===================================================================================================
``sequences``     given sequences :math:`a_k` with weights :math:`w_k`: :math:`P(x) = \sum_k w_k \delta_{x a_k}`
``heartbeat``     a one every ``period`` sites: the sequences of all phases, of equal weight (Sohl-Dickstein et al.
                  2015, arXiv:1503.03585, section 3.1.2: 20 sites, period 5, so that :math:`\log_2 P = -\log_2 5`)
``parity``        all sequences with an even number of ones: :math:`P(x) = (1 + \prod_i (-x_i))/2^d`
================  ===================================================================================================

Shapes: B samples, d sites, K sequences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.exact import EmpiricalMeasure, SpinLaw

SATURATED = 18.0  # a field h, or -ln(-ln Q), beyond which e^-2h, or -ln Q itself, is nothing beside 1


@dataclass(frozen=True, eq=False)
class Sequences:
    """A finite list of sequences.

    Args:
        values: (K, d) of +-1, all different. weights: (K,), > 0.
    """

    values: Tensor
    weights: Tensor

    @property
    def exact(self) -> EmpiricalMeasure:
        """Denoiser and density under noise."""
        return EmpiricalMeasure(self.values, self.weights.log())

    def matches(self, x: Tensor) -> Tensor:
        """Whether the signs of x (B, d) are those of each sequence, (B, K) bool; a zero is a one."""
        signs = torch.where(x >= 0, 1.0, -1.0)
        return (signs @ self.values.to(signs).T) == x.shape[1]

    def log_probability(self, x: Tensor) -> Tensor:
        """ln P of x (B, d), natural logarithm, (B,) float64; -inf for sequences that are none of these."""
        log_w = torch.log(self.weights.double() / self.weights.double().sum())
        return torch.logsumexp(torch.where(self.matches(x), log_w, -math.inf), dim=1)

    def valid(self, x: Tensor) -> Tensor:
        """Whether x (B, d) is one of them, (B,) bool."""
        return self.matches(x).any(1)


def heartbeat(length: int, period: int) -> Sequences:
    """The sequences of ``length`` sites with a one at each i with (i - phase) divisible by ``period``, all phases."""
    site, phase = torch.arange(length), torch.arange(period)
    values = torch.where((site - phase[:, None]) % period == 0, 1.0, -1.0).double()
    return Sequences(values, torch.ones(period, dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class EvenParity(SpinLaw):
    r"""Uniform over the sequences with an even number of ones.

    With :math:`t = \tanh h`, :math:`c = (-1)^d` the product of all values, and :math:`Q_i = c \prod_{j \ne i} t_j`,

    .. math:: Z(h) = \tfrac12 \prod_i 2\cosh h_i \Big(1 + c \prod_i t_i\Big), \qquad
              \langle S_i \rangle = \tanh(h_i + \mathrm{artanh}\,Q_i).

    Args:
        length: d sites.
    """

    length: int

    @property
    def sites(self) -> int:
        return self.length

    def log_partition(self, field: Tensor) -> Tensor:
        far, product = _distance(field).logsumexp(1), (-1.0) ** self.length * _sign(field).prod(1)
        larger, smaller = _logs_of_one_plus_minus(far)
        log_cosh = torch.logaddexp(field, -field).sum(1)
        return log_cosh + torch.where(product > 0, larger, smaller) - math.log(2)

    def magnetisation(self, field: Tensor) -> Tensor:
        far, sign = _distance(field), _sign(field)
        nothing = torch.full_like(far[:, :1], -math.inf)
        before = torch.cat([nothing, far.logcumsumexp(1)[:, :-1]], dim=1)
        after = torch.cat([far.flip(1).logcumsumexp(1).flip(1)[:, 1:], nothing], dim=1)
        larger, smaller = _logs_of_one_plus_minus(torch.logaddexp(before, after))
        others = (-1.0) ** self.length * sign.prod(1, keepdim=True) * sign
        return torch.tanh(field + others * (larger - smaller) / 2)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        free = 2.0 * torch.randint(2, (n, self.length - 1), generator=generator).double() - 1
        return torch.cat([free, (-1.0) ** self.length * free.prod(1, keepdim=True)], dim=1)

    def valid(self, x: Tensor) -> Tensor:
        """Whether the signs of x (B, d) hold an even number of ones, (B,) bool; a zero is a one."""
        return (x >= 0).sum(1) % 2 == 0

    def log_probability(self, x: Tensor) -> Tensor:
        """ln P of x (B, d), natural logarithm, (B,) float64; -inf for an odd number of ones."""
        found = torch.where(self.valid(x), -(self.length - 1) * math.log(2), -math.inf)
        return found.double()


def _sign(field: Tensor) -> Tensor:
    return torch.where(field < 0, -1.0, 1.0).to(field)


def _distance(field: Tensor) -> Tensor:
    """ln(-ln |tanh h|): -ln of a product of tanh is then a sum of exponentials, and none is lost beside 1."""
    size = field.abs()
    near = torch.log(-torch.log1p(-2 * torch.sigmoid(-2 * size.clamp(1e-300, SATURATED))))
    return torch.where(size > SATURATED, math.log(2) - 2 * size, near)


def _logs_of_one_plus_minus(far: Tensor) -> tuple[Tensor, Tensor]:
    """ln(1 + Q) and ln(1 - Q) of Q > 0 with far = ln(-ln Q)."""
    log_q = -far.exp()
    return torch.log1p(log_q.exp()), torch.where(far < -SATURATED, far, torch.log(-torch.expm1(log_q)))
