"""The held-out data and the noise levels on which a denoiser is validated, in training and after it."""

from __future__ import annotations

from typing import Any

import torch

from physgen.diffusion.validation import ValidationLoss, validation_loss
from physgen.run import Run

LEVELS = 9
SEED = 20_000


def held_out(run: Run, constants: dict[str, Any], device: torch.device) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    r"""Encoded configurations (N, C, \*grid) of the validation part with their conditions.

    N is at most training.validation_size, evenly spread over the part, so that every condition is met.
    """
    x, condition = run.domain.encode(run.part("validation"), constants)
    chosen = torch.linspace(0, len(x) - 1, min(run.experiment.training.validation_size, len(x))).long()
    return x[chosen].to(device), {name: value[chosen].to(device) for name, value in condition.items()}


def validate(
    denoiser: torch.nn.Module,
    held: tuple[torch.Tensor, dict[str, torch.Tensor]],
    constants: dict[str, Any],
    baseline: Any,
) -> ValidationLoss:
    """Loss by noise level over the trained range, and its ratio to that of ``baseline`` at the same noise."""
    ends = torch.tensor([constants["s_min"], constants["s_max"]]).log10().tolist()
    levels = torch.logspace(*ends, LEVELS).to(held[0].device)
    return validation_loss(denoiser, *held, levels, SEED, baseline=baseline)
