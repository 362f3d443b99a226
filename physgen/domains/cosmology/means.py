r"""The mean density that belongs to each sample: that of its cosmology.

In a Latin hypercube the mean density differs between cosmologies (matter: in proportion to Omega_m), so that one mean
for all turns this difference into power: with \bar\rho_i the mean of cosmology i and \bar\rho that of the set, P of
\rho/\bar\rho is the P of delta times <\bar\rho_i^2>/\bar\rho^2, 1.15 for Omega_m uniform in [0.1, 0.5].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

ENOUGH_MAPS = 4  # of one cosmology: fewer maps do not tell its mean from their own fluctuation
MATTER = ("Mcdm", "Mtot", "")  # fields whose mean is in proportion to Omega_m; nothing said: matter


def mean_densities(ensemble: xr.Dataset, kinds: Sequence[str], units: str) -> xr.Dataset:
    """The ensemble with the attribute ``mean_density``, that of the set, and its ``mean_convention``.

    Where the cosmologies have means of their own, these stand in the coordinate ``mean_density`` on ``sample``.

    The mean is over all samples of equal labels (a box knows its own mean; so do ``ENOUGH_MAPS`` slabs of a
    cosmology). With fewer maps of a cosmology, the mean of matter is Omega_m times the ratio over the whole set, where
    the maps follow Omega_m at all; other fields share the mean of the set.
    """
    field = ensemble["field"]
    components = field.sizes.get("component", 1)
    dimension = field.ndim - 1 - ("component" in field.dims)
    each = field.values.reshape(len(field), components, -1).mean(axis=2, dtype=np.float64)
    plain = np.array([kind in ("delta", "real") for kind in kinds])
    total = np.where(plain, 1.0, each.mean(axis=0))
    means, convention = _per_cosmology(ensemble, each, dimension)
    means = np.where(plain, 1.0, means)
    components_too = "component" in field.dims
    attr = total.tolist() if components_too else float(total[0])
    ensemble = ensemble.assign_attrs(mean_density=attr, mean_convention=convention)
    if convention.startswith("global"):
        return ensemble
    attrs = {"long_name": "mean density of the cosmology", "units": units, "convention": convention}
    layout, values = (("sample", "component"), means) if components_too else (("sample",), means[:, 0])
    return ensemble.assign_coords(mean_density=(layout, values, attrs))


def _per_cosmology(ensemble: xr.Dataset, each: np.ndarray, dimension: int) -> tuple[np.ndarray, str]:
    names = [str(n) for n, v in ensemble.data_vars.items() if v.dims == ("sample",) and v.dtype.kind == "f"]
    total = np.broadcast_to(each.mean(axis=0), each.shape)
    if not names:
        return total, "global: the mean over the data set, not over each map"
    rows = np.stack([ensemble[name].values for name in names], axis=1)
    _, group = np.unique(rows, axis=0, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group)
    if len(count) == 1:
        return total, "global: the mean over the data set, which has one cosmology"
    if dimension == 3 or count.min() >= ENOUGH_MAPS:
        sums = np.stack([np.bincount(group, weights=column) for column in each.T], axis=1)
        return (sums / count[:, None])[group], "cosmology: the mean over all samples of equal labels, not over each map"
    if "Omega_m" in names and str(ensemble.attrs.get("field_name", "")) in MATTER:
        Omega_m = ensemble["Omega_m"].values[:, None]
        if np.all(_spread(each / Omega_m) < _spread(each)):  # as matter does; what does not follow Omega_m has one mean
            ratio = each.sum(axis=0) / Omega_m.sum()
            return Omega_m * ratio, "Omega_m: in proportion to Omega_m, the ratio that of the whole data set"
    return total, "global: the mean over the data set; too few maps of a cosmology to know its own"


def _spread(means: np.ndarray) -> np.ndarray:
    """Relative scatter over samples."""
    return means.std(axis=0) / np.abs(means.mean(axis=0))
