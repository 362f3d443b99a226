"""What is known of the points behind a field: their number density, and the window along the line of sight of slabs."""

from __future__ import annotations

import numpy as np
import xarray as xr

from physgen.diagnostics.window import SCHEMES, MassAssignment
from physgen.domains.cosmology.encoding import field_kinds, mean_density
from physgen.ensemble import spacing

# E|y| of a sum of 2 (p - 1) uniform numbers in [-1/2, 1/2], by the order p of a mass assignment
MEAN_ABSOLUTE = {1: 0.0, 2: 1 / 3, 3: 7 / 15, 4: 79 / 140}


def of_points(ensemble: xr.Dataset) -> xr.Dataset:
    """Counts with the attributes that their shot noise needs, as far as they say nothing themselves.

    ``number_density``: their mean over the volume (in two dimensions: the area) of a cell. ``mass_assignment``: NGP,
    since counts that a scheme spread over cells state it. Other kinds of field are returned as they are.
    """
    if set(field_kinds(ensemble)) != {"counts"}:
        return ensemble
    if "number_density" not in ensemble.attrs and ensemble.sizes.get("component", 1) == 1:
        mean = 1 / float(np.mean(1 / mean_density(ensemble)))  # the mean of the noise of all
        ensemble = ensemble.assign_attrs(number_density=mean / float(np.prod(spacing(ensemble))))
    return ensemble if "mass_assignment" in ensemble.attrs else ensemble.assign_attrs(mass_assignment="NGP")


def said_of_slabs(ensemble: xr.Dataset) -> str:
    """What a spectrum of slabs keeps of its line of sight, in words; nothing for boxes."""
    depth = ensemble.attrs.get("slab_thickness")
    if depth is None:
        return ""
    stated = MassAssignment.stated(ensemble.attrs)
    edges = "" if stated is None or stated.scheme == "NGP" else f" with edges that {stated.scheme} softens"
    return (
        f" Across the line of sight alone: along it the field is the mean over {float(depth):g} Mpc/h{edges}, whose "
        "window is never divided out."
    )


def slab_noise(number_density: float, depth: float, cell: float, scheme: str) -> float:
    r"""White level of the spectrum of a slab of Poisson points, (Mpc/h)^2.

    :math:`\frac{1}{\bar n D}\left(1 - \frac{c_p a}{D}\right)` for D the depth, a the cell along the line of sight and
    :math:`\bar n` the density in the volume: a point at the edge of a slab gives it a part of its weight, with c_p = 0,
    1/3, 7/15, 79/140 for NGP, CIC, TSC, PCS. Across the line of sight the level has the alias sum of the scheme.
    """
    return (1 - MEAN_ABSOLUTE[SCHEMES[scheme]] * cell / depth) / (number_density * depth)
