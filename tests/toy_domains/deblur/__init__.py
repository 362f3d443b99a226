"""Toy domain conditioned on a field: a sky on an oblong patch, to be drawn given its blurred image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

from physgen.diagnostics import power_spectrum
from physgen.diagnostics.result import result_of_samples
from physgen.domains import contract
from physgen.lattice import Draws


def residual(ensemble: xr.Dataset) -> xr.Dataset:
    """Mean square of the field minus its blurred image: what the condition does not say."""
    square = ((ensemble.field - ensemble.blurred) ** 2).mean(("y", "x")).values[:, None]
    said = {"diagnostic": "residual", "kind": "scalar", "long_name": "mean square residual", "units": "Jy2"}
    return result_of_samples(ensemble, square, (), {}, **said, tolerance=0.2, tolerance_kind="ratio")


@dataclass(frozen=True)
class Domain(contract.Domain):
    """White noise smoothed over one cell; the condition is the same smoothed over ``width`` cells more."""

    name: ClassVar[str] = "deblur"
    description: ClassVar[str] = "sky given its blurred image"
    split_by: ClassVar[str] = "sample"

    width: float = field(default=2.0, metadata={"help": "width of the blur, in cells", "min": 0.1})
    count: int = field(default=60, metadata={"help": "pairs of a sky and its image", "min": 3})

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        white = np.random.default_rng(seed).standard_normal((self.count, 8, 16))
        sky = gaussian_filter(white, (0, 1, 1), mode="wrap")
        pair = {"field": sky, "blurred": gaussian_filter(sky, (0, self.width, self.width), mode="wrap")}
        made = xr.Dataset({k: (("sample", "y", "x"), v.astype(np.float32), {"units": "Jy"}) for k, v in pair.items()})
        made = made.assign_coords({d: (d, 0.5 * np.arange(made.sizes[d]), {"units": "arcsec"}) for d in ("y", "x")})
        made = made.assign_coords(sample=np.arange(self.count)).assign_attrs(domain=self.name)
        return contract.with_units(made, self)

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        return super().fit_encoding(train) | {"blurred_std": float(train.blurred.std())}

    def condition(self, ensemble: xr.Dataset, constants: dict[str, Any]) -> dict[str, torch.Tensor]:
        return {"channels": torch.from_numpy(ensemble.blurred.values[:, None] / np.float32(constants["blurred_std"]))}

    def augment(
        self,
        x: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        draws: Draws,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        sign = 1 - 2 * draws.integers(2, (1, 1, 1))
        return x * sign, {"channels": condition["channels"] * sign}

    def diagnostics(self) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        return {"power_spectrum": power_spectrum, "residual": residual}
