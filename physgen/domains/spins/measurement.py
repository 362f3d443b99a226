r"""How a statistic of spins becomes a result: independent units, estimates without bias, tolerance and yardstick.

Legend: D disorder instances, T temperatures, R replicas, N spins. The independent unit is the disorder instance; of a
single instance, blocks of consecutive replicas take its place through jackknife pseudo-values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from physgen.domains.spins.layout import SAMPLE, check_spins, disorder_of, energy_of
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

BLOCKS = 16  # of the replicas of a single instance
SMALLEST = 1e-9  # a yardstick below it would divide by nothing


class Tolerance(NamedTuple):
    """Accepted deviation between two ensembles, see ``physgen.diagnostics.verdict``."""

    value: float
    kind: str  # ratio, difference or distribution
    of: str  # what the deviation is a deviation of
    yardstick: np.ndarray | None = None  # of a difference: a deviation of 1
    units: str = "1"  # of the yardstick
    meaning: str = ""  # of the yardstick


def spins_of(ensemble: xr.Dataset, replicas: int = 1) -> np.ndarray:
    """Spins (D, T, R, N) of an ensemble with at least ``replicas`` replicas, else InputError."""
    field = check_spins(ensemble)["field"].values
    if field.shape[2] < replicas:
        raise InputError(
            f"{field.shape[2]} replica per instance and temperature; this statistic needs at least {replicas}: "
            "draw more replicas"
        )
    return field.reshape(*field.shape[:3], -1)


def total_energy(ensemble: xr.Dataset) -> np.ndarray:
    """H of every configuration (D, T, R), computed from the spins, units of J."""
    spins = spins_of(ensemble)
    return energy_of(ensemble["field"].values, disorder_of(ensemble)) * spins.shape[-1]


def temperatures_of(ensemble: xr.Dataset) -> np.ndarray:
    """Temperatures (T,) float64."""
    return ensemble["temperature"].values.astype(np.float64)


def linear_response(values: np.ndarray, energies: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    r"""Response :math:`d\langle A\rangle/d\ln T = \mathrm{cov}(A, H)/T`, without bias by the number of replicas.

    Args:
        values: A of every configuration (D, T, R, ...).
        energies: H (D, T, R), R >= 2.
        temperatures: (T,).

    Returns:
        (T, ...), the mean over instances.
    """
    extra = (1,) * (values.ndim - 3)
    centred = (energies - energies.mean(axis=2, keepdims=True)).reshape(*energies.shape, *extra)
    covariance = (values * centred).sum(axis=2) / (energies.shape[2] - 1)
    return covariance.mean(axis=0) / temperatures.reshape(-1, *extra)


def pair_response(pairs: np.ndarray, energies: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    r"""Response :math:`d\langle A\rangle/d\ln T` of a statistic of two replicas, without bias.

    T times it is :math:`\langle A_{ab}(H_a + H_b)\rangle - \langle A_{ab}\rangle\langle H_c + H_d\rangle`; the
    product of means is taken over replicas c that are neither a nor b.

    Args:
        pairs: A_ab (D, T, R, R), R >= 3; the diagonal does not count.
        energies: H (D, T, R).
        temperatures: (T,).

    Returns:
        (T,), the mean over instances.
    """
    replicas = energies.shape[2]
    both = energies[..., :, None] + energies[..., None, :]
    others = (energies.sum(axis=2)[..., None, None] - both) / (replicas - 2)
    return pair_mean(pairs * (both - 2 * others)).mean(axis=0) / temperatures


def pair_mean(pairs: np.ndarray) -> np.ndarray:
    """Mean over the R(R-1) entries off the diagonal of (..., R, R)."""
    replicas = pairs.shape[-1]
    diagonal = np.trace(pairs, axis1=-2, axis2=-1)
    return (pairs.sum(axis=(-2, -1)) - diagonal) / (replicas * (replicas - 1))


def energy_tolerance(ensemble: xr.Dataset, deviation: float = 0.05) -> Tolerance:
    r"""Energies per spin differ by at most ``deviation`` in temperature: the yardstick is
    :math:`de/d\ln T = N\,\mathrm{var}(e)/T`."""
    energies = total_energy(ensemble)
    if energies.shape[2] < 2:
        raise InputError("1 replica per instance and temperature shows no energy fluctuations: draw more replicas")
    spins = int(np.prod(ensemble["field"].shape[3:]))
    response = linear_response(energies, energies, temperatures_of(ensemble)) / spins
    return Tolerance(deviation, "difference", "temperature", response, "J", "change of the energy per spin with ln T")


def measured(
    ensemble: xr.Dataset,
    estimate: Callable[[xr.Dataset], np.ndarray],
    coords: Mapping[str, Any],
    tolerance: Tolerance,
    combine: Callable[[np.ndarray], np.ndarray] | None = None,
    **attrs: Any,
) -> xr.Dataset:
    """A result with one estimate per independent unit.

    Args:
        ensemble: spins; the first coordinate of the result is ``temperature`` unless ``coords`` names another one so.
        estimate: ensemble -> (D, T, ...), for each instance an estimate whose mean over disorder is wanted.
        coords: name -> (values, attrs) of the dims of the result after temperature, or of temperature too.
        tolerance: goes to the attrs, its yardstick to the variable of that name.
        combine: a function of the disorder mean (..., T, ...) -> (..., T, ...); None for the mean itself.
        **attrs: of :func:`physgen.diagnostics.result.make_result`.
    """
    from physgen.diagnostics.resampling import jackknife
    from physgen.diagnostics.result import make_result

    rows, group = _rows(ensemble, estimate)
    if combine is not None:
        rows = jackknife(rows, combine)[2] if len(rows) > 1 else combine(rows)
    temperature = (ensemble["temperature"].values, {"long_name": "temperature", "units": "J", "symbol": "T"})
    coords = {"temperature": temperature} | dict(coords)
    attrs |= {"tolerance": tolerance.value, "tolerance_kind": tolerance.kind, "tolerance_of": tolerance.of}
    if group is None:
        result = make_result(rows, tuple(coords), coords, **attrs)
    else:
        result = group.result(rows, tuple(coords)[1:], coords, **attrs)
    if tolerance.yardstick is None:
        return result
    yardstick = np.maximum(np.abs(tolerance.yardstick), SMALLEST)
    described = {"long_name": tolerance.meaning or "unit of the deviation", "units": tolerance.units}
    dims, sizes = result["value"].dims, result["value"].shape
    yardstick = np.broadcast_to(yardstick.reshape(yardstick.shape + (1,) * (len(dims) - yardstick.ndim)), sizes)
    return result.assign(yardstick=(dims, yardstick.copy(), described))


def _rows(ensemble: xr.Dataset, estimate: Callable[[xr.Dataset], np.ndarray]) -> tuple[np.ndarray, Any]:
    """Estimates of the independent units, and these units (None for blocks of one instance)."""
    from physgen.diagnostics.result import units

    full = np.asarray(estimate(ensemble), dtype=float)
    if len(full) == 1:
        return _pseudo_values(ensemble, estimate, full), None
    group = units(ensemble)
    owner = group.index.reshape([ensemble.sizes[name] for name in SAMPLE])[:, 0, 0] // int(np.prod(group.shape))
    total = np.zeros((group.count, *full.shape[1:]))
    np.add.at(total, owner, full)
    return total / np.bincount(owner, minlength=group.count).reshape(-1, *[1] * (full.ndim - 1)), group


def _pseudo_values(ensemble: xr.Dataset, estimate: Callable[[xr.Dataset], np.ndarray], full: np.ndarray) -> np.ndarray:
    """Jackknife over blocks of replicas of a single instance; the estimate itself if too few replicas are left.

    Blocks are whole chains where at least three are named by ``chain`` (replicas of one are not independent).
    """
    replicas = np.arange(ensemble.sizes["replica"])
    blocks = np.array_split(replicas, min(BLOCKS, len(replicas)))
    if "chain" in ensemble.variables and ensemble["chain"].dims == ("replica",):
        chains = ensemble["chain"].values
        if len(np.unique(chains)) > 2:
            blocks = [np.flatnonzero(chains == chain) for chain in np.unique(chains)]
    try:
        without = [estimate(ensemble.isel(replica=np.setdiff1d(replicas, block)))[0] for block in blocks]
    except InputError:
        return full
    return len(blocks) * full - (len(blocks) - 1) * np.stack(without)
