r"""How samples are computed, as opposed to what: in full tiles at fixed places of the sample index.

A matrix product, a convolution or a normalisation may round differently when another number of samples goes through it
at once. So that number is not a free parameter: samples :math:`jT \dots (j + 1)T - 1` are always computed
together, with the tile T fixed by the size of a configuration and the kind of device, whichever of them are asked for.
Sample number j then has the same bits whatever the number of samples asked for, where the request starts, how much is
kept in memory and how many processes share the work. Neither the card nor its free memory has a say in T.

Across kinds of device the noise is that of the same counters, and samples are equal up to rounding.

Shapes: N samples asked for, T samples of a tile, C channels, \*grid lattice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, in_dtype

# Values (channels x sites) of a tile, and the fewest and most samples, by the kind of device.
# CPU, measured (docs/sampling.md, before the U-Net had kernels of its own): the smallest tile within 20 % of the
# least CPU time a sample, so that little pads a small request; one sample takes slow paths of some convolutions.
# Else: estimated for a U-Net of width 32 on an H100, where a tile of 2^20 sites keeps the device busy longer than its
# kernels take to launch, in 2 GB at width 64.
# Vectors have no convolution, only products of matrices, for which more rows cost little: 8 components in tiles of 1024
# take an eighth of the time of tiles of 32 (a residual network of width 64, one core).
CPU, CPU_VECTORS, ACCELERATOR = (2**14, 2, 32), (2**16, 2, 1024), (2**20, 1, 4096)


def tile_of(shape: Sequence[int], kind: str = "cpu") -> int:
    r"""Samples of a tile: the power of 2 nearest below a number of values in all, within bounds.

    On a CPU 16384 values, 2 to 32 samples (of vectors 65536, 2 to 1024); on any other kind of device 1048576 values, 1
    to 4096 samples.

    Args:
        shape: (C, \*grid) of a configuration. kind: of device, as in ``torch.device(...).type``.
    """
    on_cpu = CPU if len(shape) > 1 else CPU_VECTORS
    values, fewest, most = on_cpu if kind == "cpu" else ACCELERATOR
    fitting = max(values // math.prod(shape), 1)
    return min(max(2 ** (fitting.bit_length() - 1), fewest), most)


@dataclass(frozen=True)
class Tile:
    """A full tile of sample numbers ``index``, of which [first, last) belong to the request of ``count`` samples."""

    index: range
    start: int
    count: int
    streams: Sequence[int] | None = None

    @property
    def numbers(self) -> Sequence[int]:
        """Number of the noise stream of each row: ``index``, unless the request names its streams."""
        if self.streams is None:
            return self.index
        return [self.streams[min(max(i - self.start, 0), self.count - 1)] for i in self.index]

    @property
    def inside(self) -> slice:
        """Rows of the tile that were asked for."""
        first = self.index[0]
        return slice(max(self.start - first, 0), min(self.start + self.count - first, len(self.index)))

    @property
    def place(self) -> slice:
        """The positions of these rows among the samples asked for."""
        shift = self.index[0] - self.start
        return slice(self.inside.start + shift, self.inside.stop + shift)

    def take(self, value: Tensor) -> Tensor:
        """Rows (T, ...) of a tensor (N, ...) that leads with the request; the rest of the tile repeats its ends."""
        rows = torch.tensor(self.index, device=value.device) - self.start
        return value[rows.clamp(0, self.count - 1)]

    def condition(self, condition: Condition, device: torch.device | str) -> Condition:
        """The condition of the tile's rows on a device."""
        return condition and {name: self.take(value).to(device) for name, value in condition.items()}


@dataclass(frozen=True)
class Execution:
    """How a request is computed.

    Args:
        tile: samples in one call of the denoiser, :func:`tile_of` the configuration and the device where None. Other
            tiles give the same samples up to rounding, exact laws often to the bit; a large one suits small
            configurations, and thousands of them on a processor of many cores.
        start_index: index of the first sample in the whole ensemble; processes take ranges (multiples of the tile
            waste nothing).
        device: where the denoiser runs.
        home: where the samples are gathered, tile by tile; the device where None. With "cpu" the device never holds
            more than a tile.
        dtype: float32 or float64.
        streams: N numbers of the noise streams of the samples asked for; their indices where None. For samples whose
            position depends on how many are asked for: the position then changes nothing but their rounding.
        progress: called as progress(done, total) after each evaluation of the denoiser on a tile. An adaptive
            sampler does not know its total: it grows with what is done.
        workers: tiles computed at once, each by a thread of its own that takes its share of torch's. The denoiser is
            then called from several threads. A tile gets that share however few there are, since a convolution rounds
            in another order on another number of threads; whatever their number, a tile is computed alike.
    """

    tile: int | None = None
    start_index: int = 0
    device: torch.device | str = "cpu"
    home: torch.device | str | None = None
    dtype: torch.dtype = torch.float32
    streams: Sequence[int] | None = None
    progress: Callable[[int, int], None] | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if (self.tile is not None and self.tile < 1) or self.start_index < 0:
            raise ValueError(
                f"sampling needs tile >= 1 and start_index >= 0, got {self.tile} and {self.start_index}; take None "
                "and 0"
            )
        if self.workers < 1:
            raise ValueError(f"sampling needs workers >= 1, got {self.workers}; 1 computes a tile at a time")
        if self.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"samples need float32 or float64, got {self.dtype}; use autocast inside the denoiser")

    def tiles(self, count: int, shape: Sequence[int]) -> list[Tile]:
        r"""The tiles that meet the samples [start_index, start_index + count) of shape (C, \*grid)."""
        start, size = self.start_index, self.tile or tile_of(shape, torch.device(self.device).type)
        if self.streams is not None and len(self.streams) != count:
            raise ValueError(f"streams must name one stream for each of the {count} samples, got {len(self.streams)}")
        firsts = range(start - start % size, start + count, size)
        return [Tile(range(first, first + size), start, count, self.streams) for first in firsts]

    def conditions(self, condition: Condition, tiles: Sequence[Tile]) -> Iterator[Condition]:
        """The condition of each tile on the device, floating tensors in ``dtype``.

        Raises ValueError before the first one where a tensor does not lead with the number of samples asked for.
        """
        check_condition(condition, tiles[0].count)
        return (self.condition(condition, tile) for tile in tiles)

    def condition(self, condition: Condition, tile: Tile) -> Condition:
        """The condition of a tile on the device, floating tensors in ``dtype``."""
        return in_dtype(tile.condition(condition, self.device), self.dtype)

    def each(self, work: Callable[[Tile], None], tiles: Sequence[Tile]) -> None:
        """``work`` on every tile, without gradients, by ``workers`` threads; the first error is raised."""

        def quietly(tile: Tile) -> None:
            with torch.no_grad():  # a thread has a mode of its own
                work(tile)

        threads, workers = torch.get_num_threads(), min(self.workers, len(tiles))
        share = max(1, threads // self.workers)
        try:
            if workers <= 1:
                if share < threads:
                    torch.set_num_threads(share)
                for tile in tiles:
                    quietly(tile)
                return
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
                try:
                    for done in [pool.submit(copy_context().run, quietly, tile) for tile in tiles]:
                        done.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        finally:  # each thread has its number, but those that start later inherit the last one that was set
            if threads > 1:
                torch.set_num_threads(threads)


def check_condition(condition: Condition, count: int) -> None:
    """ValueError where a tensor of the condition does not lead with the number of samples."""
    for name, value in (condition or {}).items():
        if value.shape[0] != count:
            raise ValueError(f"condition {name!r} must lead with {count}, one row a sample, got {tuple(value.shape)}")
