r"""Finite-size crossings: a dimensionless statistic against temperature for several sizes, and where two sizes agree.

At a continuous transition g and :math:`\xi_L/L` do not depend on the size at T_c, up to corrections that fall with L.
The disorder instances of a size serve all its temperatures, so curves are smooth and their errors belong together: the
error of a crossing is that of a bootstrap over whole instances, of each size by itself.
Source: Katzgraber, Koerner and Young, Phys. Rev. B 73, 224432 (2006).

Legend: S sizes, D disorder instances, T temperatures, B bootstrap draws.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physgen.domains.spins.glass_statistics import (
    binder,
    overlap_powers,
    overlap_waves,
    second_moment_length,
    waves_of,
)
from physgen.domains.spins.layout import check_spins, grid_dims
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

DRAWS = 400
NAMES = {
    "binder": ("Binder ratio of the overlap", "g"),
    "correlation_length": ("correlation length over L", r"\xi_L/L"),
}
SURE = 0.9  # share of the draws that have to cross


class Crossing(NamedTuple):
    """Where the curves of two sizes cross.

    Attributes:
        place: temperature; nan where they do not cross within the range.
        error: standard deviation over the bootstrap draws that cross; nan where fewer than 90 % do.
        crossed: share of the draws that cross.
    """

    place: float
    error: float
    crossed: float


def crossings(ensembles: Sequence[xr.Dataset], statistic: str = "binder", seed: int = 0) -> xr.Dataset:
    r"""Curves of a statistic for lattices of several sizes, and the crossings of neighbouring sizes.

    Args:
        ensembles: spins of one model, one ensemble a size, at the same temperatures (units of J); at least 8 instances
            and 2 replicas each.
        statistic: ``binder`` (g) or ``correlation_length`` (:math:`\xi_L/L`).
        seed: of the bootstrap.

    Returns:
        ``value`` and ``error`` over ``size`` (the length L, or N of a graph) and ``temperature``; ``crossing``,
        ``crossing_error`` and ``crossed`` over ``pair``, with the sizes of each pair in ``small`` and ``large``.

    Raises:
        InputError: fewer than two sizes, temperatures that differ, too few instances, an unknown statistic.
    """
    ordered = sorted((check_spins(one) for one in ensembles), key=size_of)
    sizes, temperatures = [size_of(one) for one in ordered], _temperatures(ordered)
    if len(set(sizes)) < max(len(sizes), 2):
        raise InputError(f"sizes {sizes}: crossings need at least two, each once: join ensembles of one size first")
    parts = [_rows(one, statistic) for one in ordered]
    rng = np.random.default_rng(seed)
    draws = [bootstrap(rows, combine, rng) for rows, combine in parts]
    values = np.stack([combine(rows.mean(axis=0)) for rows, combine in parts])
    errors = np.stack([curves.std(axis=0, ddof=1) for curves in draws])
    pairs = list(pairwise(range(len(sizes))))
    found = [crossing(temperatures, values[[i, j]], np.stack([draws[i], draws[j]])) for i, j in pairs]
    return _result(np.array(sizes), temperatures, values, errors, statistic, found)


def all_crossings(ensembles: Sequence[xr.Dataset]) -> dict[str, xr.Dataset]:
    """Every statistic of :func:`crossings` that these ensembles have; that of waves needs a periodic lattice."""
    found = {"crossing_binder": crossings(ensembles)}
    with contextlib.suppress(InputError):  # no waves on a graph
        found["crossing_correlation_length"] = crossings(ensembles, "correlation_length")
    return found


def size_of(ensemble: xr.Dataset) -> int:
    """The longest side of a lattice, or the number of spins of a graph."""
    return max(int(ensemble.sizes[dim]) for dim in grid_dims(ensemble))


def bootstrap(
    rows: np.ndarray, combine: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator, draws: int = DRAWS
) -> np.ndarray:
    """Curves (B, T) of a function of the disorder mean, of instances (D, T, ...) drawn with replacement."""
    counts = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=draws)
    return combine(np.tensordot(counts / len(rows), rows, axes=(1, 0)))


def crossing(temperatures: np.ndarray, curves: np.ndarray, draws: np.ndarray) -> Crossing:
    """Where the larger size ceases to lie above the smaller one as the temperature rises.

    Args:
        temperatures: (T,), increasing.
        curves: (2, T), of the smaller and the larger size.
        draws: (2, B, T), bootstrap draws of the two.
    """
    many = draws[1] - draws[0]
    spread = np.maximum(many.std(axis=0, ddof=1), 1e-12)
    places = np.array([_change(temperatures, one, spread) for one in many])
    known = np.isfinite(places)
    crossed = float(known.mean())
    error = float(places[known].std(ddof=1)) if crossed >= SURE else np.nan
    return Crossing(_change(temperatures, curves[1] - curves[0], spread), error, crossed)


def _change(temperatures: np.ndarray, difference: np.ndarray, spread: np.ndarray) -> float:
    """The change of sign from + to - that splits the differences best, in units of their errors; linear between."""
    total = np.concatenate([[0.0], np.cumsum(difference / spread)])
    last = int(np.argmax(total)) - 1  # the differences up to here are positive, those beyond negative
    if last < 0 or last == len(difference) - 1:
        return np.nan
    above, below = difference[last], difference[last + 1]
    step = temperatures[last + 1] - temperatures[last]
    return float(temperatures[last] + step * above / max(above - below, 1e-300))


def _rows(ensemble: xr.Dataset, statistic: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Moments of each instance (D, T, 2), and the statistic as a function of their mean."""
    if ensemble.sizes["disorder"] < 8:
        raise InputError(
            f"{ensemble.sizes['disorder']} instances of L = {size_of(ensemble)}: a bootstrap over disorder needs at "
            "least 8"
        )
    if statistic == "binder":
        return overlap_powers(ensemble), binder
    if statistic == "correlation_length":
        length = waves_of(ensemble)[1]
        return overlap_waves(ensemble), lambda moments: second_moment_length(moments, length) / length
    raise InputError(f"statistic {statistic!r} is unknown: choose binder or correlation_length")


