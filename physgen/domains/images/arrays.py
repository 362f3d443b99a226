"""Pictures as an ensemble: ``field(sample[, component], y, x)`` float32, and ``class(sample)`` where there are classes.

Row 0 of a picture is its top: the coordinate y counts downwards, which its attribute ``positive`` = "down" says.
Values that are whole numbers 0, 1, ..., L - 1 are kept as they are, and the root attribute ``grey_levels`` = L says so.
Space is not periodic, ``periodic`` = 0. Every picture is independent of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.ensemble import from_array
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

COLOURS = ("red", "green", "blue")
CLASS, LEVELS = "class", "grey_levels"
CLASS_WORDS = {"long_name": "class", "units": "1", "is_condition": 1}


def image_ensemble(
    values: np.ndarray, levels: int = 0, classes: np.ndarray | None = None, names: tuple[str, ...] = (), **attrs: Any
) -> xr.Dataset:
    """The ensemble of pictures.

    Args:
        values: (N, H, W), or (N, C, H, W) where ``names`` holds one for each of C components.
        levels: L of whole numbers below L; 0 for real values.
        classes: (N,) whole numbers, or None.
        names: of the components. attrs: further root attributes.

    Raises:
        InputError: values that are not finite or not among the levels, classes that are too few.
    """
    if not np.isfinite(values).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise InputError(f"image {place[0]} holds {values[place]} at {place[1:]}: repair or drop it")
    labels = None if classes is None else {CLASS: np.asarray(classes, dtype=np.int64)}
    if classes is not None and len(classes) != len(values):
        raise InputError(f"{len(classes)} classes were given for {len(values)} images: give one for each")
    made = from_array(
        values.astype(np.float32, copy=False), labels=labels, components=list(names) or None, long_name="grey value",
        periodic=False, attrs={**({LEVELS: int(levels)} if levels else {}), **attrs},
    )  # fmt: skip
    return described(made)


def described(ensemble: xr.Dataset) -> xr.Dataset:
    """The ensemble with what is true of all pictures: no periodic box, y downwards, units of pixels, whole classes."""
    made = ensemble.assign_attrs(periodic=0)
    made["field"].attrs["display_colours"] = "gray"
    for dim, more in (("y", {"positive": "down"}), ("x", {})):
        if dim in made.coords:
            made[dim].attrs.update({"long_name": dim, "units": "pixel"} | more)
    if "sample" in made.dims and "sample" not in made.coords:
        numbers = np.arange(made.sizes["sample"])
        made = made.assign_coords(sample=("sample", numbers, {"long_name": "sample", "units": "1"}))
    if CLASS not in made.variables:
        return made
    classes = made[CLASS].values
    if classes.dtype.kind not in "iuf" or np.any(classes != np.rint(classes)):
        raise InputError("the label 'class' must hold whole numbers, one for each image: number the classes")
    return made.assign({CLASS: (made[CLASS].dims, classes.astype(np.int64), CLASS_WORDS)})


def classes_of(ensemble: xr.Dataset) -> np.ndarray | None:
    """Class of each flattened sample (B,) int64, None where there are none."""
    return np.asarray(ensemble[CLASS].values).reshape(-1) if CLASS in ensemble.variables else None


def levels_of(ensemble: xr.Dataset) -> int:
    """L of values 0, 1, ..., L - 1; 0 where values are real."""
    return int(ensemble.attrs.get(LEVELS, 0))
