"""Fields in the layout of The Well (Ohana et al. 2024, 2412.00568): a trajectory of one step for each field.

Axes stand in the order in which they are stored, ``spatial_dims`` names them. Labels are scalars that vary between
trajectories; units of fields and axes are attributes beyond the layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.encoding import field_kinds
from physgen.domains.cosmology.geometry import is_periodic
from physgen.ensemble import space_dims
from physgen.ensemble.plain import field_blocks, field_shape

CONSTANTS = ("redshift", "h", "Omega_b", "n_s", "slab_thickness")


def write_well(ensemble: xr.Dataset, columns: dict[str, np.ndarray], folder: Path, name: str) -> list[Path]:
    """One file ``name``: ``t0_fields`` hold the components, (n, 1, \\*grid) in single precision."""
    import h5py

    shape, dims = field_shape(ensemble), space_dims(ensemble)
    constants = {key: float(ensemble.attrs[key]) for key in CONSTANTS if key in ensemble.attrs and key not in columns}
    with h5py.File(folder / name, "w") as file:
        file.attrs.update(
            dataset_name=str(ensemble.attrs.get("name", Path(name).stem)), grid_type="cartesian",
            n_spatial_dims=len(dims), n_trajectories=shape[0], simulation_parameters=list(constants), **constants,
        )  # fmt: skip
        _write_axes(file, ensemble, dims)
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = [*columns, *constants]
        for label, column in columns.items():
            values = column.astype(np.float32) if column.dtype.kind == "f" else column.astype(np.int64)
            _dataset(scalars, label, values, sample_varying=True, time_varying=False)
        for label, value in constants.items():
            _dataset(scalars, label, np.array(value, np.float32), sample_varying=False, time_varying=False)
        _write_fields(file, ensemble, shape, dims)
        for order in (1, 2):
            file.create_group(f"t{order}_fields").attrs["field_names"] = np.array([], dtype=h5py.string_dtype())
    return [Path(name)]


def _dataset(group: Any, name: str, values: np.ndarray, **attrs: Any) -> None:
    group.create_dataset(name, data=values).attrs.update(attrs)


def _write_axes(file: Any, ensemble: xr.Dataset, dims: tuple[str, ...]) -> None:
    axes, walls = file.create_group("dimensions"), file.create_group("boundary_conditions")
    axes.attrs["spatial_dims"] = list(dims)
    _dataset(axes, "time", np.zeros(1, np.float32), sample_varying=False)
    kind = "PERIODIC" if is_periodic(ensemble) else "OPEN"
    for dim in dims:
        unit = str(ensemble[dim].attrs.get("units", "1"))
        centres = ensemble[dim].values.astype(np.float32)
        _dataset(axes, dim, centres, sample_varying=False, time_varying=False, units=unit)
        wall = walls.create_group(f"{dim}_{kind.lower()}")
        wall.attrs.update(
            associated_dims=[dim], associated_fields=np.array([], dtype="S1"), bc_type=kind, sample_varying=False,
            time_varying=False,
        )  # fmt: skip
        edge = np.zeros(len(centres), bool)
        edge[[0, -1]] = True
        wall["mask"] = edge


def _write_fields(file: Any, ensemble: xr.Dataset, shape: tuple[int, ...], dims: tuple[str, ...]) -> None:
    kinds, parts = field_kinds(ensemble), "component" in ensemble["field"].dims
    names = [str(c) for c in ensemble["component"].values] if parts else [well_name(ensemble)]
    group = file.create_group("t0_fields")
    group.attrs["field_names"] = names
    varying = {"sample_varying": True, "time_varying": True, "dim_varying": np.ones(len(dims), bool)}
    grid = shape[-len(dims) :]
    sets = [group.create_dataset(n, (shape[0], 1, *grid), np.float32, chunks=(1, 1, *grid)) for n in names]
    for one, kind in zip(sets, kinds, strict=True):
        one.attrs.update(units=str(ensemble["field"].attrs.get("units", "1")), field_kind=kind, **varying)
    start = 0
    for values in field_blocks(ensemble):
        for c, one in enumerate(sets):
            one[start : start + len(values), 0] = values[:, c] if parts else values
        start += len(values)


def well_name(ensemble: xr.Dataset) -> str:
    """The name of a single field: as CAMELS has it, else what it is."""
    return str(ensemble.attrs.get("field_name", ensemble.attrs.get("field_kind", "field"))).replace("/", "_")
