r"""ln Z of planar spin glasses of any size: the determinant of Kac and Ward.

Of a planar lattice with any couplings and no external field,

.. math:: Z = 2^N \prod_e \cosh K_e \, \sqrt{\det(1 - W)}, \qquad
          W_{ef} = \tanh(K_e)\, e^{i \angle(e, f)/2} \quad (f \text{ follows } e,\ f \ne \bar e),

over the bonds in both directions; the angle is that by which the path turns. A lattice that is periodic in one dim is
drawn as an annulus: in its frame, which turns with the place, each bond along that dim turns by :math:`\pm 2\pi/W`
more. The matrix is a band, eliminated in L W^3 operations: where the transfer matrix ends, at some twenty spins across,
this goes on (ln Z only, no configurations). At low temperatures the determinant is a small difference of large
numbers: it is taken by two orders of elimination, and refused where their rounding differs.

Sources: Kac, Ward, Phys. Rev. 88 (1952), 1332; Lis, arXiv:1502.04322 (a proof for any planar graph).
"""

from __future__ import annotations

import math

import numpy as np

from physgen.errors import InputError

STRONGEST = 300.0  # of |K|: cosh K is a float64
AGREEMENT = 1e-4  # of ln Z between two orders of elimination


def planar_log_partition(couplings: np.ndarray, temperature: float) -> float:
    r"""ln Z of a two-dimensional lattice that is free along one of its dims at least.

    Args:
        couplings: (2, L, W) bonds up along both dims, units of J; those that close a free dim are zero.
        temperature: units of J (k_B = 1).

    Raises:
        InputError: periodic along both dims, which is not planar; or a temperature too low for float64.
    """
    strengths = _planar(couplings, temperature)
    roots = [0.5 * _log_determinant(_transitions(strengths), 4 * strengths[0].size, turn) for turn in (False, True)]
    if not abs(roots[0] - roots[1]) < AGREEMENT:
        raise InputError(
            f"at temperature {temperature:g} float64 does not resolve the determinant (ln Z differs by "
            f"{abs(roots[0] - roots[1]):.1g} with the order of elimination): raise the temperature, or use the "
            "transfer matrix"
        )
    return math.log(2) * strengths[0].size + float(_log_cosh(strengths).sum()) + roots[0]


def _log_determinant(transitions: tuple[np.ndarray, np.ndarray, np.ndarray], size: int, turn: bool) -> float:
    """ln |det(1 - W)| by elimination within a band, in the order of the sites or (``turn``) the opposite one."""
    from scipy.linalg.lapack import zgbtrf

    rows, columns, values = transitions
    if turn:
        rows, columns = size - 1 - rows, size - 1 - columns
    width = int(np.abs(rows - columns).max(initial=0))
    band = np.zeros((3 * width + 1, size), dtype=complex, order="F")  # the first ``width`` rows are for its pivots
    band[2 * width] = 1
    np.add.at(band, (2 * width + rows - columns, columns), -values)
    factor, _, failed = zgbtrf(band, width, width, overwrite_ab=True)
    return -math.inf if failed else float(np.log(np.abs(factor[2 * width])).sum())


def _planar(couplings: np.ndarray, temperature: float) -> np.ndarray:
    """K (2, L, W) of a lattice whose first dim is free; the dims are exchanged where the second one alone is."""
    if not temperature > 0:
        raise InputError(f"temperature {temperature} must be positive, in units of J")
    bonds = np.asarray(couplings, dtype=np.float64)
    if bonds.ndim != 3 or len(bonds) != 2:
        raise InputError(f"planar lattices have couplings (2, L, W), got {bonds.shape}")
    if bonds[0, -1].any():
        if bonds[1, :, -1].any():
            raise InputError(
                "a lattice that is periodic along both dims is not planar: use the transfer matrix, or free one dim"
            )
        bonds = bonds[::-1].transpose(0, 2, 1)
    strengths = bonds / temperature
    if np.abs(strengths).max(initial=0) > STRONGEST:
        raise InputError(
            f"temperature {temperature:g} is too low for the strongest bond {np.abs(bonds).max():.3g}: "
            f"raise it above {np.abs(bonds).max() / STRONGEST:.2g}"
        )
    return strengths


def _transitions(strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and values of W, not zero; the bond from site i in direction d (up, down, both dims) is 4 i + d."""
    grid = strengths.shape[1:]
    site = np.arange(grid[0] * grid[1]).reshape(grid)
    heading = np.array([0.5, -0.5, 0.0, 1.0]) * np.pi  # of the directions: up and down the first dim, the second
    curved = 2 * np.pi / grid[1] if strengths[1, :, -1].any() else 0.0
    found = []
    for direction in range(4):
        axis, back = divmod(direction, 2)
        bonds = np.roll(strengths[axis], 1, axis) if back else strengths[axis]
        ahead = np.roll(site, 1 if back else -1, axis)
        bend = (0.0, 0.0, curved, -curved)[direction]
        for following in range(4):
            if following == direction ^ 1:
                continue
            turn = (heading[following] - heading[direction] + np.pi) % (2 * np.pi) - np.pi
            value = np.tanh(bonds) * np.exp(0.5j * (turn + bend))
            found.append((4 * site + direction, 4 * ahead + following, value))
    rows, columns, values = (np.concatenate([entry[k].ravel() for entry in found]) for k in range(3))
    bound = values != 0  # a bond of zero that closes a free dim would widen the band to the whole matrix
    return rows[bound], columns[bound], values[bound]


def _log_cosh(x: np.ndarray) -> np.ndarray:
    size = np.abs(x)
    return size + np.log1p(np.exp(-2 * size)) - math.log(2)
