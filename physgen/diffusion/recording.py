r"""Operations recorded once as a CUDA graph and replayed, for networks whose kernels are shorter than their launch.

A module says with an attribute ``fixed_operations`` that its calls of one shape are one sequence of operations,
whatever the values; without it nothing is recorded, since a replay would repeat the choices of the first call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.networks.fused import is_transformed, records

WARM_UP = 2  # calls before a recording, in which libraries choose their kernels
log = logging.getLogger(__name__)


def recordable(module: Any, device: torch.device) -> bool:
    """Whether calls of a module on a device may be recorded: on CUDA, where it says so, and if it is not compiled."""
    compiled = (getattr(part, "_compiled_call_impl", None) for part in (module, getattr(module, "network", None)))
    return device.type == "cuda" and bool(getattr(module, "fixed_operations", False)) and not any(compiled)


class Recording:
    """A CUDA graph of ``run`` on its own copies of some tensors.

    Args:
        run: of tensors like ``given``, to anything; it must not wait for the device.
        given: what it is recorded with, all on one device.
        before: called before the recording, after the calls that warm up.
        warm_up: how many these are: 0 where it has been called with such tensors and has no gradients.

    Raises:
        RuntimeError: what was called cannot be recorded.
    """

    def __init__(
        self,
        run: Callable[..., Any],
        given: Sequence[Tensor],
        before: Callable[[], object] = lambda: None,
        warm_up: int = WARM_UP,
    ) -> None:
        self._own = [tensor.clone() for tensor in given]
        current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(warm_up):
                run(*self._own)
        current.wait_stream(aside)
        before()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._made = run(*self._own)

    def replay(self, given: Sequence[Tensor]) -> Any:
        """What ``run`` returned, with the values for ``given``; the next replay overwrites them."""
        for own, value in zip(self._own, given, strict=True):
            own.copy_(value)
        self._graph.replay()
        return self._made


def try_recording(
    run: Callable[..., Any],
    given: Sequence[Tensor],
    before: Callable[[], object] = lambda: None,
    warm_up: int = WARM_UP,
) -> Recording | None:
    """A :class:`Recording`; None, with a warning, where what was called cannot be recorded."""
    try:
        return Recording(run, given, before, warm_up)
    except RuntimeError as error:
        log.warning("a network cannot be recorded for the GPU, so it runs slower: %s", error)
        return None


class RecordedDenoiser:
    """D(y, s, condition) of a denoiser, recorded at the second call of a shape.

    A replay has no gradients and is seen by no transformation: where there are any, the denoiser itself is called.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self._denoiser = denoiser
        self._seen: set[Any] = set()
        self._recordings: dict[Any, Recording | None] = {}

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        given: Mapping[str, Tensor] = condition or {}
        tensors = [y, s, *given.values()]
        if records(*tensors) or is_transformed():
            return self._denoiser(y, s, condition)
        kind = (tuple(given), *((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors))
        if kind in self._seen and kind not in self._recordings:

            def run(y: Tensor, s: Tensor, *values: Tensor) -> Tensor:
                return self._denoiser(y, s, None if condition is None else dict(zip(given, values, strict=True)))

            self._recordings[kind] = try_recording(run, tensors, warm_up=0)
        self._seen.add(kind)
        recording = self._recordings.get(kind)
        if recording is None:
            return self._denoiser(y, s, condition)
        made: Tensor = recording.replay(tensors)
        return made.clone()


def recorded(denoiser: Denoiser, device: torch.device | str) -> Denoiser:
    """The denoiser, on a GPU recorded where it says that it may be; its weights must not change meanwhile."""
    return RecordedDenoiser(denoiser) if recordable(denoiser, torch.device(device)) else denoiser
