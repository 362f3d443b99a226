"""Philox on a GPU, in Triton: the words and float32 normal numbers of :mod:`physgen.diffusion.philox`.

No product may be fused with a sum here and the root is the rounded one, so that the bits are those of the processor.
The kernel is a plain function, so that this file imports without Triton: its global ``tl`` is bound when
:func:`engine` compiles it. (A test binds it to numpy: the very text of the kernel runs where there is no GPU.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from physgen.diffusion import philox
from physgen.diffusion.philox import Engine, Key

PAIRS = 512  # of numbers that a program makes

tl: Any = None  # triton.language


def fill(made, index, key_low, key_high, second, count, WIDTH: tl.constexpr, NORMAL: tl.constexpr):  # type: ignore
    """One part of a row of ``made`` (B, count): pairs of words as int64, or of float32 normal numbers."""
    chunks = (count - 1) // (2 * WIDTH) + 1
    row = tl.program_id(0).to(tl.int64) // chunks
    pair = (tl.program_id(0).to(tl.int64) % chunks) * WIDTH + tl.arange(0, WIDTH)
    sample = tl.load(index + row)
    a = (pair // 2).to(tl.uint32)
    b = tl.zeros_like(a) + second.to(tl.uint32)
    c = tl.zeros_like(a) + sample.to(tl.uint32)
    d = tl.zeros_like(a) + (sample >> 32).to(tl.uint32)
    k0 = tl.zeros_like(a) + key_low.to(tl.uint32)
    k1 = tl.zeros_like(a) + key_high.to(tl.uint32)
    for _ in range(10):
        even, odd = a, c
        a = tl.umulhi(odd, 0xCD9E8D57) ^ b ^ k0
        b = odd * 0xCD9E8D57
        c = tl.umulhi(even, 0xD2511F53) ^ d ^ k1
        d = even * 0xD2511F53
        k0 = k0 + 0x9E3779B9
        k1 = k1 + 0xBB67AE85
    a = tl.where(pair % 2 == 0, a, c)
    b = tl.where(pair % 2 == 0, b, d)
    place = made + row * count + 2 * pair
    if not NORMAL:
        tl.store(place, a.to(tl.int64), mask=2 * pair < count)
        tl.store(place + 1, b.to(tl.int64), mask=2 * pair + 1 < count)
    else:
        word = a.to(tl.int32, bitcast=True)
        part = ((word ^ (word >> 31)).to(tl.float32) + 0.5) * 2.3283064365386963e-10
        bits = tl.where(word < 0, 1.0 - part, part).to(tl.int32, bitcast=True) + 0x004AFB0D
        e = ((bits >> 23) - 127).to(tl.float32)
        f = tl.where(e == 0.0, -part, ((bits & 0x7FFFFF) + 0x3F3504F3).to(tl.float32, bitcast=True) - 1.0)
        square = f * f
        p = ((f * 7.0376836292e-2 - 1.1514610310e-1) * f + 1.1676998740e-1) * f - 1.2420140846e-1
        p = ((p * f + 1.4249322787e-1) * f - 1.6668057665e-1) * f + 2.0000714765e-1
        p = (p * f - 2.4999993993e-1) * f + 3.3333331174e-1
        tail = p * f * square + e * -2.12194440e-4 - square * 0.5
        radius = tl.sqrt_rn(((f + tail) + e * 0.693359375) * -2.0)
        angle = b.to(tl.int32, bitcast=True)
        quarter = (angle + 0x20000000) >> 30
        x = ((angle - (quarter << 30)).to(tl.float32) + 0.5) * 1.4629180792671596e-09
        square = x * x
        sine = ((square * -1.9515295891e-4 + 8.3321608736e-3) * square - 1.6666654611e-1) * square * x + x
        cosine = (square * 2.443315711809948e-5 - 1.388731625493765e-3) * square + 4.166664568298827e-2
        cosine = cosine * square * square - square * 0.5 + 1.0
        along = radius * tl.where((quarter & 1) != 0, sine, cosine)
        across = radius * tl.where((quarter & 1) != 0, cosine, sine)
        tl.store(place, tl.where(((quarter + 1) & 2) != 0, -along, along), mask=2 * pair < count)
        tl.store(place + 1, tl.where((quarter & 2) != 0, -across, across), mask=2 * pair + 1 < count)


@cache
def engine() -> Engine:
    """The compiled engine, tried once; plain torch, with a warning, where Triton is there and does not work."""
    global tl
    try:
        import triton
        import triton.language as language
    except ImportError:
        return philox.TORCH
    tl = language
    kernel = triton.jit(fill, do_not_specialize=["key_low", "key_high", "second"])
    words = _runner(kernel, torch.int64)
    made = Engine("triton", words, _runner(kernel, torch.float32), philox.wide_from(words))
    try:
        tried = torch.tensor([0, -1, 2**40], device="cuda")
        for own, plain in zip(made[1:], philox.TORCH[1:], strict=True):
            assert torch.allclose(own((1, 2**31), tried, 3, 999), plain((1, 2**31), tried, 3, 999), rtol=1e-6)
    except Exception as error:
        warnings.warn(f"noise is drawn in plain torch, since Triton does not work here: {error}", stacklevel=2)
        return philox.TORCH
    return made


def _runner(kernel: Any, dtype: torch.dtype) -> Callable[[Key, Tensor, int, int], Tensor]:
    def run(key: Key, index: Tensor, second: int, count: int) -> Tensor:
        made = torch.empty(len(index), count, dtype=dtype, device=index.device)
        if made.numel():
            programs = len(index) * -(-count // (2 * PAIRS))
            arguments = (made, index.contiguous(), *map(_signed, (*key, second)), count, PAIRS, dtype == torch.float32)
            with torch.cuda.device(index.device):
                kernel[(programs,)](*arguments, enable_fp_fusion=False)
        return made

    return run


def _signed(word: int) -> int:
    """A word as int32, the one type of the kernel's whole numbers."""
    return word - 2**32 if word >= 2**31 else word
