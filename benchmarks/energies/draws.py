"""What the energies draw, under the judge, and their ln Z."""

import time

import numpy as np
import torch
from scipy.stats import chisquare
from torch import Tensor

import physgen as pg
from benchmarks.energies import laws
from benchmarks.energies.compare import energies_of
from benchmarks.energies.models import energy, trained
from physgen.diffusion.energy import (
    ChainRun,
    GaussianStart,
    Langevin,
    SiteFlips,
    SpinStart,
    StreamDraws,
    annealed_log_Z,
    run_chains,
)
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.domains.any_field import AnyField
from physgen.domains.spins.from_arrays import from_arrays
from physgen.stages.evaluation import evaluate_ensembles

CHAINS, BURN_IN, STEPS, EVERY = 200, 250, 600, 20  # of phi^4, from white noise
SPIN_CHAINS, SPIN_EVERY, JUDGED = 1024, 5, 1024
LEVELS = 8


def fields_judged(draws: Tensor, unit: int, known: laws.Known) -> dict:
    """Verdicts of the judge on fields (N, 1, y, x) of so many consecutive ones a chain, against the held-out chains."""

    def ensemble(x: Tensor, size: int):
        values = (known.scale * x[:, 0]).float().numpy()
        return pg.from_array(values, simulation=np.arange(len(x)) // size)

    held = ensemble(known.held, known.units[0])
    return verdicts(evaluate_ensembles(ensemble(draws, unit), held, domain=AnyField()))


def spins_judged(draws: Tensor, known: laws.Known) -> dict:
    """Verdicts of the judge on spins (N, 1, 32), as replicas of one magnet on the complete graph."""
    edges = np.array([(i, j) for i in range(laws.SPINS) for j in range(i)])
    bonds = np.full((1, len(edges)), 1 / laws.SPINS, np.float32)

    def ensemble(x: Tensor):
        spins = x[:JUDGED].reshape(1, 1, -1, laws.SPINS).numpy().astype(np.int8)
        return from_arrays(spins, bonds, [1 / laws.BETA], edges=edges)

    return verdicts(evaluate_ensembles(ensemble(draws), ensemble(known.held)))


def verdicts(found) -> dict:
    """Status -> names of diagnostics."""
    sorted_by = {}
    for verdict in found.verdicts:
        sorted_by.setdefault(verdict.status, []).append(verdict.diagnostic)
    return sorted_by | {"words": [str(verdict) for verdict in found.verdicts]}


def facts(run: ChainRun, every: int, seconds: float) -> dict:
    """Acceptance, size, tau in steps and the number of independent draws."""
    tau = {name: every * value for name, value in run.tau.items()}
    return {
        "acceptance": run.acceptance, "size": run.size, "tau": tau, "draws": run.energy.numel(),
        "independent": run.independent, "seconds": seconds,
    }  # fmt: skip


def phi4_chains(known: laws.Known, seed: int = 0) -> dict:
    """MALA from white noise, the same steps unadjusted, and ln Z."""
    denoiser, _ = trained("local", seed, known.train)
    model, white = energy("local", denoiser), torch.randn(CHAINS, 1, laws.SIDE, laws.SIDE)
    found, began = {}, time.process_time()
    run = run_chains(model, Langevin(), white, steps=STEPS, burn_in=BURN_IN, every=EVERY, seed=seed)
    draws = run.x.transpose(0, 1).flatten(0, 1)  # a chain after the other
    found["mala"] = facts(run, EVERY, time.process_time() - began) | fields_judged(draws, len(run.x), known)
    wrong = run_chains(
        model,
        Langevin(adjusted=False, target=None),
        run.x[-1],
        steps=EVERY * 8,
        burn_in=100,
        every=EVERY,
        size=run.size,
    )
    draws = wrong.x.transpose(0, 1).flatten(0, 1)
    found["unadjusted"] = facts(wrong, EVERY, 0.0) | fields_judged(draws, len(wrong.x), known)
    found["ln Z"] = phi4_partition(known, model, run.x[-1])
    return found


def phi4_partition(known: laws.Known, model, ends: Tensor) -> dict:
    """ln Z of model and truth, from both sides, and the mean of ln p_true - ln p_model over held-out fields."""
    start, grid = GaussianStart((1, laws.SIDE, laws.SIDE)), torch.linspace(0, 1, 51).tolist()
    of_model = annealed_log_Z(model, start, Langevin(), grid, CHAINS, 0, ends)
    of_truth = annealed_log_Z(known.energy, start, Langevin(), grid, CHAINS, 0, known.held[:: known.units[0]])
    gap = energies_of(model, known.held).double() - energies_of(known.energy, known.held).double()
    chains = gap.reshape(-1, known.units[0]).mean(1)
    return partition_row(of_model, of_truth.log_Z, of_truth.log_Z_error, chains) | {"one site": one_site_log_Z()}


def one_site_log_Z() -> list[float]:
    """ln Z a site at kappa = 0 by annealing, its error, and by quadrature."""
    start, shape = GaussianStart((1, laws.SIDE, laws.SIDE), 0.7), (CHAINS, 1, laws.SIDE, laws.SIDE)
    sites = laws.SIDE**2
    found = annealed_log_Z(
        lambda x: laws.action(x, 0.0), start, Langevin(), torch.linspace(0, 1, 21).tolist(), shape[0]
    )
    return [found.log_Z / sites, found.log_Z_error / sites, laws.one_site_log_Z()]


def partition_row(of_model, log_z: float, log_z_error: float, gap: Tensor) -> dict:
    """ln Z of a model from both sides, and its divergence from the truth of known ln Z."""
    both, error = of_model.both, float(gap.std() / len(gap) ** 0.5)
    return {
        "ln Z": both.log_Z, "error": both.log_Z_error, "below": both.lower, "above": both.upper,
        "closed": both.is_closed, "truth": log_z, "truth error": log_z_error,
        "divergence": float(gap.mean()) + both.log_Z - log_z,
        "divergence error": float(np.hypot(np.hypot(error, both.log_Z_error), log_z_error)),
    }  # fmt: skip


def phi4_levels(known: laws.Known, seed: int = 0) -> dict:
    """The score's energy down the noise levels: MALA at every level, ancestral steps alone through the same, and
    through as many levels as MALA evaluates."""
    denoiser, _ = trained("local, score", seed, known.train)
    found, shape = {}, (200, 1, laws.SIDE, laws.SIDE)
    for sampler, count in (("mala", LEVELS), ("ancestral", LEVELS), ("ancestral", 21 * LEVELS)):
        began = time.process_time()
        x = sample(denoiser, log_uniform(5.0, 0.05, count), shape, seed, sampler=sampler, tile=100)
        found[f"{sampler}, {count} levels"] = {"seconds": time.process_time() - began} | fields_judged(x, 1, known)
    return found


def spin_chains(known: laws.Known, name: str = "pairs", judge: bool = True, seed: int = 0) -> dict:
    """Heat bath from random spins, ln Z, and the magnetisation against its exact law."""
    denoiser, _ = trained(name, seed, known.train)
    model, start = energy(name, denoiser), SpinStart((1, laws.SPINS))
    began = time.process_time()
    first = start.sample(SPIN_CHAINS, StreamDraws(seed, "start", range(SPIN_CHAINS)))
    run = run_chains(
        model, SiteFlips(), first, steps=20 * SPIN_EVERY, burn_in=60, every=SPIN_EVERY, seed=seed,
        observables={"M": lambda x: x.flatten(1).sum(1)},
    )  # fmt: skip
    draws = run.x[-1]  # one of each chain: independent of each other
    found = facts(run, SPIN_EVERY, time.process_time() - began) | (spins_judged(draws, known) if judge else {})
    of_model = annealed_log_Z(model, start, SiteFlips(), torch.linspace(0, 1, 25).tolist(), 256, 0, draws)
    exact = laws.CurieWeiss(laws.BETA, (1, laws.SPINS)).log_Z
    gap = energies_of(model, known.held).double() - known.energy(known.held).double()
    return {"gibbs": found | magnetisation_test(draws), "ln Z": partition_row(of_model, exact, 0.0, gap)}


def magnetisation_test(draws: Tensor) -> dict:
    """Chi-square of |M| of independent draws against the exact law, in bins of M."""
    m = torch.arange(-laws.SPINS, laws.SPINS + 1, 2, dtype=torch.float64)
    ups = (m + laws.SPINS) / 2
    logs = laws.BETA * m.square() / (2 * laws.SPINS) - torch.lgamma(ups + 1) - torch.lgamma(laws.SPINS - ups + 1)
    p = torch.softmax(logs, 0)
    last = draws.flatten(1).sum(1)
    counts = torch.stack([(last == value).sum() for value in m]).double()
    bins = [(0, 5), (5, 10), (10, 14), (14, 19), (19, 23), (23, 28), (28, 33)]
    seen, expected = ([float(v[a:b].sum()) for a, b in bins] for v in (counts, len(last) * p))
    return {"p of M": float(chisquare(seen, expected).pvalue)}
