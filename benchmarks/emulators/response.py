"""Response of a trained network to its labels, and a corner of the label space that its training never saw.

The demo's network is trained with ``split.corner``: Omega_m > .4 and sigma_8 > .9 held out. At a point in the middle of
the labels and at one in the corner, simulator and network are asked for d ln P/d label and d PDF/d label by central
differences: simulations of equal initial phases, maps of equal noise, so that most of their scatter drops out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.regimes.row import Row
from benchmarks.steps import ROOT, Steps
from physgen.diagnostics.distribution import histogram_array
from physgen.diagnostics.spectrum import power_spectrum
from physgen.ensemble import flatten, load_ensemble

SLOW = True
CONFIG = str(ROOT / "configs" / "cosmology" / "demo.yaml")
CORNER = "split.corner={Omega_m: [0.4, 0.5], sigma_8: [0.9, 1.0]}"
POINTS = {"middle": (0.3, 0.8), "corner": (0.45, 0.95)}
LABELS, HALF = ("Omega_m", "sigma_8"), (0.03, 0.04)
PHASES, MAPS, SEED = 6, 64, 11
BANDS = ((0.05, 0.2), (0.2, 0.4), (0.4, 0.7), (0.7, 0.9))  # of k_Nyquist
EDGES = np.linspace(-1.0, 1.2, 12)  # of log10(1 + delta); the ends hold the rest


class Measured(NamedTuple):
    """Unit by unit, at the four points (label, sign): P (2, 2, U, K) of density and logarithm, PDF (2, 2, U, J)."""

    k: np.ndarray
    power: np.ndarray
    log_power: np.ndarray
    density: np.ndarray


def rows() -> list[Row]:
    """About nine CPU minutes, five of them training."""
    steps = Steps("response")
    run = trained(steps)
    made = []
    for where, centre in POINTS.items():
        truth, drawn = (measured(steps, where, centre, given) for given in (None, run))
        name = f"{where} (Omega_m {centre[0]:g}, sigma_8 {centre[1]:g})"
        made += [
            *level_rows(name, truth, drawn),
            *response_rows(name, truth, drawn),
            *histogram_rows(name, truth, drawn),
        ]
    return made


def trained(steps: Steps) -> str:
    """The run of the demo with a corner held out."""
    data = steps.make("data.h5", "simulate", CONFIG, "-o", "data.h5")
    words = (f"dataset={data}", "name=corner", CORNER, "split.train=.72", "split.test=.24")
    steps.make("runs/corner/model", "train", CONFIG, *words)
    return str(steps.folder / "runs" / "corner")


def measured(steps: Steps, where: str, centre: tuple[float, float], run: str | None) -> Measured:
    """Statistics of simulations (``run`` None) or of maps of a run, at the centre plus and minus half a step."""
    found: list[list[tuple[np.ndarray, ...]]] = []
    for label in range(2):
        both = []
        for sign in (-1, 1):
            at = [value + (sign * HALF[i] if i == label else 0.0) for i, value in enumerate(centre)]
            both.append(statistics(made(steps, f"{where}-{LABELS[label]}{sign:+d}", at, run)))
        found.append(both)
    k = found[0][0][0]
    return Measured(k, *(np.array([[one[i] for one in both] for both in found]) for i in (1, 2, 3)))


def made(steps: Steps, name: str, at: list[float], run: str | None) -> Any:
    """The ensemble at one point; simulations share their phases, maps their noise."""
    if run is None:
        words = [f"data.{label}=[{value:g}, {value:g}]" for label, value in zip(LABELS, at, strict=True)]
        path = steps.make(f"true-{name}.h5", "simulate", CONFIG, f"data.simulations={PHASES}", f"seed={SEED}", *words,
                          "-o", f"true-{name}.h5")  # fmt: skip
    else:
        given = ",".join(f"{label}={value:g}" for label, value in zip(LABELS, at, strict=True))
        path = steps.make(f"drawn-{name}.h5", "sample", run, "-n", str(MAPS), "--condition", given, "--seed", str(SEED),
                          "-o", f"drawn-{name}.h5")  # fmt: skip
    return load_ensemble(path)


def statistics(ensemble: Any) -> tuple[np.ndarray, ...]:
    """k (K,), P of the density and of its logarithm (U, K), PDF (U, J); units are simulations, or single maps."""
    power = power_spectrum(ensemble)
    logarithm = power_spectrum(ensemble, transform=log_density)
    rows = [one["per_unit"].transpose("unit", "k").values for one in (power, logarithm)]
    maps = histogram_array(log_density(flatten(ensemble)[:, 0].reshape(len(flatten(ensemble)), -1)) / np.log(10), EDGES)
    density = maps.reshape(len(rows[0]), -1, maps.shape[1]).mean(1)
    return power["k"].values, *rows, density


def log_density(delta: Any) -> Any:
    """ln(1 + delta) with empty cells at a thousandth of the mean."""
    return np.log(np.maximum(1 + np.asarray(delta), 1e-3))


# --- what is compared -----------------------------------------------------------------------------


def jackknifed(function: Any, *samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and error of a function of means over units (axis 2 of each sample), which are deleted in one at a time.

    The samples are independent of each other: simulations and maps.
    """
    means = [sample.mean(axis=2) for sample in samples]
    value, variance = function(*means), 0.0
    for i, sample in enumerate(samples):
        count = sample.shape[2]
        without = (means[i][:, :, None] * count - sample) / (count - 1)
        each = np.array([function(*(without[:, :, u] if j == i else means[j] for j in range(len(means))))
                         for u in range(count)])  # fmt: skip
        variance = variance + (count - 1) * each.var(axis=0)
    return value, np.sqrt(variance)


