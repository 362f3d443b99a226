"""What an ensemble of density fields is, in words and numbers for tables and trackers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.conditions import label_names
from physgen.ensemble import space_dims, spacing


def facts(ensemble: xr.Dataset) -> dict[str, Any]:
    """Box (the number of cells times their size), redshift, kind and units of the field, ranges of the labels."""
    dims, cells = space_dims(ensemble), spacing(ensemble)
    unit = re.sub(r"\W+", "_", str(ensemble[dims[-1]].attrs.get("units", "Mpc/h"))).strip("_")
    sides = [float(f"{ensemble.sizes[dim] * size:.6g}") for dim, size in zip(dims, cells, strict=True)]
    found: dict[str, Any] = {f"box_size_{unit}": sides[0] if len(set(sides)) == 1 else sides}
    if "slab_thickness" in ensemble.attrs:
        found["thickness_Mpc_h"] = ensemble.attrs["slab_thickness"]
    kept = ("redshift", "redshift_space", "field_kind", "periodic", "Omega_b", "h", "n_s", "mean_density")
    found |= {key: ensemble.attrs[key] for key in kept if key in ensemble.attrs}
    found |= {"field_units": ensemble["field"].attrs.get("units", "1"), "dimension": len(dims)}
    if "simulation" in ensemble.variables:
        found["simulations"] = len(np.unique(ensemble["simulation"].values))
    for name in (n for n in label_names(ensemble) if n in ensemble.variables):
        found[f"{name}_range"] = [float(ensemble[name].min()), float(ensemble[name].max())]
    return found
