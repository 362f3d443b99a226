r"""What configurations of angles are judged by: energy, order and its law, correlation, structure, stiffness, vortices.

All are means over configurations; the independent unit is the disorder instance. Legend: B samples, N sites, d dims.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.distribution import histogram_array
from physgen.diagnostics.result import result_of_samples
from physgen.diagnostics.spectrum import power_spectrum_array, spectrum_result
from physgen.domains.contract import Observable, PairObservable
from physgen.domains.lattice_bonds import couplings_of, grid_dims
from physgen.domains.quenched import sample_shape
from physgen.domains.xy.lattice import check_xy, energy_per_site, wrapped

if TYPE_CHECKING:
    import xarray as xr

ORDER_BINS = 10


def energy(ensemble: xr.Dataset) -> xr.Dataset:
    """Mean energy per site (units of J) over ``temperature``, computed from the angles, not read from the file."""
    check_xy(ensemble)
    found = energy_per_site(ensemble["field"].values, couplings_of(ensemble)).reshape(-1, 1)
    return _scalar(ensemble, found, "energy", "energy per site", "e", units="J", of="energy per site in J")


def magnetisation(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Length of the mean vector, :math:`\langle|m|\rangle`, :math:`m = N^{-1}\sum_i e_i`."""
    return _scalar(ensemble, _lengths(ensemble)[:, None], "magnetisation", "magnetisation", "|m|", of="magnetisation")


def magnetisation_distribution(ensemble: xr.Dataset) -> xr.Dataset:
    """Density of the length of the mean vector, in bins of width 1/10 between 0 and 1."""
    edges = np.linspace(0.0, 1.0, ORDER_BINS + 1)
    found = histogram_array(_lengths(ensemble)[:, None], edges)[:, None]
    place = {"m": ((edges[1:] + edges[:-1]) / 2, {"long_name": "magnetisation", "units": "1", "symbol": "|m|"})}
    result = result_of_samples(
        ensemble, found / np.diff(edges), ("m",), place, diagnostic="magnetisation_distribution", kind="histogram",
        long_name="distribution of the magnetisation", units="1", symbol="P(|m|)", measure="density",
        tolerance=0.1, tolerance_kind="distribution", tolerance_of="probability",
    )  # fmt: skip
    return result.assign(width=("m", np.diff(edges), {"long_name": "width of the bin", "units": "1"}))


