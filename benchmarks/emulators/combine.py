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
SIDES = ("value", "plain")
KINDS = {  # of estimates: name -> what, and of what there are several
    "mean": ("mean", "bins"),
    "variance": ("variance of", "bins"),
    "covariance": ("off-diagonal covariance of", "pairs of bins"),
}
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


class Estimates(NamedTuple):
    """One kind of estimate of each group of 8, (G, E): combined, and by the simulations alone.

    ``common`` (E,) is the variance that the further surrogates give to every group alike, ``wanted`` (E,) those whose
    wavenumbers all lie below half of Nyquist.
    """

    combined: np.ndarray
    plain: np.ndarray
    common: np.ndarray
    wanted: np.ndarray

    @property
    def gain(self) -> np.ndarray:
        """(E,) variance alone over combined, of those wanted."""
        total = self.combined.var(axis=0, ddof=1) + self.common
        return (self.plain.var(axis=0, ddof=1) / total)[self.wanted]


def groups(spectra: Spectra, below: float, slope: Any = None) -> tuple[dict[str, Estimates], np.ndarray]:
    """Estimates by kind, and the stated errors (G, K) of the combined mean; wanted are wavenumbers up to ``below``."""
    means, covariances = [], []
    for start in range(0, len(spectra.costly) - PAIRS + 1, PAIRS):
        some = slice(start, start + PAIRS)
        of = spectra.costly[some], spectra.paired[some], spectra.cheap, slope
        means.append(controlled_mean(*of))
        covariances.append(controlled_covariance(*of))
    wanted, beta = spectra.k <= below, np.mean([mean.slope for mean in means], axis=0)
    centred = spectra.cheap - spectra.cheap.mean(axis=0)
    of_mean = beta**2 * centred.var(axis=0, ddof=1) / len(centred)
    products = (centred[:, :, None] * centred[:, None, :]).var(axis=0, ddof=1)
    of_covariance = np.outer(beta, beta) ** 2 * products / len(centred)
    found = {"mean": Estimates(*(np.array([getattr(m, n) for m in means]) for n in SIDES), of_mean, wanted)}
    both = [np.array([getattr(one, n) for one in covariances]) for n in SIDES]
    for name, at in (("variance", np.diag_indices(len(beta))), ("covariance", np.triu_indices(len(beta), 1))):
        within = wanted[at[0]] & wanted[at[1]]
        found[name] = Estimates(both[0][:, *at], both[1][:, *at], of_covariance[at], within)
    return found, np.array([mean.error for mean in means])


def largest_bias(found: Estimates) -> tuple[float, float]:
    """Largest |z| over all entries of (mean of the combined - mean of the plain) of the groups, and its p-value.

    Both are estimates from the same simulations, so their scatter drops out; the error of the mean of the further
    surrogates, common to all groups, is added.
    """
    difference = found.combined - found.plain
    count = len(difference)
    z = difference.mean(axis=0) / np.sqrt(difference.var(axis=0, ddof=1) / count + found.common)
    largest = float(np.abs(z).max())
    return largest, float(min(1.0, len(z) * 2 * stats.t.sf(largest, count - 1)))


