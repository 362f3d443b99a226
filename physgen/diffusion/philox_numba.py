r"""Philox compiled for the processor: the words and float32 normal numbers of :mod:`physgen.diffusion.philox`.

The kernels are plain functions here, so that this file imports without numba; :func:`engine` compiles them at first
use and keeps the result on disk. Loops run over short buffers in the first cache, one operation after another, so
that they vectorise; a sum of products is not contracted, so every processor gives the bits of the definition. They run
without the interpreter lock, a large request on as many threads as torch has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physgen.diffusion import philox
from physgen.diffusion.philox import Engine, Key

BLOCKS = 256  # of a chunk, its buffers fill 12 kB
THREADED = 2**18  # values below which one thread is as fast

I32, U32, U64, F32 = np.int32, np.uint32, np.uint64, np.float32
M0, M1 = (U64(value) for value in philox.MULTIPLIERS)
W0, W1 = (U64(value) for value in philox.WEYL)
MASK, HALF_WORD = U64(philox.MASK), U64(32)
L0, L1, L2, L3, L4, L5, L6, L7, L8 = (F32(value) for value in philox.LOG)
S0, S1, S2 = (F32(value) for value in philox.SINE)
C0, C1, C2 = (F32(value) for value in philox.COSINE)
LN2_LOW, LN2_HIGH, TURN, CELL = F32(philox.LN2_LOW), F32(philox.LN2_HIGH), F32(philox.TURN), F32(2.0**-32)
ZERO, HALF, ONE, MINUS_TWO = F32(0), F32(0.5), F32(1), F32(-2)
ROOT_HALF, SHIFT = I32(philox.BITS_OF_ROOT_HALF), I32(philox.BITS_OF_ONE - philox.BITS_OF_ROOT_HALF)
MANTISSA, EXPONENT, BIAS = I32(0x7FFFFF), I32(23), I32(127)
WIDE_TURN = philox.TURN
SIGN, QUARTER, EIGHTH, I1, I2 = I32(31), I32(30), I32(2**29), I32(1), I32(2)


def _round_keys(k0, k1):  # type: ignore[no-untyped-def]
    keys = np.empty(2 * philox.ROUNDS, np.uint32)
    for i in range(philox.ROUNDS):
        keys[2 * i], keys[2 * i + 1] = U32(k0 + U64(i) * W0), U32(k1 + U64(i) * W1)
    return keys


def _chunk_words(keys, index, second, first, count, odd, even):  # type: ignore[no-untyped-def]
    """Words of ``count`` blocks: w_0 and then w_2 in ``even``, w_1 and then w_3 in ``odd``."""
    c1, c2, c3 = U64(U32(second)), U64(index) & MASK, U64(index) >> HALF_WORD
    for i in range(count):
        a, b, c, d = U64(U32(first + i)), c1, c2, c3
        for r in range(philox.ROUNDS):
            p, q = a * M0, c * M1
            a = (q >> HALF_WORD) ^ b ^ U64(keys[2 * r])
            b = q & MASK
            c = (p >> HALF_WORD) ^ d ^ U64(keys[2 * r + 1])
            d = p & MASK
        even[i], odd[i], even[count + i], odd[count + i] = I32(a), I32(b), I32(c), I32(d)


def _over_chunks(fill):  # type: ignore[no-untyped-def]
    """The kernel that has ``fill`` write each chunk: the values of ``m`` blocks of a row, fewer at its end."""

    def kernel(k0, k1, second, index, made, first, last):  # type: ignore[no-untyped-def]
        blocks = (made.shape[1] + 3) // 4
        chunks = (blocks + BLOCKS - 1) // BLOCKS
        keys, even, odd = _round_keys(k0, k1), np.empty(2 * BLOCKS, np.int32), np.empty(2 * BLOCKS, np.int32)
        part, value = np.empty(2 * BLOCKS, np.float32), np.empty(2 * BLOCKS, np.float32)
        for chunk in range(first, last):
            row, start = chunk // chunks, chunk % chunks * BLOCKS
            m = min(BLOCKS, blocks - start)
            _chunk_words(keys, index[row], second, start, m, odd, even)
            fill(made[row, 4 * start : 4 * (start + m)], m, odd, even, part, value)

    return kernel


def _words(line, m, odd, even, part, value):  # type: ignore[no-untyped-def]
    for i in range(len(line)):
        half, pair = i % 4 // 2 * m, i // 4
        line[i] = U32(odd[half + pair]) if i % 2 else U32(even[half + pair])


def _normals(line, m, odd, even, part, value):  # type: ignore[no-untyped-def]
    _radii(even, part, value, 2 * m)
    _turn(odd, part, value, 2 * m)
    full = min(m, len(line) // 4)
    for i in range(full):
        line[4 * i], line[4 * i + 1] = value[i], part[i]
        line[4 * i + 2], line[4 * i + 3] = value[m + i], part[m + i]
    for i in range(4 * full, len(line)):
        half = i % 4 // 2 * m + full
        line[i] = part[half] if i % 2 else value[half]


def _wide_normals(line, m, odd, even, part, value):  # type: ignore[no-untyped-def]
    """Float64 numbers, one pair after another: these functions do not vectorise."""
    for i in range((len(line) + 1) // 2):
        a, b = even[i % 2 * m + i // 2], odd[i % 2 * m + i // 2]
        share = (np.float64(I32(a ^ I32(a >> SIGN))) + 0.5) * 2.0**-32
        radius = math.sqrt(-2 * (math.log1p(-share) if a < 0 else math.log(share)))
        quarter = I32(I32(b + EIGHTH) >> QUARTER)
        angle = (np.float64(I32(b - I32(quarter << QUARTER))) + 0.5) * WIDE_TURN
        cosine, sine = radius * math.cos(angle), radius * math.sin(angle)
        along, across = (sine, cosine) if (quarter & I1) != 0 else (cosine, sine)
        line[2 * i] = -along if (I32(quarter + I1) & I2) != 0 else along
        if 2 * i + 1 < len(line):
            line[2 * i + 1] = -across if (quarter & I2) != 0 else across


def _radii(words, part, value, count):  # type: ignore[no-untyped-def]
    """Radii in ``part``, of words as int32; ``value`` is scratch."""
    bits = value.view(np.int32)
    for i in range(count):
        a = words[i]
        part[i] = (F32(I32(a ^ I32(a >> SIGN))) + HALF) * CELL
        value[i] = ONE - part[i] if a < 0 else part[i]
    for i in range(count):
        shifted = I32(bits[i] + SHIFT)
        bits[i] = I32(I32(shifted & MANTISSA) + ROOT_HALF)
        words[i] = I32(I32(shifted >> EXPONENT) - BIAS)
    for i in range(count):
        e = F32(words[i])
        f = -part[i] if e == ZERO else value[i] - ONE
        square = f * f
        tail = ((((((((L0 * f + L1) * f + L2) * f + L3) * f + L4) * f + L5) * f + L6) * f + L7) * f + L8) * f * square
        tail = tail + e * LN2_LOW - square * HALF
        part[i] = np.sqrt(((f + tail) + e * LN2_HIGH) * MINUS_TWO)


def _turn(words, part, value, count):  # type: ignore[no-untyped-def]
    """Radii in ``part`` and angles of words become the first number of a pair in ``value``, the second in ``part``."""
    for i in range(count):
        b, radius = words[i], part[i]
        quarter = I32(I32(b + EIGHTH) >> QUARTER)  # -2 to 1: the top quarter turns wrap
        x = (F32(I32(b - I32(quarter << QUARTER))) + HALF) * TURN
        square = x * x
        sine = ((S0 * square + S1) * square + S2) * square * x + x
        cosine = ((C0 * square + C1) * square + C2) * square * square - square * HALF + ONE
        odd = (quarter & I1) != 0
        along = radius * (sine if odd else cosine)
        across = radius * (cosine if odd else sine)
        value[i] = -along if (I32(quarter + I1) & I2) != 0 else along
        part[i] = -across if (quarter & I2) != 0 else across


@cache
def engine() -> Engine:
    """The compiled engine. ImportError without numba."""
    import numba.extending

    for part in (_round_keys, _chunk_words, _radii, _turn, _words, _normals, _wide_normals):
        numba.extending.register_jitable(part)
    wide = _runner(_wide_normals, torch.float64)
    return Engine("numba", _runner(_words, torch.int64), _runner(_normals, torch.float32), wide)


def _runner(fill: Callable[..., None], dtype: torch.dtype) -> Callable[[Key, Tensor, int, int], Tensor]:
    @cache
    def compiled() -> Any:
        from numba import njit

        value = str(dtype).removeprefix("torch.")
        signature = f"void(uint64, uint64, uint64, int64[::1], {value}[:, ::1], int64, int64)"
        try:
            return njit(signature, nogil=True, error_model="numpy", cache=True)(_over_chunks(fill))
        except RuntimeError:  # no folder that can be written
            return njit(signature, nogil=True, error_model="numpy")(_over_chunks(fill))

    def run(key: Key, index: Tensor, second: int, count: int) -> Tensor:
        made = torch.empty(len(index), count, dtype=dtype)
        arguments = (*key, second, index.contiguous().numpy(), made.numpy())
        chunks = len(index) * -(-count // (4 * BLOCKS))
        threads = min(torch.get_num_threads(), chunks) if made.numel() >= THREADED else 1
        _in_threads(compiled(), arguments, [chunks * i // threads for i in range(threads + 1)])
        return made

    return run


def _in_threads(work: Callable[..., None], arguments: tuple[Any, ...], bounds: list[int]) -> None:
    """The ranges between the bounds, the last one on this thread."""
    ranges = list(zip(bounds, bounds[1:], strict=False))
    others = [Thread(target=work, args=(*arguments, *part)) for part in ranges[:-1]]
    for thread in others:
        thread.start()
    work(*arguments, *ranges[-1])
    for thread in others:
        thread.join()
