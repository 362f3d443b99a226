r"""Training as a generator: the caller sees every step and does the logging, saving and stopping.

The host does not wait for the device in a step: what it needs lies there or is drawn there
(:mod:`physgen.diffusion.learning.batches`), a step that is not finite is undone there, and what a step reports is read
when somebody asks. The only loader state is the step; any world size sees the same numbers, up to the order of sums.

Shapes: N training samples, B global batch, C channels, \*grid lattice.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition
from physgen.diffusion.learning.batches import Augmentation, Batches
from physgen.diffusion.learning.denoisers import LevelDistribution, LogNormal, denoising_loss
from physgen.diffusion.learning.ema import blend, ema_gain
from physgen.diffusion.learning.gradients import Gradients


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
        label_dropout: probability with which the labels of a sample are NaN, the null label of every network.
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
    label_dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.warmup < 0:
            raise ValueError(f"a recipe needs steps, batch_size >= 1 and warmup >= 0, got {self}")
        if self.learning_rate <= 0 or self.clip_norm <= 0 or self.ema_exponent < 0:
            raise ValueError(f"learning_rate and clip_norm are positive, ema_exponent is not negative, got {self}")
        if not 0 <= self.label_dropout < 1:
            raise ValueError(f"label_dropout is a probability below 1, got {self.label_dropout}")
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
    """One step. Whoever asks for its loss, norm, acceptance or skips waits for the device; nothing else does.

    Attributes:
        step: counts from 1. lr: learning rate of this step.
        report: (4,) float64 on the device: loss, norm of the gradient, whether the step was accepted, skips so far.
    """

    step: int
    lr: float
    report: Tensor

    @functools.cached_property
    def _read(self) -> tuple[float, ...]:
        return tuple(self.report.tolist())

    @property
    def loss(self) -> float:
        """Mean over the global batch."""
        return self._read[0]

    @property
    def grad_norm(self) -> float:
        """Norm of the gradient before it was clipped."""
        return self._read[1]

    @property
    def accepted(self) -> bool:
        """Whether weights changed: loss and gradient were finite on all ranks."""
        return self._read[2] > 0

    @property
    def skipped(self) -> int:
        """Steps so far that were not accepted, this one included."""
        return int(self._read[3])


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
        loss: makes the loss module around the denoiser, e.g. a class of :mod:`physgen.diffusion.learning.losses`. It
            may have parameters and buffers of its own, which are trained and stored as the denoiser's are.

    Attributes:
        model, ema: the denoiser and its EMA (same class, evaluation mode).
        wrapped: whether the loss module is.
        step: steps taken.
        rejected: () int64 on the device: how many of them made no update, since loss or gradient was not finite.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        recipe: Recipe,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
        loss: Callable[[nn.Module], nn.Module] = DenoisingLoss,
    ) -> None:
        self.model, self.recipe = denoiser, recipe
        self.ema = copy.deepcopy(denoiser).eval().requires_grad_(False)
        self.wrapped = wrap is not None
        objective = loss(denoiser)
        self.loss = wrap(objective) if wrap is not None else objective
        known = {id(parameter) for parameter in denoiser.parameters()}
        further = (parameter for parameter in self.loss.parameters() if id(parameter) not in known)
        self.parameters = [parameter for parameter in (*denoiser.parameters(), *further) if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay, fused=True
        )
        # listed once: to walk through the modules costs as much as the update
        self._averaged = list(self.ema.parameters()), list(denoiser.parameters())
        self.step, self.rejected = 0, torch.zeros((), dtype=torch.int64, device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.parameters[0].device

    @property
    def skipped(self) -> int:
        """Steps without update so far. Waits for the device."""
        return int(self.rejected)

    def update(self, lr: float, norm: Tensor, rejected: Tensor) -> None:
        """One optimizer step with the current gradients, clipped, then the EMA; neither where ``rejected``.

        Args:
            lr: learning rate. norm: () of the gradient. rejected: () float32, 0 or 1, the same on all ranks.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        # what torch's GradScaler sets: the fused step divides the gradients by the one, and does nothing at the other
        self.optimizer.grad_scale = ((norm.float() + 1e-6) / self.recipe.clip_norm).clamp(min=1)  # type: ignore[attr-defined]
        self.optimizer.found_inf = rejected  # type: ignore[attr-defined]
        self.optimizer.step()
        self.step += 1
        self.rejected += rejected.long()
        gain = ema_gain(self.step - self.rejected, 1 - rejected, self.recipe.ema_exponent)
        with torch.no_grad():
            blend(*self._averaged, gain)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold to continue bit for bit."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "loss": self._of_the_loss(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
        }

    @property
    def _objective(self) -> nn.Module:
        """The loss module inside a distributed wrapper."""
        inner: nn.Module = getattr(self.loss, "module", self.loss)
        return inner

    def _of_the_loss(self) -> dict[str, Tensor]:
        """What the loss module holds beside the denoiser."""
        shared = {id(value) for value in (*self.model.parameters(), *self.model.buffers())}
        own = self._objective.state_dict(keep_vars=True)
        return {name: value.detach() for name, value in own.items() if id(value) not in shared}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        if state.get("loss"):
            self._objective.load_state_dict(state["loss"], strict=False)
        self.ema.load_state_dict(state["ema"])
        groups = [{**group, "fused": True} for group in state["optimizer"]["param_groups"]]  # of old: None
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
        for parameter, moments in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):  # a file has lost their strides, on which the fused step relies
                moments[name] = torch.empty_like(parameter, requires_grad=False).copy_(moments[name])
        self.step = int(state["step"])
        self.rejected.fill_(int(state["skipped"]))


def train(
    state: TrainingState,
    x: Tensor,
    condition: Condition = None,
    augment: Augmentation | None = None,
    rank: int = 0,
    world_size: int = 1,
    record: bool | None = None,
) -> Iterator[Step]:
    """Train from ``state.step`` to ``recipe.steps``, yielding each step after its update.

    A step whose loss or gradient is not finite on any rank changes nothing but the counters, on all ranks alike.

    Args:
        state: all that must be saved to continue bit for bit on the same number of ranks.
        x: (N, C, *grid) clean training samples, in memory, in a mapped file or on the device.
        condition: tensors that lead with N, or None.
        augment: (x, condition, draws) -> (x, condition), a random symmetry of each sample
            (:class:`physgen.lattice.Draws`).
        rank, world_size: of torch.distributed, which must be initialised if world_size > 1.
        record: replay the step as a CUDA graph (:mod:`physgen.diffusion.learning.gradients`); None where that is safe.

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
    batches = Batches(x, condition, recipe, augment, (rank, world_size), state.device)
    gradients = Gradients(state, rank, world_size, record)
    state.model.train()
    try:
        while state.step < recipe.steps:
            batch = batches.at(state.step)
            yield _finish(state, gradients.of(batch, state.step), world_size)
    finally:
        batches.close()


def _finish(state: TrainingState, total: Tensor, world_size: int) -> Step:
    """Vote, update and count. ``total``: this rank's part of the mean loss, whose gradients the parameters hold."""
    gradients = [parameter.grad for parameter in state.parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    vote = torch.stack([total.float(), (~torch.isfinite(total + norm)).float()])
    if world_size > 1:
        torch.distributed.all_reduce(vote)
    lr, rejected = state.recipe.rate(state.step), vote[1].clamp(max=1)
    state.update(lr, norm, rejected)
    report = torch.stack([vote[0].double(), norm.double(), 1 - rejected.double(), state.rejected.double()])
    return Step(state.step, lr, report)
