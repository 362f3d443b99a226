r"""What a training step sees: samples, their conditions, noise levels and noise, made where the network lives.

The samples of a training are numbered: step n of a recipe uses the numbers n B ... n B + B - 1, and rank r of w every
w-th of them. All that is random belongs to a number: which training sample it is (a permutation for each epoch), its
symmetry, noise level and noise. So any world size sees the same numbers, and nothing but the step is kept to resume.

Data that fit live on the device of the network. Else a thread gathers the rows of the next step on the host, into
page-locked memory, and sends them ahead while the device works on this one. Both ways give the same bits, whether the
data lie in memory or in a mapped file.

Shapes: N training samples, B global batch, b = B/w rows of this rank, C channels, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition
from physgen.diffusion.draws import SampleDraws
from physgen.diffusion.noise import Stream, noise_like, uniform_like
from physgen.lattice import Draws

if TYPE_CHECKING:
    from physgen.diffusion.learning.training import Recipe

Augmentation = Callable[[Tensor, Mapping[str, Tensor], Draws], tuple[Tensor, Mapping[str, Tensor]]]
Rows = list[Tensor]  # the samples, then each condition
U_MARGIN = 1e-6  # keeps quantiles of the noise levels finite
RESIDENT_SHARE = 0.25  # of the free memory of a GPU; the rest is for the network and its gradients


@dataclass(frozen=True)
class Batch:
    r"""The rows of one rank: x0 and noise (b, C, \*grid), levels (b,), conditions that lead with b."""

    x0: Tensor
    levels: Tensor
    noise: Tensor
    condition: Mapping[str, Tensor]


class Batches:
    """The batches of a training, by the number of their step.

    Args:
        x: (N, C, \\*grid) clean samples, in memory, in a mapped file or on the device.
        condition: tensors that lead with N, or None.
        recipe: seed, batch size, steps and distribution of the noise levels.
        augment: (x, condition, draws) -> (x, condition), a random symmetry of each sample.
        place: (rank, world_size): every ``world_size``-th sample from number ``rank`` on.
        device: of the network.
        resident: keep the data on the device; None where they fit, see :func:`fits`.
    """

    def __init__(
        self,
        x: Tensor,
        condition: Condition,
        recipe: Recipe,
        augment: Augmentation | None = None,
        place: tuple[int, int] = (0, 1),
        device: torch.device | str = "cpu",
        resident: bool | None = None,
    ) -> None:
        self.recipe, self.augment = recipe, augment
        self.device = torch.device(device)
        self._names, data = list(condition or {}), [x, *(condition or {}).values()]
        self.resident = fits(data, self.device) if resident is None else resident
        rank, world_size = place
        self.places = torch.arange(rank, recipe.batch_size, world_size, device=self.device)
        self._every = slice(rank, None, world_size)
        if self.resident:
            self._data = [value.to(self.device) for value in data]
            self._order = SampleOrder(len(x), recipe.seed, self.device)
            self._ahead = None
        else:
            self._data, self._order = data, SampleOrder(len(x), recipe.seed)
            self._ahead = _Ahead(self._gather, recipe.steps, self.device)

    def at(self, step: int) -> Batch:
        """The batch of a step, from 0."""
        x0, *values = self._gather(step) if self._ahead is None else self._ahead.take(step)
        given: Mapping[str, Tensor] = dict(zip(self._names, values, strict=True))
        numbers = self.places + step * self.recipe.batch_size
        if self.augment is not None:
            x0, given = self.augment(x0, given, SampleDraws(self.recipe.seed, "training augmentation", numbers))
        if self.recipe.label_dropout and "labels" in given:
            given = {**given, "labels": self._with_nulls(given["labels"], numbers)}
        noise = noise_like(self.recipe.seed, "training noise", numbers, x0.shape[1:], device=self.device)
        return Batch(x0, self.levels(step), noise, given)

    def _with_nulls(self, labels: Tensor, numbers: Tensor) -> Tensor:
        """Labels (b, n), NaN in rows chosen with the probability of the recipe."""
        u = uniform_like(self.recipe.seed, "label dropout", numbers, (), device=self.device)
        return torch.where((u < self.recipe.label_dropout)[:, None], torch.full_like(labels, torch.nan), labels)

    def levels(self, step: int) -> Tensor:
        """Noise levels (b,) of a step, one from each of B equally probable strata of the distribution."""
        numbers = self.places + step * self.recipe.batch_size
        jitter = uniform_like(self.recipe.seed, "training level", numbers, (), dtype=torch.float64, device=self.device)
        u = (self.places + jitter) / self.recipe.batch_size
        return self.recipe.level_distribution(u.clamp(U_MARGIN, 1 - U_MARGIN)).float()

    def indices(self, step: int) -> Tensor:
        """Which training samples (b,) a step sees; on the device where the data live there, else on the CPU."""
        size = self.recipe.batch_size
        return self._order.indices(step * size, size)[self._every]

    def close(self) -> None:
        """End the thread that gathers ahead, if there is one."""
        if self._ahead is not None:
            self._ahead.close()

    def _gather(self, step: int, out: Callable[[Tensor, int], Tensor] | None = None) -> Rows:
        """The rows of a step where the data lie, in memory that ``out(data, rows)`` gives."""
        index = self.indices(step)
        if out is None:
            return [value.index_select(0, index) for value in self._data]
        return [torch.index_select(value, 0, index, out=out(value, len(index))) for value in self._data]


def fits(data: Sequence[Tensor], device: torch.device) -> bool:
    """Whether data shall live on a device: on a GPU where they take at most RESIDENT_SHARE of its free memory.

    On the CPU they do: they stay as they are, in memory or in a mapped file.
    """
    if device.type != "cuda" or all(value.device == device for value in data):
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return sum(value.numel() * value.element_size() for value in data) <= RESIDENT_SHARE * free


class SampleOrder:
    """Which training sample each number of the endless stream is: a permutation of N for each epoch.

    That of an epoch sorts N random numbers of (seed, epoch), which is done on the device, once an epoch.
    """

    def __init__(self, count: int, seed: int, device: torch.device | str = "cpu") -> None:
        self.count, self.seed, self.device = count, seed, torch.device(device)
        self._epochs: dict[int, Tensor] = {}

    def indices(self, first: int, size: int) -> Tensor:
        """Indices (size,) of the numbers first ... first + size - 1."""
        last = first + size
        epochs = range(first // self.count, (last - 1) // self.count + 1)
        pieces = [
            self._epoch(epoch)[max(first - epoch * self.count, 0) : last - epoch * self.count] for epoch in epochs
        ]
        self._epochs = {epochs[-1]: self._epochs[epochs[-1]]}  # the next batch begins there
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            stream = Stream(self.seed, "training order", 0, self.device)
            key = stream.uniform(torch.full((1,), epoch, device=self.device), (self.count,), torch.float64)[0]
            self._epochs[epoch] = torch.argsort(key, stable=True)
        return self._epochs[epoch]


class _Ahead:
    """Rows that a thread gathers one step ahead and sends to the device on a stream of its own."""

    def __init__(self, gather: Callable[..., Rows], steps: int, device: torch.device) -> None:
        self._gather, self._steps, self._device = gather, steps, device
        self._thread = ThreadPoolExecutor(1, "physgen-batches")
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._pending: dict[int, Future[tuple[Rows, torch.cuda.Event | None]]] = {}

    def take(self, step: int) -> Rows:
        """The rows of a step; those of the next one are begun."""
        begun = self._pending.pop(step, None) or self._thread.submit(self._fetch, step)
        if step + 1 < self._steps:
            self._pending = {step + 1: self._thread.submit(self._fetch, step + 1)}
        rows, sent = begun.result()
        if sent is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(sent)
            for value in rows:
                value.record_stream(current)
        return rows

    def _fetch(self, step: int) -> tuple[Rows, torch.cuda.Event | None]:
        if self._stream is None:
            return self._gather(step), None
        rows = self._gather(step, _page_locked)
        with torch.cuda.stream(self._stream):  # the cache of page-locked memory knows when a copy is done
            return [value.to(self._device, non_blocking=True) for value in rows], self._stream.record_event()

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


def _page_locked(data: Tensor, rows: int) -> Tensor:
    return torch.empty((rows, *data.shape[1:]), dtype=data.dtype, pin_memory=True)
