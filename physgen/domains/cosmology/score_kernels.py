"""The map to normal scores in one loop: a training set passes through it twice, value by value."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def scores(
    values: np.ndarray, x: np.ndarray, y: np.ndarray, secant: np.ndarray, slope: np.ndarray, out: np.ndarray
) -> None:
    """Monotone rational quadratics between the knots (x, y), lines beyond; see :mod:`gaussianise`. Arrays are flat."""
    last = len(x) - 1
    for j in range(len(values)):
        v = values[j]
        if v < x[0]:
            out[j] = y[0] + slope[0] * (v - x[0])
        elif v > x[last]:
            out[j] = y[last] + slope[last] * (v - x[last])
        else:
            k, above = 0, last  # x[k] <= v, and v < x[above] unless it is the last knot
            while above - k > 1:
                middle = (k + above) // 2
                if v >= x[middle]:
                    k = middle
                else:
                    above = middle
            part = (v - x[k]) / (x[k + 1] - x[k])
            bend = part * (1 - part)
            rise = secant[k] * part**2 + slope[k] * bend
            ratio = rise / (secant[k] + (slope[k] + slope[k + 1] - 2 * secant[k]) * bend)
            out[j] = y[k] + (y[k + 1] - y[k]) * ratio
