r"""What physicists measure on spins: energy, magnetization, overlaps of replicas, correlations.

Array functions first (numpy alone), then one wrapper of each for an ensemble. Legend: D disorder instances, T
temperatures, R replicas, N spins, M bonds. The independent unit is the disorder instance.
Replicas of one instance at one temperature are independent samples of one law, so their R(R-1)/2 pairs give unbiased
estimates; pairs share replicas, and errors are therefore taken over instances alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.features import features
from physgen.domains.spins.layout import check_spins, disorder_of, energy_of, is_lattice
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

BINS = 25  # about so many bins over [-1, 1]


# --- array functions ----------------------------------------------------------------------------


def overlap_bins(count: int, bins: int = BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Bins for an overlap of ``count`` products +-1, which takes the values -1, -1 + 2/count, ..., 1 alone.

    Bins hold a whole number of these values, lie symmetric about 0, and one is centred on 0; a bin
    of another width would count now more, now fewer values, and show waves that are not physics.

    Returns:
        centres (J,), widths (J,), and bin of each value (count + 1,).
    """
    values = np.arange(count + 1) - count / 2
    per_bin = max(1, round((count + 1) / bins))
    if per_bin % 2 != (count + 1) % 2:  # edges must fall between values
        per_bin += 1
    index = np.rint(values / per_bin).astype(int)
    index -= index.min()
    held = np.bincount(index)
    return np.bincount(index, weights=2 * values / count) / held, held * 2 / count, index


def pair_histogram(configurations: np.ndarray, bin_of_value: np.ndarray) -> np.ndarray:
    """Probability of each bin for the overlaps of all R(R-1)/2 pairs of configurations (R, N) of +-1: (J,)."""
    replicas, count = configurations.shape
    configurations = configurations.astype(np.float32)
    products = (configurations @ configurations.T)[np.triu_indices(replicas, 1)]
    agreeing = np.rint((products + count) / 2).astype(np.int64)
    return np.bincount(bin_of_value[agreeing], minlength=bin_of_value[-1] + 1) / len(products)


def squared_mean(products: np.ndarray) -> np.ndarray:
    r"""Unbiased estimate of :math:`\langle p\rangle^2` from R independent values +-1 along the first axis.

    The square of a mean of R values is too large by its variance: :math:`(R \bar p^2 - 1)/(R - 1)` is not.
    """
    replicas = len(products)
    return (replicas * products.mean(axis=0, dtype=np.float64) ** 2 - 1) / (replicas - 1)


