r"""Order of a glass from overlaps of replicas: susceptibility, correlation length, Binder ratio, multi-overlaps.

All are polynomials of the exact correlations :math:`c_{ij} = \langle s_i s_j\rangle` of one instance, estimated without
bias: a product of n thermal means is averaged over n distinct replicas. Disorder is averaged before any ratio.
Source of the definitions: Katzgraber, Koerner and Young, Phys. Rev. B 73, 224432 (2006).

Legend: D disorder instances, T temperatures, R replicas, N spins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.spins.layout import disorder_of, is_lattice
from physgen.domains.spins.measurement import Tolerance, measured, pair_mean, spins_of
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

MOMENTS = ("3-cycle", "4-cycle", "q^4", "q_1234")
LONGEST = 10  # lattice lengths, the largest correlation length that is told from infinity
LARGEST = 4096  # spins for which all N^2 pairs of sites are formed


# --- array functions ----------------------------------------------------------------------------


def overlap_matrix(spins: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    r"""Overlaps :math:`q_{ab} = \frac1N\sum_i w_i s_i^a s_i^b` of configurations (..., R, N): (..., R, R) float64."""
    spins = spins.astype(np.float32)
    weighted = spins if weights is None else spins * weights.astype(np.float32)
    return (weighted @ np.swapaxes(spins, -1, -2)).astype(np.float64) / spins.shape[-1]


def three_cycle(overlaps: np.ndarray) -> np.ndarray:
    r"""Unbiased :math:`\langle q_{12}q_{23}q_{31}\rangle = \mathrm{Tr}\,C^3/N^3` of overlaps (..., R, R), R >= 3."""
    replicas = overlaps.shape[-1]
    apart = overlaps * (1 - np.eye(replicas))
    return np.trace(apart @ apart @ apart, axis1=-2, axis2=-1) / (replicas * (replicas - 1) * (replicas - 2))


def four_cycle(overlaps: np.ndarray) -> np.ndarray:
    r"""Unbiased :math:`\langle q_{12}q_{23}q_{34}q_{41}\rangle = \mathrm{Tr}\,C^4/N^4` of overlaps (..., R, R), R >= 4.

    Of the closed walks a-b-c-d-a those with a = c or b = d are taken away.
    """
    replicas = overlaps.shape[-1]
    squares = overlaps * (1 - np.eye(replicas))
    squares, apart = squares**2, squares
    twice = apart @ apart
    walks = (twice**2).sum(axis=(-2, -1))
    returning = 2 * (squares.sum(axis=-1) ** 2).sum(axis=-1) - (squares**2).sum(axis=(-2, -1))
    return (walks - returning) / (replicas * (replicas - 1) * (replicas - 2) * (replicas - 3))


def four_replica_overlap(spins: np.ndarray) -> np.ndarray:
    r"""Unbiased :math:`\langle q_{1234}^2\rangle = \frac1{N^2}\sum_{ij} c_{ij}^4`, with
    :math:`q_{1234} = \frac1N\sum_i s_i^1 s_i^2 s_i^3 s_i^4`, of configurations (R, N), R >= 4.

    The mean over four distinct replicas is the elementary symmetric polynomial of R products +-1 with sum G:
    :math:`e_4 = [G^4 + (8 - 6R) G^2 + 3R^2 - 6R]/24`.
    """
    replicas, count = spins.shape
    spins, total = spins.astype(np.float32), 0.0
    for start in range(0, count, 512):
        square = (spins[:, start : start + 512].T @ spins).astype(np.float64) ** 2
        total += (square * (square + 8 - 6 * replicas)).sum()
    total += count**2 * (3.0 * replicas**2 - 6 * replicas)
    return total / (replicas * (replicas - 1) * (replicas - 2) * (replicas - 3) * count**2)


def binder(moments: np.ndarray) -> np.ndarray:
    r"""Binder ratio :math:`g = \frac12(3 - [\langle q^4\rangle]/[\langle q^2\rangle]^2)` of both moments (..., 2)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (3 - moments[..., 1] / moments[..., 0] ** 2) / 2


