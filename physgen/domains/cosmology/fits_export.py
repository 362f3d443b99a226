"""Fields as FITS images, one a file. FITS counts axes from the fastest: NAXIS1 is x, so an array [z, y, x] is itself.

Header: BOXSIZE and BOXUNIT (or CDELTn and CUNITn where sides differ), BUNIT, REDSHIFT, OMEGAM, SIGMA8, ...; LABELS
names the labels, in the order of their keywords: those of ``KEYWORDS``, else LABEL1, LABEL2, ... by their place.
Several components are image extensions, named after them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.encoding import field_kinds
from physgen.domains.cosmology.fits_images import KEYWORDS
from physgen.ensemble import space_dims, spacing
from physgen.ensemble.plain import field_blocks, field_shape
from physgen.errors import InputError

KIND_UNITS = {"delta": "delta", "counts": "count"}
CONSTANTS = {"redshift": "REDSHIFT", "h": "HUBBLE", "Omega_b": "OMEGAB", "n_s": "NS", "slab_thickness": "THICKNES"}


def write_fits(ensemble: xr.Dataset, columns: dict[str, np.ndarray], folder: Path, name: str) -> list[Path]:
    """A folder ``name`` of files ``field_0.fits``, ...; of one field the file ``name`` where it ends in .fits."""
    from astropy.io import fits

    count, is_file = field_shape(ensemble)[0], Path(name).suffix.lower() in (".fits", ".fit")
    if is_file and count > 1:
        raise InputError(f"{name} would hold {count} fields, FITS has one a file: name a folder, -o {Path(name).stem}")
    if not is_file:
        (folder / name).mkdir()
    digits, number = len(str(count - 1)), 0
    shared = _shared(ensemble)
    for block in field_blocks(ensemble):
        for values in block:
            labels = {label: column[number] for label, column in columns.items()}
            units = _units(fits, ensemble, values, {**shared, **_label_cards(labels)})
            units.writeto(folder / name if is_file else folder / name / f"field_{number:0{digits}d}.fits")
            number += 1
    return [Path(name)]


def _units(fits: Any, ensemble: xr.Dataset, values: np.ndarray, cards: dict[str, Any]) -> Any:
    """The units of one file: an image, or an empty primary unit and an image for each component."""
    kinds = field_kinds(ensemble)
    unit = str(ensemble["field"].attrs.get("units", "1"))
    headers = []
    for kind in kinds:
        said = KIND_UNITS.get(kind) if unit == "1" else unit
        header = fits.Header()
        for key, value in ({"BUNIT": (said, "unit of the values")} if said else {}).items():
            header[key] = value
        for key, value in cards.items():
            header[key] = value
        headers.append(header)
    if "component" not in ensemble["field"].dims:
        return fits.PrimaryHDU(values, headers[0])
    names = [str(component) for component in ensemble["component"].values]
    images = [fits.ImageHDU(v, h, name=n) for v, h, n in zip(values, headers, names, strict=True)]
    return fits.HDUList([fits.PrimaryHDU(), *images])


def _shared(ensemble: xr.Dataset) -> dict[str, Any]:
    from physgen.domains.cosmology.exporting import box_sides, box_unit

    sides, unit = box_sides(ensemble), box_unit(ensemble)
    cards: dict[str, Any] = {}
    if len(sides) == 1:
        cards |= {"BOXSIZE": (sides[0], f"side of the box [{unit}]"), "BOXUNIT": unit}
    else:
        for i, cell in enumerate(reversed(spacing(ensemble)), 1):
            cards |= {f"CDELT{i}": cell, f"CUNIT{i}": unit, f"CTYPE{i}": space_dims(ensemble)[-i]}
    cards["FLDKIND"] = (", ".join(dict.fromkeys(field_kinds(ensemble))), "what the values are")
    return cards | {key: float(ensemble.attrs[fact]) for fact, key in CONSTANTS.items() if fact in ensemble.attrs}


def _label_cards(labels: dict[str, Any]) -> dict[str, Any]:
    if not labels:
        return {}
    cards: dict[str, Any] = {"LABELS": ", ".join(labels)}
    for i, (name, value) in enumerate(labels.items(), 1):
        cards[KEYWORDS.get(name, f"LABEL{i}")] = (np.asarray(value).item(), name)
    return cards