def rows(
    simulations: int = 104, surrogates: int = 1000, cells: int = 32, box: float = 128.0, spectra: Spectra | None = None
) -> list[Row]:
    """The table; ``spectra`` of :func:`simulate` saves simulating."""
    spectra = spectra or simulate(simulations, surrogates, cells, box)
    found, stated = groups(spectra, 0.5 * np.pi * cells / box)
    mean, truth = found["mean"], spectra.costly.mean(axis=0)
    count, wanted = len(mean.combined), mean.wanted
    what = f"{PAIRS} of {cells}^3 in {box:g} Mpc/h + {len(spectra.cheap)} surrogates"
    note = f"k < k_Nyq/2, median of {wanted.sum()} bins; {count} disjoint groups, seed {SEED}"
    total = mean.combined.var(axis=0, ddof=1) + mean.common
    relative, share = np.sqrt(total)[wanted] / truth[wanted], 1 / np.sqrt(2 * (count - 1))
    alone, largest = mean.plain.std(axis=0, ddof=1)[wanted] / truth[wanted], float(relative.max())
    middle, beside = float(np.median(relative)), f"largest {largest:.4f}, alone {np.median(alone):.4f}"
    within = f"{note}; {beside}; kept: the largest below 1 % within two errors"
    kept = largest < 0.01 * (1 + 2 * share)
    made = [Row(f"relative error of the mean P(k), {what}", middle, middle * share, None, "", kept, within)]
    for name in KINDS:
        made += gain_rows(spectra, found[name], name, ("P(k)", what))
    logarithms, _ = groups(logarithmic(spectra), 0.5 * np.pi * cells / box)
    for name in ("variance", "covariance"):
        made += gain_rows(spectra, logarithms[name], name, ("ln P(k)", what))
    made.append(tail_row(spectra, wanted))
    ratio = float(np.median((stated**2).mean(axis=0)[wanted] / total[wanted]))
    error = ratio * np.sqrt(2 / (count - 1))
    within = f"{note}; kept: not below 1 by four errors (few pairs err on the safe side)"
    said = f"stated over found variance of the combined mean, {what}"
    return [*made, Row(said, ratio, error, 1.0, "", bool(ratio + 4 * error > 1), within)]


def logarithmic(spectra: Spectra) -> Spectra:
    """ln P(k) of each simulation and surrogate."""
    return spectra._replace(**{name: np.log(getattr(spectra, name)) for name in ("costly", "paired", "cheap")})


def tail_row(spectra: Spectra, wanted: np.ndarray) -> Row:
    """How much of the variance of P(k) rests on single simulations, which no slope changes."""
    centred = (spectra.costly - spectra.costly.mean(axis=0))[:, wanted] ** 2
    share = float(np.median(centred.max(axis=0) / centred.sum(axis=0)))
    logarithm = np.log(spectra.costly)[:, wanted]
    other = (logarithm - logarithm.mean(axis=0)) ** 2
    note = f"median of {wanted.sum()} bins below k_Nyq/2, {len(centred)} simulations; of ln P(k) "
    note += f"{np.median(other.max(axis=0) / other.sum(axis=0)):.3f}"
    return Row("share of one simulation in the variance of P(k)", share, 0.0, None, "", None, note)


def gain_rows(spectra: Spectra, found: Estimates, name: str, said: tuple[str, str]) -> list[Row]:
    """What is won of one kind of estimate, at equal cost too, and the largest bias."""
    (of, what), (kind, entries) = said, KINDS[name]
    label = f"{kind} {of}"
    count, gain = len(found.combined), found.gain
    note = f"k < k_Nyq/2, median of {len(gain)} {entries}; {count} disjoint groups, seed {SEED}"
    middle, lowest = float(np.median(gain)), float(gain.min())
    chance = np.sqrt(4 / (count - 1))  # of the ratio of two independent variances
    kept = None if name == "mean" else bool(middle * (1 + 2 * chance) > 10)
    abstracts = "10 at k < .05 h/Mpc, Zel'dovich (2605.28817); 10 to 10^4, COLA (2106.11718)"
    paper = abstracts if label == "variance of P(k)" else ""
    within = f"{note}; the smallest {lowest:.3g}" + ("" if kept is None else "; kept: 10 within two errors")
    price = spectra.seconds[0] / spectra.seconds[1]
    equal = PAIRS + (PAIRS + len(spectra.cheap)) / price
    costs = f"{note}; one costs {price:.1f} surrogates, so that all cost as much as {equal:.0f} simulations"
    at_equal, z = middle * PAIRS / equal, largest_bias(found)
    number = found.combined.shape[1]
    against = f"{count} groups against their own simulations, p = {z[1]:.2g}, {number} {entries}; kept: p > .003"
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
