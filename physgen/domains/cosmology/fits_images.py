"""FITS images: the primary unit or an extension, compressed or not, with what their headers say.

FITS counts axes from the fastest: NAXIS1 is x. Facts of a header: BUNIT; BOXSIZE, its unit in square brackets or
anywhere in its comment; REDSHIFT; CDELT (or the diagonal of CD) with CUNIT, from which the sides follow, one per axis.
Labels: what LABELS lists, by the keywords of ``KEYWORDS``, else LABEL1, LABEL2, ... by their place; without it OMEGAM
and SIGMA8 where they stand.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from physgen.domains.cosmology.sources import Source, kind_of_file
from physgen.errors import InputError

KEYWORDS = {  # label -> keyword; they have at most eight letters
    **{"Omega_m": "OMEGAM", "sigma_8": "SIGMA8", "Omega_b": "OMEGAB", "h": "HUBBLE", "n_s": "NS", "M_nu": "MNU"},
    **{"w": "W0", "redshift": "REDSHIFT", "simulation": "SIMNUM"},
}
_LENGTH = re.compile(r"\[([^\]]+)\]|(\bc?[kMG]pc\b(?:\s*/\s*h\b|\s*h\^?-1)?|\bh\^?-1\s*c?[kMG]pc\b|\bdeg\b|\barcmin\b)")


def read_fits(path: Path, extension: str | None) -> Source:
    """The image of a FITS file: that of ``extension`` (a number or a name), else the only one."""
    from astropy.io import fits

    if kind_of_file(path) == "hdf5":
        raise InputError(f"{path} is an HDF5 file, not FITS: use `physgen import hdf5 {path} data=NAME`")
    if kind_of_file(path) == "npy":
        raise InputError(f"{path} is a .npy file, not FITS: use `physgen import npy {path}`")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy warns of what the checks here refuse
            with fits.open(path) as file:
                unit = _unit(file, extension, path)
                data, header = unit.data, unit.header.copy()
                data = None if data is None else np.asarray(data, dtype=np.float32)
    except (OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as FITS ({reason}): it is truncated or of another format") from error
    if data is None or data.ndim not in (2, 3):
        raise InputError(f"{path} has no 2-D or 3-D image in that unit: name the one that has it, extension=NUMBER")
    labels, part = _labels(header), "" if extension is None else extension
    facts = _facts(header, data.shape)
    if "redshift" in labels:
        facts.pop("redshift", None)
    return Source(path, data, part, facts, labels)


def has_units(path: Path, names: list[str]) -> bool:
    """Whether a FITS file has a unit of each of these names."""
    from astropy.io import fits

    if kind_of_file(path) != "fits":
        return False
    with fits.open(path) as file:
        return {name.upper() for name in names} <= {unit.name.upper() for unit in file}


def _unit(file: Any, extension: str | None, path: Path) -> Any:
    """The unit asked for, or the only one with an image."""
    if extension is not None:
        key = int(extension) if extension.isdigit() else extension
        try:
            return file[key]
        except (KeyError, IndexError):
            listed = ", ".join(f"{i} ({unit.name or 'unnamed'})" for i, unit in enumerate(file))
            raise InputError(f"{path} has no extension {extension!r}: it has {listed}") from None
    images = [(i, unit) for i, unit in enumerate(file) if getattr(unit, "is_image", False) and unit.header["NAXIS"] > 0]
    if not images:
        raise InputError(f"{path} has no 2-D or 3-D image in any of its units: move the field into one")
    if len(images) > 1 and images[0][0] > 0:
        listed = ", ".join(f"{i} ({unit.name or 'unnamed'}, {unit.shape})" for i, unit in images)
        raise InputError(f"{path} has images in the extensions {listed}: say which one, extension=NUMBER or NAME")
    return images[0][1]


def _labels(header: Any) -> dict[str, float]:
    listed = [name.strip() for name in str(header.get("LABELS", "")).split(",") if name.strip()]
    keys = {name: KEYWORDS.get(name, f"LABEL{i}") for i, name in enumerate(listed, 1)}
    keys = keys or {name: KEYWORDS[name] for name in ("Omega_m", "sigma_8") if KEYWORDS[name] in header}
    missing = [key for key in keys.values() if key not in header]
    if missing:
        raise InputError(f"the header lists the labels {', '.join(listed)} but has no {missing[0]}: repair it")
    return {name: float(header[key]) for name, key in keys.items()}


def _facts(header: Any, shape: tuple[int, ...]) -> dict[str, str]:
    facts = {
        name: str(header[key]).strip() for name, key in (("units", "BUNIT"), ("redshift", "REDSHIFT")) if key in header
    }
    if "BOXSIZE" in header:
        facts["box_size"] = str(header["BOXSIZE"]).strip()
        match = _LENGTH.search(header.comments["BOXSIZE"])
        unit = header.get("BOXUNIT", match and (match[1] or match[2]))
        if unit:
            facts["box_units"] = str(unit).strip()
    else:
        facts |= _world_size(header, shape)
    return facts


def _world_size(header: Any, shape: tuple[int, ...]) -> dict[str, str]:
    """Sides from the cell sizes of the world coordinates, in the order of the array's axes."""
    axes = range(len(shape), 0, -1)
    steps = [header.get(f"CDELT{i}", header.get(f"CD{i}_{i}")) for i in axes]
    units = [str(header.get(f"CUNIT{i}", "")).strip() for i in axes]
    if None in steps or not all(units):
        return {}
    return {"box_size": ", ".join(f"{abs(s) * n:.10g} {u}" for s, n, u in zip(steps, shape, units, strict=True))}
