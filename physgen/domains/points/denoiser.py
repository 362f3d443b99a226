"""The exact denoiser of a law, in the numbers that a network sees."""

from __future__ import annotations

from collections.abc import Mapping
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
    """

    law: ExactLaw
    mean: Tensor
    scale: float

    @classmethod
    def of(cls, template: xr.Dataset, constants: Mapping[str, Any]) -> EncodedLaw | None:
        """That of the law which the template names; None where there is none, or none in closed form."""
        from physgen.domains.points.domain import Points
        from physgen.domains.points.laws import LAW, attribute_fields, law_of
        from physgen.domains.points.settings import as_fields

        said = attribute_fields(str(template.attrs.get(LAW, "")), len(constants["mean"]))
        law = law_of(Points(**as_fields(said))).exact if said else None
        mean = torch.tensor(constants["mean"], dtype=torch.float64)
        return None if law is None else cls(law, mean, float(constants["std"][0]))

    def __call__(self, y: Tensor, s: Tensor, condition: Any = None) -> Tensor:
        mean = self.mean.to(y.device)
        return ((self.law(self.scale * y.double() + mean, self.scale * s.double()) - mean) / self.scale).to(y.dtype)

    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        wide = self.scale * y.double() + self.mean.to(y.device)
        jacobian = len(self.mean) * torch.log(torch.tensor(self.scale, dtype=torch.float64))
        return (self.law.log_density(wide, self.scale * s.double()) + jacobian).to(y.dtype)

    def log_law(self, y: Tensor, sample: int, s: float) -> Tensor:
        """:meth:`log_density` in the words of :meth:`physgen.domains.contract.Domain.log_law`; one law for all."""
        return self.log_density(y, torch.tensor(s, dtype=torch.float64)).double()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        drawn = self.law.sample(n, generator)
        return ((drawn.double() - self.mean.to(drawn.device)) / self.scale).float()
