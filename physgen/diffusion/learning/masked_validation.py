r"""Validation of masked diffusion: cross entropy by masked fraction, beside that of free spins.

Shapes: N validation samples, L fractions, C channels, \*grid lattice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition
from physgen.diffusion.masked import MaskedModel, cross_entropy
from physgen.diffusion.noise import noise_like


def masked_losses(
    model: MaskedModel,
    x: Tensor,
    condition: Condition,
    fractions: Tensor,
    seed: int,
    baseline: MaskedModel,
    batch_size: int = 64,
) -> tuple[Tensor, Tensor]:
    r"""Cross entropies of model and baseline on the same masks, each (L, N) float64, nats per masked site.

    Args:
        x: (N, C, \*grid) of +-1, on the model's device. fractions: (L,) masked, in (0, 1].
    """
    found = torch.zeros(2, len(fractions), len(x), dtype=torch.float64)
    with torch.no_grad():
        for row, fraction in enumerate(fractions.tolist()):
            for first in range(0, len(x), batch_size):
                part = slice(first, first + batch_size)
                x0, given = x[part], {name: value[part] for name, value in (condition or {}).items()}
                noise = noise_like(
                    seed, "validation noise", range(first, first + len(x0)), x0.shape[1:], row, device=x.device
                )
                u = torch.full((len(x0),), fraction, device=x.device)
                for place, one in enumerate((model, baseline)):
                    found[place, row, part] = cross_entropy(one, x0, u, noise, given).cpu()
    return found[0], found[1]
