r"""Fields in the layout of The Well (Ohana et al. 2024, 2412.00568; the_well/docs/data_format.md), 2-D and 3-D.

``t0_fields/NAME`` (trajectories, steps, \*grid), ``t1_fields/NAME`` with an axis of components behind; axes without
``sample_varying`` or ``time_varying`` are left out there and are repeated here. ``scalars`` and the attributes that
``simulation_parameters`` names are labels. A trajectory is an independent unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.options import Options
from physgen.domains.cosmology.own_fields import OPTIONS, load_sources
from physgen.domains.cosmology.sources import Source, open_hdf5, read_dataset
from physgen.errors import InputError

Labels = dict[str, np.ndarray | float]


def load_the_well(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Trajectories of one or several files as samples. Options as for npy, and:

    - data: names of fields; several become components, a vector one component for each axis.
    - step: first, last or a number from 0, of one step; ``all`` takes each as a sample, with its ``time`` as a label.

    Box and unit are those of the axes where these have an attribute ``units`` (physgen writes one), else box_size is
    needed; periodic follows from the boundary conditions and is confronted.
    """
    known = Options("the_well", options, (*OPTIONS, "data", "step"))
    first = next((path for path in paths if path.is_file() and path.suffix.lower() in (".hdf5", ".h5")), None)
    first = first or next((p for path in paths if path.is_dir() for p in sorted(path.glob("*.h*5"))), paths[0])
    dimension, periodic = _geometry(first)
    if "periodic" in known and known.flag("periodic", True) != periodic:
        raise InputError(
            f"{first} has {'' if periodic else 'no '}periodic boundaries, you gave periodic={options['periodic']}"
        )
    filled = {"dimension": str(dimension), "periodic": "yes" if periodic else "no", **options}
    parsed = Options("the_well", filled, (*OPTIONS, "data", "step"))
    seen = [0]

    def read(path: Path) -> list[Source]:
        found = read_well(path, parsed.names("data"), parsed.text("step"), seen[0])
        seen[0] += len(np.unique(np.asarray(found[0].labels["simulation"])))
        return found

    return load_sources("the_well", paths, parsed, read)


def _geometry(path: Path) -> tuple[int, bool]:
    with open_hdf5(path) as file:
        missing = [name for name in ("dimensions", "t0_fields", "boundary_conditions") if name not in file]
        if missing:
            raise InputError(
                f"{path} has no group {missing[0]!r}, found {', '.join(file) or 'nothing'}: this is not the layout of "
                "The Well, use `physgen import hdf5`"
            )
        kinds = {_text(wall.attrs.get("bc_type", "")).upper() for wall in file["boundary_conditions"].values()}
        return len(file["dimensions"].attrs["spatial_dims"]), kinds == {"PERIODIC"}


def read_well(path: Path, data: list[str], step: str | None, first: int) -> list[Source]:
    r"""The fields called ``data``, each as (samples, \*grid); ``first`` is the number of the first trajectory."""
    with open_hdf5(path) as file:
        _check_layout(file, path)
        trajectories, steps = int(file.attrs["n_trajectories"]), file["dimensions/time"].shape[-1]
        dims = [_text(dim) for dim in file["dimensions"].attrs["spatial_dims"]]
        taken = _steps(step, steps, path)
        labels = _labels(file, trajectories, taken, first)
        facts = _facts(file, dims)
        found = []
        for name in data or _only_field(file, path):
            order = next((i for i in (0, 1) if name in file.get(f"t{i}_fields", {})), None)
            if order is None:
                raise InputError(f"{path} has no scalar or vector field {name!r}: it holds {', '.join(_fields(file))}")
            one = file[f"t{order}_fields/{name}"]
            values = _samples(one, path, trajectories, steps, [file[f"dimensions/{d}"].shape[-1] for d in dims], order)
            values = values[:, taken].reshape(trajectories * len(taken), *values.shape[2:])
            units = {"units": _text(one.attrs["units"])} if "units" in one.attrs else {}
            parts = [values] if order == 0 else [values[..., i] for i in range(values.shape[-1])]
            for i, part in enumerate(parts):
                called = name if order == 0 else f"{name}_{dims[i]}"
                found.append(Source(path, part, called, facts | units, labels))
        return found


