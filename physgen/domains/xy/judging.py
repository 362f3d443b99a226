"""Copies of the training set among configurations of angles, whatever their common rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def xy_memorization(generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: Any) -> xr.Dataset:
    r"""Distance of unit vectors to the nearest training configuration, each turned to a mean along +x, beside held-out.

    The square of the distance is :math:`2\sum_i (1 - \cos(\theta_i - \theta_i'))`.
    """
    from physgen.diagnostics.memorization import memorization

    return memorization(generated, train, heldout, similarity="euclidean", transform=_turned, **judged)


def _turned(field: np.ndarray) -> np.ndarray:
    r"""Angles (B, 1, \*grid) -> vectors (B, 2, \*grid), all turned so that their mean has the angle 0."""
    vectors = np.exp(1j * np.asarray(field, dtype=np.float64))
    mean = vectors.mean(axis=tuple(range(1, vectors.ndim)), keepdims=True)
    vectors = vectors * np.exp(-1j * np.angle(mean))
    return np.concatenate([vectors.real, vectors.imag], axis=1)
