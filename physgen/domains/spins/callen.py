r"""Callen's identity: do spins, couplings, temperatures and axes belong together?

In equilibrium the mean of a spin, given all others, is :math:`\tanh\beta h_i` with the local field
:math:`h_i = \sum_j J_{ij} s_j + h^{ext}_i`, hence :math:`\langle s_i h_i\rangle = \langle h_i\tanh\beta h_i\rangle`
for every instance, temperature and graph, without any reference. A wrong sign, factor, axis,
order or temperature breaks it.
Source: H. B. Callen, Phys. Lett. 4, 161 (1963).

Legend: D disorder instances, T temperatures, R replicas, N spins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.identity import normal_quantile
from physgen.domains.spins.layout import Disorder, check_spins, disorder_of
from physgen.domains.spins.many_body import coupling_tensor, level_fields, triple_fields
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr
    from scipy.sparse import csr_array

ENOUGH = 8  # units whose scatter may be taken as an error
WANTED = 16  # instances that need no blocks of replicas; fewer are cut into blocks until there are twice as many
COLDEST = 1e-3  # lowest |T| that a fit may return, in units of the mean local field


def local_fields(spins: np.ndarray, disorder: Disorder, instance: int) -> np.ndarray:
    r"""Local fields :math:`h_i = \sum_j J_{ij} s_j + h^{ext}_i` of one instance; in general half of the energy that it
    costs to turn spin i down.

    Args:
        spins: (..., \*grid) of +-1, configurations of this instance.
        disorder: couplings, edges and external field of all instances.
        instance: which of them.

    Returns:
        (..., \*grid) float64, units of J.
    """
    couplings = np.asarray(disorder.couplings[instance], dtype=np.float64)
    if disorder.levels is not None:
        return level_fields(spins, disorder.levels[instance])
    if disorder.ends == 3 and disorder.edges is not None:
        found = triple_fields(spins, coupling_tensor(disorder.edges, couplings, spins.shape[-1]))
    elif disorder.edges is None:
        grid = range(-len(couplings), 0)
        found = np.zeros(spins.shape)
        for bonds, axis in zip(couplings, grid, strict=True):
            found += bonds * np.roll(spins, -1, axis) + np.roll(bonds * spins, 1, axis)
    else:
        flat = spins.reshape(-1, spins.shape[-1]).astype(np.float64)
        found = (flat @ _sparse(disorder.edges, couplings, spins.shape[-1])).reshape(spins.shape)
    if disorder.external_field is not None:
        found += disorder.external_field[instance]
    return found


def callen_terms(spins: np.ndarray, disorder: Disorder, temperatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Both sides of Callen's identity for each configuration, averaged over its sites.

    Args:
        spins: (D, T, R, \*grid) of +-1.
        disorder: the couplings of the D instances.
        temperatures: (T,), units of J.

    Returns:
        ``deviation`` (D, T, R), the mean over sites of :math:`s_i h_i - h_i\tanh\beta h_i`, units of J, and
        ``response`` (D, T, R), the mean of :math:`\beta h_i^2 (1 - \tanh^2\beta h_i)`: configurations of a temperature
        lower by a small fraction x have a mean deviation of x times it.
    """
    space = tuple(range(2, spins.ndim - 1))
    beta = (1 / np.asarray(temperatures, dtype=np.float64)).reshape(-1, *[1] * (spins.ndim - 2))
    deviation, response = np.empty(spins.shape[:3]), np.empty(spins.shape[:3])
    for instance, configurations in enumerate(spins):
        local = local_fields(configurations, disorder, instance)
        mean_spin = np.tanh(beta * local)
        deviation[instance] = (local * (configurations - mean_spin)).mean(axis=space)
        response[instance] = (beta * local**2 * (1 - mean_spin**2)).mean(axis=space)
    return deviation, response


def fitted_temperature(spins: np.ndarray, local: np.ndarray) -> float:
    r"""The T with :math:`\langle s h\rangle = \langle h\tanh(h/T)\rangle`: the largest pseudo-likelihood.

    Negative where the sign of the couplings is reversed; twice the true one where each coupling was counted twice.

    Args:
        spins, local: arrays of one shape, spins and their local fields.
    """
    local = local.reshape(-1).astype(np.float64)
    scale = np.abs(local).mean()
    aligned = float((spins.reshape(-1) * local).mean())
    if scale == 0 or aligned == 0:
        return np.inf
    low, high = (0.0, 1 / (COLDEST * scale)) if aligned > 0 else (-1 / (COLDEST * scale), 0.0)
    for _ in range(50):  # the right-hand side grows with beta
        beta = (low + high) / 2
        if (local * np.tanh(beta * local)).mean() < aligned:
            low = beta
        else:
            high = beta
    return float(2 / (low + high))


