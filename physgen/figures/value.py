"""A number that prints itself with its error and its units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from physgen.figures.notation import format_value

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, repr=False)
class Value:
    """A number with its standard error: ``Value(0.987, 0.012)`` prints as 0.987(12).

    Args:
        value: the number.
        error: one standard error, None where the number has none (a count); NaN where it is unavailable, shown
            as ``(?)``.
        units: of both, ``"1"`` or empty for a pure number.

    ``f"{value:.4f}"`` formats the number alone, ``float(value)`` takes it.
    """

    value: float
    error: float | None = None
    units: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "error", None if self.error is None else float(self.error))

    def __str__(self) -> str:
        number = format_value(self.value, self.error)
        return number if self.units in ("", "1") else f"{number} {self.units}"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec.endswith(("e", "f", "g", "%")) else format(str(self), spec)

    def __float__(self) -> float:
        return float(self.value)

    @classmethod
    def of(cls, entry: Mapping[str, float | None], units: str = "") -> Value:
        """Of an entry of a summary, {"value": ..., "error": ...}; None where a number is unknown."""
        value, error = entry.get("value"), entry.get("error")
        return cls(math.nan if value is None else value, error, units)

    @property
    def is_known(self) -> bool:
        """Whether the number is finite and has a finite error."""
        return math.isfinite(self.value) and self.error is not None and math.isfinite(self.error)


def values(result: xr.Dataset) -> np.ndarray:
    """The points of a result as numbers with their errors, an array of :class:`Value` of the shape of ``value``.

    Example: ``values(power_spectrum(ensemble))[:2]`` shows as [21.3(1.2) (Mpc/h)^2 14.02(83) (Mpc/h)^2].
    """
    units = str(result["value"].attrs.get("units", ""))
    value, error = (np.asarray(result[name], dtype=float) for name in ("value", "error"))
    points = np.empty(value.shape, dtype=object)
    for place in np.ndindex(value.shape):
        points[place] = Value(float(value[place]), float(error[place]), units)
    return points
