r"""Upper bounds of the largest correlation over shifts, from the low modes of a lattice. Torch only.

The correlation at a shift s is a sum over modes, :math:`\rho(s) = \sum_k F_a F_b^* e^{iks}`, so with a block of low
modes

.. math:: \max_s \rho(s) \le \max_s \sum_{k\,\mathrm{low}} F_a F_b^* e^{iks} + \sum_{k\,\mathrm{high}} |F_a||F_b|.

The second sum alone, over all modes, says little: it is near :math:`\pi/4` for any two Gaussian fields of one spectrum.
The first sum is a chain of matrix products, axis by axis: these run ten to thirty times faster per operation than FFTs
do, in bfloat16 where the machine multiplies it fast. The bound holds for rounded numbers too: each product of rounded
factors adds at most 2u of :math:`|F_a||F_b|`, with u the unit roundoff.

Legend: Q queries, T training fields, C components, d axes, \*grid = (n_1, ..., n_d), m_i low modes along axis i,
R = m_d ... m_2 low modes of all axes but the first.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.lattice import half_grid, multiplicity

UNIT_ROUNDOFF = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
SLACK = 1e-4  # sums and transforms in single precision
BLOCK = {
    "cpu": 2**19,
    "cuda": 2**26,
}  # numbers of one block of correlations: a processor's cache, or enough to fill a GPU
FRACTIONS = (3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)  # of the modes along an axis
# operations of these chains of matrix products that take as long as one of an FFT, measured on one core
SPEED = {torch.float32: 7.0, torch.bfloat16: 14.0}


def spectrum(x: Tensor, axes: int) -> Tensor:
    """Half-spectrum of fields (..., *grid) scaled so that the correlation is the plain sum over all modes."""
    return torch.fft.rfftn(x, dim=tuple(range(-axes, 0)), norm="ortho")


@functools.lru_cache(maxsize=8)
def fast_type(device: str) -> torch.dtype:
    """bfloat16 where this machine multiplies it at least 1.5 times as fast as float32, else float32."""
    if device != "cpu":
        return torch.bfloat16 if device == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    factors = {kind: torch.ones(256, 256, dtype=kind) for kind in (torch.float32, torch.bfloat16)}
    took = dict.fromkeys(factors, math.inf)
    for _ in range(12):  # in turn: what else the machine does slows down both
        for kind, x in factors.items():
            start = time.perf_counter()
            x @ x
            took[kind] = min(took[kind], time.perf_counter() - start)
    return torch.bfloat16 if 1.5 * took[torch.bfloat16] < took[torch.float32] else torch.float32


@dataclass(frozen=True)
class LowModes:
    r"""The block of modes \|m_i\| <= reach_i along every axis; a lattice of one axis counts as (1, n)."""

    grid: tuple[int, ...]
    reach: tuple[int, ...]

    @classmethod
    def of(cls, grid: Sequence[int], fraction: float) -> LowModes:
        """The part ``fraction`` of the modes along each axis."""
        grid = (1, *grid) if len(grid) == 1 else tuple(grid)
        return cls(grid, tuple(math.ceil(fraction * (n // 2)) for n in grid))

    def indices(self, axis: int) -> Tensor:
        """Positions of the low modes along an axis of the rfftn layout."""
        n, reach = self.grid[axis], self.reach[axis]
        if axis == len(self.grid) - 1:
            return torch.arange(reach + 1)
        return torch.nonzero((torch.fft.fftfreq(n) * n).abs().round() <= reach).flatten()

    def chosen(self, spectra: Tensor) -> Tensor:
        r"""(B, C, \*half) -> (B, C, m_1, ..., m_d)."""
        spectra = spectra.unflatten(2, (1, -1)) if spectra.ndim == 3 else spectra
        for axis in range(len(self.grid)):
            spectra = spectra.index_select(2 + axis, self.indices(axis).to(spectra.device))
        return spectra

    def mask(self) -> Tensor:
        """1 at the low modes of the half-spectrum and 0 elsewhere, (n_1, ..., n_d//2 + 1)."""
        mask = torch.ones(())
        for axis, n in enumerate(half_grid(self.grid)):
            mask = mask[..., None] * torch.zeros(n).index_fill(0, self.indices(axis), 1.0)
        return mask

    def phases(self, axis: int) -> Tensor:
        r"""Conjugate of :math:`e^{2\pi i s m/n}` at every shift s and low mode m of an axis, (n, m)."""
        n = self.grid[axis]
        angle = (torch.arange(n)[:, None] * self.indices(axis)[None] % n).double() * (2 * math.pi / n)
        return torch.polar(torch.ones_like(angle), -angle).to(torch.complex64)

    def operations(self, components: int) -> tuple[float, int]:
        """Floating point operations of the products for one pair, and numbers of the factor that each query needs."""
        modes = [len(self.indices(axis)) for axis in range(len(self.grid))]
        factor = self.grid[0] * components * math.prod(modes)
        total = 8.0 * factor
        for axis, n in enumerate(self.grid[1:], start=1):
            last = axis == len(modes) - 1
            total += (4 if last else 8) * math.prod(self.grid[:axis]) * n * math.prod(modes[axis:])
        return total, factor


class ShiftBounds:
    """Bounds for many queries against one training set; made once, asked block by block."""

    def __init__(self, f_train: Tensor, grid: Sequence[int], low: LowModes, kind: torch.dtype) -> None:
        r"""Keep the training spectra (T, C, \*half) of :func:`spectrum` as factors of products of type ``kind``."""
        device = f_train.device
        self.low, self.kind = low, kind
        weight, last = multiplicity(grid).to(device), len(low.grid) - 1
        self.amplitude = amplitude(f_train, grid, low, kind)
        modes = low.chosen(f_train.conj()) * weight[low.indices(last).to(device)]
        # (T, C, m_1, m_2, ..., m_d) -> (R, 2 C m_1, T)
        modes = modes.flatten(1, 2).permute(*range(last + 1, 0, -1), 0).flatten(0, -3)
        parts = torch.stack([modes.real, modes.imag], dim=-2).flatten(-3, -2).to(kind)
        # zero columns fill the last block: vector registers hold 64 numbers at most
        self.count = len(f_train)
        width = min(BLOCK.get(device.type, BLOCK["cpu"]) // math.prod(grid), self.count)
        width = 64 * max(1, math.ceil(width / 64))
        parts = torch.nn.functional.pad(parts, (0, -self.count % width))
        self.blocks = [block.contiguous() for block in parts.split(width, dim=-1)]
        self.first = _both_parts(low.phases(0)).to(device)
        self.turns = [_as_real(_both_parts(low.phases(axis))).to(device, kind) for axis in range(1, last)]
        self.final = _as_real(low.phases(last)).to(device, kind)
        # written again for each block: new memory would cost more than the products
        self._scratch = ((len(parts), 2 * low.grid[0], width), (low.grid[last], math.prod(low.grid[:last]) * width))

    def of(self, f_query: Tensor) -> Tensor:
        r"""Bounds of queries with spectra (Q, C, \*half): (Q, T), single precision. Threads may ask at once."""
        scratch = [self.blocks[0].new_empty(shape) for shape in self._scratch]
        bound = (f_query.abs().flatten(1) @ self.amplitude) * (1 + _rounding_of_products()) + SLACK
        for row, modes in enumerate(self.low.chosen(f_query).conj().resolve_conj()):
            modes = modes.permute(*range(modes.ndim - 1, 1, -1), 0, 1)  # (m_d, ..., m_2, C, m_1)
            factor = (self.first[:, None] * modes[..., None, :, :]).flatten(-2).flatten(0, -3)
            factor = _as_real(factor).to(self.kind)  # (R, (re im) n_1, C m_1 (re im))
            largest = torch.cat([self._largest(factor, block, *scratch) for block in self.blocks])[: self.count]
            bound[row] += largest * (1 + UNIT_ROUNDOFF[self.kind])
        return bound

    def _largest(self, factor: Tensor, block: Tensor, product: Tensor, values: Tensor) -> Tensor:
        """Largest low-mode correlation over shifts: (R, 2 n_1, 2 C m_1) by (R, 2 C m_1, t) -> (t,)."""
        pairs = block.shape[-1]
        z = torch.bmm(factor, block, out=product)  # (m_d ... m_2, (re im) n_1, t)
        rest = z.shape[1] // 2 * pairs
        for turn in self.turns:  # along axis i: (m_d ..., m_i (re im), rest) -> (m_d ..., (re im) n_i, rest)
            z = turn @ z.reshape(-1, turn.shape[1], rest)
            rest *= turn.shape[0] // 2
        values = torch.mm(self.final, z.reshape(self.final.shape[1], rest), out=values).reshape(-1, pairs)
        if (
            self.kind is torch.bfloat16
        ):  # positive numbers are in the order of their bits, and those are faster to compare
            values = values.view(torch.int16).amax(dim=0).view(self.kind).float()
        else:
            values = values.amax(dim=0)
        return values.clamp_min(0)  # the mean over shifts is 0, so the largest is not negative


def amplitude(f_train: Tensor, grid: Sequence[int], low: LowModes, kind: torch.dtype) -> Tensor:
    r"""Factor (C half, T) by which \|F_a\| gives what high modes add at most, and what rounding does at low ones."""
    rounding = (1 + UNIT_ROUNDOFF[kind]) ** (2 * len(low.grid)) - 1
    counted = 1 - (1 - rounding) * low.mask().reshape(f_train.shape[2:])
    return (f_train.abs() * (multiplicity(grid) * counted).to(f_train.device)).flatten(1).T.contiguous()


def _rounding_of_products() -> float:
    """Relative error of a product of float32 matrices, which users of torch may have allowed to be larger."""
    return 0.0 if torch.get_float32_matmul_precision() == "highest" else 2 * UNIT_ROUNDOFF[torch.bfloat16]


def _as_real(conjugate: Tensor) -> Tensor:
    r"""Conjugate of (..., n, m) as real (..., n, m (re im)): times a column of pairs, the real part of the product."""
    return torch.view_as_real(conjugate).flatten(-2)


def _both_parts(conjugate: Tensor) -> Tensor:
    """Conjugate of (..., n, m) as (..., (re im) n, m): more rows, for the imaginary part of the product."""
    return torch.cat([conjugate, 1j * conjugate], dim=-2)
