r"""Training as a generator: the caller sees every step and does the logging, saving and stopping.

The only loader state is the step. Step n of a recipe uses the samples number n B ... n B + B - 1 of an endless
stream: the epoch's permutation is a function of (seed, epoch), noise and noise level of (seed, sample number), the
augmentation of (seed, n). Rank r of w takes every w-th sample of that batch, so any world size sees the same
numbers, up to the order of sums.

Shapes: N training samples, B global batch, C channels, \*grid lattice.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition
from physgen.diffusion.learning.denoisers import LevelDistribution, LogNormal, denoising_loss
from physgen.diffusion.noise import generator_for, noise_like

Augmentation = Callable[[Tensor, Mapping[str, Tensor], torch.Generator], tuple[Tensor, Mapping[str, Tensor]]]
U_MARGIN = 1e-6  # keeps quantiles of the noise levels finite


@dataclass(frozen=True)
class Recipe:
    r"""How to train.

    Attributes:
        steps: optimizer steps of the whole run (the learning rate ends there). batch_size: B, over all ranks.
        learning_rate: peak of AdamW's; linear warm-up over ``warmup`` steps, then cosine to ``final_fraction`` of
            the peak.
        level_distribution: quantile function of the noise levels, stratified over the batch.
        clip_norm: gradients are scaled down to this norm. weight_decay: of AdamW.
        ema_exponent: weights are averaged with the profile :math:`t^\gamma` (Karras et al. 2312.02696, section 3.1);
            relative width 0.10 at 6.94, 0.05 at 16.97.
        precision: "float32" or "bfloat16" (autocast of the network alone).
    """

    steps: int
    batch_size: int
    learning_rate: float = 1e-3
    seed: int = 0
    level_distribution: LevelDistribution = field(default_factory=LogNormal)
    warmup: int = 100
    final_fraction: float = 0.01
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    ema_exponent: float = 6.94
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.warmup < 0:
            raise ValueError(f"a recipe needs steps, batch_size >= 1 and warmup >= 0, got {self}")
        if self.learning_rate <= 0 or self.clip_norm <= 0 or self.ema_exponent < 0:
            raise ValueError(f"learning_rate and clip_norm are positive, ema_exponent is not negative, got {self}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f'precision is "float32" or "bfloat16", got {self.precision!r}')

    def rate(self, step: int) -> float:
        """Learning rate of step number ``step`` (from 0)."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.learning_rate * (
            self.final_fraction + (1 - self.final_fraction) * (1 + math.cos(math.pi * progress)) / 2
        )


@dataclass(frozen=True)
class Step:
    """One step: ``step`` counts from 1, ``loss`` is the mean of the global batch, ``skipped`` the skips so far."""

    step: int
    loss: float
    grad_norm: float
    lr: float
    accepted: bool
    skipped: int


class DenoisingLoss(nn.Module):
    """The loss as a module, so that its forward is what a distributed wrapper wraps."""

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """:func:`physgen.diffusion.learning.denoisers.denoising_loss`, shape (B,)."""
        return denoising_loss(self.denoiser, x0, s, noise, condition)


class TrainingState:
    """Everything that training changes: weights, their EMA, optimizer, counters.

    Args:
        denoiser: module D(y, s, condition), already on its device.
        recipe: fixed for the run.
        wrap: applied to the loss module, e.g. DistributedDataParallel; gradients must come out averaged over the ranks.

    Attributes:
        model, ema: the denoiser and its EMA (same class, evaluation mode).
        step, skipped: steps taken, of which without update since loss or gradient was not finite.
    """

    def __init__(
        self, denoiser: nn.Module, recipe: Recipe, wrap: Callable[[nn.Module], nn.Module] | None = None
    ) -> None:
        self.model, self.recipe = denoiser, recipe
        self.ema = copy.deepcopy(denoiser).eval().requires_grad_(False)
        self.loss = DenoisingLoss(denoiser) if wrap is None else wrap(DenoisingLoss(denoiser))
        self.parameters = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
        )
        self.step, self.skipped = 0, 0

    def update(self, lr: float) -> None:
        """One optimizer step with the current gradients, then the EMA."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        decay = ema_decay(self.step + 1 - self.skipped, self.recipe.ema_exponent)
        with torch.no_grad():
            for average, parameter in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                average.lerp_(parameter, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold to continue bit for bit."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.skipped = int(state["step"]), int(state["skipped"])


def ema_decay(update: int, exponent: float) -> float:
    r"""Decay :math:`(1 - 1/t)^{\gamma + 1}` of update t = 1, 2, ...; the first one replaces the initial weights.

    The weights of update i then count :math:`(i^{\gamma+1} - (i-1)^{\gamma+1})/t^{\gamma+1}` in the average.
    Source: Karras et al. 2312.02696, section 3.1 (power-function profile).
    """
    return (1 - 1 / update) ** (exponent + 1)


def draw_indices(count: int, recipe: Recipe, step: int) -> Tensor:
    """Indices (B,) of the training samples of a step: consecutive pieces of one permutation per epoch."""
    numbers = torch.arange(step * recipe.batch_size, (step + 1) * recipe.batch_size)
    indices = torch.empty_like(numbers)
    for epoch in torch.unique(numbers // count).tolist():
        order = torch.randperm(count, generator=generator_for(recipe.seed, "training order", 0, epoch))
        inside = numbers // count == epoch
        indices[inside] = order[numbers[inside] % count]
    return indices


def draw_levels(recipe: Recipe, step: int) -> Tensor:
    """Noise levels (B,) of a step, one from each of B equally probable strata of the distribution."""
    first = step * recipe.batch_size
    jitter = torch.cat(
        [
            torch.rand(1, generator=generator_for(recipe.seed, "training level", first + i))
            for i in range(recipe.batch_size)
        ]
    )
    u = (torch.arange(recipe.batch_size) + jitter.double()) / recipe.batch_size
    return recipe.level_distribution(u.clamp(U_MARGIN, 1 - U_MARGIN)).float()


def draw_batch(
    x: Tensor, condition: Condition, recipe: Recipe, step: int, augment: Augmentation | None = None
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The global batch of a step (B, C, *grid) with its conditions, augmented."""
    indices = draw_indices(len(x), recipe, step).to(x.device)
    batch: Tensor = x[indices]
    given: Mapping[str, Tensor] = {name: value[indices] for name, value in (condition or {}).items()}
    if augment is not None:
        batch, given = augment(batch, given, generator_for(recipe.seed, "training augmentation", 0, step))
    return batch, given


