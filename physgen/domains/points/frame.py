r"""The frame in which vectors are judged: axes, scales and anchors from a quarter of the reference.

That quarter is measured nowhere else: given the frame, what is left of the reference and vectors of the same law are
exchangeable, so that no axis fits one of them better than the other. Variables of an ensemble:

====================================  =============================================================================
``frame_centre(component)``           mean of the quarter
``frame_direction(direction, ...)``   unit vectors: principal axes of its covariance, the largest variance first, then
                                      random directions, the same for all data of a dimension
``frame_scale(direction)``            standard deviation of the quarter along each
``frame_anchor(anchor, ...)``         vectors of the quarter
``frame_radius(anchor)``              distance of each anchor to the 5th nearest of the others
====================================  =============================================================================

An ensemble without a frame is measured in its own, which fits it a little too well: to look at, not to judge by.
Shapes: d components, N anchors, K axes, L directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble import flatten, independent_units, split

if TYPE_CHECKING:
    import xarray as xr

AXES, RANDOM = 4, 8  # principal axes and random directions, at most
SHARE, SEED = 0.25, 0
ANCHORS, NEIGHBOURS = 500, 5  # k = 5 of Naeem et al. 2020
FEWEST = 8  # units of a reference that is still divided
PREFIX = "frame_"


@dataclass(frozen=True)
class Frame:
    """See this module: centre (d,), directions (L, d) of which the first ``axes`` are principal, scales (L,)."""

    centre: np.ndarray
    directions: np.ndarray
    scales: np.ndarray
    anchors: np.ndarray
    radii: np.ndarray
    axes: int

    def along_axes(self, x: np.ndarray, most: int) -> np.ndarray:
        """Principal coordinates (B, K) of x (B, d) in units of their standard deviations."""
        return self._along(x, slice(0, min(self.axes, most)))

    def along_random(self, x: np.ndarray) -> np.ndarray:
        """Coordinates (B, L - K) along the random directions, in units of their standard deviations."""
        return self._along(x, slice(self.axes, None))

    def _along(self, x: np.ndarray, which: slice) -> np.ndarray:
        return (x.astype(np.float64) - self.centre) @ self.directions[which].T / self.scales[which]


def divided(reference: xr.Dataset, by: str) -> tuple[xr.Dataset, xr.Dataset]:
    """The quarter of the reference that makes the frame, and the rest; both are all of it where it is too small."""
    if independent_units(reference).count < FEWEST:
        return reference, reference
    parts = split(reference, by, {"frame": SHARE, "rest": 1 - SHARE}, seed=SEED)
    return parts["frame"], parts["rest"]


def with_frame(ensemble: xr.Dataset, source: xr.Dataset) -> xr.Dataset:
    """The ensemble with the frame that ``source`` makes, as variables."""
    frame = make_frame(flatten(source))
    return ensemble.assign(
        frame_centre=("component", frame.centre),
        frame_direction=(("direction", "component"), frame.directions, {"axes": frame.axes}),
        frame_scale=("direction", frame.scales),
        frame_anchor=(("anchor", "component"), frame.anchors),
        frame_radius=("anchor", frame.radii),
    )


def frame_of(ensemble: xr.Dataset) -> Frame:
    """The frame that an ensemble carries; else its own."""
    if f"{PREFIX}centre" not in ensemble:
        return make_frame(flatten(ensemble))
    centre, directions, scales, anchors, radii = (
        ensemble[PREFIX + name].values for name in ("centre", "direction", "scale", "anchor", "radius")
    )
    return Frame(centre, directions, scales, anchors, radii, axes=int(ensemble[f"{PREFIX}direction"].attrs["axes"]))


def make_frame(x: np.ndarray) -> Frame:
    """The frame of vectors x (n, d)."""
    x = x.astype(np.float64)
    centre = x.mean(0)
    _, sizes, axes = np.linalg.svd(x - centre, full_matrices=False)
    kept = min(AXES, max(1, int((sizes > 1e-6 * sizes[0]).sum())))
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    random = np.random.default_rng(SEED).standard_normal((RANDOM, x.shape[1]))
    directions = np.concatenate(
        [(axes * signs[:, None])[:kept], random / np.linalg.norm(random, axis=1, keepdims=True)]
    )
    scales = ((x - centre) @ directions.T).std(0)
    anchors = x[:ANCHORS]
    return Frame(centre, directions, np.where(scales > 0, scales, 1.0), anchors, _radii(anchors), kept)


def _radii(anchors: np.ndarray) -> np.ndarray:
    """Distance of each anchor to its k-th nearest other one."""
    place = min(NEIGHBOURS, len(anchors) - 1)
    return np.partition(distances(anchors, anchors), place, axis=1)[:, place]  # its own distance, 0, comes first


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Euclidean distances (n, m), by differences: those of copies are small, and must not be lost to rounding."""
    import torch

    first, second = (torch.from_numpy(np.ascontiguousarray(v, dtype=np.float64)) for v in (x, y))
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist").numpy()