def callen_z(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Callen's identity of an ensemble, tested at each temperature.

    Deviations have mean zero in equilibrium, in every instance. Their error is the scatter between instances; of fewer
    than 16 instances, the scatter between blocks of consecutive replicas; of too few replicas for that, what
    equilibrium predicts: sites that are not neighbours do not correlate, so
    :math:`N^2\mathrm{var}(d) = \sum_i\langle x_i^2\rangle + \sum_{i, j \in \partial i}\langle x_i x_j\rangle` with
    :math:`x_i = h_i (s_i - \tanh\beta h_i)` and
    :math:`\langle x_i^2\rangle = \langle h_i^2 (1 - \tanh^2\beta h_i)\rangle`.

    Returns:
        Dataset over ``temperature``: ``value`` and ``error`` of the deviation (units of J), ``z`` (the normal
        quantile of the same p-value as Student's t, so that a threshold means the same for few units),
        ``fitted_temperature`` (:func:`fitted_temperature` of all instances together).
    """
    import xarray as xr

    check_spins(ensemble)
    spins, disorder = ensemble["field"].values, disorder_of(ensemble)
    temperatures = ensemble["temperature"].values.astype(np.float64)
    deviation, _ = callen_terms(spins, disorder, temperatures)
    units = deviation.mean(axis=2) if len(spins) >= WANTED else _blocks(deviation)
    if len(units) >= ENOUGH:
        error = units.std(axis=0, ddof=1) / np.sqrt(len(units))
        freedom = float(len(units) - 1)
    else:
        error = np.sqrt(predicted_variance(spins, disorder, temperatures))
        freedom = np.inf
    value = units.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(value == 0, 0.0, value / error)
    fitted = [_fit(spins[:, level], disorder) for level in range(len(temperatures))]
    dim = ("temperature",)
    fit = {"long_name": "temperature that fits the identity", "units": "J"}
    attrs = {
        "long_name": "deviation from Callen's identity per spin",
        "units": "J",
        "symbol": r"\langle sh - h\tanh\beta h\rangle",
    }
    return xr.Dataset(
        {
            "value": (dim, value, attrs),
            "error": (dim, error, {"long_name": "standard error of the value", "units": "J"}),
            "z": (dim, normal_quantile(t, freedom), {"long_name": "deviation in standard errors", "units": "1"}),
            "fitted_temperature": (dim, np.array(fitted), fit),
        },
        coords={"temperature": ("temperature", temperatures, {"long_name": "temperature", "units": "J"})},
    )  # fmt: skip


def _blocks(deviation: np.ndarray) -> np.ndarray:
    """Means (D b, T) over blocks of consecutive replicas: twice WANTED of them, as far as there are replicas."""
    instances, levels, replicas = deviation.shape
    count = min(replicas, -(-2 * WANTED // instances))
    parts = np.array_split(deviation, count, axis=2)
    return np.stack([part.mean(axis=2) for part in parts], axis=1).reshape(-1, levels)


def predicted_variance(spins: np.ndarray, disorder: Disorder, temperatures: np.ndarray) -> np.ndarray:
    """Variance of the mean deviation (T,) that equilibrium predicts for independent configurations."""
    count = int(np.prod(spins.shape[3:]))
    total = np.zeros(len(temperatures))
    present = Disorder((disorder.couplings != 0).astype(np.float64), disorder.edges, None)
    for instance, configurations in enumerate(spins):
        local = local_fields(configurations, disorder, instance)
        for level, temperature in enumerate(temperatures):
            mean_spin = np.tanh(local[level] / temperature)
            term = local[level] * (configurations[level] - mean_spin)
            alone = (local[level] ** 2 * (1 - mean_spin**2)).sum()
            if disorder.ends == 2:
                around = local_fields(term, present, instance)
            else:  # all others are neighbours
                around = term.sum(axis=-1, keepdims=True) - term
            total[level] += max(alone + (term * around).sum(), alone / 2)
    return total / (len(spins) * spins.shape[2] * count) ** 2


def _fit(spins: np.ndarray, disorder: Disorder) -> float:
    """Fitted temperature of spins (D, R, *grid) of one temperature."""
    local = np.stack([local_fields(one, disorder, instance) for instance, one in enumerate(spins)])
    return fitted_temperature(spins, local)


def _sparse(edges: np.ndarray, couplings: np.ndarray, spins: int) -> csr_array:
    """Symmetric matrix J of a graph; parallel edges are added up."""
    from scipy.sparse import coo_array

    first, second = np.asarray(edges, dtype=np.int64).T
    if len(first) and max(first.max(), second.max()) >= spins:
        raise InputError(f"an edge names spin {max(first.max(), second.max())}, but there are only {spins}, from 0 on")
    ends = (np.concatenate([first, second]), np.concatenate([second, first]))
    return coo_array((np.concatenate([couplings, couplings]), ends), shape=(spins, spins)).tocsr()
