r"""Weights that make draws given an observation exact for any law and any posterior denoiser.

Paths are drawn with the ancestral kernels of a posterior denoiser :math:`D_a` and weighed against those of D itself,

.. math:: w = p(a|x_0) \prod_k \frac{N(y_k;\, m_k(D), v_k)}{N(y_k;\, m_k(D_a), v_k)},

m_k the bridge mean, v_k its variance, and a read-out :math:`x_0 \sim N(D, s_{min}^2)` at the end. The weighted law is
the posterior under what the chain of D draws: p(x_0) with noise s_min, up to the first order of the chain in its steps.
Nothing is assumed of D_a, and E[w] is the evidence p(a). The number of draws that it takes grows exponentially with the
distance of D_a from the truth, so with the number of cells: look at the tail of the weights first
(:func:`physgen.diffusion.inference.weight_statistics.summarise_weights`). Source: Wu et al., arXiv:2306.17775, section
3, without resampling.

Shapes: N draws, C channels, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, bridge_mean, bridge_variance
from physgen.diffusion.inference.path_weights import WeightedSamples
from physgen.diffusion.levels import check_levels
from physgen.diffusion.noise import noise_like


def weighted_posterior(
    denoiser: Denoiser,
    posterior: Denoiser,
    levels: Tensor,
    shape: Sequence[int],
    seed: int,
    log_likelihood: Callable[[Tensor], Tensor],
    condition: Condition = None,
) -> WeightedSamples:
    r"""Draws given one observation, with log-weights; draw j depends on (seed, j) alone.

    Args:
        denoiser: D. posterior: D_a of :class:`physgen.diffusion.inference.inverse.PosteriorDenoiser`, or any other.
        levels: descending, the last one 0. shape: (N, C, \*grid). condition: tensors that lead with N, for both.
        log_likelihood: :math:`\ln p(a|x_0)`, (N, C, \*grid) -> (N,); the noise must not be zero.

    Raises:
        ValueError: levels that do not end at 0.
    """
    values = check_levels(levels)
    if values[-1] != 0:
        raise ValueError(f"weights of draws need levels that end at 0, got a last one {values[-1]}")

    def noise(step: int) -> Tensor:
        return noise_like(seed, "weighted posterior", range(shape[0]), tuple(shape[1:]), step, dtype=torch.float64)

    y, log_weight = values[0] * noise(0), torch.zeros(shape[0], dtype=torch.float64)
    with torch.no_grad():
        for step, (s, s_next) in enumerate(pairwise(values), start=1):
            level = torch.full((len(y),), s, dtype=y.dtype)
            plain, aimed = (d(y, level, condition).double() for d in (denoiser, posterior))
            variance = bridge_variance(s, s_next) if s_next > 0 else s * s
            if s_next > 0:
                plain, aimed = (bridge_mean(y, d, s, s_next) for d in (plain, aimed))
            white = noise(step)
            y = aimed + variance**0.5 * white
            log_weight += 0.5 * (white.square() - (y - plain).square() / variance).flatten(1).sum(1)
    return WeightedSamples(y, log_weight + log_likelihood(y).double())
