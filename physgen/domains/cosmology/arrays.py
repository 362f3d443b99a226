"""Foreign arrays: reading .npy safely, the checks that every importer makes, and the ensemble they all end in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.encoding import LOWEST, check_bound
from physgen.errors import InputError
from physgen.units import parse_quantity

LABEL_LONG_NAMES = {
    "Omega_m": "matter density parameter",
    "sigma_8": "rms linear density in 8 Mpc/h spheres",
    "Omega_b": "baryon density parameter",
    "h": "Hubble constant over 100 km/s/Mpc",
    "n_s": "slope of the primordial spectrum",
}
FIELD_ATTRS = {
    "delta": ("density contrast", "1"),
    "counts": ("particles per cell", "1"),
    "density": ("density", "(Msun/h)/(Mpc/h)^3"),
    "surface_density": ("surface density", "(Msun/h)/(Mpc/h)^2"),
    "positive": ("field", "1"),
    "real": ("field", "1"),
}


def make_ensemble(
    fields: np.ndarray,
    kind: str,
    box_size: float,
    labels: dict[str, np.ndarray],
    simulation: np.ndarray,
    attrs: dict[str, Any],
) -> xr.Dataset:
    r"""The ensemble of periodic fields (samples, \*grid) in a box of ``box_size`` Mpc/h; coordinates are cell centres.

    Densities get the attribute ``mean_density``, their mean over all samples: the convention is the cosmic (global)
    mean, so the mean of one slab or map fluctuates and is part of the physics. ``field_units`` in ``attrs`` overrides
    the unit of the kind.
    """
    dimension = fields.ndim - 1
    dims = ("z", "y", "x")[-dimension:]
    attrs = dict(attrs)
    long_name, units = FIELD_ATTRS[kind]
    field_attrs = {"long_name": attrs.pop("field_long_name", long_name), "units": attrs.pop("field_units", units)}
    spacing = box_size / fields.shape[-1]
    centres = (np.arange(fields.shape[-1]) + 0.5) * spacing
    variables: dict[str, Any] = {"field": (("sample", *dims), fields.astype(np.float32, copy=False), field_attrs)}
    for name, column in labels.items():
        described = {"long_name": LABEL_LONG_NAMES.get(name, name), "units": "1"}
        variables[name] = ("sample", np.asarray(column, dtype=np.float64), described)
    numbers = np.asarray(simulation, dtype=np.int64)
    variables["simulation"] = ("sample", numbers, {"long_name": "simulation number", "units": "1"})
    coords = {d: (d, centres, {"long_name": f"comoving {d}", "units": "Mpc/h"}) for d in dims}
    mean = {} if kind in ("delta", "real") else {"mean_density": float(fields.mean(dtype=np.float64))}
    convention = {"mean_convention": "global: the mean over the box or data set, not over each map"}
    root = {"field_kind": kind, "box_size": float(box_size), "box_size_units": "Mpc/h", "periodic": 1}
    return xr.Dataset(variables, coords, {**root, **mean, **convention, **attrs})


# --- reading --------------------------------------------------------------------------------------


def read_npy(path: Path) -> np.ndarray:
    """A numeric .npy array, memory-mapped. Objects are refused: they would run code on loading."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        if "object" in reason.lower() or "pickle" in reason.lower():
            raise InputError(
                f"{path} holds Python objects (pickle), which physgen never loads: "
                "save a plain numeric array with numpy.save"
            ) from error
        raise InputError(
            f"{path} is not a whole .npy file ({reason}): it is truncated or damaged, copy it again"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        found = getattr(array, "dtype", type(array).__name__)
        raise InputError(f"{path} holds {found}; physgen reads real numbers: save one numeric array per .npy file")
    return array


def read_table(path: Path, columns: Iterable[int] | None = None) -> tuple[np.ndarray, list[str]]:
    """A text table (rows, columns) and the names in its ``#`` header, empty where there is none.

    Args:
        path: whitespace- or comma-separated numbers.
        columns: allowed numbers of columns.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a text table ({error}): give the params file") from error
    lines = [line for line in text.replace(",", " ").splitlines() if line.strip()]
    names = lines[0].lstrip("# ").split() if lines and lines[0].lstrip().startswith("#") else []
    rows = [line.split() for line in lines if not line.lstrip().startswith("#")]
    if not names and rows and not _numeric(rows[0]):
        names = rows.pop(0)
    widths = {len(row) for row in rows}
    if len(widths) != 1 or not all(_numeric(row) for row in rows):
        raise InputError(f"{path} is not a table of numbers with equal rows: check that it is the params file, whole")
    table = np.array(rows, dtype=float)
    if columns is not None and table.shape[1] not in set(columns):
        allowed = " or ".join(map(str, columns))
        raise InputError(f"{path} has {table.shape[1]} columns, this format has {allowed}: give the right params file")
    if not np.isfinite(table).all():
        raise InputError(
            f"{path} holds a number that is not finite in row {int(np.argwhere(~np.isfinite(table))[0][0])}"
        )
    return table, names if len(names) == table.shape[1] else []


def _numeric(row: list[str]) -> bool:
    try:
        [float(word) for word in row]
    except ValueError:
        return False
    return True


# --- checks and options ---------------------------------------------------------------------------


def check_fields(fields: np.ndarray, kind: str, dimension: int, source: object, first: int = 0) -> None:
    r"""Raise InputError unless ``fields`` (samples, \*grid) is square, finite and within the bound of its kind.

    ``first`` is the index of the first of these samples in the file, for the message.
    """
    if kind not in LOWEST:
        raise InputError(f"field_kind = {kind!r} is unknown: choose one of {', '.join(LOWEST)}")
    if fields.ndim != dimension + 1:
        raise InputError(
            f"{source} has shape {fields.shape}; a set of {dimension}-D fields has {dimension + 1} axes "
            "(sample first): choose the other format or the other dimension"
        )
    if len(set(fields.shape[1:])) != 1:
        raise InputError(
            f"{source} has fields of shape {fields.shape[1:]}; they must be square (cubic): crop or regrid"
        )
    bad = ~np.isfinite(fields)
    if bad.any():
        index = np.argwhere(bad)[0]
        where = ", ".join(str(int(i)) for i in (index[0] + first, *index[1:]))
        raise InputError(
            f"{source} holds {fields[tuple(index)]} at index ({where}) ({int(bad.sum())} such values): "
            "every value must be finite, repair or drop that field"
        )
    try:
        check_bound(fields, kind)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def read_fields(array: np.ndarray, kind: str, dimension: int, source: object, cells: int | None) -> np.ndarray:
    """Checked float32 copy of (samples, *grid), averaged (counts: summed) over blocks down to ``cells`` per side.

    One sample at a time, so that a memory-mapped file of any size needs the memory of its result only.
    """
    side = array.shape[-1]
    cells = cells or side
    if cells < 1 or side % cells:
        raise InputError(f"cells = {cells} does not divide the {side} cells of {source}: choose a divisor of {side}")
    fields = None
    for i in range(len(array)):
        one = np.asarray(array[i : i + 1])
        check_fields(one, kind, dimension, source, first=i)
        one = block_average(one, cells, "sum" if kind == "counts" else "mean")
        if fields is None:
            fields = np.empty((len(array), *one.shape[1:]), np.float32)
        fields[i] = one[0]
    if fields is None:
        raise InputError(f"{source} holds no field: give a file with at least one")
    return fields


def block_average(fields: np.ndarray, cells: int, how: str = "mean") -> np.ndarray:
    r"""(samples, \*grid) on ``cells`` per side; the mean (or sum) of each block, in float64."""
    factor = fields.shape[-1] // cells
    if factor == 1:
        return fields
    dimension = fields.ndim - 1
    shape = [len(fields), *(n for _ in range(dimension) for n in (cells, factor))]
    axes = tuple(range(2, 2 + 2 * dimension, 2))
    return getattr(fields.astype(np.float64).reshape(shape), how)(axis=axes)


class Options:
    """Options of an importer, strings as the user typed them; what nobody asked for is an error."""

    def __init__(self, format: str, options: dict[str, str], known: tuple[str, ...]):
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise InputError(f"{format} has no option {unknown[0]!r}: it takes {', '.join(known)}")
        self._options = options

    def text(self, name: str, default: str | None = None) -> str | None:
        """The option as it stands."""
        return self._options.get(name, default)

    def length(self, name: str, default: str | None = None) -> float:
        """A length in Mpc/h; Mpc and kpc are converted with the option ``h``."""
        given = self._options.get(name, default)
        if given is None:
            raise InputError(f'{name} is needed and needs a unit: give {name}="25 Mpc/h"')
        value = parse_quantity(given, "Mpc/h", self.number("h") if "h" in self._options else None)
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} = {given!r} must be positive")
        return value

    def number(self, name: str, default: float | None = None) -> float | None:
        """A plain number."""
        return default if name not in self._options else _parse(name, self._options[name], float, "a number")

    def count(self, name: str, default: int | None = None) -> int | None:
        """A positive whole number."""
        value = default if name not in self._options else _parse(name, self._options[name], int, "a whole number")
        if value is not None and value < 1:
            raise InputError(f"{name} = {value} must be at least 1")
        return value


def _parse(name: str, text: str, kind: type, what: str) -> Any:
    try:
        return kind(text)
    except (TypeError, ValueError):
        raise InputError(f"{name} = {text!r} is not {what}") from None
