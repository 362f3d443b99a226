"""A field in units of its mean density, whatever kind of density it holds."""

import numpy as np

from physgen.errors import InputError

DENSITIES = ("delta", "counts", "density", "surface_density")
FLOOR = 1e-3  # density in units of the mean below which cells count as empty in a logarithm


def relative_density(field, kind, mean=None):
    r"""Density in units of the mean: :math:`1 + \delta` for kind ``delta``, field / its mean for the other densities.

    Args:
        field: any shape; single precision stays single.
        kind: one of DENSITIES.
        mean: of the whole ensemble, where ``field`` is a part of it; ignored for delta.
    """
    field = np.asarray(field)
    field = field.astype(np.result_type(field.dtype, np.float32), copy=False)
    if kind == "delta":
        return 1.0 + field
    return field / field.dtype.type(field.mean(dtype=float) if mean is None else mean)


def log10_density(field, kind, mean=None):
    r""":math:`\log_{10}\max(\rho/\bar\rho, 10^{-3})`: empty cells sit at -3; an unknown kind is taken as delta."""
    density = relative_density(field, kind if kind in DENSITIES else "delta", mean)
    np.maximum(density, density.dtype.type(FLOOR), out=density)
    np.log(density, out=density)  # numpy has no vector instructions for log10
    return np.multiply(density, density.dtype.type(1 / np.log(10)), out=density)


def _density_attrs():
    return {"kind": "scalar", "units": "1", "convention": "Density in units of the mean of the reference."}


def mean_density(ensemble):
    r"""Mean of the field in units of the mean density, :math:`1 + \langle\delta\rangle`, one estimate a unit.

    Logarithmic encodings do not conserve the mean: a model can have every spectrum right and too much matter.

    Args:
        ensemble: ``field`` of a kind in DENSITIES; for kinds other than delta the unit is the attr ``mean_density``
            where it stands (one number for both sides of a comparison), else the ensemble's own mean, which is then 1.

    Returns:
        Dataset of kind scalar: ``value``, ``error`` over independent units.
    """
    from physgen.diagnostics.batches import each_sample
    from physgen.diagnostics.result import result_of_samples

    mean = each_sample(ensemble, _mean, _relative_to(ensemble))
    said = {"diagnostic": "mean_density", "long_name": "mean density / reference mean", "tolerance_kind": "ratio"}
    said |= {"tolerance": 0.02, "tolerance_of": "mean density", "symbol": r"\bar\rho"}
    return result_of_samples(ensemble, mean, (), {}, **_density_attrs(), **said)


def density_scatter(ensemble):
    r"""Scatter of the mean density from one configuration to the next, :math:`\mathrm{std}(\ln\bar\rho_b)`.

    Of the logarithm, since haloes may rule the mean itself: one configuration then makes most of its variance, and no
    resampling finds the error of that. The standard deviation is over all configurations together (jackknife over
    units), so that it does not depend on how many of them a unit has. Slabs of a large box scatter (0.1 for 32 Mpc/h),
    whole periodic boxes do not.

    Returns:
        Dataset of kind scalar: ``value``, ``error``; ``per_unit`` holds jackknife pseudo-values.
    """
    from physgen.diagnostics.batches import each_sample
    from physgen.diagnostics.scatter import scatter_result

    mean = each_sample(ensemble, _mean, _relative_to(ensemble))
    if not np.all(mean > 0):
        raise InputError(f"a configuration has the mean density {mean.min():.3g}: its logarithm needs a positive one")
    said = {"diagnostic": "density_scatter", "long_name": "scatter of ln mean density", "tolerance_kind": "ratio"}
    said |= {"tolerance": 0.2, "tolerance_of": "scatter of the mean density", "symbol": r"\mathrm{std}\,\ln\bar\rho"}
    return scatter_result(ensemble, np.log(mean), (), {}, **_density_attrs(), **said)


def in_one_frame(reference, other):
    """Both with the mean density of the reference: a mean of its own for each would hide a factor and add its error.

    Densities without a recorded mean get that of the reference's values; other kinds stay as they are.
    """
    if reference.attrs.get("field_kind") not in DENSITIES[1:]:
        return reference, other
    if "mean_density" not in reference.attrs:
        reference = reference.assign_attrs(mean_density=float(reference["field"].values.mean(dtype=float)))
    return reference, other.assign_attrs(mean_density=reference.attrs["mean_density"])


def _mean(values):
    return values.mean(axis=tuple(range(2, values.ndim)), dtype=float)


def _relative_to(ensemble):
    kind, mean = ensemble.attrs.get("field_kind"), ensemble.attrs.get("mean_density")
    if kind != "delta" and mean is None:
        mean = float(ensemble["field"].values.mean(dtype=float))
    return lambda values: relative_density(values, kind if kind in DENSITIES else "delta", mean)
