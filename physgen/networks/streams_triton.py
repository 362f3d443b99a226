r"""Sums, block averages and repetitions of fields on a GPU, in Triton: one pass each, biases of convolutions included.

The kernels are plain functions, so that this file imports without Triton: their global ``tl`` is bound when
:func:`kernels` compiles them. Fields are channels last, (B, D, H, W, C) with size 1 for axes that a lattice lacks;
a coarse field has half the sizes of a fine one along the axes that the lattice has.
"""

from __future__ import annotations

import math
import sys
from functools import cache
from typing import Any

import torch
from torch import Tensor

from physgen.networks.fused import GROUP, MEMORY_FORMATS
from physgen.networks.jitted import jitted, present

VALUES = 2048  # of one block
PIECE = 2048  # sites of which one program adds a column up
SIZES = ["batch", "depth", "height", "width", "sites", "values"]  # a 1 among them would be a constant

tl: Any = None  # triton.language


def add(a, b, bias, out, values, CHANNELS: tl.constexpr, BIAS: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore
    """out = a + b + bias, value by value."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < values
    total = tl.load(a + place, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(b + place, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        total += tl.load(bias + place % CHANNELS).to(tl.float32)
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)


def repeat(low, skip, bias, out, scale, batch, depth, height, width, CHANNELS: tl.constexpr, DEEP: tl.constexpr, SKIP: tl.constexpr, BIAS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """out = scale low, each site repeated, + skip + bias; depth, height and width are those of the fine field."""
    blocks: tl.constexpr = CHANNELS // COLUMNS
    program = tl.program_id(0)
    channel = (program % blocks) * COLUMNS + tl.arange(0, COLUMNS)
    site = (program // blocks).to(tl.int64) * ROWS + tl.arange(0, ROWS)  # of all samples
    inside = (site < batch.to(tl.int64) * depth * height * width)[:, None]
    w, h = site % width // 2, site // width % height // 2
    d, sample = site // width // height % depth, site // width // height // depth
    planes = depth
    if DEEP:
        d, planes = d // 2, depth // 2
    source = ((sample * planes + d) * (height // 2) + h) * (width // 2) + w
    place = site[:, None] * CHANNELS + channel[None, :]
    total = tl.load(low + source[:, None] * CHANNELS + channel[None, :], mask=inside, other=0.0).to(tl.float32) * scale
    if SKIP:
        total += tl.load(skip + place, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        total += tl.load(bias + channel).to(tl.float32)[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)


def add_blocks(x, out, scale, batch, depth, height, width, CHANNELS: tl.constexpr, DEEP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """out = scale times the sum of x over 2^d sites; depth, height and width are those of the coarse field."""
    blocks: tl.constexpr = CHANNELS // COLUMNS
    program = tl.program_id(0)
    channel = (program % blocks) * COLUMNS + tl.arange(0, COLUMNS)
    site = (program // blocks).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = (site < batch.to(tl.int64) * depth * height * width)[:, None]
    w, h = site % width, site // width % height
    d, sample = site // width // height % depth, site // width // height // depth
    deep: tl.constexpr = 1 + DEEP
    first = ((sample * depth * deep + d * deep) * height * 2 + h * 2) * width * 2 + w * 2
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for i in tl.static_range(deep):
        for j in tl.static_range(2):
            for k in tl.static_range(2):
                source = first + (i * height * 2 + j) * width * 2 + k
                place = x + source[:, None] * CHANNELS + channel[None, :]
                total += tl.load(place, mask=inside, other=0.0).to(tl.float32)
    to = out + site[:, None] * CHANNELS + channel[None, :]
    tl.store(to, (total * scale).to(out.dtype.element_ty), mask=inside)


def add_sites(x, sums, sites, CHANNELS: tl.constexpr, PIECE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore  # fmt: skip # noqa: E501
    """Sums (P, C) of x over pieces of the sites of all samples."""
    blocks: tl.constexpr = CHANNELS // COLUMNS
    program = tl.program_id(0)
    channel = (program % blocks) * COLUMNS + tl.arange(0, COLUMNS)
    piece = (program // blocks).to(tl.int64)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(0, PIECE, ROWS):
        site = piece * PIECE + first + tl.arange(0, ROWS)
        place = x + site[:, None] * CHANNELS + channel[None, :]
        total += tl.load(place, mask=(site < sites)[:, None], other=0.0).to(tl.float32)
    tl.store(sums + piece * CHANNELS + channel, tl.sum(total, 0))


@cache
def kernels() -> dict[str, Any] | None:
    """The kernels, compiled at their first use; None where there is no Triton."""
    return jitted(sys.modules[__name__], (add, repeat, add_blocks, add_sites), SIZES)


def added(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """a + b + bias; a and b (B, C, *grid) channels last, bias (C,)."""
    out = torch.empty_like(a)
    present(kernels())["add"][(-(-a.numel() // VALUES),)](
        a, b, a if bias is None else bias, out, a.numel(), CHANNELS=a.shape[1], BIAS=bias is not None, BLOCK=VALUES
    )
    return out


def repeated(low: Tensor, skip: Tensor | None, bias: Tensor | None, scale: float = 1.0) -> Tensor:
    """scale low with every site repeated 2^d times, + skip + bias; low (B, C, *grid/2) channels last."""
    grid = [2 * size for size in low.shape[2:]]
    out = torch.empty(
        *low.shape[:2], *grid, dtype=low.dtype, device=low.device, memory_format=MEMORY_FORMATS[low.ndim - 2]
    )
    present(kernels())["repeat"][_programs(out)](
        low, low if skip is None else skip, low if bias is None else bias, out, scale, *_sizes(out),
        SKIP=skip is not None, BIAS=bias is not None, DEEP=low.ndim == 5, **blocks_of(low.shape[1]),
    )  # fmt: skip
    return out


def block_sums(x: Tensor, scale: float) -> Tensor:
    """scale times the sum of x over blocks of 2^d sites; x (B, C, *grid) channels last, even sizes."""
    out = _empty(x, [size // 2 for size in x.shape[2:]])
    present(kernels())["add_blocks"][_programs(out)](
        x, out, scale, *_sizes(out), DEEP=x.ndim == 5, **blocks_of(x.shape[1])
    )
    return out


def site_sums(x: Tensor) -> Tensor:
    """Sum over samples and sites, (C,) float64: of pieces in float32, of these in float64; x is channels last."""
    sites = x.numel() // x.shape[1]
    sums = torch.empty(-(-sites // PIECE), x.shape[1], device=x.device)
    blocks = blocks_of(x.shape[1])
    programs = (len(sums) * (x.shape[1] // blocks["COLUMNS"]),)
    present(kernels())["add_sites"][programs](x, sums, sites, PIECE=PIECE, **blocks)
    return sums.double().sum(0)


def blocks_of(channels: int) -> dict[str, int]:
    """How a field of so many channels is cut: columns are the largest power of 2 that divides them, 64 at most."""
    columns = min(channels & -channels, 64)
    return {"CHANNELS": channels, "COLUMNS": columns, "ROWS": VALUES // columns}


def _empty(x: Tensor, grid: list[int]) -> Tensor:
    """Like x on another grid, channels last."""
    layout = MEMORY_FORMATS[x.ndim - 2]
    return torch.empty(*x.shape[:2], *grid, dtype=x.dtype, device=x.device, memory_format=layout)


def _programs(out: Tensor) -> tuple[int]:
    blocks, sites = blocks_of(out.shape[1]), out.numel() // out.shape[1]
    return (-(-sites // blocks["ROWS"]) * (out.shape[1] // blocks["COLUMNS"]),)


def _sizes(x: Tensor) -> list[int]:
    """B, D, H, W."""
    return [len(x), *[1] * (5 - x.ndim), *x.shape[2:]]


def fits(x: Tensor) -> bool:
    """Whether kernels take x: on CUDA, 2 or 3 axes, float32 or bfloat16, channels in eights, sites in 32 bits."""
    if x.device.type != "cuda" or x.ndim not in (4, 5) or x.dtype not in (torch.float32, torch.bfloat16):
        return False
    return x.numel() > 0 and x.shape[1] % GROUP == 0 and math.prod(x.shape[2:]) < 2**30 and kernels() is not None
