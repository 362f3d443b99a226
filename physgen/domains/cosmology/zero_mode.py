r"""The mode k = 0 of an encoded field stands for the mean of the field itself.

The mean over a map of an encoded field, a logarithm, says little of the mass in it; the mass is dominated by a few
peaks. A network that learns each cell to a percent still scatters the mass of maps too much. So the zero mode of the
encoded field x is replaced,

.. math:: x'_i = x_i - \bar x + b\,(m - m_0), \qquad m = \overline{\mathrm{field}}/\mathrm{scale},

with m_0 the mean of m over the training part and b the ratio of the scatters of x-bar and m, so that the new zero mode
is as large as the old one. It is one to one: decoding is monotone in every cell, so one shift of all x_i gives the
field its mean m. What is drawn then has the scatter of the means that the one mode k = 0 has, which a Gaussian prior
of the right variance holds to start with.

Where m does not vary (boxes that hold the cosmic mean) the zero mode stays as it is, and decoding ignores it: every
box that is drawn has the mean m_0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# scatter of m below which means do not vary: single precision of a mean
CONSERVED = 1e-5
# to which the mean of a sample is met, in units of the scale of the field
TOLERANCE = 1e-9
# first step of a bracket, in standard deviations of the encoded cells; its doublings; secants inside it
FIRST_STEP, DOUBLINGS, STEPS = 0.05, 12, 60

# (shifts, numbers of the samples that they are for) -> means less those wanted
Misses = Callable[[np.ndarray, np.ndarray], np.ndarray]


def fit_zero_mode(field_means: np.ndarray, encoded_scatter: float) -> dict[str, float]:
    """{"mean": m_0, "slope": b} of the means of the training samples, and the scatter of the means of the encoded ones.

    The slope is 0 where the mean of the field is fixed.
    """
    centre = float(field_means.mean())
    scatter = float(field_means.std())
    if scatter < CONSERVED * max(1.0, abs(centre)):
        return {"mean": centre, "slope": 0.0}
    return {"mean": centre, "slope": max(encoded_scatter, CONSERVED) / scatter}


def encoded_zero_mode(field_means: np.ndarray, constants: Mapping[str, float]) -> np.ndarray:
    """b (m - m_0), the zero mode of samples with these means."""
    return constants["slope"] * (np.asarray(field_means, dtype=np.float64) - constants["mean"])


def set_zero_mode(x: np.ndarray, field_means: np.ndarray, constants: Mapping[str, float]) -> None:
    r"""Replace the zero modes of x (B, \*grid), in place; as they are where the mean is fixed."""
    if constants["slope"] == 0.0:
        return
    cells = tuple(range(1, x.ndim))
    shift = encoded_zero_mode(field_means, constants) - x.mean(cells, dtype=np.float64)
    x += shift.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)


def shift_to_mean(
    x: np.ndarray, decode: Callable[[np.ndarray], np.ndarray], constants: Mapping[str, float]
) -> np.ndarray:
    r"""x (B, \*grid), float64, plus the shift of each sample that gives ``decode(x)`` the mean of its zero mode.

    Args:
        decode: x -> field / scale, elementwise and not falling.
        constants: of :func:`fit_zero_mode`.

    A mean that no shift gives (below the empty field) is met as nearly as can be.
    """
    cells = tuple(range(1, x.ndim))
    over_cells = (-1, *[1] * (x.ndim - 1))
    zero = x.mean(cells, dtype=np.float64)
    slope = constants["slope"]
    wanted = constants["mean"] + (zero / slope if slope else np.zeros_like(zero))
    x = np.asarray(x, dtype=np.float64)

    def miss(shift: np.ndarray, which: np.ndarray) -> np.ndarray:
        return decode(x[which] + shift.reshape(over_cells)).mean(cells) - wanted[which]

    return x + _root(miss, len(x)).reshape(over_cells)


def _root(miss: Misses, count: int) -> np.ndarray:
    """Zeros of ``count`` functions that do not fall, ``miss(shifts, which)``."""
    near, far = np.zeros(count), np.zeros(count)
    at_near = miss(near, np.arange(count))
    at_far, upwards, step = at_near.copy(), np.where(at_near < 0, 1.0, -1.0), FIRST_STEP
    for _ in range(DOUBLINGS):
        outside = np.flatnonzero(at_far * upwards < 0)
        if not len(outside):
            break
        near[outside], at_near[outside] = far[outside], at_far[outside]
        far[outside] += step * upwards[outside]
        at_far[outside], step = miss(far[outside], outside), 2 * step
    return _between(miss, near, far, at_near, at_far)


def _between(miss: Misses, a: np.ndarray, b: np.ndarray, at_a: np.ndarray, at_b: np.ndarray) -> np.ndarray:
    """The rule of Illinois (Dowell & Jarratt 1971): secants, an end that stays twice has its value halved."""
    best, at_best = np.where(np.abs(at_a) < np.abs(at_b), [a, at_a], [b, at_b])
    for _ in range(STEPS):
        open_ = np.flatnonzero((np.abs(at_best) > TOLERANCE) & (at_a * at_b < 0))
        if not len(open_):
            break
        fa, fb = at_a[open_], at_b[open_]
        found = b[open_] - fb * (b[open_] - a[open_]) / (fb - fa)
        value = miss(found, open_)
        crossed = value * fb < 0
        a[open_], at_a[open_] = np.where(crossed, [b[open_], fb], [a[open_], fa / 2])
        b[open_], at_b[open_] = found, value
        better = np.abs(value) < np.abs(at_best[open_])
        best[open_[better]], at_best[open_[better]] = found[better], value[better]
    return best
