r"""Between two resolutions of a lattice: block averages, repeated sites, and what keeps every site.

On a CPU :func:`downsample` and :func:`raised` run resolution.cpp (see native.py; gpu.py has those of a GPU), which does
in one pass what else takes two or three: the repetition and the sum with the field of the finer lattice, forwards and
backwards. Everywhere else, under torch.compile, under transformations of torch.func, and for channels that are no
multiple of 8 they are made of torch's operations: the same numbers. Both are linear, each is the other's derivative up
to a factor.

Shapes: B batch, C channels, \*grid lattice.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from physgen.networks import gpu
from physgen.networks.fused import GROUP, MEMORY_FORMATS, NAMES, has_kernel, records
from physgen.networks.native import kernel

AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class BlockAverage(torch.autograd.Function):
    """Average over 2^d sites; its own backward, since that of torch takes twice as long in bfloat16."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return AVERAGE_POOLS[x.ndim - 2](x, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return upsample(gradient * 0.5 ** (gradient.ndim - 2))

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return BlockAverage.apply(tangent)


def downsample(x: Tensor) -> Tensor:
    r"""Block average over 2^d sites: (B, C, \*grid) -> (B, C, \*grid/2)."""
    return downsample_beside(x)[0]


def downsample_beside(x: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`downsample`, and x for its other user: the kernel adds up the slopes of both, one pass less."""
    if gpu.halves(x):
        return gpu.averaged(x), x
    if torch.compiler.is_compiling() or any(size % 2 for size in x.shape[2:]):  # a last odd site is in no block
        return AVERAGE_POOLS[x.ndim - 2](x, 2), x
    if _has_kernel(x):
        factor = 0.5 ** (x.ndim - 2)
        return _Lowered.apply(x, factor) if records(x) else (_lowered(x, factor), x)
    return BlockAverage.apply(x), x


def upsample(x: Tensor) -> Tensor:
    r"""Each site repeated 2^d times: (B, C, \*grid) -> (B, C, \*2 grid); not transposed, hence no checkerboard."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def raised(x: Tensor, onto: Tensor | None = None, factor: float = 1.0) -> Tensor:
    r"""factor :func:`upsample` (x) + onto: (B, C, \*grid), nothing or (B, C, \*2 grid) -> (B, C, \*2 grid)."""
    if _has_kernel(x) and (onto is None or onto.dtype == x.dtype):
        return _Raised.apply(x, onto, factor) if records(x, onto) else _raised(x, onto, factor)
    y = upsample(x if factor == 1 else x * factor)
    return y if onto is None else y + onto


def moving_average(x: Tensor, shift: int) -> Tensor:
    r""":math:`2^{-d} \sum_{o \in \{0, \mathrm{shift}\}^d} x(n - o)`, same shape; ``-shift`` gives the adjoint.

    At every second site ``shift = -1`` is :func:`downsample`; averaged over the 2^d positions of the blocks,
    :func:`upsample` of that is ``shift = 1`` of this.
    """
    for axis in range(2, x.ndim):
        x = torch.lerp(x, x.roll(shift, axis), 0.5)
    return x


def _has_kernel(x: Tensor) -> bool:
    return x.shape[1] % GROUP == 0 and has_kernel(x)


class _Lowered(torch.autograd.Function):
    """factor times the sums over blocks, and x for its other user."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.factor = factor
        return _lowered(x, factor), x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, kept: Tensor | None) -> tuple[Tensor | None, None]:
        return kept if gradient is None else raised(gradient, kept, ctx.factor), None


class _Raised(torch.autograd.Function):
    """:func:`raised`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, onto: Tensor | None, factor: float) -> Tensor:
        ctx.factor = factor
        return _raised(x, onto, factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        sums = 2 ** (gradient.ndim - 2) * ctx.factor
        if not _has_kernel(gradient):
            lowered = downsample(gradient) * sums
        else:
            factor = ctx.factor
            lowered = _Lowered.apply(gradient, factor)[0] if records(gradient) else _lowered(gradient, factor)
        return lowered, gradient if ctx.needs_input_grad[1] else None, None


class _Blocks(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "depth", "height", "width", "channels", "deep", "threads")),
        ("factor", ctypes.c_double),
    ]  # fmt: skip


def _lowered(x: Tensor, factor: float) -> Tensor:
    grid = [size // 2 for size in x.shape[2:]]
    out = torch.empty((*x.shape[:2], *grid), dtype=x.dtype, memory_format=MEMORY_FORMATS[len(grid)])
    _run("lower", [x], out, out, factor)
    return out


def _raised(x: Tensor, onto: Tensor | None, factor: float) -> Tensor:
    grid = [2 * size for size in x.shape[2:]]
    out = torch.empty((*x.shape[:2], *grid), dtype=x.dtype, memory_format=MEMORY_FORMATS[len(grid)])
    _run("raise", [x, onto], out, x, factor)
    return out


def _run(name: str, fields: list[Tensor | None], out: Tensor, coarse: Tensor, factor: float) -> None:
    """A function of resolution.cpp from fields to ``out``; ``coarse`` is the one on the coarse lattice."""
    batch, channels, *grid = coarse.shape
    deep = len(grid) == 3
    blocks = _Blocks(batch, *([] if deep else [1]), *grid, channels, deep, torch.get_num_threads(), factor)
    layout = MEMORY_FORMATS[len(grid)]
    laid = [None if field is None else field.contiguous(memory_format=layout) for field in fields]
    addresses = [None if field is None else field.data_ptr() for field in (*laid, out)]
    kernel(f"{name}_{NAMES[out.dtype]}", len(addresses) + 1)(*addresses, ctypes.addressof(blocks))
