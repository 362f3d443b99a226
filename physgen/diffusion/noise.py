"""Gaussian noise that belongs to a sample, not to a batch.

The stream of a sample is a CPU generator seeded by a hash of (seed, stream, sample index, step), and it draws in
float64: the noise is the same whatever the batch, the number of processes, the device, and (up to rounding) the
dtype.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def generator_for(seed: int, stream: str, index: int, step: int = 0) -> torch.Generator:
    """CPU generator of one (seed, stream, sample index, step), seeded by 63 bits of their BLAKE2b hash.

    Args:
        seed: the user's seed, any whole number.
        stream: what the numbers are for, e.g. ``"start"``; different names give independent numbers.
        index: index of the sample in the whole ensemble.
        step: step of the sampler or epoch of the training.
    """
    key = f"{int(seed)}/{stream}/{int(index)}/{int(step)}".encode()
    digest = hashlib.blake2b(key, digest_size=8, person=b"physgen-noise").digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)


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
        index: B sample indices.
        shape: (C, *grid) of one sample.
    """
    indices = index.tolist() if isinstance(index, Tensor) else list(index)
    noise = torch.empty((len(indices), *shape), dtype=torch.float64)
    for row, sample_index in zip(noise, indices, strict=True):
        row.normal_(generator=generator_for(seed, stream, sample_index, step))
    return noise.to(device=device, dtype=dtype)