def train(
    state: TrainingState,
    x: Tensor,
    condition: Condition = None,
    augment: Augmentation | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Step]:
    """Train from ``state.step`` to ``recipe.steps``, yielding each step after its update.

    A step whose loss or gradient is not finite on any rank changes nothing but the counters, on all ranks alike.

    Args:
        state: all that must be saved to continue bit for bit on the same number of ranks.
        x: (N, C, *grid) clean training samples, in memory. condition: tensors that lead with N, or None.
        augment: (batch, condition, generator) -> (batch, condition), random symmetries of the global batch.
        rank, world_size: of torch.distributed, which must be initialised if world_size > 1.

    Raises:
        ValueError: fewer samples in a batch than ranks, or a world without torch.distributed.
    """
    recipe = state.recipe
    if world_size > 1 and not torch.distributed.is_initialized():
        raise ValueError(
            f"world_size is {world_size} but torch.distributed is not initialised; start it first, or use world_size 1"
        )
    if not 0 <= rank < world_size <= recipe.batch_size:
        raise ValueError(f"need 0 <= rank < world_size <= batch_size, got {rank}, {world_size}, {recipe.batch_size}")
    device = state.parameters[0].device
    state.model.train()
    while state.step < recipe.steps:
        batch, given = draw_batch(x, condition, recipe, state.step, augment)
        mine = slice(rank, None, world_size)
        numbers = torch.arange(state.step * recipe.batch_size, (state.step + 1) * recipe.batch_size)[mine]
        noise = noise_like(recipe.seed, "training noise", numbers, batch.shape[1:], device=device)
        levels = draw_levels(recipe, state.step)[mine].to(device)
        given = {name: value[mine].to(device) for name, value in given.items()}
        with _private_randomness(recipe.seed, rank, state.step, device), _precision(recipe.precision, device):
            total = state.loss(batch[mine].to(device), levels, noise, given).sum() / recipe.batch_size
        yield _finish(state, total, world_size)


def _finish(state: TrainingState, total: Tensor, world_size: int) -> Step:
    """Gradient, vote, update and count. ``total``: this rank's part of the mean loss."""
    state.optimizer.zero_grad(set_to_none=True)
    (total * world_size).backward()  # wrappers average gradients over ranks
    norm = nn.utils.clip_grad_norm_(state.parameters, state.recipe.clip_norm)
    norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    report = torch.stack([total.detach().float(), (~torch.isfinite(total.detach() + norm)).float()])
    if world_size > 1:
        torch.distributed.all_reduce(report)
    loss, rejected = report.tolist()
    lr = state.recipe.rate(state.step)
    if rejected:
        state.skipped += 1
    else:
        state.update(lr)
    state.step += 1
    return Step(state.step, loss, float(norm), lr, not rejected, state.skipped)


def _private_randomness(seed: int, rank: int, step: int, device: torch.device) -> Any:
    """Context in which dropout depends on (seed, rank, step) alone; the global generator comes back untouched."""
    context = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])

    class Seeded:
        def __enter__(self) -> None:
            context.__enter__()
            torch.manual_seed(generator_for(seed, "training dropout", rank, step).initial_seed())

        def __exit__(self, *error: Any) -> None:
            context.__exit__(*error)

    return Seeded()


def _precision(precision: str, device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
