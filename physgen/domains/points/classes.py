"""The part of the vectors in each class of their law."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.result import result_of_samples
from physgen.domains.points.frame import frame_of

if TYPE_CHECKING:
    import xarray as xr


def class_fractions(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Mean posterior :math:`\langle P(j|x) \rangle` of each class under the law that the vectors name: its weight.

    Vectors that name no law of several classes have two, the sides of the centre along the first principal axis of the
    reference.

    Returns:
        Dataset of kind scalar over ``class``.
    """
    posterior = _of_law(ensemble)
    meaning = "class of the law" if posterior else "side along the first principal axis"
    found = each_sample(ensemble, posterior or _of_axis(ensemble))
    coords = {"class": (np.arange(found.shape[-1]), {"long_name": meaning, "units": "1"})}
    return result_of_samples(
        ensemble, found, ("class",), coords, diagnostic="class_fractions", kind="scalar", units="1",
        long_name="fraction of the class", tolerance=0.05, tolerance_kind="difference", tolerance_of="all vectors",
    )  # fmt: skip


def _of_law(ensemble: xr.Dataset) -> Callable[[np.ndarray], np.ndarray] | None:
    """x (B, d) -> posterior (B, 1, K), or None where no law of several classes is named."""
    import torch

    from physgen.domains.points.laws import law_of, named_law

    named = named_law(ensemble)
    classes = None if named is None else law_of(named).classes
    return None if classes is None else lambda x: classes(torch.from_numpy(x)).numpy()[:, None]


def _of_axis(ensemble: xr.Dataset) -> Callable[[np.ndarray], np.ndarray]:
    frame = frame_of(ensemble)

    def side(x: np.ndarray) -> np.ndarray:
        above = frame.along_axes(x, 1)[:, :1] > 0
        return np.concatenate([above, ~above], axis=1)[:, None].astype(float)

    return side
