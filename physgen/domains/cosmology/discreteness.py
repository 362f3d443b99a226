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
    """The ensemble with the white level of P that a Poisson sample of its points has, root attribute ``poisson_level``.

    From the ``number_density`` in the volume, (h/Mpc)^3, that an importer of particles states; of slabs by
    :func:`slab_noise`. Counts that state none have their mean over the volume (in two dimensions: the area) of a cell,
    and NGP, since counts that a scheme spread over cells state it. Fields without either are returned as they are.
    """
    attrs = ensemble.attrs
    if "poisson_level" in attrs or ensemble.sizes.get("component", 1) > 1:
        return ensemble
    if "number_density" in attrs:
        density, depth, stated = (
            float(attrs["number_density"]),
            attrs.get("slab_thickness"),
            MassAssignment.stated(attrs),
        )
        if not density > 0 or (depth is not None and stated is None):
            return ensemble
        if depth is None or stated is None:
            return ensemble.assign_attrs(poisson_level=1 / density)
        return ensemble.assign_attrs(
            poisson_level=slab_noise(density, float(depth), float(spacing(ensemble)[0]), stated.scheme)
        )
    if set(field_kinds(ensemble)) != {"counts"}:
        return ensemble
    level = float(np.mean(1 / mean_density(ensemble))) * float(np.prod(spacing(ensemble)))  # the mean noise of all
    ensemble = ensemble.assign_attrs(poisson_level=level)
    return ensemble if "mass_assignment" in attrs else ensemble.assign_attrs(mass_assignment="NGP")


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
