"""Anybody's pictures, and two sets of them in one frame before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.images.arrays import CLASS, LEVELS, classes_of, described, levels_of
from physgen.domains.images.classes import with_classifier
from physgen.ensemble import space_dims
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

BYTES = 256


def adopted(ensemble: xr.Dataset, like: xr.Dataset | None) -> xr.Dataset:
    """Pictures of rows and columns with the levels of ``like``; of an array of 8-bit numbers 256 levels."""
    if space_dims(ensemble) != ("y", "x"):
        raise InputError(
            f"'field' has the space dims {space_dims(ensemble)}; images have rows y and columns x: give an array "
            "(N, H, W), or (N, C, H, W) with components=[...]"
        )
    if LEVELS in ensemble.attrs:
        return described(ensemble)
    levels = levels_of(like) if like is not None else 0
    levels = levels or (BYTES if ensemble["field"].dtype == np.uint8 else 0)
    field = ensemble["field"]
    made = ensemble.assign(field=(field.dims, field.values.astype(np.float32), field.attrs))
    return described(made.assign_attrs({LEVELS: levels} if levels else {}))


def image_facts(ensemble: xr.Dataset) -> dict[str, Any]:
    """Sizes, levels and classes."""
    found: dict[str, Any] = {f"pixels_{dim}": ensemble.sizes[dim] for dim in space_dims(ensemble)}
    found |= {"components": ensemble.sizes.get("component", 1), LEVELS: levels_of(ensemble)}
    classes = classes_of(ensemble)
    return found if classes is None else found | {"classes": len(np.unique(classes))}


def confronted(reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
    """``other`` with the levels and the classifier of the reference. Raises InputError where levels differ."""
    mine, theirs = levels_of(reference), levels_of(other)
    if theirs and theirs != mine:
        raise InputError(
            f"{name} has {theirs} grey levels, the reference {mine or 'real values'}: bring both to the same levels"
        )
    other = described(other).assign_attrs({LEVELS: mine} if mine else {})
    return with_classifier(other, reference) if CLASS in reference.variables else other
