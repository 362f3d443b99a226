"""Control variates: 8 simulations with few-step surrogates against many simulations, mean and covariance of P(k).

python -m benchmarks.emulators.combine                        104 simulations, 1000 surrogates: about 50 s of CPU
python -m benchmarks.emulators.combine --simulations 200 --surrogates 3000 --box 256 [--cells 64] [--save FILE.npz]
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from benchmarks.regimes.row import Row
from physgen.diagnostics.control_variate import controlled_covariance, controlled_mean
from physgen.diagnostics.spectrum import power_spectrum
from physgen.domains.cosmology import Domain

PAIRS, SEED = 8, 3
SURROGATES = {  # name -> settings that differ from those of the simulation
    "3-step PM": {"steps": 3, "mesh_factor": 1.0, "painting": "particles"},
    "2LPT": {"simulator": "2lpt"},
}


class Spectra(NamedTuple):
    """P(k) of simulations (n, K), their surrogates (n, K) and further surrogates (M, K), and seconds of each kind."""

    k: np.ndarray
    costly: np.ndarray
    paired: np.ndarray
    cheap: np.ndarray
    seconds: tuple[float, float]


def simulate(
    simulations: int, surrogates: int, cells: int, box: float, processes: int = 1, settings: Any = None
) -> Spectra:
    """Simulations of one cosmology and surrogates of the same and of further initial phases."""
    from time import process_time

    settings = settings or SURROGATES["3-step PM"]
    law = Domain(
        cells=cells, particles=cells, dimension=3, box_size=box, simulations=simulations,
        Omega_m=(0.3, 0.3), sigma_8=(0.8, 0.8),
    )  # fmt: skip
    dataclasses.replace(law, simulations=1).simulate(0)  # kernels are compiled before the clock runs
    found, seconds = [], []
    for domain in (law, dataclasses.replace(law, simulations=simulations + surrogates, **settings)):
        started = process_time()
        result = power_spectrum(domain.simulate(SEED, processes))
        seconds.append((process_time() - started) / domain.simulations)
        found.append(result["per_unit"].transpose("unit", "k").values)
    return Spectra(
        result["k"].values, found[0], found[1][:simulations], found[1][simulations:], (seconds[0], seconds[1])
    )


def groups(spectra: Spectra) -> dict[str, np.ndarray]:
    """Combined and plain estimates (G, K) of each group of 8: means and variances (the diagonal of the covariance)."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("mean", "plain", "error", "variance", "plain_variance")}
    for start in range(0, len(spectra.costly) - PAIRS + 1, PAIRS):
        some = slice(start, start + PAIRS)
        mean = controlled_mean(spectra.costly[some], spectra.paired[some], spectra.cheap)
        covariance = controlled_covariance(spectra.costly[some], spectra.paired[some], spectra.cheap)
        for name, values in (
            ("mean", mean.value), ("plain", mean.plain), ("error", mean.error),
            ("variance", np.diag(covariance.value)), ("plain_variance", np.diag(covariance.plain)),
        ):  # fmt: skip
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def largest_bias(spectra: Spectra, found: dict[str, np.ndarray], name: str, wanted: np.ndarray) -> tuple[float, float]:
    """Largest |z| over the bins of (mean of the combined - mean of the plain) of the groups, and its p-value.

    Both are estimates from the same simulations, so their scatter drops out; the mean of the further surrogates is
    common to all groups and its error is added.
    """
    plain = {"mean": "plain", "variance": "plain_variance"}[name]
    difference = found[name] - found[plain]
    count = len(difference)
    beta = controlled_mean(spectra.costly, spectra.paired, spectra.cheap).slope
    common = beta**2 * spectra.cheap.var(axis=0, ddof=1) / len(spectra.cheap)
    if name == "variance":
        centred = spectra.cheap - spectra.cheap.mean(axis=0)
        common = beta**4 * (centred**2).var(axis=0, ddof=1) / len(spectra.cheap)
    z = difference.mean(axis=0) / np.sqrt(difference.var(axis=0, ddof=1) / count + common)
    largest = float(np.abs(z[wanted]).max())
    return largest, float(min(1.0, wanted.sum() * 2 * stats.t.sf(largest, count - 1)))


