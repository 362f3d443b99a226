r"""What is left of each Fourier mode after an autoencoder: the most that diffusion of its latents can give back.

Shapes: N fields, C components, S shells of \|k\|, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physgen.lattice import multiplicity, power_by_shell, shells, wavenumber


@dataclass(frozen=True)
class Information:
    r"""By shell of \|k\|, of fields x and what came back, :math:`\hat x`, in sums over the modes of the shell:

    .. math:: T = \frac{\mathrm{Re}\sum \hat x x^*}{\sum |x|^2}, \quad
              r = \frac{\mathrm{Re}\sum \hat x x^*}{\sqrt{\sum |\hat x|^2 \sum |x|^2}}, \quad
              \rho = \frac{\sum |\hat x - x|^2}{\sum |x|^2}, \quad P = \frac{\sum |\hat x|^2}{\sum |x|^2} .

    Where both are Gaussian :math:`-\tfrac12 \log_2(1 - r^2)` bits of each real mode are kept. r of a shell that nothing
    came back of is 0. Errors are standard errors over independent units, linearised.

    Attributes:
        k: (S,) mean wavenumber, radians per cell or per unit of ``cell_size``. modes: (S,).
        transfer, correlation, residual, power: each (C, S) float64 in the order T, r, rho, P; ``*_error`` their errors.
        total, total_error: the residual of all modes together, the sum of squares over that of x.
    """

    k: np.ndarray
    modes: np.ndarray
    transfer: np.ndarray
    transfer_error: np.ndarray
    correlation: np.ndarray
    correlation_error: np.ndarray
    residual: np.ndarray
    residual_error: np.ndarray
    power: np.ndarray
    power_error: np.ndarray
    total: float
    total_error: float


def kept_information(
    x: Tensor, back: Tensor, unit: Sequence[Any] | np.ndarray | None = None, cell_size: Sequence[float] | None = None
) -> Information:
    r"""Transfer, cross-correlation, residual and power of ``back`` over x, both (N, C, \*grid), by shells.

    Args:
        unit: (N,) names of the independent units; each field one where None. cell_size: along each axis.

    Raises:
        ValueError: shapes that differ.
    """
    if x.shape != back.shape:
        raise ValueError(f"what came back has the shape {tuple(back.shape)}, the fields {tuple(x.shape)}")
    grid = tuple(x.shape[2:])
    number = torch.from_numpy(np.unique(shells(grid, cell_size), return_inverse=True)[1].reshape(shells(grid).shape))

    def power(field: Tensor) -> np.ndarray:
        return power_by_shell(field.double().flatten(0, 1), number).view(*x.shape[:2], -1).numpy()

    own, kept, missed = power(x), power(back), power(x - back)
    cross = (own + kept - missed) / 2
    name = np.arange(len(x)) if unit is None else np.unique(np.asarray(unit), return_inverse=True)[1]
    weight = np.broadcast_to(multiplicity(grid).numpy(), number.shape)
    count = np.bincount(number.numpy().ravel(), weight.ravel())
    k = np.bincount(number.numpy().ravel(), (weight * wavenumber(grid, cell_size)).ravel()) / count
    total, total_error = _ratio(missed.sum((1, 2))[:, None], own.sum((1, 2))[:, None], name)
    return Information(
        k, count, *_ratio(cross, own, name), *_correlation(cross, own, kept, name), *_ratio(missed, own, name),
        *_ratio(kept, own, name), float(total[0]), float(total_error[0]),
    )  # fmt: skip


def _error(influence: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Standard error of a sum over fields of its influences (N, ...), which sum to zero: those of a unit are one."""
    units = int(unit.max()) + 1
    sums = np.zeros((units, *influence.shape[1:]))
    np.add.at(sums, unit, influence)
    factor = units / (units - 1) if units > 1 else np.nan
    return np.sqrt(factor * np.square(sums).sum(0))


def _ratio(above: np.ndarray, below: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    whole = below.sum(0)
    ratio = above.sum(0) / whole
    return ratio, _error((above - ratio * below) / whole, unit)


def _correlation(
    cross: np.ndarray, own: np.ndarray, kept: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    a, b, c = cross.sum(0), own.sum(0), kept.sum(0)
    there = c > 1e-20 * b  # of a mode that is cut off rounding alone comes back
    root = np.sqrt(b * np.where(there, c, 1.0))
    r = np.where(there, a / root, 0.0)
    influence = cross / root - r * (own / b + kept / np.where(there, c, 1.0)) / 2
    return r, np.where(there, _error(influence, unit), 0.0)
