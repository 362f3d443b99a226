"""Compare a measurement on generated configurations with the same one on a reference: every figure with its floor.

Legend: U, V units of the reference and the generated result, P points, *lead the dims before a histogram's bins.
Two results are paired when their units hold the same conditions (labels, quenched fields), each once: then unit by unit
differences are taken, and the variance of conditions between units drops out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.equivalence import Tolerance, deviations, permuted_log_p
from physgen.diagnostics.pair import Metric, Pair, mean_abs_log_ratio, total_variation, wasserstein
from physgen.diagnostics.resampling import halves
from physgen.diagnostics.result import are_paired, check_comparable

if TYPE_CHECKING:
    import xarray as xr


Diagnostic = Callable[["xr.Dataset"], "xr.Dataset"]
WITH_DISTANCES = ("histogram", "spectrum")  # kinds of result whose distances need a floor


def compare(reference: xr.Dataset, generated: xr.Dataset, diagnostic: Diagnostic, seed: int = 0) -> xr.Dataset:
    """Measure two ensembles with one diagnostic and compare them, each distance beside its floor.

    The floor is the same distance between two independent halves of the reference: halves of the samples of every
    unit if the results are paired, else halves of the units. Both ensembles are in one frame (units, means that fields
    are divided by): see ``confront`` of the domain.

    Args:
        reference, generated: ensembles on the same lattice.
        diagnostic: ensemble -> result (:func:`physgen.diagnostics.result.make_result`).
        seed: of the halves and of the null draws.

    Returns:
        Dataset of :func:`compare_results`.
    """
    return measure(reference, generated, diagnostic, seed)[2]


def measure(
    reference: xr.Dataset, generated: xr.Dataset, diagnostic: Diagnostic, seed: int = 0
) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """:func:`compare`, with the two results that it is made of: (of the reference, of the generated, comparison)."""
    return MeasuredReference(reference, seed).compare(generated, diagnostic)


class MeasuredReference:
    """A reference for any number of ensembles: each diagnostic of it, and of its halves, is computed once and kept.

    Args:
        ensemble: the reference.
        seed: of the halves and of the null draws.
    """

    def __init__(self, ensemble: xr.Dataset, seed: int = 0) -> None:
        self.ensemble, self._seed = ensemble, seed
        self._results: dict[Diagnostic, xr.Dataset] = {}
        self._by_law: dict[Diagnostic, Diagnostic] = {}
        self._half_results: dict[tuple[Diagnostic, bool], list[xr.Dataset]] = {}

    def compare(self, generated: xr.Dataset, diagnostic: Diagnostic) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
        """(result of the reference, result of the generated, comparison), see :func:`compare`."""
        diagnostic = self._bound(diagnostic)
        reference, measured = self._result(diagnostic), _measured(diagnostic, generated)
        first = second = None
        if reference.attrs["kind"] in WITH_DISTANCES:
            first, second = self._halves(diagnostic, are_paired(reference, measured))
        return reference, measured, compare_results(reference, measured, first, second, seed=self._seed)

    def _bound(self, diagnostic: Diagnostic) -> Diagnostic:
        """A diagnostic that measures by the law of a reference (``against``), made once for this one."""
        if not hasattr(diagnostic, "against"):
            return diagnostic
        if diagnostic not in self._by_law:
            self._by_law[diagnostic] = diagnostic.against(self.ensemble)
        return self._by_law[diagnostic]

    def _result(self, diagnostic: Diagnostic) -> xr.Dataset:
        if diagnostic not in self._results:
            self._results[diagnostic] = _measured(diagnostic, self.ensemble)
        return self._results[diagnostic]

    def _halves(self, diagnostic: Diagnostic, within: bool) -> list[xr.Dataset]:
        from physgen.ensemble import unread_field

        if (diagnostic, within) not in self._half_results:
            sides = halves(unread_field(self.ensemble), self._seed, within=within)
            self._half_results[diagnostic, within] = [_measured(diagnostic, half) for half in sides]
        return self._half_results[diagnostic, within]


def _measured(diagnostic: Diagnostic, ensemble: xr.Dataset) -> xr.Dataset:
    from physgen.ensemble import sample_count

    return diagnostic(ensemble).assign_attrs(n_samples=sample_count(ensemble))


def compare_results(
    reference: xr.Dataset,
    generated: xr.Dataset,
    half_a: xr.Dataset | None = None,
    half_b: xr.Dataset | None = None,
    seed: int = 0,
) -> xr.Dataset:
    r"""Compare two results point by point and as a whole.

    Points: ``difference`` = generated - reference, ``ratio`` = generated / reference, with errors over units (paired
    where the conditions are equal), ``z`` = difference / its error, ``ratio_covariance`` of all points.
    Whole: ``chi2`` with the full covariance, ``dof`` and ``p_value``: T^2 of Hotelling on neighbouring points merged
    until there are at most half as many as degrees of freedom, exact F law for Gaussian units; the inverse covariance
    is debiased so that chi2/dof has mean 1 under the null.
    Equivalence: ``deviation``, ``deviation_error``, ``deviation_freedom`` of each point in the diagnostic's own terms
    (:mod:`physgen.diagnostics.equivalence`; a ratio as its logarithm), and ``permuted_log_p``, the same for units that
    are dealt out anew, beside attrs ``tolerance``, ``tolerance_kind``,
    ``tolerance_of``.
    Distances: ``distance_tv``, ``distance_w1`` for histograms (last dim = bins) and ``mean_abs_log_ratio`` for spectra.
    Each has ``_error`` (jackknife over units); ``_floor`` and ``_floor_error``, the same between the halves, times
    :math:`\sqrt{(1/N_r + 1/N_g)/(1/N_a + 1/N_b)}` for equal statistics (attr ``floor_scale``; N = attr ``n_samples``);
    ``_null``, its mean for equal laws by the scatter of the units, which also knows of samples that are
    correlated within a unit.

    Args:
        reference, generated: results of one diagnostic.
        half_a, half_b: the same of two independent halves of the reference; None leaves the floors out.
        seed: of the null draws.

    Returns:
        Dataset; attr ``paired`` is 1 or 0, ``n_reference`` and ``n_generated`` count the units.
    """
    check_comparable(reference, generated)
    paired = are_paired(reference, generated)
    pair = _pair(reference, generated)
    floor, scale = None, np.nan
    if half_a is not None and half_b is not None:
        check_comparable(half_a, half_b)
        floor = _pair(half_a, half_b)
        scale = _floor_scale(reference, generated, half_a, half_b)
    found = _pointwise(reference, generated, pair)
    joint = pair.test(relative=reference.attrs.get("kind") != "histogram")
    found |= joint._asdict()
    tolerance = Tolerance.of(reference)
    found |= _deviations(pair, tolerance, reference, np.random.default_rng([seed, 0x7E57]))
    found |= _distances(pair, floor, scale, reference, seed)
    return _dataset(reference, found).assign_attrs(
        paired=int(paired),
        n_reference=len(pair.reference),
        n_generated=len(pair.generated),
        floor_scale=float(scale),
        tolerance=float(tolerance.limit),
        tolerance_kind=tolerance.kind,
        tolerance_of=tolerance.quantity,
        tolerance_percent=int(tolerance.kind != "difference" or "yardstick" in reference),
    )


def _distances(pair: Pair, floor: Pair | None, scale: float, reference: xr.Dataset, seed: int) -> dict[str, Any]:
    """Distances with their errors, null and, where there are halves, floor."""
    found: dict[str, Any] = {}
    for name, (metric, lead, attrs) in _metrics(reference).items():
        dims = reference["value"].dims[:lead]
        value, error = pair.distance(metric)
        found |= {name: (dims, value, attrs), f"{name}_error": (dims, error)}
        found[f"{name}_null"] = (dims, pair.null(metric, np.random.default_rng(seed)))
        if floor:
            value, error = floor.distance(metric)
            found |= {f"{name}_floor": (dims, value * scale), f"{name}_floor_error": (dims, error * scale)}
    return found


def _deviations(pair: Pair, tolerance: Tolerance, reference: xr.Dataset, rng: np.random.Generator) -> dict[str, Any]:
    """The deviations over the dims of the value; those of cumulative distributions lack the last bin."""
    dims, shape = reference["value"].dims, list(reference["value"].shape)
    attrs = {"long_name": f"deviation of {tolerance.quantity}", "units": "1"}
    found = deviations(pair, tolerance, reference)
    if tolerance.kind == "distribution":
        shape[-1] -= 1

    def padded(flat: np.ndarray) -> np.ndarray:
        values = flat.reshape((*flat.shape[:-1], *shape))
        missing = [(0, want - have) for want, have in zip(reference["value"].shape, shape, strict=True)]
        if not missing:
            return values
        return np.pad(values, [(0, 0)] * (flat.ndim - 1) + missing, constant_values=np.nan)

    return {
        "deviation": (dims, padded(found.value), attrs),
        "deviation_error": (dims, padded(found.error), {"units": "1"}),
        "deviation_freedom": (dims, padded(np.broadcast_to(found.freedom, found.value.shape)), {"units": "1"}),
        "permuted_log_p": (
            ("draw", *dims),
            padded(permuted_log_p(pair, tolerance, reference, rng)),
            {"long_name": "ln p of Student's law under permutation of the units", "units": "1"},
        ),
    }


def _pair(reference: xr.Dataset, generated: xr.Dataset) -> Pair:
    paired = are_paired(reference, generated)
    if paired:
        place = {name: i for i, name in enumerate(generated["condition"].values.tolist())}
        generated = generated.isel(unit=[place[name] for name in reference["condition"].values.tolist()])
    r, g = (
        one["per_unit"].transpose("unit", *one["value"].dims).values.astype(float) for one in (reference, generated)
    )
    return Pair(r, g, paired)


def _pointwise(reference: xr.Dataset, generated: xr.Dataset, pair: Pair) -> dict[str, Any]:
    """Difference, ratio and their errors over the dims of the value."""
    dims, shape = reference["value"].dims, reference["value"].shape
    r, g = pair.reference.mean(axis=0), pair.generated.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        inverse = np.where(r != 0, 1 / r, np.nan)
        ratio = g * inverse
        difference_error = np.sqrt(np.diag(pair.covariance())).reshape(shape)
        ratio_covariance = pair.covariance(of_reference=ratio * inverse, of_generated=inverse)
        z = np.where(difference_error > 0, (g - r) / difference_error, np.nan)
    units = reference["value"].attrs.get("units", "1")
    return {
        "ratio": (dims, ratio, {"long_name": "generated / reference", "units": "1"}),
        "ratio_error": (dims, np.sqrt(np.diag(ratio_covariance)).reshape(shape), {"units": "1"}),
        "ratio_covariance": (("point", "other_point"), ratio_covariance, {"units": "1"}),  # points in C order
        "difference": (dims, g - r, {"long_name": "generated - reference", "units": units}),
        "difference_error": (dims, difference_error, {"units": units}),
        "z": (dims, z, {"long_name": "difference / standard error", "units": "1"}),
        "reference": (dims, r, reference["value"].attrs),
        "reference_error": (dims, reference["error"].values, {"units": units}),
        "generated": (dims, g, generated["value"].attrs),
        "generated_error": (dims, generated["error"].values, {"units": units}),
    }


def _metrics(result: xr.Dataset) -> dict[str, tuple[Metric, int, dict[str, str]]]:
    """name -> (function of two arrays of values, number of leading dims it keeps, attrs)."""
    value, kind = result["value"], result.attrs.get("kind")
    if kind == "histogram":
        axis = str(value.dims[-1])
        position = np.asarray(result[axis].values, dtype=float)
        measure = value.attrs.get("measure", result.attrs.get("measure", "density"))
        width = 1.0 if measure == "probability" else _width(result, axis, position)
        units = result[axis].attrs.get("units", "1")
        return {
            "distance_tv": (
                lambda p, q: total_variation(p * width, q * width),
                value.ndim - 1,
                {"long_name": "total-variation distance", "units": "1"},
            ),
            "distance_w1": (
                lambda p, q: wasserstein(p * width, q * width, position),
                value.ndim - 1,
                {"long_name": "Wasserstein-1 distance", "units": units},
            ),
        }
    if kind == "spectrum":
        attrs = {"long_name": "mean |ln ratio| over all points", "units": "1"}
        return {"mean_abs_log_ratio": (lambda g, r: mean_abs_log_ratio(g, r, value.ndim), 0, attrs)}
    return {}


def _width(result: xr.Dataset, axis: str, position: np.ndarray) -> float | np.ndarray:
    if "width" in result and result["width"].dims == (axis,):
        return result["width"].values
    return np.gradient(position)


def _floor_scale(reference: xr.Dataset, generated: xr.Dataset, half_a: xr.Dataset, half_b: xr.Dataset) -> float:
    """Noise of reference against generated relative to half against half, for independent samples."""
    results = (reference, generated, half_a, half_b)
    key = "n_samples" if all("n_samples" in r.attrs for r in results) else "n_independent"
    r, g, a, b = (float(result.attrs[key]) for result in results)
    return np.sqrt((1 / r + 1 / g) / (1 / a + 1 / b))


def _dataset(reference: xr.Dataset, variables: dict[str, Any]) -> xr.Dataset:
    import xarray as xr

    coords = {name: c.variable for name, c in reference.coords.items() if "unit" not in c.dims}
    attrs = {k: v for k, v in reference.attrs.items() if k not in ("n_independent", "n_samples")}
    return xr.Dataset(variables, coords=coords, attrs=attrs)
