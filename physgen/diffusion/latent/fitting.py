r"""Training of an autoencoder: mean squared error of what comes back, over fields at random places of the torus."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.latent.autoencoder import Autoencoder
from physgen.diffusion.noise import generator_for

WARMUP = 50  # steps of linear growth of the learning rate


@dataclass(frozen=True)
class Fit:
    """How an autoencoder is trained: steps of AdamW, fields of a step, peak of the learning rate (a cosine), seed."""

    steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ValueError(f"steps and batch_size must be at least 1 and learning_rate positive, got {self}")

    def rate(self, step: int) -> float:
        """Learning rate of step number ``step`` (from 0)."""
        warm = min(WARMUP, self.steps // 4)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm))) / 2


def fit_autoencoder(
    autoencoder: Autoencoder, x: Tensor, fit: Fit, progress: Callable[[int, int], None] | None = None
) -> list[float]:
    r"""Train in place on x (N, C, \*grid) encoded fields: :math:`\langle (\hat x - x)^2 \rangle` at each step.

    Each batch is shifted by a random number of sites along each axis: latents hold every f-th place alike. One without
    parameters is left as it is. The result depends on the seed alone.
    """
    parameters = list(autoencoder.parameters())
    if not parameters:
        return []
    optimizer = torch.optim.AdamW(parameters, fit.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    generator, losses, axes = generator_for(fit.seed, "autoencoder", 0), list[float](), tuple(range(2, x.ndim))
    autoencoder.train()
    for step in range(fit.steps):
        rows = torch.randint(len(x), (fit.batch_size,), generator=generator)
        shifts = [int(torch.randint(size, (), generator=generator)) for size in x.shape[2:]]
        batch = x[rows].roll(shifts, axes)
        loss = (autoencoder(batch) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.param_groups[0]["lr"] = fit.rate(step)
        optimizer.step()
        losses.append(float(loss.detach()))
        if progress is not None:
            progress(step + 1, fit.steps)
    autoencoder.eval()
    return losses
