r"""Validation loss by noise level, beside the loss of a baseline at the same noise.

Shapes: N validation samples, L noise levels, C channels, *grid lattice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.noise import noise_like


@dataclass(frozen=True)
class ValidationLoss:
    r"""Mean squared error :math:`\langle (D - x_0)^2 \rangle` by noise level, and its ratio to a baseline's.

    The noise is the same for both. All of shape (levels,); errors are standard errors over samples taken as
    independent.
    """

    levels: Tensor
    loss: Tensor
    loss_error: Tensor
    ratio: Tensor
    ratio_error: Tensor


def validation_loss(
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition,
    levels: Tensor,
    seed: int,
    baseline: Denoiser | None = None,
    batch_size: int = 64,
) -> ValidationLoss:
    """Loss by noise level with noise fixed by (seed, sample, level).

    Args:
        denoiser: D(y, s, condition); a module is put in evaluation mode and back.
        x: (N, C, *grid), on the denoiser's device. levels: (L,), all positive.
        baseline: the ratio's denominator, e.g. ``denoiser.baseline``: 1 then means that only Gaussian information
            (fields) or the field of each spin alone (spins) is used. None: ratio to the mean square of x.
    """
    training = isinstance(denoiser, nn.Module) and denoiser.training
    if isinstance(denoiser, nn.Module):
        denoiser.eval()
    error, reference = torch.zeros(2, len(levels), len(x), dtype=torch.float64)
    with torch.no_grad():
        for row, level in enumerate(levels.tolist()):
            for first in range(0, len(x), batch_size):
                part = slice(first, first + batch_size)
                x0, given = x[part], {name: value[part] for name, value in (condition or {}).items()}
                noise = noise_like(
                    seed, "validation noise", range(first, first + len(x0)), x0.shape[1:], row, device=x.device
                )
                s = torch.full((len(x0),), level, device=x.device)
                y = x0 + level * noise
                error[row, part] = _mean_square(denoiser(y, s, given) - x0)
                reference[row, part] = _mean_square(x0 if baseline is None else baseline(y, s, given) - x0)
    if isinstance(denoiser, nn.Module):
        denoiser.train(training)
    loss, floor = error.mean(1), reference.mean(1)
    ratio = loss / floor
    spread = (error - ratio[:, None] * reference).std(1) / floor  # linearised error of a ratio of means
    root = math.sqrt(len(x))
    return ValidationLoss(levels, loss, error.std(1) / root, ratio, spread / root)


def _mean_square(x: Tensor) -> Tensor:
    return x.square().flatten(1).mean(1).double().cpu()
