"""The collapse of samples onto single ones: f(t), Y2(t), t_C with the symmetries of the law, how it moves with n."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.regimes.closed_forms import (
    gaussian_collapse_time,
    gaussian_excess_entropy,
    gaussian_information,
)
from physgen.diagnostics.regimes.collapse import LogDensity, excess_entropy
from physgen.diagnostics.regimes.left_out import Groups
from physgen.diagnostics.regimes.orbits import Orbit
from physgen.diagnostics.regimes.surrogate import ModePower
from physgen.diffusion.exact import ExactLaw

if TYPE_CHECKING:
    import xarray as xr

    from physgen.stages.regimes_data import Found, Samples

DRAWS, DRAWS_OF_SUBSETS, FEWEST_DRAWS = 128, 64, 48  # the scatter of Y2 at t_C from law to law is the larger error
WORK = 1e8  # numbers transformed at all draws together: some seconds of one core; 48 draws may take more
PARTS_OF_N = (8, 4, 2)  # the subsets of the phase diagram hold these parts of the samples
FEWEST = 8  # samples in a subset
REACH = np.linspace(0.35, 1.65, 12)  # times of a measurement, over t_C of the Gaussian law


def orbit_of(samples: Samples) -> Orbit:
    """The symmetries of the law as those of the images, on cells of the samples' size."""
    named = Orbit.named(samples.orbit)
    return Orbit(named.translations, named.point_group, named.flip, samples.cell_size) if named.point_group else named


def measure_collapse(samples: Samples, found: Found, seed: int, tell: Callable[[str], None]) -> None:
    """Add ``collapse``, ``collapse_plain`` without the symmetries, ``subsets`` and ``boundary``, and their times."""
    orbit, n = orbit_of(samples), len(samples.x)
    size = orbit.size(tuple(samples.x.shape[2:]))
    spectrum = gaussian_spectrum(samples, orbit, seed)
    tell("collapse")
    law = samples.exact.log_density if isinstance(samples.exact, ExactLaw) else None
    whole = _collapse(samples, np.arange(n), orbit, spectrum, seed, law)
    found.results["collapse"] = whole.assign(
        theory=("t", gaussian_excess_entropy(spectrum, n, whole["t"].values, size))
    )
    found.count("orbit_size", size)
    found.take(whole, t_C="t_C_crossing", t_C_theory="t_C_gaussian")
    if law is not None:
        found.take(whole, t_C_law="t_C")
    if size > 1:
        plain = _collapse(samples, np.arange(n), Orbit(), spectrum, seed)
        found.results["collapse_plain"] = plain
        found.take(plain, t_C_plain="t_C_crossing")
    tell("subsets of the samples")
    found.results["subsets"] = _subsets(samples, orbit, spectrum, seed, whole)
    found.results["boundary"] = _boundary(spectrum, n, samples.dimension, size)
    _window(found, spectrum, size)


def gaussian_spectrum(samples: Samples, orbit: Orbit, seed: int) -> np.ndarray:
    """Variances (d,) of the Gaussian law with the modes of the samples, as the collapse takes them."""
    groups = Groups.of(len(samples.x), samples.unit, seed)
    return ModePower.of(samples.x, groups, stationary=orbit.translations).spectrum


def _collapse(
    samples: Samples, rows: np.ndarray, orbit: Orbit, spectrum: np.ndarray, seed: int, law: LogDensity | None = None
) -> xr.Dataset:
    size = orbit.size(tuple(samples.x.shape[2:]))
    times = gaussian_collapse_time(spectrum, len(rows), size) * REACH
    work = len(rows) * samples.dimension * max(size / math.prod(samples.x.shape[2:]), 1)
    most = DRAWS if len(rows) == len(samples.x) else DRAWS_OF_SUBSETS
    draws = int(np.clip(WORK / work, FEWEST_DRAWS, most))
    return excess_entropy(samples.x[rows], times, draws, seed, samples.unit[rows], orbit, law)


def _subsets(samples: Samples, orbit: Orbit, spectrum: np.ndarray, seed: int, whole: xr.Dataset) -> xr.Dataset:
    """t_C of nested subsets of whole units and of all samples: ``value``, ``error``, ``alpha`` over ``samples``."""
    import xarray as xr

    units = np.random.default_rng([seed, 5]).permutation(int(samples.unit.max()) + 1)
    counts: list[int] = []
    values: list[tuple[float, float]] = []
    for part in PARTS_OF_N:
        rows = np.flatnonzero(np.isin(samples.unit, units[: max(len(units) // part, 1)]))
        if len(rows) < FEWEST or (counts and len(rows) <= counts[-1]):
            continue
        found = _collapse(samples, rows, orbit, spectrum, seed)
        counts.append(len(rows))
        values.append((float(found["t_C_crossing"]), float(found["t_C_crossing_error"])))
    counts.append(len(samples.x))
    values.append((float(whole["t_C_crossing"]), float(whole["t_C_crossing_error"])))
    value, error = np.array(values).T
    alpha = np.log(counts) / samples.dimension
    return xr.Dataset(
        {"value": ("samples", value), "error": ("samples", error), "alpha": ("samples", alpha)},
        {"samples": counts},
        {"d": samples.dimension},
    )


def _boundary(spectrum: np.ndarray, n: int, d: int, size: int) -> xr.Dataset:
    """t_C of the Gaussian law over alpha, from a sixteenth of n to sixteen times n."""
    import xarray as xr

    counts = np.geomspace(max(n / 32, 2), 16 * n, 48)
    value = [gaussian_collapse_time(spectrum, float(count), size) for count in counts]
    return xr.Dataset({"value": ("alpha", value)}, {"alpha": np.log(counts) / d})


def _window(found: Found, spectrum: np.ndarray, size: int) -> None:
    """t_S - t_C, and the number of samples from which on that is positive for the Gaussian law, at most."""
    t_s, t_c = (found.metrics[name] for name in ("t_S", "t_C"))
    found.put("window", t_s["value"] - t_c["value"], math.hypot(t_s["error"], t_c["error"]))
    if t_s["value"] > 0:
        inside = np.array([t_s["value"], max(t_s["value"] - t_s["error"], 0.01), t_s["value"] + t_s["error"]])
        needed = gaussian_information(spectrum, inside) - math.log(size)
        found.put("ln_n_window", needed[0], 0.5 * abs(needed[1] - needed[2]))
