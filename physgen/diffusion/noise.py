"""Random numbers that belong to a sample, not to a batch.

Each is a function of (seed, stream, sample index, step, place in the field) alone, by the counter-based generator of
:mod:`physgen.diffusion.philox`: the same whatever the batch, the order of its rows, the number of processes and the
device, and (up to the rounding of the transform) the dtype. The key is a hash of the seed, the stream and the kind of
numbers, so streams are independent, and normal, uniform and whole numbers of one stream are too.

Shapes: B samples, \\*shape one sample.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor

from physgen.diffusion import philox, philox_numba, philox_triton
from physgen.diffusion.philox import Engine


@dataclass(frozen=True)
class Stream:
    """The numbers of one purpose at one step.

    Args:
        seed: the user's seed, any whole number.
        name: what the numbers are for, e.g. ``"start"``; different names give independent numbers.
        step: step of the sampler or epoch of the training, 0 to 2^31 - 1.
        device: where they are made.
    """

    seed: int
    name: str
    step: int = 0
    device: torch.device | str = "cpu"

    def normal(self, index: Iterable[int] | Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers (B, *shape) of B sample indices: 32 bits for a radius, 32 for an angle; |z| < 6.77.

        Float32 numbers have the same bits on every device; float64 ones are the same within 8 times 2^-24, relative.
        """
        rows, count = _rows(index, self.device), self._count(shape)
        made, key = engine_of(rows.device.type), key_of(self.seed, self.name, "normal")
        draw = made.normals if _floating(dtype) == torch.float32 else made.wide
        return draw(key, rows, self.step, count).reshape(len(rows), *shape)

    def uniform(
        self, index: Iterable[int] | Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Uniform numbers (B, *shape) in (0, 1), never 0 or 1: 23 bits in float32, 52 in float64."""
        high = self._words("uniform", index, shape)
        low = None if _floating(dtype) == torch.float32 else self._words("uniform", index, shape, plane=1)
        return philox.uniforms(high, low)

    def integers(self, high: int, index: Iterable[int] | Tensor, shape: Sequence[int]) -> Tensor:
        """Whole numbers (B, *shape) int64, 0 to high - 1 <= 2^31 - 1, each with probability 1/high within 2^-64."""
        if not 1 <= high <= 2**31:
            raise ValueError(f"whole numbers below high need 1 <= high <= 2^31, got {high}")
        upper, lower = (self._words("integer", index, shape, plane) for plane in (0, 1))
        return philox.integers(upper, lower, high)

    def _words(self, kind: str, index: Iterable[int] | Tensor, shape: Sequence[int], plane: int = 0) -> Tensor:
        rows, count, key = _rows(index, self.device), self._count(shape), key_of(self.seed, self.name, kind)
        draw = engine_of(rows.device.type).words
        return draw(key, rows, self.step + plane * philox.PLANE, count).reshape(len(rows), *shape)

    def _count(self, shape: Sequence[int]) -> int:
        """Values of one sample, within the reach of the counter."""
        count = math.prod(shape)
        if count > philox.PLACES:
            raise ValueError(
                f"a stream has 2^34 numbers for a sample and a step, got a shape {tuple(shape)} of {count}"
            )
        if not 0 <= self.step < philox.STEPS:
            raise ValueError(f"the step of a stream must be in 0 ... 2^31 - 1, got {self.step}")
        return count


@cache
def engine_of(device_type: str) -> Engine:
    """Who makes the numbers on a kind of device: compiled code where numba or Triton is there, else plain torch."""
    if device_type == "cpu":
        try:
            return philox_numba.engine()
        except ImportError:
            return philox.TORCH
    return philox_triton.engine() if device_type == "cuda" else philox.TORCH


def noise_like(
    seed: int,
    stream: str,
    index: Iterable[int] | Tensor,
    shape: Sequence[int],
    step: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Standard normal noise of shape (B, *shape), row b from the stream of (seed, stream, index[b], step).

    Args:
        index: B sample indices, 64-bit whole numbers.
        shape: (C, *grid) of one sample, at most 2^34 values.
        step: 0 to 2^31 - 1.
        dtype: float32 or float64; the same numbers up to rounding.

    Raises:
        ValueError: a step, shape or dtype outside these.
    """
    return Stream(seed, stream, step, device).normal(index, shape, dtype)


def uniform_like(
    seed: int,
    stream: str,
    index: Iterable[int] | Tensor,
    shape: Sequence[int],
    step: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Uniform numbers in (0, 1) of shape (B, *shape), never 0 or 1: 23 bits in float32, 52 in float64.

    Arguments as in :func:`noise_like`.
    """
    return Stream(seed, stream, step, device).uniform(index, shape, dtype)


def generator_for(seed: int, stream: str, index: int, step: int = 0) -> torch.Generator:
    """CPU generator of one (seed, stream, index, step), seeded by 63 bits of their BLAKE2b hash.

    For what torch draws as a whole: a permutation, a bootstrap. Numbers of samples come from :class:`Stream`.
    """
    key = f"{int(seed)}/{stream}/{int(index)}/{int(step)}".encode()
    digest = hashlib.blake2b(key, digest_size=8, person=b"physgen-noise").digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)


@lru_cache(maxsize=1024)
def key_of(seed: int, name: str, kind: str) -> philox.Key:
    """The two words of the key of a stream: 64 bits of the BLAKE2b hash of seed, name and kind of numbers."""
    text = f"{int(seed)}/{name}/{kind}".encode()
    digest = hashlib.blake2b(text, digest_size=8, person=b"physgen-philox").digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _rows(index: Iterable[int] | Tensor, device: torch.device | str) -> Tensor:
    """Sample indices (B,) int64 on the device; a tensor that lies there is not touched by the host."""
    if isinstance(index, range):
        return torch.arange(index.start, index.stop, index.step, device=device)
    if not isinstance(index, Tensor):
        return torch.tensor(list(index), dtype=torch.int64, device=device)
    if index.ndim != 1 or index.dtype.is_floating_point:
        raise ValueError(f"sample indices must be whole numbers of shape (B,), got {index.dtype} {tuple(index.shape)}")
    return index.to(device=device, dtype=torch.int64)


def _floating(dtype: torch.dtype) -> torch.dtype:
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"numbers are drawn in float32 or float64, got {dtype}; cast them afterwards")
    return dtype