def _temperatures(ensembles: Sequence[xr.Dataset]) -> np.ndarray:
    """The temperatures of all, which have to be equal."""
    every = [one["temperature"].values.astype(np.float64) for one in ensembles]
    for other in every[1:]:
        if len(other) != len(every[0]) or not np.allclose(other, every[0], rtol=1e-9):
            raise InputError(
                f"temperatures {every[0].tolist()} and {other.tolist()} J differ: simulate all sizes at the same ones"
            )
    if not every or len(every[0]) < 2 or np.any(np.diff(every[0]) <= 0):
        raise InputError("a crossing needs at least two temperatures, increasing: simulate more of them")
    return every[0]


def _result(
    sizes: np.ndarray, temperatures: np.ndarray, values: np.ndarray, errors: np.ndarray, statistic: str,
    found: list[Crossing],
) -> xr.Dataset:  # fmt: skip
    import xarray as xr

    names = {
        "binder": ("Binder ratio of the overlap", "g"),
        "correlation_length": ("correlation length over L", r"\xi_L/L"),
    }
    attrs = {"long_name": names[statistic][0], "units": "1", "symbol": names[statistic][1]}
    temperature = {"long_name": "temperature", "units": "J", "symbol": "T"}
    places, spread, crossed = (np.array(column) for column in zip(*found, strict=True))
    return xr.Dataset(
        {
            "value": (("size", "temperature"), values, attrs),
            "error": (("size", "temperature"), errors, {"long_name": "standard error over instances", "units": "1"}),
            "crossing": ("pair", places, {"long_name": "temperature of the crossing", "units": "J"}),
            "crossing_error": ("pair", spread, {"long_name": "standard error of the crossing", "units": "J"}),
            "crossed": ("pair", crossed, {"long_name": "share of bootstrap draws that cross", "units": "1"}),
            "small": ("pair", sizes[:-1], {"long_name": "smaller size", "units": "1"}),
            "large": ("pair", sizes[1:], {"long_name": "larger size", "units": "1"}),
        },
        coords={
            "size": ("size", sizes, {"long_name": "size", "units": "1", "symbol": "L"}),
            "temperature": ("temperature", temperatures, temperature),
        },
        attrs={"diagnostic": f"crossing_{statistic}", "kind": "crossing"},
    )
