"""A number that prints itself with its error and its units."""

from __future__ import annotations

import math
from dataclasses import dataclass

from physgen.figures.notation import format_value


@dataclass(frozen=True, repr=False)
class Value:
    """A number with its standard error: ``Value(0.987, 0.012)`` prints as 0.987(12).

    Args:
        value: the number.
        error: one standard error, None where the number has none (a count); NaN where it could not be had, shown
            as ``(?)``.
        units: of both, ``"1"`` or empty for a pure number.

    ``f"{value:.4f}"`` formats the number alone, ``float(value)`` takes it.
    """

    value: float
    error: float | None = None
    units: str = ""

    def __str__(self) -> str:
        number = format_value(self.value, self.error)
        return number if self.units in ("", "1") else f"{number} {self.units}"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec.endswith(("e", "f", "g", "%")) else format(str(self), spec)

    def __float__(self) -> float:
        return float(self.value)

    @property
    def is_known(self) -> bool:
        """Whether the number is finite and has a finite error."""
        return math.isfinite(self.value) and self.error is not None and math.isfinite(self.error)
