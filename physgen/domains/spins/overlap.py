r"""What physicists measure on spins: energy, magnetization, overlaps of replicas, correlations.

Array functions first (numpy alone), then one wrapper of each for an ensemble. Legend: D disorder instances, T
temperatures, R replicas, N spins, M bonds. The independent unit is the disorder instance.
Replicas of one instance at one temperature are independent samples of one law, so their R(R-1)/2 pairs give unbiased
estimates; pairs share replicas, and errors are therefore taken over instances alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.energy import edge_products
from physgen.domains.spins.layout import disorder_of, energy_of
from physgen.domains.spins.measurement import Tolerance, energy_tolerance, measured, spins_of
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

BINS = 25  # about so many bins over [-1, 1]
LEAST_CORRELATION = 0.01  # of C_4(1) as a yardstick


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
    r"""Mean energy per spin (units of J) over ``temperature``, computed from the spins, not read from the file.

    Deviations are judged in temperature, from two replicas on: yardstick :math:`de/d\ln T = N\,\mathrm{var}(e)/T`.
    """
    several = spins_of(ensemble).shape[2] > 1
    tolerance = energy_tolerance(ensemble) if several else Tolerance(0.02, "difference", "energy per spin in J")
    attrs: dict[str, Any] = {
        "long_name": "energy per spin",
        "units": "J",
        "symbol": "e",
        "diagnostic": "energy",
        "kind": "scalar",
    }
    convention = "H = - sum over bonds of J s s, computed from the spins and divided by their number; k_B = 1."

    def estimate(part: xr.Dataset) -> np.ndarray:
        return energy_of(part["field"].values, disorder_of(part)).mean(axis=2)

    return measured(ensemble, estimate, {}, tolerance, convention=convention, **attrs)


def magnetization(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Mean modulus of the magnetization per spin, :math:`\langle|\sum_i s_i|\rangle/N`, over ``temperature``."""
    attrs: dict[str, Any] = {
        "long_name": "modulus of the magnetization per spin",
        "units": "1",
        "symbol": r"\langle|m|\rangle",
    }
    attrs |= {"diagnostic": "magnetization", "kind": "scalar"}
    convention = "The modulus of the mean spin of each configuration, averaged over configurations."

    def estimate(part: xr.Dataset) -> np.ndarray:
        return np.abs(spins_of(part).mean(axis=3, dtype=np.float64)).mean(axis=2)

    return measured(ensemble, estimate, {}, Tolerance(0.2, "ratio", "magnetization"), convention=convention, **attrs)


def overlap_distribution(ensemble: xr.Dataset) -> xr.Dataset:
    r"""P(q), the law of :math:`q = \frac1N\sum_i s_i^a s_i^b` between replicas of one instance.

    A density with integral 1 over [-1, 1], for each temperature, one estimate per instance, not folded:
    a lack of symmetry about 0 shows replicas that do not sample both states of the global flip equally.
    """
    attrs = {"long_name": "overlap distribution", "units": "1", "symbol": "P(q)", "diagnostic": "overlap"}
    attrs["convention"] = "q = sum of s s'/N over all pairs of replicas of one instance, not folded; density in q."
    axis = {"long_name": "overlap of two replicas", "units": "1", "symbol": "q"}
    return _histogram(ensemble, lambda part: list(spins_of(part, 2)), ("q", axis), attrs)


def link_overlap_distribution(ensemble: xr.Dataset) -> xr.Dataset:
    r"""The law of the link overlap :math:`q_l = \frac1M\sum_{\langle ij\rangle} q_i q_j`, :math:`q_i = s_i^a s_i^b`.

    The sum runs over the bonds that are not zero in any instance; q_l does not change under a global flip and
    counts the surface of the clusters in which two replicas differ.
    """
    bonds = shared_bonds(ensemble)
    attrs = {"long_name": "link overlap distribution", "units": "1", "symbol": r"P(q_\ell)"}
    attrs["convention"] = "The mean of q_i q_j over the bonds that no instance lacks; density in the link overlap."
    attrs["diagnostic"] = "link_overlap"
    axis = {"long_name": "link overlap of two replicas", "units": "1", "symbol": r"q_\ell"}

    def links(part: xr.Dataset) -> Iterable[np.ndarray]:
        return (edge_products(one, bonds) for one in spins_of(part, 2))

    return _histogram(ensemble, links, ("q_link", axis), attrs)


