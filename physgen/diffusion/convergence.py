r"""The safeguard of chosen noise levels: how far samples of the denoiser at hand are from those on much finer levels.

Levels chosen on the Gaussian surrogate promise an error for a Gaussian law. Here the denoiser itself, learned or
exact, is walked from the same noise on the levels and on fine ones, so that a few samples suffice: the difference is
that of the levels, not of the draws. Shapes: N samples, C channels, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from physgen.diffusion.convention import Denoiser
from physgen.diffusion.grid import check_levels, log_uniform
from physgen.diffusion.sampler import sample
from physgen.diffusion.spectrum import fit_spectrum


@dataclass(frozen=True)
class Convergence:
    r"""Error of a sampler on its levels.

    Attributes:
        power: largest relative error of P over the modes, :math:`\max_k |P_k/P_k^{fine} - 1|` (shells of equal |k|).
        distance: mean over the samples of :math:`\|x - x^{fine}\| / \|x^{fine}\|`, in which nothing cancels between
            samples: it bounds the Wasserstein distance of the two laws.
    """

    power: float
    distance: float


def convergence(
    denoiser: Denoiser,
    candidates: Mapping[str, Tensor],
    shape: Sequence[int],
    seed: int,
    finer: int = 8,
    beyond: float = 1.0,
    **sampling: Any,
) -> dict[str, Convergence]:
    r"""Samples on each of the candidates' levels against those on fine log-uniform ones, from the same noise.

    For deterministic samplers. The fine levels run from the largest first to the least last level of the candidates.

    Args:
        denoiser, shape, seed: as :func:`physgen.diffusion.sampler.sample`; 16 samples are plenty for a field.
        candidates: named levels that end at 0, e.g. {"chosen": optimal_levels(...)[0], "even":
            best_log_uniform(...)[0]}.
        finer: the fine grid has this many times the levels of the longest candidate.
        beyond: factor by which its two ends lie further out, to see the errors of the ends too; a network knows the
            levels that it was trained on only, an exact law all.
        **sampling: further arguments of ``sample``: condition, sampler, batch, device, ...

    Raises:
        ValueError: no candidate, or levels that do not end at 0.
    """
    values = [check_levels(levels) for levels in candidates.values()]
    if not values or any(levels[-1] != 0 for levels in values):
        raise ValueError("give at least one named grid of levels, each ending at 0")
    first, last = max(levels[0] for levels in values), min(levels[-2] for levels in values)
    reference = log_uniform(first * beyond, last / beyond, finer * max(len(levels) - 1 for levels in values))
    fine = sample(denoiser, reference, shape, seed, **sampling).cpu()
    found = {}
    for name, levels in candidates.items():
        x = sample(denoiser, levels, shape, seed, **sampling).cpu()
        apart = (x - fine).flatten(1).norm(dim=1) / fine.flatten(1).norm(dim=1)
        ratio = (fit_spectrum(x).ln_power - fit_spectrum(fine).ln_power).expm1()
        found[name] = Convergence(float(ratio.abs().max()), float(apart.mean()))
    return found


def safest(
    denoiser: Denoiser, candidates: Mapping[str, Tensor], shape: Sequence[int], seed: int, **options: Any
) -> tuple[str, dict[str, Convergence]]:
    """Name of the candidate whose P(k) is nearest to the fine one on this denoiser, and the figures of all.

    Arguments as :func:`convergence`.
    """
    found = convergence(denoiser, candidates, shape, seed, **options)
    return min(found, key=lambda name: found[name].power), found
