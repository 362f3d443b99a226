"""The exact denoiser of a law, in the numbers that a network sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from physgen.diffusion.exact import ExactLaw

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False)
class EncodedLaw(ExactLaw):
    r"""The law of :math:`x = (f - m)/c` from that of f: :math:`D(y, s) = (D_f(c y + m, c s) - m)/c`.

    Args:
        law: of the vectors f (B, d).
        mean: m (d,). scale: c.
        probability: f (B, d) -> ln P (B,) where the values are +1 and -1.
    """

    law: ExactLaw
    mean: Tensor
    scale: float
    probability: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def of(cls, template: xr.Dataset, constants: Mapping[str, Any]) -> EncodedLaw | None:
        """That of the law which the template names; None where there is none, or none in closed form."""
        from physgen.domains.points.laws import law_of, named_law

        named = named_law(template, len(constants["mean"]))
        known = None if named is None else law_of(named)
        if known is None or known.exact is None:
            return None
        mean = torch.tensor(constants["mean"], dtype=torch.float64)
        return cls(known.exact, mean, float(constants["std"][0]), known.log_probability)

    def __call__(self, y: Tensor, s: Tensor, condition: Any = None) -> Tensor:
        mean = self.mean.to(y.device)
        return ((self.law(self.scale * y.double() + mean, self.scale * s.double()) - mean) / self.scale).to(y.dtype)

    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        wide = self.scale * y.double() + self.mean.to(y.device)
        jacobian = len(self.mean) * torch.log(torch.tensor(self.scale, dtype=torch.float64))
        return (self.law.log_density(wide, self.scale * s.double()) + jacobian).to(y.dtype)

    def log_law(self, y: Tensor, sample: int, s: float) -> Tensor:
        """:meth:`log_density` in the words of :meth:`physgen.domains.contract.Domain.log_law`; one law for all."""
        if s == 0 and self.probability is not None:
            return self.probability(self.scale * y.double() + self.mean.to(y.device))
        return self.log_density(y, torch.tensor(s, dtype=torch.float64)).double()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        drawn = self.law.sample(n, generator)
        return ((drawn.double() - self.mean.to(drawn.device)) / self.scale).float()
