"""The ensemble: one xarray Dataset that holds configurations, their labels and where they came from.

Rules of the data type. The variable ``field`` holds the configurations. Its dims named ``z y x`` (or
``site``) are space, ``component`` is the channel, every other dim counts samples. Labels and couplings
are further variables, provenance stands in the root attributes. There is no class: every function here
takes a Dataset and returns one.

Files are NetCDF-4/HDF5 with one sample per chunk and a Fletcher-32 checksum on each, because a plain
HDF5 file with a flipped bit loads without complaint.
"""

from __future__ import annotations

import datetime
import errno
import os
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen import __version__
from physgen.errors import InputError
from physgen.provenance import git_commit
from physgen.storage.disk import reserve, sync_to_disk

if TYPE_CHECKING:
    import xarray as xr

SCHEMA = "physgen-ensemble/1"
SPACE = ("z", "y", "x", "site")


# --- reading the layout -----------------------------------------------------------------------


def space_dims(ensemble: xr.Dataset) -> tuple[str, ...]:
    """Names of the space dims of ``field``, in the order in which they stand there."""
    return tuple(str(d) for d in ensemble["field"].dims if d in SPACE)


def sample_dims(ensemble: xr.Dataset) -> tuple[str, ...]:
    """Names of the dims of ``field`` that count samples, in the order in which they stand there."""
    return tuple(str(d) for d in ensemble["field"].dims if d not in SPACE and d != "component")


def sample_count(ensemble: xr.Dataset) -> int:
    """Number of configurations."""
    return int(np.prod([ensemble.sizes[d] for d in sample_dims(ensemble)], dtype=np.int64))


def spacing(ensemble: xr.Dataset) -> tuple[float, ...]:
    r"""Lattice spacing :math:`a_i = (x_{n-1} - x_0)/(n-1)` along each space dim, from the cell centres.

    A dim without a coordinate has spacing 1. Raises InputError where a coordinate is not uniform.
    """
    found = []
    for dim in space_dims(ensemble):
        if dim not in ensemble.coords or ensemble.sizes[dim] < 2:
            found.append(1.0)
            continue
        points = np.asarray(ensemble[dim].values, dtype=np.float64)
        step = (points[-1] - points[0]) / (len(points) - 1)
        if step <= 0 or np.abs(np.diff(points) - step).max() > 1e-4 * abs(step):
            raise InputError(
                f"coordinate {dim!r} is not a uniform increasing grid; physgen needs equal cells: regrid it"
            )
        found.append(float(step))
    return tuple(found)


def flatten(ensemble: xr.Dataset) -> np.ndarray:
    """``field`` as an array of shape (samples, components, \\*grid); sample dims flattened in C order."""
    samples, space = sample_dims(ensemble), space_dims(ensemble)
    field = ensemble["field"]
    if "component" not in field.dims:
        field = field.expand_dims("component")
    values = field.transpose(*samples, "component", *space).values
    return values.reshape(-1, *values.shape[len(samples):])  # fmt: skip


def units_of_samples(ensemble: xr.Dataset) -> np.ndarray:
    """Name of the independent unit of each flattened sample: its simulation, its disorder, or itself.

    Samples of one simulation, or of one disorder instance, are not independent of each other; errors
    are taken over units. In an ensemble of a single disorder instance the units are those of its replicas: the
    ``chain`` (or block of a chain) of each where that is named, else the replica.
    """
    samples = sample_dims(ensemble)
    shape = [ensemble.sizes[d] for d in samples]
    if "simulation" in ensemble and ensemble["simulation"].dims == ("sample",):
        label = ensemble["simulation"].values
        along = samples.index("sample")
    elif "disorder" in samples and (ensemble.sizes["disorder"] > 1 or "replica" not in samples):
        label = ensemble["disorder"].values if "disorder" in ensemble.coords else np.arange(ensemble.sizes["disorder"])
        along = samples.index("disorder")
    elif "replica" in samples and "disorder" in samples:
        label = ensemble["chain"].values if "chain" in ensemble.variables else np.arange(ensemble.sizes["replica"])
        along = samples.index("replica")
    else:
        return np.arange(int(np.prod(shape, dtype=np.int64)))
    view = [1] * len(shape)
    view[along] = shape[along]
    return np.broadcast_to(np.asarray(label).reshape(view), shape).reshape(-1)


# --- checking -----------------------------------------------------------------------------------


