r"""A check of chosen noise levels: how far samples of the denoiser at hand are from those on much finer levels.

Levels chosen on the Gaussian surrogate have a known error for a Gaussian law. Here the flow of the denoiser itself,
learned or exact, is integrated from the same noise on the levels and, by a rule of third order, on fine ones, so that a
few samples suffice: the difference is that of the levels, not of the draws. P(k) alone would not do: levels that end
early give the right P(k) of a law with two wells and a fourth moment that is 5 % too small. Shapes: N samples, C
channels, \*grid lattice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.discretization.search import End, adapted_levels, best_log_uniform, optimal_levels
from physgen.diffusion.learning.prior_spectrum import power_of_each
from physgen.diffusion.levels import check_levels, log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.diffusion.sampling.solver import Sampler

FINE = "dpmpp_3m"  # all deterministic samplers follow the same flow; this one needs the fewest levels for it
CAUTIOUS = 0.2  # hedge with which no law of the conformance table is worse off than on log-uniform levels
NEAR = 0.1  # last level, in units of the least sqrt(P): the step to 0, a posterior mean, then takes 1 % of P at most


@dataclass(frozen=True)
class Convergence:
    r"""Error of a sampler on its levels.

    Attributes:
        power: largest relative error of P over the modes, :math:`|P_k/P_k^{fine} - 1|` at the shell of equal |k| where
            it exceeds its own standard error by most: shells of few modes do not speak by their noise.
        power_error: its standard error, by the jackknife over the samples.
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
    s_max: End = None,
    s_min: End = None,
) -> dict[str, Tensor]:
    r"""Noise levels to choose from with :func:`most_converged`, by name.

    Arguments as :func:`physgen.diffusion.discretization.search.optimal_levels`.

    "chosen": least error on the Gaussian surrogate, with the default hedge; "cautious": a hedge of 0.2; "near": the
    same with the last level at :math:`\sqrt{P_{min}}/10` at most, where the sharpest structure of the data is not
    Gaussian; "log-uniform": the best of that family.
    """
    chosen, _ = optimal_levels(power, steps, sampler, s_max, s_min)
    cautious, _ = adapted_levels(chosen, power, sampler, s_max, s_min, hedge=CAUTIOUS)
    candidates = {
        "chosen": chosen,
        "cautious": cautious,
        "log-uniform": best_log_uniform(power, steps, sampler, s_max, s_min)[0],
    }
    nearest = NEAR * math.sqrt(float(power.min()))
    if s_min is not None:
        nearest = max(nearest, s_min[0]) if isinstance(s_min, tuple) else min(nearest, s_min)
    if float(cautious[-2]) > 1.25 * nearest:  # else they are nearly the same
        candidates["near"] = adapted_levels(cautious, power, sampler, s_max, nearest, hedge=CAUTIOUS)[0]
    return candidates


def convergence(
    denoiser: Denoiser,
    candidates: Mapping[str, Tensor],
    shape: Sequence[int],
    seed: int,
    finer: int = 4,
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
        denoiser, shape, seed: as :func:`physgen.diffusion.sampling.samplers.sample`; 8 samples are plenty for a field.
        candidates: named levels that end at 0, e.g. :func:`candidate_levels`.
        finer: there are this many times as many fine levels as the longest candidate has. A third-order rule takes
            them, at one evaluation each: at 4 times as many as 16 it was three times nearer to the limit, on a U-Net
            for density fields, than dpmpp_2m at 8 times as many.
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
        raise ValueError(f"errors over the samples need at least 2 of them, got {shape[0]}; 8 are plenty for a field")
    first, last = ends or (max(levels[0] for levels in values), min(levels[-2] for levels in values))
    reference = log_uniform(first, last, finer * max(len(levels) - 1 for levels in values))

    def draw(levels: Tensor, sampler: str | Sampler) -> Tensor:
        x = sample(denoiser, levels, shape, seed, condition, sampler, tile=tile, device=device, dtype=dtype)
        return x.cpu().double()

    fine = draw(reference, FINE)
    found: dict[tuple[float, ...], Convergence] = {}  # two searches may end in the same place
    for levels in candidates.values():
        key = tuple(levels.tolist())
        if key not in found:
            found[key] = _compare(draw(levels, sampler), fine)
    return {name: found[tuple(levels.tolist())] for name, levels in candidates.items()}


def _compare(x: Tensor, fine: Tensor) -> Convergence:
    apart = (x - fine).flatten(1).norm(dim=1) / fine.flatten(1).norm(dim=1)
    ours, theirs = _powers(x), _powers(fine)
    ratio = (ours.sum(0) / theirs.sum(0) - 1).abs()
    left_out = (ours.sum(0) - ours) / (theirs.sum(0) - theirs) - 1
    error = (left_out.var(0, correction=0) * (len(x) - 1)).sqrt()  # the jackknife of a ratio of means
    worst = int((ratio - error).nan_to_num(math.inf).argmax())
    return Convergence(
        power=float(ratio[worst]),
        power_error=float(error[worst]),
        distance=float(apart.mean()),
        distance_error=float(apart.std()) / math.sqrt(len(x)),
    )


def _powers(x: Tensor) -> Tensor:
    """P of each mode, that of its shell, in each sample, (N, modes); of vectors the squares of their components."""
    if x.ndim == 2:
        return x.square()
    return power_of_each(x).flatten(1)


def most_converged(errors: Mapping[str, Convergence]) -> str:
    """Name of the candidate with the least :attr:`Convergence.worst`; ``errors`` are those of :func:`convergence`.

    Example:
        >>> levels = candidate_levels(power, steps=16)
        >>> name = most_converged(convergence(denoiser, levels, (8, 1, 64, 64), seed=0))
        >>> x = sample(denoiser, levels[name], (100, 1, 64, 64), seed=1)
    """
    return min(errors, key=lambda name: errors[name].worst)
