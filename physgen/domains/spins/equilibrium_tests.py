r"""Tests that hold in equilibrium, with or without a reference: Callen, exchange of temperatures, drift, fluctuations.

Their deviations are written in temperature where they can be: 0.05 means "as if the temperature were wrong by 5 %".

Legend: D disorder instances, T temperatures, R replicas, N spins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.spins.averages import thermal_mean
from physgen.domains.spins.callen import callen_terms
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.energy import edge_products
from physgen.domains.spins.layout import disorder_of, energy_of
from physgen.domains.spins.measurement import (
    Tolerance,
    energy_tolerance,
    measured,
    pair_mean,
    pair_response,
    spins_of,
    temperatures_of,
    total_energy,
)
from physgen.domains.spins.overlap import no_levels, shared_bonds
from physgen.domains.spins.sweeps import heat_bath
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

LOWEST, HIGHEST = -3.2, 0.8  # energies per spin in a histogram; what lies outside counts in the last bins
BIN = 0.8  # width of its bins times sqrt(N)
SWEEPS = (1, 8)
SEED = 20_240_601  # of the sweeps of the drift test, the same for every ensemble
OVERLAP = 0.02  # least information in a pair of temperatures, 1 where they are equal
STRENGTHS = (0.0, 0.3, 0.8, 1.3)  # lower edges of |J| / rms in the statistic of bonds


def callen(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Callen's identity :math:`\langle s_i h_i\rangle - \langle h_i\tanh\beta h_i\rangle` over ``temperature``.

    Zero in equilibrium. The yardstick :math:`\beta\langle h_i^2(1 - \tanh^2\beta h_i)\rangle` is its change with the
    logarithm of the temperature at which the spins were drawn.
    """
    temperatures = temperatures_of(ensemble)
    spins_of(ensemble)
    deviation, response = callen_terms(ensemble["field"].values, disorder_of(ensemble), temperatures)
    ensemble = ensemble.assign(callen_deviation=(("disorder", "temperature", "replica"), deviation))
    attrs: dict[str, Any] = {"long_name": "deviation from Callen's identity", "units": "J"}
    attrs |= {"symbol": r"\Delta_h", "diagnostic": "callen", "kind": "scalar"}
    convention = "Mean over sites and replicas, external field included; zero in equilibrium, without a reference."
    yardstick = response.mean(axis=(0, 2))
    meaning = "change with ln T of the spins' own temperature"
    tolerance = Tolerance(0.05, "difference", "temperature", yardstick, "J", meaning)
    return measured(
        ensemble, lambda part: part["callen_deviation"].values.mean(axis=2), {}, tolerance,
        convention=convention, absolute="zero in equilibrium", **attrs,
    )  # fmt: skip


