"""A trained emulator as control variate: maps drawn under the 2LPT field of the same initial phases.

A network learns slabs of simulations given the same slabs by 2LPT (``physgen pair``, ``physgen train``). What it draws
under fresh 2LPT fields is combined with 8 simulations of other phases than those of the training, as in the topic
``combine``; beside it the 2LPT fields themselves, and means of several draws under one field.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.emulators.combine import KINDS, PAIRS, Spectra, groups, largest_bias
from benchmarks.regimes.row import Row
from benchmarks.steps import ROOT, Steps
from physgen.diagnostics.combined import matched
from physgen.diagnostics.spectrum import power_spectrum
from physgen.ensemble import load_ensemble
from physgen.ensemble.pairing import starts_of_units

SLOW = True
CONFIG = str(ROOT / "configs" / "cosmology" / "demo.yaml")
BOX, CELLS = 128.0, 32
DATA = (
    f"data.cells={CELLS}", "data.particles=32", "data.Omega_m=[0.3, 0.3]", "data.sigma_8=[0.8, 0.8]",
    "seed=5",
)  # fmt: skip
TRAINING = ("training.steps=1500", "split.train=.9", "split.validation=.05", "split.test=.05")
FRESH = ("data.slabs_per_axis=1", "data.first_simulation=1000")  # phases that no training saw; three maps each
SIMULATIONS, STARTS, DRAWS = 104, 404, 2
WHAT = f"{PAIRS} simulations of 3 slabs of {CELLS}^2 in {BOX:g} Mpc/h"


def rows() -> list[Row]:
    """About ten CPU minutes."""
    steps = Steps("surrogates")
    train(steps)
    costly = steps.make("costly.h5", "simulate", CONFIG, *DATA, *FRESH, f"data.simulations={SIMULATIONS}",
                        "-o", "costly.h5")  # fmt: skip
    cheap = steps.make("cheap.h5", "simulate", CONFIG, *DATA, *FRESH, f"data.simulations={STARTS}",
                       "data.simulator=2lpt", "-o", "cheap.h5")  # fmt: skip
    steps.make("fresh.h5", "pair", str(cheap), str(cheap), "--name", "surrogate", "-o", "fresh.h5")
    network, number = str(steps.folder / "runs/corrected"), str(3 * STARTS)
    drawn = []
    for i in range(DRAWS):
        words = ("sample", network, "--like", "fresh.h5", "-n", number, "--seed", str(i), "-o", f"drawn{i}.h5")
        drawn.append(steps.make(f"drawn{i}.h5", *words))
    of = [steps.seconds(f"{name}.h5") / number for name, number in (("costly", SIMULATIONS), ("cheap", STARTS))]
    each = steps.seconds("drawn0.h5") / STARTS
    made = list(estimate_rows("the 2LPT field itself", spectra(costly, [cheap], (of[0], of[1]))))
    one = spectra(costly, drawn[:1], (of[0], of[1] + each))
    made += estimate_rows("a draw under the 2LPT field", one)
    name = f"the mean of {DRAWS} draws under the 2LPT field"
    mean = spectra(costly, drawn, (of[0], of[1] + DRAWS * each))
    return [*made, *estimate_rows(name, mean), many_draws_row(one, mean)]


def train(steps: Steps) -> None:
    """Pairs and the network that is trained on them."""
    for name, simulator in (("target", "fastpm"), ("source", "2lpt")):
        words = (*DATA, "data.simulations=64", f"data.simulator={simulator}")
        steps.make(f"{name}.h5", "simulate", CONFIG, *words, "-o", f"{name}.h5")
    steps.make("pairs.h5", "pair", "target.h5", "source.h5", "--name", "surrogate", "-o", "pairs.h5")
    steps.make(
        "runs/corrected/model",
        "train",
        CONFIG,
        *DATA,
        "data.simulations=64",
        *TRAINING,
        "dataset=pairs.h5",
        "name=corrected",
    )


def spectra(costly: Path, cheap: list[Path], seconds: tuple[float, float]) -> Spectra:
    """P(k) of simulations and of their surrogates, means over files of several draws."""
    one, many = load_ensemble(costly), [load_ensemble(path) for path in cheap]
    of_costly = power_spectrum(one)
    rows_of = [power_spectrum(e)["per_unit"].transpose("unit", "k").values for e in many]
    starts = [starts_of_units(e) for e in many]
    assert all(np.array_equal(s, starts[0]) for s in starts)
    surrogate = np.mean(rows_of, axis=0)
    paired, further = matched(starts_of_units(one), starts[0])
    x = of_costly["per_unit"].transpose("unit", "k").values
    return Spectra(of_costly["k"].values, x, surrogate[paired], surrogate[further], seconds)


def many_draws_row(one: Spectra, mean: Spectra) -> Row:
    """Correlation that infinitely many draws would have: 1/rho^2 = A + B/D for the mean of D draws under each field.

    The draws differ by noise that the simulation does not share; what is left is what the 2LPT field tells.
    """
    wanted = one.k <= 0.5 * np.pi * CELLS / BOX

    def limit(rows: np.ndarray) -> float:
        inverse = [
            1
            / np.array([np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(s.costly[rows].T, s.paired[rows].T, strict=True)])
            for s in (one, mean)
        ]
        return float(np.median((1 / np.sqrt((DRAWS * inverse[1] - inverse[0]) / (DRAWS - 1)))[wanted]))

    count, random = len(one.costly), np.random.default_rng(0)
    spread = [limit(random.integers(count, size=count)) for _ in range(200)]
    note = f"from 1 and {DRAWS} draws, median of {wanted.sum()} bins below k_Nyq/2; error by bootstrap"
    value, error = limit(np.arange(count)), float(np.nanstd(spread))
    return Row(
        "many draws under the 2LPT field: correlation that is to be expected", value, error, None, "", None, note
    )


def estimate_rows(name: str, found: Spectra) -> Iterator[Row]:
    """Correlation, gain for means and covariances, bias, and the price of a surrogate."""
    estimates, _ = groups(found, 0.5 * np.pi * CELLS / BOX)
    wanted, count = estimates["mean"].wanted, len(estimates["mean"].combined)
    rho = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(found.costly.T, found.paired.T, strict=True)])
    middle, lowest = float(np.median(rho[wanted])), float(rho[wanted].min())
    error = (1 - middle**2) / np.sqrt(len(found.costly) - 3)
    note = f"median of {wanted.sum()} bins below k_Nyq/2, lowest {lowest:.4f}; at Nyquist {rho[-1]:.3f}"
    yield Row(f"{name}: correlation of P(k) with that of the simulation", middle, error, None, "", None, note)
    bias = np.median((found.cheap.mean(0) / found.costly.mean(0) - 1)[wanted])
    for kind, (label, entries) in KINDS.items():
        gain = estimates[kind].gain
        value, z = float(np.median(gain)), largest_bias(estimates[kind])
        note = (
            f"median of {len(gain)} {entries} below k_Nyq/2, the smallest {gain.min():.3g}; {count} groups; largest "
            f"bias {z[0]:.2f} errors of all k, p = {z[1]:.2g}; kept: p > .003"
        )
        what = f"{name}: variance alone over combined, {label} P(k), {WHAT} + {len(found.cheap)}"
        yield Row(what, value, value * np.sqrt(4 / (count - 1)), None, "", bool(z[1] > 0.003), note)
    price = found.seconds[0] / found.seconds[1]
    note = f"{found.seconds[0]:.3f} and {found.seconds[1]:.3f} CPU s; its own mean P(k) is off by {100 * bias:.1f} %"
    yield Row(f"{name}: price of a simulation in surrogates", float(price), 0.0, None, "", None, note)
