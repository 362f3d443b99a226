r"""A peer of the emulators: an ensemble trained by the CRPS, one evaluation a map.

A generator x = G(z, labels) is trained so that its members of one condition score well against the one true map of
that condition. The score is the almost fair CRPS (alpha = .95; Lang et al., arXiv:2412.15832) of cells, the energy
score of patches of 3 x 3, both of maps averaged over 1, 2, 4, 8 cells, and the CRPS of Fourier modes. G starts from
the exact Gaussian field of the training spectrum, coloured z, to which a U-Net of physgen adds what z and more white
noise become. The idea: Alet et al., arXiv:2506.10772; against diffusion at equal budget: arXiv:2606.12997.

Shapes: B conditions, M members; x (B, C, \*grid).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.emulators.peers_edm import Timed
from physgen.diffusion.learning.batches import Batches
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.learning.training import TrainingState
from physgen.networks.unet import UNet
from physgen.runs.encoded import Encoded

MEMBERS, ALPHA, SCALES = 4, 0.95, (1, 2, 4, 8)


class Generator(nn.Module):
    """G(z, labels) of white noise z (B, 2, *grid)."""

    def __init__(self, spectrum: Spectrum, labels: int, width: int, multipliers: tuple[int, ...]) -> None:
        super().__init__()
        self.spectrum = spectrum
        self.network = UNet(2, in_channels=2, labels=labels, width=width, multipliers=multipliers)

    def forward(self, z: Tensor, condition: dict[str, Tensor]) -> Tensor:
        colour = self.spectrum(condition).sqrt()
        smooth = self.spectrum.field(self.spectrum.modes(z[:, :1]) * colour)
        level = torch.zeros(len(z))
        return smooth + self.network(torch.cat([smooth, z[:, 1:]], 1), level, condition)


def almost_fair(distance: Callable[[Tensor, Tensor], Tensor], members: Tensor, truth: Tensor) -> Tensor:
    r"""Mean of :math:`d(x_i, y) - \frac{1 - \epsilon}{2} d(x_i, x_j)`, i != j, epsilon = (1 - alpha)/M.

    Args:
        distance: of two tensors (B, ...), elementwise or of patches. members: (M, B, ...). truth: (B, ...).
    """
    count = len(members)
    to_truth = torch.stack([distance(one, truth).mean() for one in members]).mean()
    pairs = [distance(members[i], members[j]).mean() for i in range(count) for j in range(i)]
    return to_truth - (1 - (1 - ALPHA) / count) / 2 * torch.stack(pairs).mean()


def apart(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|: the CRPS of each number."""
    return (a - b).abs()


def patches_apart(a: Tensor, b: Tensor) -> Tensor:
    """Rms of a - b over 3 x 3 cells around each: the energy score of patches."""
    square = F.avg_pool2d(F.pad((a - b).square(), (1, 1, 1, 1), mode="circular"), 3, stride=1)
    return (square + 1e-8).sqrt()


def score(members: Tensor, truth: Tensor, spectrum: Spectrum, condition: dict[str, Tensor]) -> Tensor:
    """The loss of members (M, B, C, *grid) against truth (B, C, *grid); terms in units of their own spread."""
    total = torch.zeros(())
    for scale in (s for s in SCALES if s < truth.shape[-1]):
        coarse = torch.stack([F.avg_pool2d(one, scale) for one in members])
        true = F.avg_pool2d(truth, scale)
        unit = true.std().clamp(min=1e-3)
        total = total + almost_fair(apart, coarse, true) / unit + almost_fair(patches_apart, coarse, true) / unit
    white = (spectrum(condition).sqrt() * truth[0, 0].numel() ** 0.5).reciprocal()
    modes = [torch.view_as_real(spectrum.modes(one) * white) for one in (*members, truth)]
    return total + almost_fair(apart, torch.stack(modes[:-1]), modes[-1])


def train_crps(state: TrainingState, encoded: Encoded, augment: Callable[..., Any], seen: Any = None) -> float:
    """Train the :class:`Generator` of a state until the clock of its recipe ends; the CPU seconds that it took."""
    recipe, model = state.recipe, state.model
    assert isinstance(recipe, Timed) and isinstance(model, Generator)
    batches, noise = Batches(encoded.x, encoded.condition, recipe, augment), torch.Generator()
    noise.manual_seed(recipe.seed)
    while recipe.clock() < recipe.seconds:
        batch = batches.at(state.step)
        told = {k: v.repeat(MEMBERS, *[1] * (v.ndim - 1)) for k, v in batch.condition.items()}
        z = torch.randn(MEMBERS * len(batch.x0), 2, *batch.x0.shape[2:], generator=noise)
        state.optimizer.zero_grad(set_to_none=True)
        loss = score(
            model(z, told).unflatten(0, (MEMBERS, -1)), batch.x0, model.spectrum, dict(batch.condition)
        )  # fmt: skip
        loss.backward()
        norm = nn.utils.get_total_norm([p.grad for p in state.parameters if p.grad is not None])
        state.update(recipe.rate(state.step), norm, (~torch.isfinite(norm + loss.detach())).float())
        if seen is not None:
            seen(float(loss.detach()))
    batches.close()
    return recipe.clock()


@torch.no_grad()
def generate(model: Generator, condition: dict[str, Tensor], seed: int, batch: int = 64) -> Tensor:
    """One map for each row of the condition."""
    noise, made = torch.Generator().manual_seed(seed), []
    labels = condition["labels"]
    for start in range(0, len(labels), batch):
        some = {"labels": labels[start : start + batch]}
        made.append(model(torch.randn(len(some["labels"]), 2, *model.spectrum.grid, generator=noise), some))
    return torch.cat(made)
