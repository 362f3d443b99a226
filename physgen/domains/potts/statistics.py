r"""What configurations of Potts states are judged by: energy, order and its law, correlation, balance of the states.

All are means over configurations; the independent unit is the disorder instance. Legend: B samples, q states, N sites.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.distribution import histogram_array
from physgen.diagnostics.result import result_of_samples
from physgen.domains.potts.lattice import check_potts, couplings_of, energy_per_site, grid_dims, states_of

if TYPE_CHECKING:
    import xarray as xr

ORDER_BINS = 10


def energy(ensemble: xr.Dataset) -> xr.Dataset:
    """Mean energy per site (units of J) over ``temperature``, computed from the states, not read from the file."""
    check_potts(ensemble)
    found = energy_per_site(ensemble["field"].values, couplings_of(ensemble)).reshape(-1, 1)
    return _scalar(
        ensemble, found, "energy", "energy per site", "e", units="J", tolerance=0.02, of="energy per site in J"
    )


def order(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Order parameter :math:`\langle (q \max_a \rho_a - 1)/(q - 1) \rangle`, rho_a the part of sites in state a."""
    found = order_of(_parts(ensemble), states_of(ensemble))[:, None]
    return _scalar(ensemble, found, "order", "order parameter", "m", tolerance=0.02, of="order parameter")


def order_of(parts: np.ndarray, states: int) -> np.ndarray:
    """The order parameter (B,) of the parts of all sites in each state (B, q): 1 if all are in one, 0 if none leads."""
    return (states * parts.max(axis=1) - 1) / (states - 1)


def order_distribution(ensemble: xr.Dataset) -> xr.Dataset:
    """Density of the order parameter, in bins of width 1/10 between 0 and 1: two humps where two phases coexist."""
    edges = np.linspace(0.0, 1.0, ORDER_BINS + 1)
    found = histogram_array(order_of(_parts(ensemble), states_of(ensemble))[:, None], edges)[:, None]
    place = {"order": ((edges[1:] + edges[:-1]) / 2, {"long_name": "order parameter", "units": "1", "symbol": "m"})}
    result = result_of_samples(
        ensemble, found / np.diff(edges), ("order",), place, diagnostic="order_distribution", kind="histogram",
        long_name="distribution of the order parameter", units="1", symbol="P(m)", measure="density",
        tolerance=0.1, tolerance_kind="distribution", tolerance_of="probability",
    )  # fmt: skip
    return result.assign(width=("order", np.diff(edges), {"long_name": "width of the bin", "units": "1"}))


def correlation(ensemble: xr.Dataset) -> xr.Dataset:
    r""":math:`G(r) = (q\,\langle\delta(s_i, s_{i+r})\rangle - 1)/(q - 1)` along the axes, r = 1 to L/2.

    The mean over axes and over pairs of sites that no free boundary parts.
    """
    check_potts(ensemble)
    colours, bonds, states = ensemble["field"].values, couplings_of(ensemble), states_of(ensemble)
    grid = colours.shape[3:]
    colours, reach = colours.reshape(-1, *grid), max(min(grid) // 2, 1)
    found = np.zeros((len(colours), 1, reach))
    for axis in range(len(grid)):
        wraps = bool(np.take(bonds[:, axis], -1, axis=axis + 1).any())
        for r in range(1, reach + 1):
            same = colours == np.roll(colours, -r, axis + 1)
            kept = same if wraps else np.take(same, range(grid[axis] - r), axis=axis + 1)
            found[:, 0, r - 1] += kept.reshape(len(kept), -1).mean(axis=1) / len(grid)
    distance = {"r": (np.arange(1.0, reach + 1), {"long_name": "distance", "units": "lattice spacing", "symbol": "r"})}
    return result_of_samples(
        ensemble, (states * found - 1) / (states - 1), ("r",), distance, diagnostic="correlation", kind="correlation",
        long_name="correlation of equal states", units="1", symbol="G(r)",
        **_accepted(0.02, "correlation"),
    )  # fmt: skip


def balance(ensemble: xr.Dataset) -> xr.Dataset:
    """Part of all sites in each state, over ``state``: 1/q each, as the law has no preference."""
    parts = _parts(ensemble)[:, None]
    states = {"state": (np.arange(parts.shape[2]), {"long_name": "state", "units": "1", "symbol": "a"})}
    return result_of_samples(
        ensemble, parts, ("state",), states, diagnostic="balance", kind="curve", long_name="part of the sites",
        units="1", symbol=r"\rho_a", **_accepted(0.02, "part of the sites"),
    )  # fmt: skip


def _parts(ensemble: xr.Dataset) -> np.ndarray:
    """Part of the sites in each state, (B, q)."""
    check_potts(ensemble)
    colours = ensemble["field"].values.reshape(-1, int(np.prod([ensemble.sizes[name] for name in grid_dims(ensemble)])))
    return np.stack([(colours == a).mean(axis=1) for a in range(states_of(ensemble))], axis=1)


def _scalar(
    ensemble: xr.Dataset,
    found: np.ndarray,
    name: str,
    words: str,
    symbol: str,
    *,
    tolerance: float,
    of: str,
    units: str = "1",
) -> xr.Dataset:
    return result_of_samples(
        ensemble, found, (), {}, diagnostic=name, kind="scalar", long_name=words, units=units, symbol=symbol,
        **_accepted(tolerance, of),
    )  # fmt: skip


def _accepted(tolerance: float, of: str) -> dict[str, Any]:
    return {"tolerance": tolerance, "tolerance_kind": "difference", "tolerance_of": of}


DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "energy": energy,
    "order": order,
    "order_distribution": order_distribution,
    "correlation": correlation,
    "balance": balance,
}