def second_moment_length(susceptibilities: np.ndarray, length: int) -> np.ndarray:
    r"""Correlation length :math:`\xi_L = \sqrt{\chi(0)/\chi(k_{min}) - 1}\,/\,(2\sin(\pi/L))` of (..., 2).

    0 where noise makes :math:`\chi(k_{min})` the larger one; at most 10 L, where it drowns :math:`\chi(k_{min})`.
    """
    wave = 2 * np.sin(np.pi / length)
    least = susceptibilities[..., 0] / (1 + (wave * LONGEST * length) ** 2)
    excess = susceptibilities[..., 0] / np.maximum(susceptibilities[..., 1], least) - 1
    return np.sqrt(np.maximum(excess, 0)) / wave


def longest_periodic_axes(couplings: np.ndarray) -> tuple[tuple[int, ...], int]:
    """Of the axes of lattice couplings (D, d, *grid) that close on themselves the longest ones, and their length."""
    grid = couplings.shape[2:]
    closed = [a for a in range(len(grid)) if np.take(couplings[:, a], -1, axis=a + 1).any() and grid[a] > 2]
    if not closed:
        raise InputError("no axis of this lattice is periodic (and longer than 2): xi_L needs a wave that fits an axis")
    longest = max(grid[a] for a in closed)
    return tuple(a for a in closed if grid[a] == longest), longest


# --- ensembles ----------------------------------------------------------------------------------


def overlap_powers(ensemble: xr.Dataset) -> np.ndarray:
    r""":math:`\langle q^2\rangle` and :math:`\langle q^4\rangle` of each instance and temperature, (D, T, 2)."""
    squared = overlap_matrix(spins_of(ensemble, 2)) ** 2
    return np.stack([pair_mean(squared), pair_mean(squared**2)], axis=-1)


def waves_of(ensemble: xr.Dataset) -> tuple[tuple[int, ...], int]:
    """The axes along which :func:`overlap_waves` has its waves, and their length; InputError where there are none."""
    if not is_lattice(ensemble):
        raise InputError("xi_L needs a lattice: a general graph has no plane waves")
    spins_of(ensemble, 2)
    return longest_periodic_axes(disorder_of(ensemble).couplings)


def overlap_waves(ensemble: xr.Dataset) -> np.ndarray:
    r""":math:`\langle|q(k)|^2\rangle` at k = 0 and at k_min, of each instance and temperature, (D, T, 2)."""
    axes, length = waves_of(ensemble)
    place = np.indices(ensemble["field"].shape[3:]).reshape(ensemble["field"].ndim - 3, -1)
    spins = spins_of(ensemble, 2)
    waves = [f(2 * np.pi * place[a] / length) for a in axes for f in (np.cos, np.sin)]
    at_k = sum(pair_mean(overlap_matrix(spins, wave) ** 2) for wave in waves) / len(axes)
    return np.stack([pair_mean(overlap_matrix(spins) ** 2), at_k], axis=-1)


