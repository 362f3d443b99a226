r"""Laws of spins :math:`\pm1`: the noise acts as a field on them.

With the weights :math:`e^{-\beta H(S)}` and :math:`h = y/s^2`, :math:`Z(h) = \sum_S e^{-\beta H + h \cdot S}`:

.. math:: D_i = \partial_i \log Z(h) = \langle S_i \rangle_h, \qquad
          \log p_s(y) = \log Z(h) - \log Z(0) - \frac{|y|^2 + N}{2 s^2} - \frac N2 \log 2\pi s^2.

Shapes: B batch, N sites = C x grid in C order. Work is done in float64: h grows as 1/s^2.
Source: stochastic localization, Montanari, arXiv:2305.10690.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, like
from physgen.diffusion.exact.law import LOG_2PI, ExactLaw

KNOWN = 40.0  # a field that leaves the other value of a spin a weight of e^-80


class SpinLaw(ExactLaw):
    """A Boltzmann law of spins whose partition function in any field is known."""

    @abstractmethod
    def log_partition(self, field: Tensor) -> Tensor:
        r""":math:`\log Z(h)` (B,) in fields h (B, N), float64, that come on top of the model's own (beta included)."""

    def magnetisation(self, field: Tensor) -> Tensor:
        r""":math:`\langle S_i \rangle_h = \partial_i \log Z(h)`, (B, N)."""
        return torch.func.grad(lambda h: self.log_partition(h).sum())(field)

    @property
    @abstractmethod
    def sites(self) -> int:
        """N."""

    @cached_property
    def log_Z(self) -> float:
        r""":math:`\log Z` of the model itself."""
        return float(self.log_partition(torch.zeros(1, self.sites, dtype=torch.float64))[0])

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        return self.magnetisation(_field(y, s)).reshape(y.shape).to(y.dtype)

    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        wide, level, count = y.flatten(1).double(), s.double().expand(len(y)), y[0].numel()
        quadratic = 0.5 * (wide.square().sum(1) + count) / level**2
        normalisation = count * (torch.log(level) + 0.5 * LOG_2PI)
        return (self.log_partition(_field(y, s)) - self.log_Z - quadratic - normalisation).to(y.dtype)

    def log_probability_of_known(self, x: Tensor) -> Tensor:
        r""":math:`\log p` (B,) of the known spins of x (B, C, \*grid), +-1, and 0 where a spin is not known.

        The weights of the model's own fields and bonds must be well below :math:`e^{80}`.
        """
        fields = KNOWN * x.flatten(1).double()
        return self.log_partition(fields) - fields.abs().sum(1) - self.log_Z

    def log_probability_of_flipped(self, x: Tensor, correlation: Tensor) -> Tensor:
        r""":math:`\log p` (B,) of x (B, C, \*grid), +-1: spins of this law, each flipped with probability :math:`(1 -
        \rho)/2`, so that :math:`p(x) = Z(\mathrm{artanh}(\rho)\,x) / Z(0) (2\cosh\mathrm{artanh}\rho)^N`.

        Args:
            correlation: rho (B,) or (), in [0, 1), of a spin with what it was.
        """
        strength = torch.atanh(correlation.double()).expand(len(x))
        fields = like(strength, x.flatten(1)) * x.flatten(1).double()
        return self.log_partition(fields) - self.log_Z - fields.shape[1] * log_cosh(strength)


def _field(y: Tensor, s: Tensor) -> Tensor:
    wide = y.flatten(1).double()
    return wide / like(s.double(), wide) ** 2


def log_cosh(x: Tensor) -> Tensor:
    r""":math:`\log 2\cosh x` without overflow."""
    return torch.logaddexp(x, -x)  # softplus drops its tail above 20


def draw_spins(field: Tensor, generator: torch.Generator) -> Tensor:
    r"""Independent spins with :math:`P(S = 1) = 1/(1 + e^{-2h})` in fields h, float64."""
    uniform = torch.rand(field.shape, generator=generator, device=generator.device, dtype=torch.float64)
    return torch.where(uniform.to(field.device) < torch.sigmoid(2 * field), 1.0, -1.0).to(field)
