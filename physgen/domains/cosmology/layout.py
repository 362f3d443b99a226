r"""Which axis of a foreign array is what: (samples, components, \*grid) from any shape that people save."""

from __future__ import annotations

from typing import Any

import numpy as np

from physgen.errors import InputError

MOST_CHANNELS = 16  # a shorter axis beside larger equal ones may hold channels
ALIKE = 0.5  # correlation of neighbouring slices of one box; of separate maps it is near 0
PAIRS = 16


def arrange(
    array: Any, dimension: int | None, channels: str | None, components: int, settled: bool, source: object
) -> Any:
    r"""The array as (samples, components, \*grid), a view.

    Args:
        dimension: 2 or 3 as the user said, or None.
        channels: "first" or "last", where the axis of components stands, or None.
        components: how many components the user named, 0 for none.
        settled: whether something else (labels for each, maps_per_simulation) says that the first axis counts samples.

    Raises:
        InputError: no such shape, or a shape with two readings.
    """
    shape = tuple(array.shape)
    if dimension not in (None, 2, 3):
        raise InputError(f"dimension = {dimension} must be 2 or 3")
    if not 2 <= array.ndim <= 5 or min(shape) < 1:
        raise InputError(f"{source} has shape {shape}; save (n, N, N) maps or (n, N, N, N) boxes")
    if array.ndim == 2:
        return _need(dimension in (None, 2), array[None, None], shape, dimension, source)
    if array.ndim == 3:
        return _three(array, dimension, channels, components, settled, source)
    if array.ndim == 4:
        return _four(array, dimension, channels, components, source)
    _need(dimension in (None, 3), array, shape, dimension, source)
    return _move_channels(array, _channel_axis(shape, channels, components, source))


def _need(holds: bool, array: Any, shape: tuple[int, ...], dimension: int | None, source: object) -> Any:
    if not holds:
        raise InputError(
            f"{source} has shape {shape}, no {dimension}-D fields: save (n, N, N) maps or (n, N, N, N) boxes"
        )
    return array


def _three(
    array: Any, dimension: int | None, channels: str | None, components: int, settled: bool, source: object
) -> Any:
    shape = tuple(array.shape)
    if dimension == 3:
        return array[None, None]
    if channels or (components > 1 and components in (shape[0], shape[-1])):
        return _move_channels(array[None], _channel_axis((1, *shape), channels, components, source))
    if shape[-1] == 1 and shape[0] > 1 < shape[1]:
        return array[None, ..., 0][:, None]
    if dimension is None and shape[0] > 1:
        _doubt(array, settled, source)
    return array[:, None]


def _doubt(array: Any, settled: bool, source: object) -> None:
    """Refuse a stack that may be one box: equal sides, or slices that resemble their neighbours."""
    shape = tuple(array.shape)
    if len(set(shape)) == 1 and not settled:
        raise InputError(
            f"{source} has shape {shape}: one box, or a stack of {shape[0]} maps? Say dimension=3 or dimension=2"
        )
    alike = likeness(array)
    if alike > ALIKE:
        raise InputError(
            f"{source} has shape {shape} and its neighbouring slices along the first axis resemble each other "
            f"(correlation {alike:.2f}): a box is dimension=3 (one box_size per axis), separate maps are dimension=2"
        )


def likeness(array: Any) -> float:
    """Mean correlation coefficient of neighbouring maps, over a few pairs spread evenly over the array."""
    first = np.unique(np.linspace(0, len(array) - 2, PAIRS).astype(int))
    found = []
    for i in first:
        one, two = (np.asarray(array[j], dtype=np.float64).ravel() for j in (i, i + 1))
        one, two = one - one.mean(), two - two.mean()
        norm = np.sqrt((one @ one) * (two @ two))
        found.append(float(one @ two / norm) if np.isfinite(norm) and norm > 0 else 0.0)
    return float(np.mean(found))


def _four(array: Any, dimension: int | None, channels: str | None, components: int, source: object) -> Any:
    shape = tuple(array.shape)
    if dimension == 3 and components > 1:
        return _move_channels(array[None], _channel_axis((1, *shape), channels, components, source))
    if dimension == 3:
        return array[:, None]
    single = shape[1] == 1 or shape[-1] == 1
    if dimension == 2 or channels or components > 1 or (single and shape[1:] != (1, 1, 1)):
        return _move_channels(array, _channel_axis(shape, channels, components, source))
    if len(set(shape[1:])) == 1:
        return array[:, None]
    raise InputError(
        f"{source} has shape {shape}: boxes, or maps of several components? Say dimension=3 with one box_size per "
        "axis, or dimension=2 with components=NAME,NAME,..."
    )


def _channel_axis(shape: tuple[int, ...], channels: str | None, components: int, source: object) -> int:
    """1 or -1 in (n, ...): as the user said, the axis of the named components, else the one short axis."""
    first, last = shape[1], shape[-1]
    if channels is not None:
        axis = 1 if channels == "first" else -1
    elif components > 1 and (first == components) != (last == components):
        axis = 1 if first == components else -1
    elif (first == 1) != (last == 1):
        axis = 1 if first == 1 else -1
    elif components <= 1 and first != last and min(first, last) <= MOST_CHANNELS < max(shape[2:-1]):
        axis = 1 if first < last else -1
    else:
        raise InputError(
            f"{source} has shape {shape}: which axis holds the components? Say channels=first (n, C, ...) or "
            "channels=last (n, ..., C), and their names with components=NAME,NAME,..."
        )
    count = first if axis == 1 else last
    if components and count != components:
        raise InputError(
            f"{source} has shape {shape} with {count} components, {components} were named: correct components"
        )
    return axis


def _move_channels(array: Any, axis: int) -> Any:
    return array if axis == 1 else np.moveaxis(array, -1, 1)