def rows(
    simulations: int = 104, surrogates: int = 1000, cells: int = 32, box: float = 128.0, spectra: Spectra | None = None
) -> list[Row]:
    """The table; ``spectra`` of :func:`simulate` saves simulating."""
    spectra = spectra or simulate(simulations, surrogates, cells, box)
    found, wanted = groups(spectra), spectra.k <= 0.5 * np.pi * cells / box
    count, truth = len(found["mean"]), spectra.costly.mean(axis=0)
    what = f"{PAIRS} simulations of {cells}^3 in {box:g} Mpc/h + {len(spectra.cheap)} surrogates, k < k_Nyq / 2"
    note = f"{count} disjoint groups of {PAIRS}, seed {SEED}; one cosmology; median over {wanted.sum()} bins"
    chance = np.sqrt(4 / (count - 1))  # of the ratio of two variances of independent scatter; ours are correlated
    made = []
    relative = (found["mean"].std(axis=0, ddof=1) / truth)[wanted]
    alone = (found["plain"].std(axis=0, ddof=1) / truth)[wanted]
    share = 1 / np.sqrt(2 * (count - 1))
    largest = float(relative.max())
    made.append(Row(f"relative scatter of the mean P(k), {what}", float(np.median(relative)),
        float(np.median(relative) * share), None, "", bool(largest < 0.01 * (1 + 2 * share)),
        f"{note}; the largest {largest:.4f}; alone {np.median(alone):.4f}; kept: largest below 1 % within its error"))  # fmt: skip
    for name, plain, label in (("mean", "plain", "mean"), ("variance", "plain_variance", "variance of P(k)")):
        gain = (found[plain].var(axis=0, ddof=1) / found[name].var(axis=0, ddof=1))[wanted]
        middle = float(np.median(gain))
        kept = None if name == "mean" else bool(middle * (1 + 2 * chance) > 10)
        made.append(Row(f"variance alone over combined, {label}, {what}", middle, middle * chance, None,
            "> 10 for covariances at k < .05 (CARPool covariance, abstract)" if name == "variance" else "", kept,
            f"{note}; the smallest {gain.min():.3g}" + ("" if kept is None else "; kept: 10 within two errors")))  # fmt: skip
        z, p_value = largest_bias(spectra, found, name, np.ones_like(wanted))
        made.append(Row(f"largest bias over its error, {label}, all k", z, 0.0, None, "", bool(p_value > 0.003),
            f"{count} groups against their own simulations, p = {p_value:.2f} for {len(wanted)} bins; kept: p > 0.003"))  # fmt: skip
    ratio = float(np.median((found["error"] ** 2).mean(axis=0)[wanted] / found["mean"].var(axis=0, ddof=1)[wanted]))
    made.append(Row(f"stated over found variance of the combined mean, {what}", ratio, ratio * np.sqrt(2 / (count - 1)),
        1.0, "", bool(ratio * (1 + 4 * np.sqrt(2 / (count - 1))) > 1),
        f"{note}; the surrogates are common to all groups and do not scatter; kept: not below 1 by four errors"))  # fmt: skip
    price = spectra.seconds[0] / spectra.seconds[1]
    equal = PAIRS + (PAIRS + len(spectra.cheap)) / price
    gain = (found["plain"].var(axis=0, ddof=1) / found["mean"].var(axis=0, ddof=1))[wanted]
    made.append(Row(f"the gain of the mean at equal cost, {what}", float(np.median(gain) * PAIRS / equal),
        float(np.median(gain) * PAIRS / equal * chance), None, "", None,
        f"a simulation costs {price:.1f} surrogates; the same cost buys {equal:.0f} simulations"))  # fmt: skip
    return made


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--simulations", type=int, default=104)
    words.add_argument("--surrogates", type=int, default=1000)
    words.add_argument("--cells", type=int, default=32)
    words.add_argument("--box", type=float, default=128.0)
    words.add_argument("--surrogate", choices=list(SURROGATES), default="3-step PM")
    words.add_argument("--processes", type=int, default=1)
    words.add_argument("--save", help="spectra as .npz")
    given = words.parse_args()
    spectra = simulate(
        given.simulations, given.surrogates, given.cells, given.box, given.processes, SURROGATES[given.surrogate]
    )
    if given.save:
        np.savez(given.save, **spectra._asdict())
    for row in rows(cells=given.cells, box=given.box, spectra=spectra):
        print(f"{row.quantity}: {row.measured:.4g} +- {row.error:.2g} kept={row.kept} ({row.note})")


if __name__ == "__main__":
    main()