def check_ensemble(ensemble: xr.Dataset, finite: bool = True) -> xr.Dataset:
    """Return the Dataset if it keeps the rules above, else raise InputError with the first broken one."""
    if "field" not in ensemble:
        raise InputError(
            f"an ensemble needs a variable 'field', found {sorted(map(str, ensemble.data_vars))}: rename yours"
        )
    if not space_dims(ensemble):
        raise InputError(
            f"'field' has dims {ensemble['field'].dims}; at least one must be named z, y, x or site: rename it"
        )
    if not sample_dims(ensemble):
        raise InputError("'field' has no dim that counts samples: add one, even of length 1 (expand_dims('sample'))")
    empty = [str(d) for d in ensemble["field"].dims if ensemble.sizes[d] == 0]
    if empty:
        raise InputError(f"'field' is empty along {empty[0]!r}: an ensemble holds at least one configuration")
    if ensemble["field"].dtype.kind not in "fiu":
        raise InputError(
            f"'field' has dtype {ensemble['field'].dtype}; physgen reads real or integer numbers: convert it"
        )
    spacing(ensemble)
    if finite:
        _check_finite(ensemble)
    return ensemble


def _check_finite(ensemble: xr.Dataset) -> None:
    for name, variable in ensemble.data_vars.items():
        if variable.dtype.kind != "f":
            continue
        bad = ~np.isfinite(variable.values)
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            where = ", ".join(f"{d}={i}" for d, i in zip(variable.dims, first, strict=True))
            value = variable.values[first]
            raise InputError(
                f"{name} holds {value} at {where} ({int(bad.sum())} such values in all); "
                "every value must be finite: drop or repair that configuration"
            )


# --- files --------------------------------------------------------------------------------------


def save_ensemble(ensemble: xr.Dataset, path: str | Path) -> Path:
    """Write an ensemble so that the name holds either the whole new file or what stood there before.

    It is written under a temporary name in the same folder, synced to the disk, then renamed. Chunks
    hold one sample each. A full disk or a missing folder raises InputError and leaves nothing behind.
    """
    path = Path(path)
    ensemble = _with_provenance(check_ensemble(ensemble))
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder: create it first, or give another -o")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # HDF5's own tables and attributes come on top of the values
        reserve(temporary, ensemble.nbytes + 256 * sample_count(ensemble) + 2**17)
        ensemble.to_netcdf(temporary, engine="h5netcdf", encoding=_encoding(ensemble))
        sync_to_disk(temporary)
        os.replace(temporary, path)
        sync_to_disk(path.parent)
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error) or "write failed" in str(error):
            raise InputError(
                f"{path} was not written (No space left on device): the disk of {path.parent} is full, this ensemble "
                f"needs {ensemble.nbytes / 2**20:.3g} MiB: free some space or choose another place. "
                "Nothing that existed was changed"
            ) from error
        raise InputError(f"cannot write {path}: {error.strerror or error}. Nothing that existed was changed") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def open_ensemble(path: str | Path) -> xr.Dataset:
    """Open an ensemble lazily: values are read, and their checksums verified, when they are used."""
    import xarray as xr

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file: check the path, or make one with `physgen simulate`")
    try:
        ensemble = xr.open_dataset(path, engine="h5netcdf", chunks=None)
    except Exception as error:
        raise InputError(
            f"{path} is not a readable HDF5 ensemble ({_first_line(error)}): it is damaged, truncated or of another "
            "format. Copy or write it again, or bring foreign data in with `physgen import`"
        ) from error
    if "field" not in ensemble:
        ensemble.close()
        raise InputError(
            f"{path} has no variable 'field': it is no ensemble. Bring foreign data in with `physgen import`"
        )
    return ensemble


def load_ensemble(path: str | Path) -> xr.Dataset:
    """Read a whole ensemble into memory, verify every checksum and every value, and close the file."""
    with open_ensemble(path) as lazy:
        try:
            ensemble = lazy.load()
        except Exception as error:
            raise InputError(
                f"{path} is damaged: a checksum does not match its data ({_first_line(error)}). "
                "Copy it again from its source or simulate it anew"
            ) from error
    try:
        return check_ensemble(ensemble)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _encoding(ensemble: xr.Dataset) -> dict[Hashable, dict[str, Any]]:
    encoding: dict[Hashable, dict[str, Any]] = {}
    for name, variable in ensemble.variables.items():
        if not variable.ndim or variable.dtype.kind not in "fiu":
            continue
        # one chunk per sample: a reader of one configuration reads (and verifies) only that one
        chunk = tuple(
            size if name != "field" or dim in SPACE or dim == "component" else 1
            for dim, size in zip(variable.dims, variable.shape, strict=True)
        )
        encoding[name] = {"chunksizes": chunk, "fletcher32": True, "contiguous": False}
    return encoding


