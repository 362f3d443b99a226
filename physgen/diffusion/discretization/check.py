r"""A check of chosen noise levels: how far samples of the denoiser at hand are from those on much finer levels.

Levels chosen on the Gaussian surrogate have a known error for a Gaussian law. Here the flow of the denoiser itself,
learned or exact, is integrated from the same noise on the levels and on fine ones, so that a few samples suffice: the
difference is that of the levels, not of the draws. P(k) alone would not do: levels that end early give the right P(k)
of a law with two wells and a fourth moment that is 5 % too small. Shapes: N samples, C channels, \*grid lattice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.discretization.search import best_log_uniform, optimal_levels
from physgen.diffusion.inference.weight_statistics import jackknife_error
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.levels import check_levels, log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.diffusion.sampling.solver import Sampler

CAUTIOUS = 0.2  # hedge with which no law of the conformance table is worse off than on log-uniform levels
NEAR = 0.1  # last level, in units of the least sqrt(P): the step to 0, a posterior mean, then takes 1 % of P at most


@dataclass(frozen=True)
class Convergence:
    r"""Error of a sampler on its levels.

    Attributes:
        power: largest relative error of P over the modes, :math:`\max_k |P_k/P_k^{fine} - 1|` (shells of equal |k|).
        power_error: its standard error, by the jackknife over the samples (of the shell with the largest error).
        distance: mean over the samples of :math:`\|x - x^{fine}\| / \|x^{fine}\|`, in which nothing cancels between
            samples: it bounds the Wasserstein distance of the two laws.
        distance_error: its standard error.
    """

    power: float
    power_error: float
    distance: float
    distance_error: float

    @property
    def worst(self) -> float:
        r"""max(power, 2 distance), both as a relative error of a second moment: a field that is off by d has a power
        that may be off by 2 d. Infinite where samples are not finite."""
        larger = max(self.power, 2 * self.distance)
        return larger if math.isfinite(self.power + self.distance) else math.inf


def candidate_levels(
    power: Tensor,
    steps: int,
    sampler: str | Sampler = "dpmpp_2m",
    s_max: float | None = None,
    s_min: float | None = None,
) -> dict[str, Tensor]:
    r"""Noise levels to choose from with :func:`most_converged`, by name.

    Arguments as :func:`physgen.diffusion.discretization.search.optimal_levels`.

    "chosen": least error on the Gaussian surrogate, with the default hedge; "cautious": a hedge of 0.2; "near": the
    same with the last level at :math:`\sqrt{P_{min}}/10` at most, where the sharpest structure of the data is not
    Gaussian; "log-uniform": the best of that family.
    """
    nearest = NEAR * math.sqrt(float(power.min()))
    nearest = nearest if s_min is None else min(s_min, nearest)
    candidates = {
        "chosen": optimal_levels(power, steps, sampler, s_max, s_min)[0],
        "cautious": optimal_levels(power, steps, sampler, s_max, s_min, hedge=CAUTIOUS)[0],
        "log-uniform": best_log_uniform(power, steps, sampler, s_max, s_min)[0],
    }
    if float(candidates["cautious"][-2]) > nearest:
        candidates["near"] = optimal_levels(power, steps, sampler, s_max, nearest, hedge=CAUTIOUS)[0]
    return candidates


def convergence(
    denoiser: Denoiser,
    candidates: Mapping[str, Tensor],
    shape: Sequence[int],
    seed: int,
    finer: int = 8,
    ends: tuple[float, float] | None = None,
    *,
    condition: Condition = None,
    sampler: str | Sampler = "dpmpp_2m",
    tile: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> dict[str, Convergence]:
    r"""Samples on each of the candidates' levels compared with those on fine log-uniform ones, from the same noise.

    For deterministic samplers.

    Args:
        denoiser, shape, seed: as :func:`physgen.diffusion.sampling.samplers.sample`; 16 samples are plenty for a field.
        candidates: named levels that end at 0, e.g. :func:`candidate_levels`.
        finer: there are this many times as many fine levels as the longest candidate has.
        ends: first and last of the fine levels above 0; the farthest ones of the candidates where None, blind to the
            errors of their ends. A network knows the levels that it was trained on, an exact law all.
        condition, sampler, tile, device, dtype: as :func:`physgen.diffusion.sampling.samplers.sample`.

    Raises:
        ValueError: no candidate, levels that do not end at 0, or fewer than 2 samples.
    """
    values = [check_levels(levels) for levels in candidates.values()]
    if not values or any(levels[-1] != 0 for levels in values):
        got = [levels[-1] for levels in values]
        raise ValueError(f"a check needs at least one set of noise levels, each ending at 0, got last levels {got}")
    if int(shape[0]) < 2:
        raise ValueError(f"errors over the samples need at least 2 of them, got {shape[0]}; 16 are plenty for a field")
    first, last = ends or (max(levels[0] for levels in values), min(levels[-2] for levels in values))
    reference = log_uniform(first, last, finer * max(len(levels) - 1 for levels in values))

    def draw(levels: Tensor) -> Tensor:
        x = sample(denoiser, levels, shape, seed, condition, sampler, tile=tile, device=device, dtype=dtype)
        return x.cpu().double()

    fine = draw(reference)
    return {name: _compare(draw(levels), fine) for name, levels in candidates.items()}


def _compare(x: Tensor, fine: Tensor) -> Convergence:
    apart = (x - fine).flatten(1).norm(dim=1) / fine.flatten(1).norm(dim=1)
    ratio = (fit_spectrum(x).ln_power - fit_spectrum(fine).ln_power).expm1()[0]
    worst = int(ratio.abs().argmax())
    # fit_spectrum averages over the samples: that of each sample alone gives the jackknife of a ratio of means
    ours, theirs = (_powers(part, worst) for part in (x, fine))
    left_out = (ours.sum() - ours) / (theirs.sum() - theirs) - 1
    return Convergence(
        power=abs(float(ratio.flatten()[worst])),
        power_error=jackknife_error(left_out),
        distance=float(apart.mean()),
        distance_error=float(apart.std()) / math.sqrt(len(x)),
    )


def _powers(x: Tensor, mode: int) -> Tensor:
    """P of one mode (its shell) in each sample, (N,)."""
    return torch.stack([fit_spectrum(one[None]).ln_power[0].flatten()[mode].exp() for one in x])


def most_converged(errors: Mapping[str, Convergence]) -> str:
    """Name of the candidate with the least :attr:`Convergence.worst`; ``errors`` are those of :func:`convergence`.

    Example:
        >>> levels = candidate_levels(power, steps=16)
        >>> name = most_converged(convergence(denoiser, levels, (16, 1, 64, 64), seed=0))
        >>> x = sample(denoiser, levels[name], (100, 1, 64, 64), seed=1)
    """
    return min(errors, key=lambda name: errors[name].worst)
