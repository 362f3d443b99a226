r"""Dead leaves: discs of random size and grey value that fall on each other, seen from above.

Convention. Centres are a homogeneous Poisson process in the plane, radii have the density

.. math:: p(r) = \frac{2 r^{-3}}{r_0^{-2} - r_1^{-2}}, \qquad r_0 \le r \le r_1,

grey values are independent and uniform over 0, 1, ..., L - 1, and a pixel has the value of the uppermost disc that
holds its centre. Leaves are put below each other from the top until every pixel is covered, which draws from the
stationary law itself, without a start to be forgotten. Two pixels at distance d lie on one leaf with the probability

.. math:: P(d) = \frac{\gamma(d)}{2\gamma(0) - \gamma(d)}, \qquad \gamma(d) = \langle\,|D_r \cap (D_r + d)|\,\rangle,

the mean area of a disc and itself moved by d; so the covariance of their values is P(d) (L^2 - 1)/12.
Sources: Lee, Mumford and Huang, Int. J. Comput. Vision 41 (2001), 35, for the law; Kendall and Thonnes, Pattern
Recognit. 32 (1999), 1569, for the drawing from above.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit


@njit(cache=True)
def _covered(image: np.ndarray, smallest: float, largest: float, levels: int, rng: np.random.Generator) -> None:
    """Fill an image (H, W) of -1 by leaves from the top."""
    height, width = image.shape
    left, kept = height * width, 1.0 - (smallest / largest) ** 2
    while left > 0:
        radius = smallest / np.sqrt(1.0 - rng.random() * kept)
        y = -largest + rng.random() * (height + 2 * largest)  # pixel (i, j) has its centre at (i + 1/2, j + 1/2)
        x = -largest + rng.random() * (width + 2 * largest)
        grey = int(rng.random() * levels)
        top, bottom = max(0, int(np.ceil(y - radius - 0.5))), min(height - 1, int(np.floor(y + radius - 0.5)))
        for i in range(top, bottom + 1):
            half = radius**2 - (i + 0.5 - y) ** 2
            if half < 0.0:
                continue
            half = np.sqrt(half)
            first, last = max(0, int(np.ceil(x - half - 0.5))), min(width - 1, int(np.floor(x + half - 0.5)))
            for j in range(first, last + 1):
                if image[i, j] < 0:
                    image[i, j] = grey
                    left -= 1


def draw_leaves(
    count: int,
    cells: int,
    radii: tuple[float, float],
    levels: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """``count`` independent images (count, cells, cells) float32 of whole numbers below ``levels``; radii in pixels.

    Image i depends on (seed, i) alone.
    """
    made = np.full((count, cells, cells), -1, dtype=np.int32)
    for number in range(count):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, number])))
        _covered(made[number], radii[0], radii[1], levels, rng)
        if progress is not None and (number % 64 == 63 or number == count - 1):
            progress(number + 1, count)
    return made.astype(np.float32)


def same_leaf(distance: np.ndarray, radii: tuple[float, float], nodes: int = 400) -> np.ndarray:
    """P(d) of this module at distances in pixels, any shape; Gauss-Legendre in 1/r^2, in which r is uniform."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    low, high = radii[1] ** -2.0, radii[0] ** -2.0
    radius = (low + (high - low) * (points + 1) / 2) ** -0.5
    part = np.minimum(np.asarray(distance, dtype=float)[..., None] / (2 * radius), 1.0)
    common = 2 * radius**2 * (np.arccos(part) - part * np.sqrt(1 - part**2))
    gamma, whole = common @ weights, (np.pi * radius**2) @ weights
    found: np.ndarray = gamma / (2 * whole - gamma)
    return found
