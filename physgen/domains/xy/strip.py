r"""ln Z of angles on narrow lattices, by the transfer matrix on M directions of each site.

The integral over each angle is the mean over M even directions, which for a function of harmonics up to M - 1 is exact:
:math:`Z = (2\pi/M)^N \sum e^{\sum K_{ij}\cos(\theta_i - \theta_j - \phi_{ij})}`. What is missed are products of
Bessel functions whose orders add up to M at a site: of four bonds K = 1, :math:`I_4(1)^4 = 6 \times 10^{-11}` for
M = 16. A ring of layers has its first site held, which the common rotation allows.
Source: the trapezoidal rule, Trefethen and Weideman, SIAM Review 56 (2014), 385; of chains it gives the exact
:math:`2\pi (2\pi I_0(K))^{N-1}` and :math:`\sum_n (2\pi I_n(K))^N`, to which tests hold it.

Shapes: d dims, \*grid lattice, W sites of a layer, M directions.
"""

from __future__ import annotations

import math

import numpy as np

from physgen.errors import InputError

POINTS = 16
MOST = 2**22  # numbers of a vector held at once


def log_partition(bonds: np.ndarray, phases: np.ndarray | None = None, points: int = POINTS) -> float:
    r"""ln Z per radian of each angle, of one instance.

    Args:
        bonds: K = beta J (d, \*grid), a zero across a free seam.
        phases: :math:`\phi` of each bond, same shape; None for 0. ``points``: M.

    Raises:
        InputError: layers of more than 2^22 states.
    """
    strengths = np.asarray(bonds, dtype=np.float64)
    turned = np.zeros_like(strengths) if phases is None else np.asarray(phases, dtype=np.float64)
    layers, width = strengths.shape[1], int(np.prod(strengths.shape[2:]))
    is_ring = bool(strengths[0, -1].any())
    if points ** (2 * width - 1 if is_ring else width) > MOST:
        raise InputError(
            f"layers of {width} sites of {points} directions each are too wide for the transfer matrix: take a "
            "narrower lattice, a free first dim or fewer points"
        )
    inside = [_inside(strengths[:, layer], turned[:, layer], points) for layer in range(layers)]
    links, angles = strengths[0].reshape(layers, width), turned[0].reshape(layers, width)
    top, vectors = 0.0, np.exp(inside[0])[None]
    if is_ring:  # the first site held at angle 0, the others in each of their states: rows of a matrix
        vectors = np.diag(vectors.reshape(-1)[: points ** (width - 1)])
        vectors = np.pad(vectors, ((0, 0), (0, (points - 1) * vectors.shape[1])))
    vectors = vectors.reshape(len(vectors), -1)
    for layer in range(1, layers):
        vectors = _passed(vectors, links[layer - 1], angles[layer - 1], points)
        vectors = vectors * np.exp(inside[layer].reshape(-1) - inside[layer].max())
        scale = vectors.max()
        vectors, top = vectors / scale, top + math.log(scale) + inside[layer].max()
    if is_ring:
        vectors = _passed(vectors, links[-1], angles[-1], points)
        total = math.log(np.trace(vectors)) + math.log(points)
    else:
        total = math.log(vectors.sum())
    return top + total + layers * width * math.log(2 * math.pi / points)


def _inside(strengths: np.ndarray, turned: np.ndarray, points: int) -> np.ndarray:
    r"""Exponent of one layer by itself, (M,) * W: bonds (d, \*layer) of which those along the first dim lead out."""
    shape = strengths.shape[1:]
    sites = np.arange(int(np.prod(shape))).reshape(shape)
    found = np.zeros([points] * sites.size)
    directions = 2 * np.pi * np.arange(points) / points
    for axis in range(len(shape)):
        for site, other, bond, turn in zip(
            *(x.reshape(-1) for x in (sites, np.roll(sites, -1, axis), strengths[1 + axis], turned[1 + axis])),
            strict=True,
        ):
            mine, its = (
                directions.reshape([-1 if i == one else 1 for i in range(sites.size)]) for one in (site, other)
            )
            found = found + bond * np.cos(mine - its - turn)
    return found


def _passed(vectors: np.ndarray, links: np.ndarray, angles: np.ndarray, points: int) -> np.ndarray:
    """Vectors (rows, M^W) through the bonds of the W sites to the next layer."""
    directions = 2 * np.pi * np.arange(points) / points
    for site, (bond, turn) in enumerate(zip(links, angles, strict=True)):
        matrix = np.exp(bond * np.cos(directions[:, None] - directions[None] - turn))
        split = vectors.reshape(len(vectors) * points**site, points, -1)
        vectors = np.einsum("rax,ab->rbx", split, matrix, optimize=True).reshape(len(vectors), -1)
    return vectors
