"""A measured curve over times and where it crosses a level, each with its error. Shapes: T times, U groups of units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from physgen.diagnostics.regimes.left_out import jackknife_error


@dataclass(frozen=True, eq=False)
class Curve:
    """A statistic over times, without each group of units, and its error by the noise alone."""

    times: np.ndarray  # (T,)
    value: np.ndarray  # (T,)
    without: np.ndarray  # (U, T)
    noise: np.ndarray | None = None  # (T,)

    def scaled(self, factor: float) -> Curve:
        noise = None if self.noise is None else factor * self.noise
        return Curve(self.times, factor * self.value, factor * self.without, noise)

    @property
    def error(self) -> np.ndarray:
        return jackknife_error(self.without)

    def root(self, level: float = 0.0, sign: int = 1) -> tuple[float, float, float]:
        """Last time at which the curve rises (sign 1) or falls (-1) through a level: time, error, error by the noise.

        Between times the curve is a monotone cubic; errors are those of the value there over the slope, to first order.
        """
        curve = sign * (self.value - level)
        nothing = (math.nan, math.nan, math.nan)
        if len(curve) < 2 or not np.all(np.isfinite(curve)):
            return nothing
        rises = np.flatnonzero((curve[:-1] < 0) & (curve[1:] >= 0))
        if len(rises) == 0:
            return nothing
        i = rises[-1]
        between = PchipInterpolator(self.times, curve)
        found = between.solve(0.0, extrapolate=False)
        found = found[(found >= self.times[i]) & (found <= self.times[i + 1])]
        time = float(found[0])
        slope = float(between(time, 1))
        if not slope > 0:
            return (time, math.nan, math.nan)
        known = len(self.without) > 0 and bool(np.isfinite(self.without).all())
        here = PchipInterpolator(self.times, self.without, axis=1)(time) if known else None
        error = math.nan if here is None else float(jackknife_error(here)) / slope
        noise = math.nan if self.noise is None else float(np.interp(time, self.times, self.noise)) / slope
        return time, error, noise

    def crossing(self, level: float, scatter: np.ndarray) -> tuple[float, float, float]:
        """Where the curve falls through a level that is itself known up to ``scatter`` (T,), which the error holds."""
        time, error, noise = self.root(level, sign=-1)
        if not math.isfinite(time):
            return time, error, noise
        slope = abs(float(PchipInterpolator(self.times, self.value)(time, 1)))
        return time, math.hypot(error, float(np.interp(time, self.times, scatter)) / slope), noise