def in_bands(k: np.ndarray, nyquist: float) -> list[np.ndarray]:
    return [(k >= low * nyquist) & (k < high * nyquist) for low, high in BANDS]


def level_rows(name: str, truth: Measured, drawn: Measured) -> Iterator[Row]:
    """P of the network over that of the simulator, mean over the four points, by bands."""
    nyquist = np.pi * 64 / 128
    for kind, title in (("power", "P"), ("log_power", "P of the logarithm")):
        for (low, high), band in zip(BANDS, in_bands(truth.k, nyquist), strict=True):

            def ratio(true: np.ndarray, made: np.ndarray, band: np.ndarray = band) -> np.ndarray:
                return (made[..., band] / true[..., band]).mean()

            value, error = jackknifed(ratio, getattr(truth, kind), getattr(drawn, kind))
            note = f"{PHASES} simulations of 12 slabs, {MAPS} maps, at each of four points"
            where = f"{name}: {title}, network over simulator, {low} to {high} k_Nyquist"
            yield Row(where, float(value), float(error), 1.0, "", None, note)


def response_rows(name: str, truth: Measured, drawn: Measured) -> Iterator[Row]:
    """d ln P/d label of the network over that of the simulator, by bands."""
    nyquist = np.pi * 64 / 128
    for kind, title in (("power", "ln P"), ("log_power", "ln P of the logarithm")):
        for label in range(2):
            for (low, high), band in zip(BANDS, in_bands(truth.k, nyquist), strict=True):

                def slope(mean: np.ndarray, band: np.ndarray = band, label: int = label) -> np.ndarray:
                    return (np.log(mean[label, 1, band] / mean[label, 0, band])).mean() / (2 * HALF[label])

                (true, true_error), (made, made_error) = (jackknifed(slope, getattr(m, kind)) for m in (truth, drawn))
                what = f"{name}: d {title}/d {LABELS[label]}, {low} to {high} k_Nyquist"
                note = f"simulator {true:.3f} +- {true_error:.3f}; network less simulator"
                error = float(np.hypot(true_error, made_error))
                yield Row(what, float(made - true), error, 0.0, "", None, note)


def histogram_rows(name: str, truth: Measured, drawn: Measured) -> Iterator[Row]:
    """How much of the simulator's d PDF/d label the network follows: its projection on it, and the rest."""
    for label in range(2):

        def slope(mean: np.ndarray, label: int = label) -> np.ndarray:
            return (mean[label, 1] - mean[label, 0]) / (2 * HALF[label])

        def share(true: np.ndarray, made: np.ndarray) -> np.ndarray:
            one, other = slope(true), slope(made)
            return (one * other).sum() / (one**2).sum()

        value, error = jackknifed(share, truth.density, drawn.density)
        one, other = (slope(m.density.mean(axis=2)) for m in (truth, drawn))
        rest = float(np.sqrt(((other - value * one) ** 2).sum() / (one**2).sum()))
        note = f"log10 density in {len(EDGES) - 1} bins; what is not along it is {100 * rest:.0f} % of it"
        what = f"{name}: d PDF/d {LABELS[label]} of the network along that of the simulator"
        yield Row(what, float(value), float(error), 1.0, "", None, note)
