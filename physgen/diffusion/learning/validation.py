r"""Validation loss by noise level, beside the loss of a baseline at the same noise.

Shapes: N validation samples, L noise levels, C channels, *grid lattice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.noise import noise_like
from physgen.diffusion.recording import recorded

ERRS = 1e-3  # a baseline errs where its loss is above this part of its largest


@dataclass(frozen=True)
class ValidationLoss:
    r"""Mean squared error :math:`\langle (D - x_0)^2 \rangle` by noise level, and its ratio to a baseline's.

    The noise is the same for both. ``levels``, ``loss``, ``ratio`` and their errors are of shape (levels,). ``overall``
    is a ratio of sums,

    .. math:: \frac{\sum_l \langle (D - x_0)^2 \rangle_l}{\sum_l \langle (D_{base} - x_0)^2 \rangle_l},

    over the levels where the baseline errs (``counted``): no level whose noise hides nothing, of which the baseline
    makes no mistake, can rule it or make it undefined. Errors are standard errors over independent units (each
    sample where none are named), nan for a single unit.
    """

    levels: Tensor
    loss: Tensor
    loss_error: Tensor
    ratio: Tensor
    ratio_error: Tensor
    overall: float
    overall_error: float
    counted: Tensor


def validation_loss(
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition,
    levels: Tensor,
    seed: int,
    baseline: Denoiser | None = None,
    batch_size: int = 64,
) -> ValidationLoss:
    """Loss by noise level with noise fixed by (seed, sample, level), every sample an independent unit.

    Args:
        denoiser: D(y, s, condition); a module is put in evaluation mode and back.
        x: (N, C, *grid), on the denoiser's device. levels: (L,), all positive.
        baseline: the ratio's denominator, e.g. ``denoiser.baseline``: 1 then means that only Gaussian information
            (fields) or the field of each spin alone (spins) is used. None: ratio to the mean square of x.
    """
    return summarise_losses(levels, *sample_losses(denoiser, x, condition, levels, seed, baseline, batch_size))


def sample_losses(
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition,
    levels: Tensor,
    seed: int,
    baseline: Denoiser | None = None,
    batch_size: int = 64,
) -> tuple[Tensor, Tensor]:
    """Squared errors of denoiser and baseline, each (L, N) float64; arguments of :func:`validation_loss`."""
    training = isinstance(denoiser, nn.Module) and denoiser.training
    if isinstance(denoiser, nn.Module):
        denoiser.eval()
    error, reference = torch.zeros(2, len(levels), len(x), dtype=torch.float64)
    evaluate = recorded(denoiser, x.device)
    with torch.no_grad():
        for row, level in enumerate(levels.tolist()):
            for first in range(0, len(x), batch_size):
                part = slice(first, first + batch_size)
                x0, given = x[part], {name: value[part] for name, value in (condition or {}).items()}
                index = range(first, first + len(x0))
                noise = noise_like(seed, "validation noise", index, x0.shape[1:], row, device=x.device)
                s = torch.full((len(x0),), level, device=x.device)
                y = x0 + level * noise
                error[row, part] = _mean_square(evaluate(y, s, given) - x0)
                reference[row, part] = _mean_square(x0 if baseline is None else baseline(y, s, given) - x0)
    if isinstance(denoiser, nn.Module):
        denoiser.train(training)
    return error, reference


def summarise_losses(
    levels: Tensor, error: Tensor, reference: Tensor, units: Sequence[Any] | np.ndarray | None = None
) -> ValidationLoss:
    """Means, ratios and their errors of squared errors (L, N); ``units`` (N,) names the independent unit of each."""
    samples = error.shape[1]
    name = np.arange(samples) if units is None else np.unique(np.asarray(units), return_inverse=True)[1]
    unit = torch.from_numpy(name).to(error.device)
    loss, floor = error.mean(1), reference.mean(1)
    ratio = torch.where(floor > 0, loss / floor, torch.nan)
    counted = floor > ERRS * floor.max()
    overall = loss[counted].sum() / floor[counted].sum() if counted.any() else torch.tensor(torch.nan)
    whole = (error[counted] - overall * reference[counted]).sum(0, keepdim=True)
    return ValidationLoss(
        levels,
        loss,
        _error_of_mean(error - loss[:, None], unit),
        ratio,
        _error_of_mean(error - ratio[:, None] * reference, unit) / floor,  # linearised error of a ratio of means
        float(overall),
        float(_error_of_mean(whole, unit)[0] / floor[counted].sum()),
        counted,
    )


def _error_of_mean(deviation: Tensor, unit: Tensor) -> Tensor:
    r"""Standard error (L,) of the mean of deviations (L, N) whose sum is zero: those of a unit are one draw.

    :math:`\sqrt{\frac{U}{U - 1} \sum_u (\sum_{i \in u} d_i)^2} / N`; for units of one sample the usual formula.
    """
    samples, units = deviation.shape[1], int(unit.max()) + 1
    sums = torch.zeros(len(deviation), units, dtype=deviation.dtype).index_add_(1, unit, deviation)
    factor = units / (units - 1) if units > 1 else torch.nan
    return (factor * sums.square().sum(1)).sqrt() / samples


def _mean_square(x: Tensor) -> Tensor:
    return x.square().flatten(1).mean(1).double().cpu()