def lattice_correlation(spins: np.ndarray, periodic: tuple[bool, ...]) -> np.ndarray:
    r"""Overlap correlation :math:`C_4(r) = [\langle s_i s_{i+r}\rangle^2]` along the axes, r = 1 ... L/2.

    Args:
        spins: (R, \*grid), replicas of one instance.
        periodic: of each dim whether sites are joined across its seam; where not, no pair crosses it.

    Returns:
        (min(grid) // 2,), the mean over axes of the mean over sites; not biased by the number of replicas.
    """
    reach = max(min(spins.shape[1:]) // 2, 1)
    found = np.zeros(reach)
    spins = spins.astype(np.float32)
    for axis, wraps in enumerate(periodic, start=1):
        for r in range(1, reach + 1):
            squared = squared_mean(spins * np.roll(spins, -r, axis))
            kept = slice(None) if wraps else slice(0, spins.shape[axis] - r)
            found[r - 1] += squared[(slice(None),) * (axis - 1) + (kept,)].mean()
    return found / len(periodic)


# --- ensembles ----------------------------------------------------------------------------------


def energy(ensemble: xr.Dataset) -> xr.Dataset:
    """Mean energy per spin (units of J) over ``temperature``, computed from the spins, not read from the file."""
    check_spins(ensemble)
    per_unit = energy_of(ensemble["field"].values, disorder_of(ensemble)).mean(axis=2)
    attrs = {"long_name": "energy per spin", "units": "J", "symbol": "e"}
    convention = "H = - sum over bonds of J s s, computed from the spins and divided by their number; k_B = 1."
    return _result(ensemble, per_unit, {}, "energy", "scalar", convention=convention, **attrs)


def magnetization(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Mean modulus of the magnetization per spin, :math:`\langle|\sum_i s_i|\rangle/N`, over ``temperature``."""
    check_spins(ensemble)
    field = ensemble["field"].values
    space = tuple(range(3, field.ndim))
    per_unit = np.abs(field.mean(axis=space, dtype=np.float64)).mean(axis=2)
    attrs = {"long_name": "modulus of the magnetization per spin", "units": "1", "symbol": r"\langle|m|\rangle"}
    convention = "The modulus of the mean spin of each configuration, averaged over configurations."
    return _result(ensemble, per_unit, {}, "magnetization", "scalar", convention=convention, **attrs)


def overlap_distribution(ensemble: xr.Dataset) -> xr.Dataset:
    r"""P(q), the law of :math:`q = \frac1N\sum_i s_i^a s_i^b` between replicas of one instance.

    A density with integral 1 over [-1, 1], for each temperature, one estimate per instance, not folded:
    a lack of symmetry about 0 shows replicas that do not sample both states of the global flip equally.
    """
    flat = _pairable(ensemble)
    attrs = {"long_name": "overlap distribution", "units": "1", "symbol": "P(q)"}
    attrs["convention"] = "q = sum of s s'/N over all pairs of replicas of one instance, not folded; density in q."
    axis = {"long_name": "overlap of two replicas", "units": "1", "symbol": "q"}
    return _histogram(ensemble, [list(instance) for instance in flat], "overlap", ("q", axis), attrs)


def link_overlap_distribution(ensemble: xr.Dataset) -> xr.Dataset:
    r"""The law of the link overlap :math:`q_l = \frac1M\sum_{\langle ij\rangle} q_i q_j`, :math:`q_i = s_i^a s_i^b`.

    The sum runs over the bonds that are not zero in any instance; q_l does not change under a global flip and
    counts the surface of the clusters in which two replicas differ.
    """
    flat = _pairable(ensemble)
    disorder = disorder_of(ensemble)
    lattice = disorder.edges is None
    edges = lattice_edges(ensemble["field"].shape[3:]) if lattice else disorder.edges
    present = np.all(disorder.couplings.reshape(len(flat), -1) != 0, axis=0)
    if not present.any():
        raise InputError("every bond is zero in some instance: the link overlap needs bonds that all instances share")
    first, second = edges[present].T
    links = ([one[:, first] * one[:, second] for one in instance] for instance in flat)
    attrs = {"long_name": "link overlap distribution", "units": "1", "symbol": r"P(q_\ell)"}
    attrs["convention"] = "The mean of q_i q_j over the bonds that no instance lacks; density in the link overlap."
    axis = {"long_name": "link overlap of two replicas", "units": "1", "symbol": r"q_\ell"}
    return _histogram(ensemble, links, "link_overlap", ("q_link", axis), attrs)


def correlation(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Overlap correlation :math:`C_4(r) = [\langle s_i s_{i+r}\rangle^2]`, which no gauge changes.

    On a lattice over ``r`` along its axes, 1 to L/2 lattice spacings; on any other graph r = 1 are its edges.
    """
    flat = _pairable(ensemble)
    disorder = disorder_of(ensemble)
    if is_lattice(ensemble):
        grid = ensemble["field"].shape[3:]
        periodic = tuple(
            bool(np.take(disorder.couplings[:, axis], -1, axis=axis + 1).any()) for axis in range(len(grid))
        )
        per_unit = [[lattice_correlation(s.reshape(-1, *grid), periodic) for s in row] for row in flat]
        spacing = "lattice spacing"
    else:
        first, second = disorder.edges.T
        per_unit = [[[squared_mean(s[:, first] * s[:, second]).mean()] for s in row] for row in flat]
        spacing = "edge"
    per_unit = np.array(per_unit)
    r = {"r": (np.arange(1.0, per_unit.shape[2] + 1), {"long_name": "distance", "units": spacing, "symbol": "r"})}
    attrs = {"long_name": "overlap correlation", "units": "1", "symbol": "C_4(r)"}
    attrs["convention"] = "Square of the mean of s s' at distance r along the axes, averaged over sites, unbiased."
    return _result(ensemble, per_unit, r, "correlation", "correlation", **attrs)


DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "energy": energy,
    "magnetization": magnetization,
    "overlap": overlap_distribution,
    "link_overlap": link_overlap_distribution,
    "correlation": correlation,
    "features": features,
}


def spin_memorization(generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: float) -> xr.Dataset:
    r"""Largest overlap :math:`o_\max = \max_\mu |s\cdot s^\mu|/N` with the training set, beside that of held-out data.

    At low temperature a large overlap is equilibrium, not copying: the null is the same figure of held-out
    configurations of the same couplings as the generated ones.
    """
    from physgen.diagnostics.memorization import memorization

    return memorization(generated, train, heldout, similarity="overlap", **judged)


def _pairable(ensemble: xr.Dataset) -> np.ndarray:
    """Spins (D, T, R, N)."""
    field = check_spins(ensemble)["field"].values
    if field.shape[2] < 2:
        raise InputError(
            f"{field.shape[2]} replica per instance and temperature; overlaps need at least 2: draw more replicas"
        )
    return field.reshape(*field.shape[:3], -1)


def _histogram(ensemble, configurations, name, axis, attrs):
    """Pair histograms of configurations (D lists of T arrays (R, M)) as a result."""
    per_unit, bins = [], None
    for instance in configurations:
        bins = bins or overlap_bins(instance[0].shape[1])
        per_unit.append([pair_histogram(one, bins[2]) / bins[1] for one in instance])
    centres, widths, _ = bins
    coordinate, described = axis
    attrs = attrs | {"measure": "density"}
    result = _result(ensemble, np.array(per_unit), {coordinate: (centres, described)}, name, "histogram", **attrs)
    return result.assign(width=(coordinate, widths, {"long_name": "width of the bin", "units": "1"}))


def _result(ensemble, per_unit, coords, name, kind, **attrs):
    """A result over (temperature, *coords) with the disorder instance as the unit."""
    from physgen.diagnostics.result import make_result

    temperature = (ensemble["temperature"].values, {"long_name": "temperature", "units": "J", "symbol": "T"})
    return make_result(
        per_unit,
        ("temperature", *coords),
        {"temperature": temperature, **coords},
        ensemble["disorder"].values if "disorder" in ensemble.coords else np.arange(len(per_unit)),
        unit="disorder",
        diagnostic=name,
        kind=kind,
        **attrs,
    )