def _check_layout(file: Any, path: Path) -> None:
    if "n_trajectories" not in file.attrs or "dimensions/time" not in file:
        raise InputError(f"{path} has no n_trajectories or no dimensions/time: this is not the layout of The Well")


def _fields(file: Any) -> list[str]:
    return [name for order in (0, 1) for name in file.get(f"t{order}_fields", {})]


def _only_field(file: Any, path: Path) -> list[str]:
    names = _fields(file)
    if len(names) != 1:
        raise InputError(
            f"{path} holds {', '.join(names) or 'no field'}: say which one, data=NAME (data=A,B: components)"
        )
    return names


def _steps(step: str | None, steps: int, path: Path) -> list[int]:
    if step == "all":
        return list(range(steps))
    if step is None and steps > 1:
        raise InputError(f"{path} has {steps} steps: say which, step=last, step=0 or step=all (each a sample)")
    number = {"first": "0", "last": str(steps - 1), None: "0"}.get(step, step)
    if not str(number).isdigit() or int(str(number)) >= steps:
        raise InputError(f"step = {step!r} is none of the {steps} steps of {path}: give first, last, all or a number")
    return [int(str(number))]


def _samples(one: Any, path: Path, trajectories: int, steps: int, grid: list[int], order: int) -> np.ndarray:
    """(trajectories, steps, \\*grid[, components]), repeated along the axes that the file leaves out."""
    values = read_dataset(one, path)
    lead = [bool(one.attrs.get(name, True)) for name in ("sample_varying", "time_varying")]
    varying = [*lead, *map(bool, np.ravel(one.attrs.get("dim_varying", np.ones(len(grid), bool))))]
    whole = [trajectories, steps, *grid]
    shape = [n if there else 1 for n, there in zip(whole, varying, strict=True)] + list(values.shape)[-1:] * order
    if int(np.prod(shape)) != values.size:
        raise InputError(
            f"{path}: {one.name} has shape {values.shape}, its attributes say {tuple(shape)}: copy it again"
        )
    return np.broadcast_to(values.reshape(shape), (*whole, *shape[len(whole) :]))


def _labels(file: Any, trajectories: int, taken: list[int], first: int) -> Labels:
    """Name -> (trajectories x steps,), ``simulation`` and, of several steps, ``time`` among them."""
    grid = (trajectories, len(taken))
    found: dict[str, np.ndarray] = {}
    for name in map(_text, np.ravel(file.attrs.get("simulation_parameters", []))):
        if name in file.attrs and np.ndim(file.attrs[name]) == 0 and not isinstance(file.attrs[name], str | bytes):
            found[name] = np.full(grid, float(file.attrs[name]))
    for name, scalar in file.get("scalars", {}).items():
        varying = [bool(scalar.attrs.get(word, False)) for word in ("sample_varying", "time_varying")]
        if scalar.dtype.kind not in "fiu" or (scalar.size != 1 and not any(varying)):
            continue
        values = np.reshape(scalar[...], (trajectories if varying[0] else 1, scalar.shape[-1] if varying[1] else 1))
        found[name] = np.broadcast_to(values[:, taken] if varying[1] else values, grid)
    if len(taken) > 1 and file["dimensions/time"].ndim == 1:
        found["time"] = np.broadcast_to(file["dimensions/time"][...][taken], grid)
    constants = {_text(name) for name in np.ravel(file.attrs.get("simulation_parameters", []))}
    own = "field_kind" in next(iter(file["t0_fields"].values()), file).attrs  # physgen's: its constants are no labels
    labels = {n: np.ascontiguousarray(v).reshape(-1) for n, v in found.items() if not (own and n in constants)}
    labels.setdefault("simulation", np.repeat(first + np.arange(trajectories), len(taken)))
    return dict(labels)


def _facts(file: Any, dims: list[str]) -> dict[str, str]:
    """The box from the centres of its cells, where the axes say their unit."""
    axes = [file[f"dimensions/{dim}"] for dim in dims]
    units = [_text(axis.attrs.get("units", "")) for axis in axes]
    if not all(units) or any(axis.ndim != 1 or len(axis) < 2 for axis in axes):
        return {}
    sides = [float((axis[-1] - axis[0]) / (len(axis) - 1) * len(axis)) for axis in axes]
    return {"box_size": ", ".join(f"{side:.7g} {unit}" for side, unit in zip(sides, units, strict=True))}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