def _with_provenance(ensemble: xr.Dataset) -> xr.Dataset:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = f"{now} {' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}".strip()
    history = str(ensemble.attrs.get("history", ""))
    defaults = {"domain": "", "seed": -1, "config_json": "{}"}
    attrs = {**defaults, **ensemble.attrs}
    attrs |= {
        "physgen_schema": SCHEMA,
        "Conventions": "CF-1.11",
        "physgen_version": __version__,
        "git_commit": git_commit(),
        "history": f"{history}\n{line}".strip(),
    }
    kept = ensemble.assign_attrs(attrs)
    for name, variable in kept.variables.items():
        variable.attrs.setdefault("units", "1")
        variable.attrs.setdefault("long_name", str(name).replace("_", " "))
    return kept


# --- choosing -----------------------------------------------------------------------------------


def splitting_label(ensemble: xr.Dataset, by: str, parts: int) -> str:
    """``by`` where it has enough units for ``parts`` parts; else the ``chain`` or ``replica`` of configurations.

    Few disorder instances (one, often) are split by their replicas, or by whole chains where these are named.
    """
    if by not in ensemble.variables and by not in ensemble.dims:
        return by
    units = len(np.unique(ensemble[by].values)) if by in ensemble.variables else ensemble.sizes[by]
    finer = [name for name in ("chain", "replica") if name in ensemble.variables or name in ensemble.dims]
    return by if units >= parts or not finer else finer[0]


def split(ensemble: xr.Dataset, by: str, fractions: Mapping[str, float], seed: int) -> dict[str, xr.Dataset]:
    """Split by whole independent units, so that no simulation or disorder instance is on both sides.

    Args:
        by: a sample dim (``disorder``) or a label variable on one (``simulation`` on ``sample``).
        fractions: part -> share of the units; the shares sum to 1. Every part gets at least one unit.
        seed: the order of the units is a pure function of it, so a split is repeatable from the file alone.
    """
    units = shuffled_units(ensemble, by, seed)
    total = sum(fractions.values())
    if abs(total - 1) > 1e-9 or min(fractions.values()) <= 0:
        raise InputError(f"split fractions {dict(fractions)} must be positive and sum to 1, they sum to {total:g}")
    if len(units) < len(fractions):
        raise InputError(
            f"{len(units)} {by} units cannot be split into {len(fractions)} parts: simulate or import more"
        )
    edges = np.round(np.cumsum([0.0, *fractions.values()]) * len(units)).astype(int)
    for i in range(1, len(edges)):  # every part holds at least one unit
        edges[i] = min(max(edges[i], edges[i - 1] + 1), len(units) - (len(edges) - 1 - i))
    return {
        part: select_units(ensemble, by, units[low:high])
        for part, low, high in zip(fractions, edges[:-1], edges[1:], strict=True)
    }


def subset(ensemble: xr.Dataset, n: int, seed: int, by: str) -> xr.Dataset:
    """The first ``n`` units in the order shuffled by ``seed``: subsets of one seed are nested."""
    units = shuffled_units(ensemble, by, seed)
    if not 1 <= n <= len(units):
        raise InputError(
            f"a subset of {n} {by} units was asked for, the ensemble has {len(units)}: choose 1 to {len(units)}"
        )
    return select_units(ensemble, by, units[:n])


def shuffled_units(ensemble: xr.Dataset, by: str, seed: int) -> np.ndarray:
    """Distinct values of ``by``, in an order that depends on ``seed`` and on those values alone."""
    if by in ensemble.variables:
        units = np.unique(ensemble[by].values)
    elif by in ensemble.dims:
        units = np.arange(ensemble.sizes[by])
    else:
        raise InputError(f"cannot split by {by!r}: the ensemble has neither such a label nor such a dim")
    return np.random.default_rng([seed, 0x5B1]).permutation(units)


def select_units(ensemble: xr.Dataset, by: str, units: np.ndarray) -> xr.Dataset:
    """The samples whose ``by`` is one of ``units``, in the order of the file."""
    if by not in ensemble.variables:
        return ensemble.isel({by: np.sort(units)})
    dim = ensemble[by].dims[0]
    return ensemble.isel({dim: np.flatnonzero(np.isin(ensemble[by].values, units))})
