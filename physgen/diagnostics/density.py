"""A field in units of its mean density, whatever kind of density it holds."""

import numpy as np

DENSITIES = ("delta", "counts", "density", "surface_density")
FLOOR = 1e-3  # density in units of the mean below which cells count as empty in a logarithm


def relative_density(field, kind):
    r"""Density in units of the mean: :math:`1 + \delta` for kind ``delta``, field / its mean for the other densities.

    Args:
        field: any shape.
        kind: one of DENSITIES.
    """
    field = np.asarray(field, dtype=float)
    return 1.0 + field if kind == "delta" else field / field.mean()


def log10_density(field, kind):
    r""":math:`\log_{10}\max(\rho/\bar\rho, 10^{-3})`: empty cells sit at -3; an unknown kind is taken as delta."""
    return np.log10(np.maximum(relative_density(field, kind if kind in DENSITIES else "delta"), FLOOR))
