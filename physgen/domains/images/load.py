"""Pictures of foreign files: arrays, IDX (MNIST), CIFAR, PNG. Each reader gives the arguments of an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.images.arrays import COLOURS, image_ensemble
from physgen.domains.images.cifar import read_cifar
from physgen.domains.images.idx import read_idx
from physgen.domains.images.png import read_png
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

MOST_FILES, BYTES = 3, 256  # files named in the attribute ``source``
CHANNELS = (1, 3)


def load_images(format: str, paths: list[Path], options: Mapping[str, str]) -> xr.Dataset:
    """Pictures of one or more files, one file after the other.

    Every format takes ``count=N``, the first N pictures, and ``keep=0,1,3``, those of some classes alone.

    Raises:
        InputError: an unknown format or option, files that hold no pictures, or pictures of different sizes.
    """
    if format not in READERS:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(READERS)}")
    if not paths:
        raise InputError(f"format {format} needs at least one file")
    reader, known = READERS[format]
    wrong = sorted(set(options) - {*known, "count", "keep"})
    if wrong:
        raise InputError(
            f"unknown option {wrong[0]!r} of format {format}: it takes {', '.join([*known, 'count', 'keep'])}"
        )
    values, levels, classes = reader(paths, {name: options[name] for name in known if name in options})
    if not values.size:
        raise InputError(f"the files of format {format} hold no images")
    values, classes = _some(values, classes, options)
    values, names = _components(values)
    named = ", ".join(path.name for path in paths[:MOST_FILES]) + (", ..." if len(paths) > MOST_FILES else "")
    return image_ensemble(values, levels, classes, names, format=format, source=named)


def _some(
    values: np.ndarray, classes: np.ndarray | None, options: Mapping[str, str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """The pictures that the options ``keep`` and ``count`` leave."""
    if "keep" in options:
        if classes is None:
            raise InputError(f"keep={options['keep']} chooses classes, which these images have not: leave it out")
        rows = np.isin(classes, [_whole(word, "keep") for word in options["keep"].split(",")])
        if not rows.any():
            raise InputError(f"keep={options['keep']}: no image is of these classes, which are {np.unique(classes)}")
        values, classes = values[rows], classes[rows]
    if "count" in options:
        count = _whole(options["count"], "count")
        if not 0 < count <= len(values):
            raise InputError(f"count={count}: there are {len(values)} images; give 1 to {len(values)}")
        values, classes = values[:count], None if classes is None else classes[:count]
    return values, classes


def _components(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """(N, H, W), or (N, C, H, W) with the names of its components."""
    if values.ndim == 4 and values.shape[1] == 1:
        return values[:, 0], ()
    if values.ndim == 3:
        return values, ()
    return values, COLOURS if values.shape[1] == len(COLOURS) else tuple(map(str, range(values.shape[1])))


def _whole(word: str, name: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise InputError(f"{name}={word} is not a whole number: give one") from None


def _read_npy(paths: list[Path], options: Mapping[str, str]) -> tuple[np.ndarray, int, np.ndarray | None]:
    parts = [_array(path) for path in paths]
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        raise InputError(f"the files hold images of the shapes {shapes}: give files of one shape")
    values = np.concatenate(parts)
    levels = _whole(options["levels"], "levels") if "levels" in options else BYTES * (values.dtype == np.uint8)
    if levels and (np.any(values != np.rint(values)) or values.min() < 0 or values.max() > levels - 1):
        raise InputError(
            f"levels={levels}: values lie between {values.min():g} and {values.max():g}, or between whole numbers; "
            "give 0, 1, ..., levels - 1, or leave levels out for real values"
        )
    classes = _array_of_classes(Path(options["labels"]), len(values)) if "labels" in options else None
    return _channels_first(values), int(levels), classes


def _array(path: Path) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not an array in .npy ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(found, np.ndarray) or found.ndim not in (3, 4) or found.dtype.kind not in "fiu" or not found.size:
        shape = getattr(found, "shape", "of an archive")
        raise InputError(f"{path} holds an array of shape {shape}; images are numbers (N,H,W), (N,H,W,C) or (N,C,H,W)")
    return found


def _channels_first(values: np.ndarray) -> np.ndarray:
    """(N, H, W) as it is, (N, H, W, C) or (N, C, H, W) as the latter; C is 1 or 3."""
    if values.ndim == 3:
        return values
    first, last = values.shape[1] in CHANNELS, values.shape[-1] in CHANNELS
    if first == last:
        rule = "both could be" if first else "neither is"
        raise InputError(
            f"an array of shape {values.shape}: axis 1 or the last one counts the 1 or 3 components, {rule}; "
            "bring it into one of the forms (N,H,W,C) and (N,C,H,W)"
        )
    return np.moveaxis(values, -1, 1) if last else values


def _array_of_classes(path: Path, count: int) -> np.ndarray:
    if not path.exists():
        raise InputError(f"labels={path} does not exist: check the path")
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not an array in .npy ({' '.join(str(error).split())[:120]})") from None
    if getattr(found, "shape", None) != (count,) or found.dtype.kind not in "iu":
        raise InputError(f"{path} must hold {count} whole numbers, the class of each image")
    return np.asarray(found)


Reader = Callable[[list[Path], Mapping[str, str]], tuple[np.ndarray, int, "np.ndarray | None"]]
READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "images_npy": (_read_npy, ("labels", "levels")),
    "idx": (read_idx, ("labels",)),
    "cifar": (read_cifar, ("labels",)),
    "png": (read_png, ("classes",)),
}

__all__: list[Any] = ["READERS", "load_images"]