def susceptibility(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Spin-glass susceptibility :math:`\chi_{SG} = N[\langle q^2\rangle]` over ``temperature``."""
    spins_of(ensemble, 2)

    def estimate(part: xr.Dataset) -> np.ndarray:
        spins = spins_of(part, 2)
        return spins.shape[-1] * pair_mean(overlap_matrix(spins) ** 2)

    attrs: dict[str, Any] = {"long_name": "spin-glass susceptibility", "units": "1", "symbol": r"\chi_{SG}"}
    convention = "N times the square of the overlap, over pairs of replicas of one instance, then over instances."
    tolerance = Tolerance(0.15, "ratio", "chi_SG")
    return _scalar(ensemble, estimate, tolerance, "susceptibility", convention=convention, **attrs)


def binder_ratio(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Binder ratio :math:`g = \frac12(3 - [\langle q^4\rangle]/[\langle q^2\rangle]^2)` over ``temperature``."""
    spins_of(ensemble, 2)
    attrs = {"long_name": "Binder ratio of the overlap", "units": "1", "symbol": "g"}
    convention = "Disorder is averaged before the ratio; 1 for one pair of states, 0 for Gaussian overlaps; jackknife."
    tolerance = Tolerance(0.15, "difference", "Binder ratio")
    return _scalar(ensemble, overlap_powers, tolerance, "binder", binder, convention=convention, **attrs)


def correlation_length(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Second-moment correlation length over ``temperature``, along the longest periodic axes of the lattice.

    :math:`\chi(k) = N[\langle|q(k)|^2\rangle]`, :math:`q(k) = \frac1N\sum_i q_i e^{ik\cdot r_i}`,
    :math:`k_{min} = 2\pi/L` along each of these axes in turn, averaged.
    """
    axes, length = waves_of(ensemble)
    attrs = {"long_name": "second-moment correlation length", "units": "lattice spacing", "symbol": r"\xi_L"}
    convention = f"From chi(0) and chi(2 pi/L), L = {length}, along axes {list(axes)} of the lattice; jackknife."
    tolerance = Tolerance(0.2, "ratio", "correlation length")
    return _scalar(
        ensemble, overlap_waves, tolerance, "correlation_length", lambda m: second_moment_length(m, length),
        convention=convention, **attrs,
    )  # fmt: skip


def mean_overlap(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Mean overlap :math:`[\langle q\rangle] = [\frac1N\sum_i\langle s_i\rangle^2]` over ``temperature``.

    Zero without a field, if both states of the global flip are drawn equally often; if a fraction p of the replicas
    stands in one of them, about :math:`(2p - 1)^2 q_{rms}`.
    """
    overlaps = overlap_matrix(spins_of(ensemble, 2))
    scale = np.sqrt(pair_mean(overlaps**2).mean(axis=0))
    attrs: dict[str, Any] = {"long_name": "mean overlap", "units": "1", "symbol": r"\langle q\rangle"}
    convention = "Mean of q over pairs of replicas with its sign; zero where global flips are balanced."
    tolerance = Tolerance(0.1, "difference", "flip balance", scale, "1", "root mean square of q")
    return _scalar(
        ensemble, lambda part: pair_mean(overlap_matrix(spins_of(part, 2))), tolerance, "mean_overlap",
        convention=convention, **attrs,
    )  # fmt: skip


def overlap_moments(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Chain of multi-overlap moments beyond :math:`\langle q^2\rangle` over ``temperature`` and ``moment``.

    :math:`[\langle q_{12}q_{23}q_{31}\rangle]^{1/3}`, :math:`[\langle q_{12}q_{23}q_{34}q_{41}\rangle]^{1/4}`,
    :math:`[\langle q_{12}^4\rangle]^{1/4}` and :math:`[\langle q_{1234}^2\rangle]^{1/4}`: roots, so that all are sizes
    of an overlap. Needs 4 replicas and at most 4096 spins.
    """
    count = spins_of(ensemble, 4).shape[-1]
    if count > LARGEST:
        raise InputError(
            f"{count} spins have too many pairs for the four-replica overlap; at most {LARGEST} are formed"
        )

    def estimate(part: xr.Dataset) -> np.ndarray:
        spins = spins_of(part, 4)
        overlaps = overlap_matrix(spins)
        flat = spins.reshape(-1, *spins.shape[2:])
        four = np.reshape([four_replica_overlap(one) for one in flat], spins.shape[:2])
        return np.stack([three_cycle(overlaps), four_cycle(overlaps), pair_mean(overlaps**4), four], axis=-1)

    order = {"long_name": "multi-overlap moment", "units": "1", "flag_meanings": " ".join(MOMENTS)}
    attrs = {"long_name": "roots of multi-overlap moments", "units": "1", "diagnostic": "overlap_moments"}
    attrs["convention"] = (
        "Averages over distinct replicas of one instance, then over disorder, then the root; jackknife."
    )
    coords = {"moment": (np.arange(1, len(MOMENTS) + 1), order)}
    return measured(ensemble, estimate, coords, Tolerance(0.1, "ratio", "overlap"), _roots, kind="scalar", **attrs)


def _roots(moments: np.ndarray) -> np.ndarray:
    """Roots of the moments (..., 4), negative where noise makes a moment negative."""
    return np.sign(moments) * np.abs(moments) ** (1 / np.array([3, 4, 4, 4]))


def _scalar(
    ensemble: xr.Dataset,
    estimate: Callable[[xr.Dataset], np.ndarray],
    tolerance: Tolerance,
    name: str,
    combine: Callable[[np.ndarray], np.ndarray] | None = None,
    **attrs: Any,
) -> xr.Dataset:
    return measured(ensemble, estimate, {}, tolerance, combine, diagnostic=name, kind="scalar", **attrs)