def heat_capacity(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Specific heat :math:`c = N\,\mathrm{var}(e)/T^2` per spin over ``temperature``, within instances."""
    spins_of(ensemble, 2)
    count = int(np.prod(ensemble["field"].shape[3:]))
    scale = temperatures_of(ensemble) ** 2 * count
    attrs: dict[str, Any] = {
        "long_name": "specific heat per spin",
        "units": "1",
        "symbol": "c",
        "diagnostic": "heat_capacity",
    }
    convention = (
        "Variance of the energy over replicas of one instance, divisor R - 1, averaged over instances; k_B = 1."
    )
    return measured(
        ensemble, lambda part: total_energy(part).var(axis=2, ddof=1) / scale, {},
        Tolerance(0.25, "ratio", "specific heat"), kind="scalar", convention=convention, **attrs,
    )  # fmt: skip


def energy_distribution(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Distribution of the energy per spin over ``temperature``, bins of width :math:`0.8/\sqrt N` at fixed places."""
    spins_of(ensemble)
    count = int(np.prod(ensemble["field"].shape[3:]))
    bins = int(np.ceil((HIGHEST - LOWEST) * np.sqrt(count) / BIN))
    edges = LOWEST + np.arange(bins + 1) * BIN / np.sqrt(count)

    def estimate(part: xr.Dataset) -> np.ndarray:
        place = np.clip(np.searchsorted(edges, total_energy(part) / count, side="right") - 1, 0, bins - 1)
        return np.stack([(place == j).mean(axis=2) for j in range(bins)], axis=-1) / np.diff(edges)

    attrs: dict[str, Any] = {
        "long_name": "distribution of the energy per spin",
        "units": "1/J",
        "symbol": "P(e)",
        "measure": "density",
    }
    axis = {"long_name": "energy per spin", "units": "J", "symbol": "e"}
    result = measured(
        ensemble, estimate, {"energy": ((edges[1:] + edges[:-1]) / 2, axis)},
        Tolerance(0.1, "distribution", "probability"), diagnostic="energy_distribution", kind="histogram",
        convention="Density in the energy per spin; what lies outside the bins counts in the outermost.", **attrs,
    )  # fmt: skip
    return result.assign(width=("energy", np.diff(edges), {"long_name": "width of the bin", "units": "J"}))


def exchange_terms(
    cold: np.ndarray, hot: np.ndarray, slope: float, weights: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""Ratio test of two temperatures, without bias for any number of replicas.

    :math:`\ln[P_1(E)/P_2(E)]` is linear in E with slope :math:`\beta_2 - \beta_1`. For a pair of replicas, one of each
    temperature, :math:`x = E_2 - E_1` therefore obeys :math:`P(x) = e^{(\beta_1 - \beta_2)x}P(-x)` whatever Z is, hence
    :math:`\langle x\rangle = \langle x\tanh((\beta_1 - \beta_2)x/2)\rangle`: Callen's identity for the exchange of two
    replicas, and the conditional likelihood equation of the slope.

    Args:
        cold, hot: total energies (..., R) and (..., S) at beta_1 > beta_2.
        slope: beta_1 - beta_2.
        weights: of both, of the same shapes, or None for equal ones.

    Returns:
        deviation (...), the mean of x - x tanh(slope x / 2) over all R S pairs, and response (...), the mean of
        slope x^2/2 / cosh^2(slope x / 2): minus its change with ln of both temperatures.
    """
    difference = hot[..., None, :] - cold[..., :, None]
    turned = np.tanh(slope * difference / 2)
    terms = difference * (1 - turned), slope * difference**2 / 2 * (1 - turned**2)
    if weights is not None:  # the mean over the hot ones, then over the cold ones
        return tuple(thermal_mean(thermal_mean(one, weights[1][..., None, :]), weights[0]) for one in terms)  # type: ignore[return-value]
    return terms[0].mean(axis=(-2, -1)), terms[1].mean(axis=(-2, -1))


def energy_ratio(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Ratio test of the energy histograms of neighbouring temperatures (:func:`exchange_terms`), per spin.

    Zero in equilibrium, over the geometric mean of each pair of temperatures whose histograms overlap.
    """
    spins_of(ensemble)
    beta = 1 / temperatures_of(ensemble)
    if len(beta) < 2:
        raise InputError(
            "the ratio test compares energies at neighbouring temperatures, there is one only: add another"
        )
    count = int(np.prod(ensemble["field"].shape[3:]))
    order = np.argsort(-beta)
    pairs = list(zip(order[:-1], order[1:], strict=True))
    energies = total_energy(ensemble)
    kept, yardstick = [], []
    for cold, hot in pairs:
        slope = beta[cold] - beta[hot]
        difference = energies[:, hot, None, :] - energies[:, cold, :, None]
        if np.mean(1 - np.tanh(slope * difference / 2) ** 2) >= OVERLAP:
            kept.append((cold, hot, slope))
            yardstick.append(exchange_terms(energies[:, cold], energies[:, hot], slope)[1].mean() / count)
    if not kept:
        raise InputError(
            "the energies of neighbouring temperatures do not overlap: the ratio test needs closer temperatures"
        )

    def estimate(part: xr.Dataset) -> np.ndarray:
        found = total_energy(part)
        return np.stack([exchange_terms(found[:, c], found[:, h], s)[0] for c, h, s in kept], axis=1) / count

    middle = [1 / np.sqrt(beta[c] * beta[h]) for c, h, _ in kept]
    between = {"long_name": "geometric mean of two neighbouring temperatures", "units": "J", "symbol": "T"}
    attrs: dict[str, Any] = {
        "long_name": "deviation from the ratio of energy histograms",
        "units": "J",
        "diagnostic": "energy_ratio",
    }
    attrs |= {"symbol": r"\Delta_{12}", "kind": "scalar"}
    convention = "x = difference of the energies of two replicas at neighbouring temperatures; zero in equilibrium."
    tolerance = Tolerance(0.2, "difference", "temperature", np.array(yardstick), "J", "change with ln of both T")
    return measured(
        ensemble, estimate, {"temperature": (np.array(middle), between)}, tolerance,
        convention=convention, absolute="zero in equilibrium", **attrs,
    )  # fmt: skip


def drift(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Change of the energy per spin over ``temperature`` after ``sweeps`` = 1 and 8 exact heat-bath sweeps.

    Zero in equilibrium; the sweeps run at the temperature of each configuration, with fixed random numbers.
    """
    spins_of(ensemble, 2)
    disorder, temperatures = disorder_of(ensemble), temperatures_of(ensemble)
    before = energy_of(ensemble["field"].values, disorder)
    after = [heat_bath(ensemble["field"].values, disorder, temperatures, k, SEED) for k in SWEEPS]
    change = np.stack([energy_of(one, disorder) - before for one in after], axis=-1)
    moved = ensemble.assign(drift=(("disorder", "temperature", "replica", "sweeps"), change))
    attrs: dict[str, Any] = {
        "long_name": "drift of the energy per spin",
        "units": "J",
        "symbol": r"\Delta e",
        "diagnostic": "drift",
    }
    axis = {"long_name": "heat-bath sweeps", "units": "1", "symbol": "k"}
    return measured(
        moved, lambda part: part["drift"].values.mean(axis=2), {"sweeps": (np.array(SWEEPS), axis)},
        energy_tolerance(ensemble), kind="scalar", absolute="zero in equilibrium",
        convention="Energy after minus before heat-bath sweeps at the configuration's own temperature.", **attrs,
    )  # fmt: skip


def link_overlap_drift(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Change of the link overlap of two replicas over ``temperature`` after one of them made 8 heat-bath sweeps.

    Zero in equilibrium. Yardstick: the change of the link overlap with ln T, from its covariance with the energies.
    """
    spins = spins_of(ensemble, 3)
    disorder, temperatures = disorder_of(ensemble), temperatures_of(ensemble)
    moved = heat_bath(ensemble["field"].values, disorder, temperatures, SWEEPS[-1], SEED + 1)
    present = shared_bonds(ensemble)

    def links(configurations: np.ndarray) -> np.ndarray:
        return edge_products(configurations, present).astype(np.float32)

    def change(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        first = links(start)
        return np.swapaxes((links(end) - first) @ np.swapaxes(first, -1, -2), -1, -2) / len(present)

    flat = moved.reshape(spins.shape)
    between = np.stack([change(a, b) for a, b in zip(spins, flat, strict=True)]).astype(np.float64)
    overlap = np.stack([links(a) @ np.swapaxes(links(a), -1, -2) for a in spins]).astype(np.float64) / len(present)
    yardstick = pair_response(overlap, total_energy(ensemble), temperatures)
    dims = ("disorder", "temperature", "replica", "other")

    def estimate(part: xr.Dataset) -> np.ndarray:
        kept = part["replica_index"].values
        return pair_mean(part["between"].values[..., kept])

    ensemble = ensemble.assign(between=(dims, between), replica_index=("replica", np.arange(spins.shape[2])))
    attrs: dict[str, Any] = {"long_name": "drift of the link overlap", "units": "1", "symbol": r"\Delta q_\ell"}
    return measured(
        ensemble, estimate, {}, Tolerance(0.05, "difference", "temperature", yardstick, "1", "change with ln T"),
        diagnostic="link_overlap_drift", kind="scalar", absolute="zero in equilibrium",
        convention="Link overlap of a moved and an unmoved replica minus that of two unmoved ones.", **attrs,
    )  # fmt: skip


def satisfaction(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Satisfied minus broken bonds :math:`\langle\mathrm{sgn}(J_b) s_i s_j\rangle` over ``temperature`` and strength.

    ``strength`` = \|J\| in bins of its root mean square; the sum over the bonds of a bin is divided by their mean
    number in an instance. A law with the right energy that is blind to single bonds fails.
    """
    spins_of(ensemble)
    no_levels(ensemble)
    disorder = disorder_of(ensemble)
    edges = lattice_edges(ensemble["field"].shape[3:]) if disorder.edges is None else disorder.edges
    couplings = disorder.couplings.reshape(len(disorder.couplings), -1)
    scale = np.sqrt(np.mean(couplings[couplings != 0] ** 2))
    bin_of = np.where(couplings != 0, np.digitize(np.abs(couplings) / scale, STRENGTHS) - 1, -1)
    held = [j for j in range(len(STRENGTHS)) if np.any(bin_of == j)]
    count = np.array([(bin_of == j).sum() for j in held]) / len(couplings)
    signs = np.stack([np.where(bin_of == j, np.sign(couplings), 0) for j in held], axis=-1).astype(np.float32)

    def estimate(part: xr.Dataset) -> np.ndarray:
        links = (edge_products(one, edges) for one in spins_of(part))
        return np.stack([one.mean(axis=1) @ sign for one, sign in zip(links, signs, strict=True)]) / count

    axis = {"long_name": "lower edge of |J| / rms", "units": "1", "symbol": r"|J|"}
    attrs: dict[str, Any] = {
        "long_name": "satisfied minus broken bonds",
        "units": "1",
        "diagnostic": "satisfaction",
        "kind": "scalar",
    }
    return measured(
        ensemble, estimate, {"strength": (np.array(STRENGTHS)[held], axis)},
        Tolerance(0.05, "difference", "satisfied minus broken bonds"),
        convention="sgn(J) s s of the bonds of a bin of |J|; 1 where all are satisfied.", **attrs,
    )  # fmt: skip
