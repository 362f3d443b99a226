r"""Loss and gradients of a training step, operation by operation or as a recording that a GPU replays.

A U-Net on 64^2 takes hundreds of kernels a step, and a network of message passing thousands: a GPU is done with each
before the host has sent the next. So after the first step they are recorded as one CUDA graph, on fixed memory, and
from then on one launch replays it (:mod:`physgen.diffusion.recording`). Where a step draws random numbers (dropout), is
spread over processes or compiled, nothing is recorded.

Shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from physgen.diffusion.learning.batches import Batch
from physgen.diffusion.noise import generator_for
from physgen.diffusion.recording import Recording, recordable, try_recording

if TYPE_CHECKING:
    from physgen.diffusion.learning.training import TrainingState


class Gradients:
    """The loss of a batch, whose gradients it leaves in the parameters.

    Args:
        state: of the training. rank, world_size: of torch.distributed.
        record: replay a recording where that can be done; None does so on a GPU.
    """

    def __init__(self, state: TrainingState, rank: int = 0, world_size: int = 1, record: bool | None = None) -> None:
        self._state, self._world_size = state, world_size
        self._random = _PrivateRandomness(state.recipe.seed, rank, state.device)
        self._record = may_record(state, world_size) if record is None else record
        self._recording: Recording | None = None
        self._made: list[Tensor | None] = []

    @property
    def recorded(self) -> bool:
        """Whether a recording is in use."""
        return self._recording is not None

    def of(self, batch: Batch, step: int) -> Tensor:
        """Sum of the losses of this rank's rows over the global batch size, () without a graph."""
        if self._recording is not None:
            return self._replayed(self._recording, batch)
        with self._random.of(step):
            total = self._of(batch)
        if self._record and not self._random.needed:
            self._record = False  # one attempt
            self._recording = self._recorded(batch)
        return total

    def _of(self, batch: Batch) -> Tensor:
        state = self._state
        state.optimizer.zero_grad(set_to_none=True)
        with _precision(state.recipe.precision, state.device):
            losses = state.loss(batch.x0, batch.levels, batch.noise, batch.condition)
        total = losses.sum() / state.recipe.batch_size
        (total * self._world_size).backward()  # wrappers average gradients over ranks
        return total.detach()

    def _recorded(self, batch: Batch) -> Recording | None:
        """A recording; the gradients of the step that was done stay in the parameters."""
        names, parameters = list(batch.condition), self._state.parameters
        before = [parameter.grad for parameter in parameters]

        def run(x0: Tensor, levels: Tensor, noise: Tensor, *values: Tensor) -> Tensor:
            return self._of(Batch(x0, levels, noise, dict(zip(names, values, strict=True))))

        def forget() -> None:  # the recorded backward then makes its own gradients, and does not add to these
            for parameter in parameters:
                parameter.grad = None

        recording = try_recording(run, _tensors(batch), forget)
        self._made = [parameter.grad for parameter in parameters]
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.grad = gradient
        return recording

    def _replayed(self, recording: Recording, batch: Batch) -> Tensor:
        total: Tensor = recording.replay(_tensors(batch))
        for parameter, gradient in zip(self._state.parameters, self._made, strict=True):
            parameter.grad = gradient
        return total.clone()


def may_record(state: TrainingState, world_size: int) -> bool:
    """Whether a training is one that recordings are made for: see the module."""
    return recordable(state.model, state.device) and world_size == 1 and not state.wrapped


def _tensors(batch: Batch) -> list[Tensor]:
    return [batch.x0, batch.levels, batch.noise, *batch.condition.values()]


class _PrivateRandomness:
    """Dropout that depends on (seed, rank, step) alone; torch's own generators come back untouched.

    A loss that has drawn nothing from them in its first step is left alone from then on.
    """

    def __init__(self, seed: int, rank: int, device: torch.device) -> None:
        self.seed, self.rank, self.device, self.needed = seed, rank, device, True

    @contextmanager
    def of(self, step: int) -> Iterator[None]:
        """Around the loss of a step."""
        if not self.needed:
            yield
            return
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(generator_for(self.seed, "training dropout", self.rank, step).initial_seed())
            before = self._generators()
            yield
            self.needed = not all(map(torch.equal, before, self._generators()))

    def _generators(self) -> list[Tensor]:
        on_device = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.random.get_rng_state(), *on_device]


def _precision(precision: str, device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
