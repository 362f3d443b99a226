"""The held-out configurations of a training: which they are, and the loss on them by noise level."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from physgen.diffusion.convention import Denoiser
from physgen.diffusion.learning.masked_validation import masked_losses
from physgen.diffusion.learning.validation import ValidationLoss, sample_losses, summarise_losses
from physgen.diffusion.masked import MaskedDenoiser
from physgen.ensemble import sample_count, units_of_samples
from physgen.runs.encoded import encoded_part
from physgen.runs.encoding import Encoding
from physgen.runs.folder import Run

LEVELS = 9
SEED = 20_000
HELD_VALUES = 2**21  # of the field, validated at once: a network holds some dozens of copies


class HeldOut(NamedTuple):
    r"""Encoded configurations (N, C, \*grid), their conditions, the independent unit (N,) of each."""

    x: torch.Tensor
    condition: dict[str, torch.Tensor]
    units: np.ndarray


def held_out(run: Run, encoding: Encoding, size: int, device: torch.device, write: bool = True) -> HeldOut:
    """At most ``size`` configurations of the validation part, spread evenly over it: every condition is met.

    ``write`` is that of :func:`physgen.runs.encoded.encoded_part`.
    """
    with run.open_part("validation") as part:
        count, units = sample_count(part), units_of_samples(part)
    chosen = torch.linspace(0, count - 1, min(size, count)).long().numpy()
    found = encoded_part(run, "validation", encoding.domain, chosen, write)
    condition = {name: value.to(device) for name, value in found.condition.items()}
    return HeldOut(found.x.to(device), condition, units[chosen])


def validate(
    denoiser: torch.nn.Module, held: HeldOut, encoding: Encoding, baseline: Denoiser, at_end: bool = False
) -> ValidationLoss:
    """Loss by noise level over the trained range, and its ratio to that of ``baseline`` at the same noise.

    Errors are taken over the independent units of the held-out data. Of masked diffusion the loss is the cross entropy
    by masked fraction, in nats per hidden site. ``at_end``: the smallest level alone, where no other was trained.
    """
    if isinstance(denoiser, MaskedDenoiser):
        fractions = (torch.arange(LEVELS, device=held.x.device) + 1) / LEVELS
        both = masked_losses(denoiser, held.x, held.condition, fractions, SEED, baseline)
        return summarise_losses(fractions, *both, held.units)
    first, last = torch.tensor([encoding.s_min, encoding.s_max]).log10().tolist()
    levels = torch.logspace(first, last, LEVELS)[: 1 if at_end else LEVELS].to(held.x.device)
    batch = max(1, min(64, HELD_VALUES // held.x[0].numel()))
    losses = sample_losses(denoiser, held.x, held.condition, levels, SEED, baseline, batch)
    return summarise_losses(levels, *losses, held.units)
