"""Masks: 1 where a field was seen, 0 elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from physgen.errors import InputError


def read_mask(text: str | None) -> np.ndarray | str | None:
    """The array of a mask file (.npy or FITS), the word "nan", or None."""
    if text is None or text == "nan":
        return text
    path = Path(text)
    if path.suffix.lower() in (".fits", ".fit", ".fz"):
        from physgen.domains.cosmology.fits_images import read_fits

        values = read_fits(path, None).array
    else:
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"mask = {text!r} cannot be read as a .npy array ({error}): check the path") from error
    if not np.isin(np.unique(values), (0, 1)).all():
        raise InputError(f"{path} holds {values.max()}: a mask is 1 where the field was seen and 0 elsewhere")
    return values.astype(np.int8)


def whole_mask(mask: np.ndarray | str | None, arrays: list[list[Any]]) -> np.ndarray | None:
    r"""The mask of the fields before they are averaged, (\*grid), or (samples, \*grid) where it differs between them.

    Args:
        arrays: (n, C, \*grid) of each file, by parts that are components; "nan" marks a cell unseen in any of them.
    """
    if mask is None:
        return None
    grid, samples = tuple(arrays[0][0].shape[2:]), sum(len(views[0]) for views in arrays)
    if isinstance(mask, str):
        seen = [np.all([np.isfinite(view).all(axis=1) for view in views], axis=0) for views in arrays]
        mask = np.concatenate(seen).astype(np.int8)
        mask = mask[0] if (mask == mask[:1]).all() else mask
    if mask.shape not in (grid, (samples, *grid)):
        raise InputError(f"the mask has shape {mask.shape}, the fields {(samples, *grid)}: give it on their grid")
    return mask


def coarse_mask(mask: np.ndarray | None, grid: tuple[int, ...], cells: int | None) -> np.ndarray | None:
    """The mask of block averages: a block is seen where all of its cells are."""
    if mask is None or not cells:
        return mask
    factor = max(grid) // cells
    lead = mask.shape[: mask.ndim - len(grid)]
    shape = [*lead, *(n for side in grid for n in (side // factor, factor))]
    return mask.reshape(shape).min(axis=tuple(range(len(lead) + 1, len(shape), 2)))
