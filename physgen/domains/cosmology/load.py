"""Importers: from the files that cosmologists have to an ensemble. Options are strings, as the user types them."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from physgen.domains.cosmology import camels, gadget, lensing, own_fields, quijote, the_well
from physgen.errors import InputError

READERS = {
    "camels_maps": camels.load_maps,
    "camels_grids": camels.load_grids,
    "quijote": quijote.load,
    "gadget": gadget.load,
    "npy": own_fields.load_arrays,
    "hdf5": own_fields.load_hdf5,
    "fits": own_fields.load_fits,
    "massive_nus": lensing.load_massive_nus,
    "ktng": lensing.load_ktng,
    "the_well": the_well.load_the_well,
}


def load(format: str, paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Read ``paths`` in one of the formats; see the function of each for its options.

    The root attribute ``import_notes`` says, line by line, in which order files were joined and what was taken for
    what; the variable ``source`` names the file and the place in it of every sample.

    Raises:
        InputError: unknown format or option, or any of the defects that the checks name.
    """
    if format not in READERS:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(READERS)}")
    if not paths:
        raise InputError(f"format {format} needs at least one file or folder")
    return READERS[format]([Path(p) for p in paths], options)
