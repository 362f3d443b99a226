r"""Classes of configurations: functions x (B, C, \*grid) -> class number (B,), int64, for U-turns and clones.

Any function of that form will do, such as a trained classifier; here are those that need none. Values that lie on the
border belong to class 0.

Legend: B batch, J classes, C channels, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physgen.diagnostics.nearest import Search, nearest_euclidean
from physgen.diagnostics.regimes.speciation import principal_axis
from physgen.diagnostics.spectrum import Array, as_tensor
from physgen.errors import InputError

Classify = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class SideOfPlane:
    r"""Class 1 where :math:`a \cdot x > b`, else 0.

    Args:
        axis: a (C, \*grid). offset: b.
    """

    axis: Tensor
    offset: float = 0.0

    def coordinate(self, x: Tensor) -> Tensor:
        r""":math:`a \cdot x - b`, (B,), float64."""
        return x.flatten(1).double() @ self.axis.to(x.device).flatten().double() - self.offset

    def __call__(self, x: Tensor) -> Tensor:
        return (self.coordinate(x) > 0).long()


@dataclass(frozen=True, eq=False)
class NearestCentre:
    r"""Number of the nearest of some centres (J, C, \*grid), by Euclidean distance; the first of equal ones."""

    centres: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        centres = self.centres.to(x.device).flatten(1).double()
        return (x.flatten(1).double() @ centres.T - 0.5 * centres.square().sum(1)).argmax(1)


@dataclass(frozen=True, eq=False)
class LargestOverlap:
    r"""Number of the reference state with the largest overlap :math:`x \cdot r_j / |r_j|`; the first of equal ones.

    Args:
        states: r (J, C, \*grid). fold: overlaps count by their absolute value, where r and -r are one state.
    """

    states: Tensor
    fold: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        states = self.states.to(x.device).flatten(1).double()
        overlap = x.flatten(1).double() @ (states / states.norm(dim=1, keepdim=True)).T
        return (overlap.abs() if self.fold else overlap).argmax(1)


@dataclass(frozen=True, eq=False)
class NearestPoint:
    r"""Position of the nearest training configuration.

    Args:
        train: (n, C, \*grid).
        search: a function of :mod:`physgen.diagnostics.nearest`, such as ``nearest_field`` (modulo translations and
            reflections).
    """

    train: Tensor
    search: Search = nearest_euclidean

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(self.search(x, self.train).index)[:, 0].astype(np.int64)).to(x.device)


def principal_class(x_reference: Array) -> SideOfPlane:
    r"""Side of the mean along the first principal axis of the reference samples (n, C, \*grid).

    For two classes of equal weight and shape that differ in their means this is the best plane, up to the sampling
    error of the axis: ``component_overlap`` of
    :func:`physgen.diagnostics.regimes.speciation.spectral_speciation`.
    """
    x = as_tensor(x_reference)
    rows = x.flatten(1).double()
    if len(rows) < 3 or not bool((rows != rows[0]).any()):
        raise InputError(f"a principal axis needs at least 3 samples that differ, got {len(rows)}")
    axis = principal_axis(rows)[1]
    return SideOfPlane(axis.reshape(x.shape[1:]), float(rows.mean(0) @ axis))


def magnetization_class(shape: tuple[int, ...]) -> SideOfPlane:
    r"""Sign of the sum of all values of x of the shape (C, \*grid)."""
    return SideOfPlane(torch.ones(shape, dtype=torch.float64))


def overlap_class(state: Array) -> SideOfPlane | LargestOverlap:
    r"""Sign of the overlap with one reference state (C, \*grid); the state of largest overlap of several.

    Several are given as a list, or as an array (J, C, \*grid) inside a list of length one: no shape is guessed.
    """
    if isinstance(state, list | tuple):
        states = torch.cat([as_tensor(one)[None] for one in state]) if len(state) > 1 else as_tensor(state[0])
        return LargestOverlap(states)
    return SideOfPlane(as_tensor(state).double())


def nearest_class(train: Array, search: Search = nearest_euclidean) -> NearestPoint:
    r"""Nearest training configuration (n, C, \*grid), as a class: for clones this measures the collapse."""
    return NearestPoint(as_tensor(train), search)


def label_class(x: Array, labels: ArrayLike) -> tuple[NearestCentre, np.ndarray, float]:
    r"""Classes that are given by labels: the nearest class mean, and how often it is wrong.

    Args:
        x: labelled samples (n, C, \*grid). labels: (n,), anything that can be sorted; at least two of each.

    Returns:
        the function; the label (J,) of each class number; the fraction of the samples whose label it misses when the
        sample itself does not count in the mean of its class.
    """
    samples = as_tensor(x)
    names, number, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if number.shape != (len(samples),) or len(names) < 2 or counts.min() < 2:
        raise InputError(
            f"labels name the class of each of the {len(samples)} samples, at least two classes of two samples; got "
            f"{dict(zip(names.tolist(), counts.tolist(), strict=True))}"
        )
    rows, own = samples.flatten(1).double(), torch.as_tensor(number, device=samples.device)
    size = torch.as_tensor(counts, device=rows.device).double()[:, None]
    centres = (
        torch.zeros(len(names), rows.shape[1], dtype=rows.dtype, device=rows.device).index_add(0, own, rows) / size
    )
    square = torch.cdist(rows, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
    grown = (size[:, 0] / (size[:, 0] - 1)).square()[own]  # the distance to a mean that the sample is not part of
    square[torch.arange(len(rows)), own] *= grown
    wrong = float((square.argmin(1) != own).double().mean())
    return NearestCentre(centres.reshape(len(names), *samples.shape[1:])), names, wrong
