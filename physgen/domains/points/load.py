"""Vectors from files, and as ensembles: ``field(sample, component)``, no space dim."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.ensemble import flatten, from_array, sample_blocks, sample_dims, space_dims
from physgen.ensemble.table import read_table
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diffusion.values import Values

MOST_FILES = 3  # named in the attribute ``source``


def vectors(values: np.ndarray) -> xr.Dataset:
    """The ensemble of vectors (N, C), float32."""
    made = from_array(np.asarray(values, dtype=np.float32), dimension=0, long_name="component of a vector")
    return made.assign_coords(sample=("sample", np.arange(len(values)), {"long_name": "sample", "units": "1"}))


def check_vectors(ensemble: xr.Dataset) -> xr.Dataset:
    """The ensemble, if it holds vectors; else InputError."""
    if space_dims(ensemble) or "component" not in ensemble["field"].dims:
        raise InputError(
            f"'field' has the dims {ensemble['field'].dims}; vectors have the dim 'component' and none of space: make "
            "them with physgen.from_array(array, dimension=0)"
        )
    return ensemble


def check_binary(ensemble: xr.Dataset) -> None:
    """Raise InputError unless all values are +1 or -1."""
    for block in sample_blocks(ensemble):
        values = flatten(block)
        wrong = values[np.abs(values) != 1]
        if wrong.size:
            raise InputError(
                f"'field' holds {wrong[0]:g}; vectors of binary values hold +1 and -1 alone: write ones as 1 and zeros "
                "as -1, or leave binary out"
            )


def load_vectors(format: str, paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Vectors of one or more files, one file after the other.

    Raises:
        InputError: an unknown format or option, files that hold no vectors, or vectors of different dimensions.
    """
    if format not in READERS:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(READERS)}")
    if options:
        raise InputError(f"unknown option {sorted(options)[0]!r} of format {format}, which takes none: leave it out")
    if not paths:
        raise InputError(f"format {format} needs at least one file")
    parts = [READERS[format](path) for path in paths]
    sizes = sorted({part.shape[1] for part in parts})
    if len(sizes) > 1:
        raise InputError(f"the files hold vectors of {sizes} components: give files of one dimension")
    values = np.concatenate(parts)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise InputError(f"row {row}, column {column} holds {values[row, column]}: repair or drop it")
    named = ", ".join(path.name for path in paths[:MOST_FILES]) + (", ..." if len(paths) > MOST_FILES else "")
    return vectors(values).assign_attrs(format=format, source=named)


def _read_npy(path: Path) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not an array in .npy ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "fiu" or 0 in found.shape:
        shape = getattr(found, "shape", "of an archive")
        raise InputError(f"{path} holds an array of shape {shape}; vectors are numbers (sample, component)")
    return found


READERS = {"vectors_npy": _read_npy, "vectors_csv": read_table}


def vector_constants(train: xr.Dataset, values: Values, scaled: bool) -> dict[str, Any]:
    """Constants of the encoding: (field - mean)/std with a mean for each component and one std for all."""
    field = train["field"]
    count = train.sizes["component"]
    mean, scale = [0.0] * count, 1.0
    if scaled:
        mean, std = values.moments(flatten(block) for block in sample_blocks(train))
        scale = float(np.sqrt(np.mean(np.square(std))))
        if not scale > 0:
            raise InputError("all training vectors are equal: there is nothing to learn")
    return {
        "mean": mean,
        "std": [scale] * count,
        "cell_size": [],
        "sample_dims": list(sample_dims(train)),
        "field_dims": ["component"],
        "field_dtype": str(field.dtype),
        "field_attrs": {name: str(field.attrs[name]) for name in ("units", "long_name") if name in field.attrs},
        "label_ranges": {},
    }
