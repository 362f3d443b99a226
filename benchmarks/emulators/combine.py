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
PLAIN = {"mean": "plain", "variance": "plain_variance"}  # estimate -> the same from the simulations alone
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


def error_of_the_cheap_mean(spectra: Spectra, name: str) -> np.ndarray:
    """Variance (K,) that the mean (or variance) of the further surrogates gives to every group alike."""
    beta = controlled_mean(spectra.costly, spectra.paired, spectra.cheap).slope
    centred = spectra.cheap - spectra.cheap.mean(axis=0)
    if name == "variance":
        return beta**4 * (centred**2).var(axis=0, ddof=1) / len(centred)
    return beta**2 * centred.var(axis=0, ddof=1) / len(centred)


def largest_bias(spectra: Spectra, found: dict[str, np.ndarray], name: str) -> tuple[float, float]:
    """Largest |z| over all bins of (mean of the combined - mean of the plain) of the groups, and its p-value.

    Both are estimates from the same simulations, so their scatter drops out; the error of the mean of the further
    surrogates, common to all groups, is added.
    """
    difference = found[name] - found[PLAIN[name]]
    count, common = len(difference), error_of_the_cheap_mean(spectra, name)
    z = difference.mean(axis=0) / np.sqrt(difference.var(axis=0, ddof=1) / count + common)
    largest = float(np.abs(z).max())
    return largest, float(min(1.0, len(z) * 2 * stats.t.sf(largest, count - 1)))


def rows(
    simulations: int = 104, surrogates: int = 1000, cells: int = 32, box: float = 128.0, spectra: Spectra | None = None
) -> list[Row]:
    """The table; ``spectra`` of :func:`simulate` saves simulating."""
    spectra = spectra or simulate(simulations, surrogates, cells, box)
    found, wanted = groups(spectra), spectra.k <= 0.5 * np.pi * cells / box
    count, truth = len(found["mean"]), spectra.costly.mean(axis=0)
    what = f"{PAIRS} of {cells}^3 in {box:g} Mpc/h + {len(spectra.cheap)} surrogates"
    note = f"k < k_Nyq/2, median of {wanted.sum()} bins; {count} disjoint groups, seed {SEED}"
    total = found["mean"].var(axis=0, ddof=1) + error_of_the_cheap_mean(spectra, "mean")
    relative, share = np.sqrt(total)[wanted] / truth[wanted], 1 / np.sqrt(2 * (count - 1))
    alone, largest = found["plain"].std(axis=0, ddof=1)[wanted] / truth[wanted], float(relative.max())
    middle, beside = float(np.median(relative)), f"largest {largest:.4f}, alone {np.median(alone):.4f}"
    within = f"{note}; {beside}; kept: the largest below 1 % within two errors"
    kept = largest < 0.01 * (1 + 2 * share)
    made = [Row(f"relative error of the mean P(k), {what}", middle, middle * share, None, "", kept, within)]
    for name in PLAIN:
        made += gain_rows(spectra, found, name, wanted, (what, note))
    ratio = float(np.median((found["error"] ** 2).mean(axis=0)[wanted] / total[wanted]))
    error = ratio * np.sqrt(2 / (count - 1))
    within = f"{note}; kept: not below 1 by four errors (few pairs err on the safe side)"
    stated = f"stated over found variance of the combined mean, {what}"
    return [*made, Row(stated, ratio, error, 1.0, "", bool(ratio + 4 * error > 1), within)]


def gain_rows(
    spectra: Spectra, found: dict[str, np.ndarray], name: str, wanted: np.ndarray, said: tuple[str, str]
) -> list[Row]:
    """What is won of the mean or of the variance of P(k), at equal cost too, and the largest bias."""
    (what, note), plain, count = said, found[PLAIN[name]], len(found[name])
    gain = plain.var(axis=0, ddof=1) / (found[name].var(axis=0, ddof=1) + error_of_the_cheap_mean(spectra, name))
    middle, lowest = float(np.median(gain[wanted])), float(gain[wanted].min())
    chance = np.sqrt(4 / (count - 1))  # of the ratio of two independent variances
    label = {"mean": "mean P(k)", "variance": "variance of P(k)"}[name]
    kept = None if name == "mean" else bool(middle * (1 + 2 * chance) > 10)
    abstracts = "10 at k < .05 h/Mpc, Zel'dovich (2605.28817); 10 to 10^4, COLA (2106.11718)"
    paper = "" if name == "mean" else abstracts
    within = f"{note}; the smallest {lowest:.3g}" + ("" if kept is None else "; kept: 10 within two errors")
    price = spectra.seconds[0] / spectra.seconds[1]
    equal = PAIRS + (PAIRS + len(spectra.cheap)) / price
    costs = f"{note}; one costs {price:.1f} surrogates, so that all cost as much as {equal:.0f} simulations"
    at_equal, z = middle * PAIRS / equal, largest_bias(spectra, found, name)
    against = f"{count} groups against their own simulations, p = {z[1]:.2f}, {len(spectra.k)} bins; kept: p > .003"
    return [
        Row(f"variance alone over combined, {label}, {what}", middle, middle * chance, None, paper, kept, within),
        Row(f"the same at equal cost, {label}, {what}", at_equal, at_equal * chance, None, "", None, costs),
        Row(f"largest bias over its error, {label}, all k", z[0], 0.0, None, "", bool(z[1] > 0.003), against),
    ]


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
