"""The held-out data and the noise levels on which a denoiser is validated, in training and after it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from physgen.diffusion.validation import ValidationLoss, sample_losses, summarise_losses
from physgen.ensemble import units_of_samples
from physgen.run import Run

LEVELS = 9
SEED = 20_000


class HeldOut(NamedTuple):
    r"""Encoded configurations (N, C, \*grid), their conditions, and the independent unit (N,) of each."""

    x: torch.Tensor
    condition: dict[str, torch.Tensor]
    units: np.ndarray


def held_out(run: Run, constants: dict[str, Any], device: torch.device) -> HeldOut:
    """Configurations of the validation part.

    N is at most training.validation_size, evenly spread over the part, so that every condition is met.
    """
    part = run.part("validation")
    x, condition = run.domain.encode(part, constants)
    chosen = torch.linspace(0, len(x) - 1, min(run.experiment.training.validation_size, len(x))).long()
    conditions = {name: value[chosen].to(device) for name, value in condition.items()}
    return HeldOut(x[chosen].to(device), conditions, units_of_samples(part)[chosen.numpy()])


def validate(denoiser: torch.nn.Module, held: HeldOut, constants: dict[str, Any], baseline: Any) -> ValidationLoss:
    """Loss by noise level over the trained range, and its ratio to that of ``baseline`` at the same noise.

    Errors are taken over the independent units of the held-out data.
    """
    ends = torch.tensor([constants["s_min"], constants["s_max"]]).log10().tolist()
    levels = torch.logspace(*ends, LEVELS).to(held.x.device)
    losses = sample_losses(denoiser, held.x, held.condition, levels, SEED, baseline)
    return summarise_losses(levels, *losses, held.units)