def correlation(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Overlap correlation :math:`C_4(r) = [\langle s_i s_{i+r}\rangle^2]`, which no gauge changes.

    On a lattice over ``r`` along its axes, 1 to L/2 lattice spacings; on any other graph r = 1 are its edges.
    Deviations are judged in units of :math:`C_4(1)`.
    """
    spins_of(ensemble, 2)
    edges = disorder_of(ensemble).edges
    if edges is None:
        grid = ensemble["field"].shape[3:]
        bonds = disorder_of(ensemble).couplings
        periodic = tuple(bool(np.take(bonds[:, axis], -1, axis=axis + 1).any()) for axis in range(len(grid)))

        def of_one(spins: np.ndarray) -> np.ndarray:
            return lattice_correlation(spins.reshape(-1, *grid), periodic)

        spacing = "lattice spacing"
    else:
        no_levels(ensemble)

        def of_one(spins: np.ndarray) -> np.ndarray:
            return squared_mean(edge_products(spins, edges)).mean(keepdims=True)

        spacing = "edge"

    def estimate(part: xr.Dataset) -> np.ndarray:
        return np.array([[of_one(spins) for spins in row] for row in spins_of(part, 2)])

    nearest = np.maximum(estimate(ensemble)[:, :, 0].mean(axis=0), LEAST_CORRELATION)
    reach = max(min(grid) // 2, 1) if edges is None else 1
    r = {"r": (np.arange(1.0, reach + 1), {"long_name": "distance", "units": spacing, "symbol": "r"})}
    attrs: dict[str, Any] = {
        "long_name": "overlap correlation",
        "units": "1",
        "symbol": "C_4(r)",
        "kind": "correlation",
    }
    attrs["convention"] = "Square of the mean of s s' at distance r along the axes, averaged over sites, unbiased."
    tolerance = Tolerance(0.1, "difference", "correlation", nearest, "1", "C_4 of nearest neighbours")
    return measured(ensemble, estimate, r, tolerance, diagnostic="correlation", **attrs)


def shared_bonds(ensemble: xr.Dataset) -> np.ndarray:
    """Ends (M, 2), of triples (M, 3), of the bonds that are not zero in any instance."""
    no_levels(ensemble)
    disorder = disorder_of(ensemble)
    edges = lattice_edges(ensemble["field"].shape[3:]) if disorder.edges is None else disorder.edges
    present = np.all(disorder.couplings.reshape(len(disorder.couplings), -1) != 0, axis=0)
    if not present.any():
        raise InputError("every bond is zero in some instance: the link overlap needs bonds that all instances share")
    return edges[present]


def no_levels(ensemble: xr.Dataset) -> None:
    """Raise InputError where each state has an energy of its own."""
    if disorder_of(ensemble).levels is not None:
        raise InputError("random energies have no bonds: energies and overlaps say all there is")


def spin_memorization(generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: Any) -> xr.Dataset:
    r"""Largest overlap :math:`o_\max = \max_\mu |s\cdot s^\mu|/N` with the training set, beside that of held-out data.

    At low temperature a large overlap is equilibrium, not copying: the null is the same figure of held-out
    configurations of the same couplings as the generated ones.
    """
    from physgen.diagnostics.memorization import memorization

    return memorization(generated, train, heldout, similarity="overlap", **judged)


def _histogram(
    ensemble: xr.Dataset,
    configurations: Callable[[xr.Dataset], Iterable[np.ndarray]],
    axis: tuple[str, dict[str, str]],
    attrs: dict[str, Any],
) -> xr.Dataset:
    """Pair histograms of configurations (part of the ensemble -> D arrays (T, R, M)) as a result."""
    spins_of(ensemble, 2)
    count = next(iter(configurations(ensemble))).shape[-1]
    centres, widths, index = overlap_bins(count)

    def estimate(part: xr.Dataset) -> np.ndarray:
        return np.array([[pair_histogram(one, index) / widths for one in row] for row in configurations(part)])

    coordinate, described = axis
    result = measured(
        ensemble, estimate, {coordinate: (centres, described)}, Tolerance(0.05, "distribution", "probability"),
        kind="histogram", measure="density", **attrs,
    )  # fmt: skip
    return result.assign(width=(coordinate, widths, {"long_name": "width of the bin", "units": "1"}))