def correlation(ensemble: xr.Dataset) -> xr.Dataset:
    r""":math:`G(r) = \langle\cos(\theta_i - \theta_{i+r})\rangle` along the axes, r = 1 to L/2.

    The mean over axes and over pairs of sites that no free boundary parts.
    """
    angles, wraps = _angles(ensemble), _wraps(ensemble)
    grid = angles.shape[1:]
    reach = max(min(grid) // 2, 1)
    found = np.zeros((len(angles), 1, reach))
    for axis in range(len(grid)):
        for r in range(1, reach + 1):
            aligned = np.cos(angles - np.roll(angles, -r, axis + 1))
            kept = aligned if wraps[axis] else np.take(aligned, range(grid[axis] - r), axis=axis + 1)
            found[:, 0, r - 1] += kept.reshape(len(kept), -1).mean(axis=1) / len(grid)
    distance = {"r": (np.arange(1.0, reach + 1), {"long_name": "distance", "units": "lattice spacing", "symbol": "r"})}
    return result_of_samples(
        ensemble, found, ("r",), distance, diagnostic="correlation", kind="correlation",
        long_name="correlation of directions", units="1", symbol="G(r)", **_accepted("correlation"),
    )  # fmt: skip


def structure_factor(ensemble: xr.Dataset) -> xr.Dataset:
    r""":math:`S(k) = \langle|\sum_j e_j e^{-ikx_j}|^2\rangle/N` in bins of \|k\|: 1 for independent angles.

    Both components together; k = 0, which is :math:`N\langle m^2\rangle`, is left out.
    """
    angles = _angles(ensemble)
    steps = [1.0] * (angles.ndim - 1)
    k, along, _ = power_spectrum_array(np.cos(angles), steps)
    _, across, _ = power_spectrum_array(np.sin(angles), steps)
    return spectrum_result(
        ensemble, (along + across)[:, None], k, diagnostic="structure_factor", long_name="structure factor",
        units="1", symbol="S(k)", tolerance=0.1, tolerance_kind="ratio", tolerance_of="S(k)",
    )  # fmt: skip


def helicity_modulus(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Stiffness against a twist of the boundary, the mean over the axes that are joined across their seam, in J:

    .. math:: \Upsilon_x = \frac1N \Bigl\langle\sum_{\langle ij\rangle_x} J_{ij}\cos(\theta_i - \theta_j)\Bigr\rangle
              - \frac1{NT} \Bigl\langle\Bigl(\sum_{\langle ij\rangle_x} J_{ij}\sin(\theta_i - \theta_j)\Bigr)^2
              \Bigr\rangle.

    The second derivative of the free energy per site by the twist of each bond. The mean current vanishes for any J,
    since :math:`\theta \to -\theta` is a symmetry. At the transition of Kosterlitz and Thouless it jumps from
    :math:`2T/\pi` to 0. With no axis joined it is that of all axes, then without this meaning.
    Source: Ohta and Jasnow, PRB 20 (1979), 139; Teitel and Jayaprakash, PRB 27 (1983), 598.
    """
    return _scalar(
        ensemble, stiffness_of(ensemble)[:, None], "helicity_modulus", "helicity modulus", r"\Upsilon", units="J",
        tolerance=0.05, of="helicity modulus in J",
    )  # fmt: skip


def stiffness_of(ensemble: xr.Dataset) -> np.ndarray:
    """What each configuration adds to the mean of :func:`helicity_modulus`, (B,) in J."""
    angles, couplings, wraps = _angles(ensemble), couplings_of(ensemble), _wraps(ensemble)
    _, count, replicas = sample_shape(ensemble)
    temperatures = np.tile(np.repeat(ensemble["temperature"].values, replicas), len(couplings))
    of_sample = np.repeat(np.arange(len(couplings)), count * replicas)
    sites, axes = np.prod(angles.shape[1:]), [a for a, one in enumerate(wraps) if one] or list(range(len(wraps)))
    found = np.zeros(len(angles))
    for axis in axes:
        turn = angles - np.roll(angles, -1, axis + 1)
        bonds = couplings[:, axis][of_sample]
        stiff = (bonds * np.cos(turn)).reshape(len(angles), -1).sum(1)
        current = (bonds * np.sin(turn)).reshape(len(angles), -1).sum(1)
        found += (stiff - current**2 / temperatures) / sites / len(axes)
    return found


def vortex_density(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Part of the squares of the lattice around which the angles turn by :math:`\pm 2\pi`; 0 in one dimension.

    The turn is the sum of the four differences along the bonds, each taken in [-pi, pi). Of independent angles a third
    of the squares has one. Squares across a free boundary are left out.
    """
    found = vortices_of(ensemble)
    return _scalar(
        ensemble, found[:, None], "vortex_density", "vortices of a square", r"n_v", of="vortices of a square"
    )


def vortices_of(ensemble: xr.Dataset) -> np.ndarray:
    """Part of the squares of each configuration with a vortex, (B,)."""
    angles, wraps = _angles(ensemble), _wraps(ensemble)
    parts = []
    for a, b in itertools.combinations(range(angles.ndim - 1), 2):
        turns = np.abs(_winding(angles, a, b)) > 0.5
        for axis in (a, b):
            if not wraps[axis]:
                turns = np.take(turns, range(turns.shape[axis + 1] - 1), axis=axis + 1)
        parts.append(turns.reshape(len(angles), -1).mean(axis=1))
    found: np.ndarray = np.mean(parts, axis=0) if parts else np.zeros(len(angles))
    return found


def observables_of(ensemble: xr.Dataset) -> list[Observable | PairObservable]:
    """What weighted draws are averaged over: energy, squared magnetisation, helicity modulus, vortices of a square."""
    energies = energy_per_site(check_xy(ensemble)["field"].values, couplings_of(ensemble)).reshape(-1)
    squares, stiff, turns = _lengths(ensemble) ** 2, stiffness_of(ensemble), vortices_of(ensemble)
    return [
        Observable("energy", "energy per site", "J", lambda rows: energies[rows]),
        Observable("magnetisation_squared", "square of the mean vector", "1", lambda rows: squares[rows]),
        Observable("helicity_modulus", "helicity modulus", "J", lambda rows: stiff[rows]),
        Observable("vortex_density", "vortices of a square", "1", lambda rows: turns[rows]),
    ]


def _winding(angles: np.ndarray, a: int, b: int) -> np.ndarray:
    """Turns (B, *grid) around the square of each site, up axis a first: -1, 0 or 1."""
    across = np.roll(angles, -1, a + 1)
    far, along = np.roll(across, -1, b + 1), np.roll(angles, -1, b + 1)
    total = wrapped(across - angles) + wrapped(far - across) + wrapped(along - far) + wrapped(angles - along)
    found: np.ndarray = np.rint(total / (2 * np.pi))
    return found


def _angles(ensemble: xr.Dataset) -> np.ndarray:
    r"""All configurations, (B, \*grid) float64."""
    field = check_xy(ensemble)["field"]
    values: np.ndarray = field.values.reshape(-1, *(ensemble.sizes[name] for name in grid_dims(ensemble)))
    return values.astype(np.float64)


def _wraps(ensemble: xr.Dataset) -> list[bool]:
    """Whether each axis has bonds across its seam."""
    bonds = couplings_of(ensemble)
    return [bool(np.take(bonds[:, axis], -1, axis=axis + 1).any()) for axis in range(bonds.shape[1])]


def _lengths(ensemble: xr.Dataset) -> np.ndarray:
    """Length of the mean vector of each configuration, (B,)."""
    angles = _angles(ensemble).reshape(int(np.prod(sample_shape(ensemble))), -1)
    found: np.ndarray = np.hypot(np.cos(angles).mean(axis=1), np.sin(angles).mean(axis=1))
    return found


def _scalar(
    ensemble: xr.Dataset,
    found: np.ndarray,
    name: str,
    words: str,
    symbol: str,
    *,
    of: str,
    units: str = "1",
    tolerance: float = 0.02,
) -> xr.Dataset:
    return result_of_samples(
        ensemble, found, (), {}, diagnostic=name, kind="scalar", long_name=words, units=units, symbol=symbol,
        **_accepted(of, tolerance),
    )  # fmt: skip


def _accepted(of: str, tolerance: float = 0.02) -> dict[str, Any]:
    return {"tolerance": tolerance, "tolerance_kind": "difference", "tolerance_of": of}


DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "energy": energy,
    "magnetisation": magnetisation,
    "magnetisation_distribution": magnetisation_distribution,
    "correlation": correlation,
    "structure_factor": structure_factor,
    "helicity_modulus": helicity_modulus,
    "vortex_density": vortex_density,
}
