r"""The largest correlation over shifts and symmetries of every query with its nearest training fields. Torch only.

Exact values are inverse FFTs of :math:`F_a F_b^*`, a few fields at a time so that they stay in the processor's cache.
Where bounds (:mod:`physgen.diagnostics.shift_bounds`) are cheaper than they are, each query takes its training fields
in the order of their bounds, until the next bound is below the second largest correlation found.

Legend: Q queries, T training fields, G symmetries, C components, \*grid lattice of N cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from physgen.diagnostics.batches import shared_out
from physgen.diagnostics.shift_bounds import FRACTIONS, SPEED, LowModes, ShiftBounds, amplitude, fast_type, spectrum
from physgen.lattice import Symmetry

CHUNK = {
    "cpu": 2**16,
    "cuda": 2**26,
}  # numbers transformed at once by a thread: the cache of a core, or enough for a GPU
ROWS = 2**22  # bounds held at once
SPECTRA = 2**24  # numbers of the spectra of queries, symmetries included, held at once
LARGEST = 2**18  # cells of a lattice above which the factors of the products take too much memory
FIRST, MOST = 16, 256  # pairs of a query evaluated in the first and in any round
SAMPLE = (4, 256)  # queries and training fields by which bounds are judged
FEWEST = 4096  # pairs below which nothing is gained
PREPARATION = 80  # operations of an FFT that take as long as making one number of a query's factor

Evaluate = Callable[[Tensor, Tensor, Tensor], Tensor]  # (query, train, symmetry), positions (n,) each -> (n,)


def correlations(query: Tensor, train: Tensor, symmetries: Sequence[Symmetry], prune: bool = True) -> Tensor:
    r"""Largest correlation over shifts and symmetries, (Q, T).

    Args:
        query, train: (Q, C, \*grid) and (T, C, \*grid), of mean 0 and norm 1.
        symmetries: g of the queries.
        prune: leave out pairs that are certainly not among the two nearest of a query; they hold -inf.
    """
    axes, grid = query.ndim - 2, tuple(query.shape[2:])
    f_train = spectrum(train, axes).conj().resolve_conj()
    low = worth_bounding(query, f_train, len(symmetries)) if prune else None
    bounds = (
        None if low is None else ShiftBounds(f_train.conj().resolve_conj(), grid, low, fast_type(query.device.type))
    )
    rows = min(64, ROWS // (len(train) * len(symmetries)), SPECTRA // (train[0].numel() * len(symmetries)))

    def search(part: Tensor) -> Tensor:
        f_query = torch.stack([spectrum(g.move(part), axes) for g in symmetries])  # (G, rows, C, *half)
        if bounds is None:
            return torch.stack([exhaustive(f, f_train, grid) for f in f_query]).amax(dim=0)
        bound = torch.stack([bounds.of(f) for f in f_query], dim=2)
        return two_largest(bound, _evaluator(f_query, f_train, grid))

    if query.device.type != "cpu":
        return torch.cat([search(part) for part in query.split(max(1, rows))])
    # products of this size gain nothing from the threads of torch: each takes queries of its own
    rows = min(rows, math.ceil(len(query) / torch.get_num_threads()))
    return torch.cat(shared_out(search, query.split(max(1, rows))))


def exhaustive(f_query: Tensor, f_train: Tensor, grid: tuple[int, ...]) -> Tensor:
    r"""Largest correlation over shifts of every pair, (Q, C, \*half) by conjugate (T, C, \*half) -> (Q, T)."""
    pairs = _at_once(grid, f_query.device)
    columns = min(len(f_train), pairs)
    rows = []
    for q in f_query.split(max(1, pairs // columns)):
        rows.append(torch.cat([_peak(q[:, None] * t, grid) for t in f_train.split(columns)], dim=1))
    return torch.cat(rows)


def _evaluator(f_query: Tensor, f_train: Tensor, grid: tuple[int, ...]) -> Evaluate:
    pairs = _at_once(grid, f_query.device)

    def evaluate(query: Tensor, train: Tensor, symmetry: Tensor) -> Tensor:
        blocks = zip(query.split(pairs), train.split(pairs), symmetry.split(pairs), strict=True)
        return torch.cat([_peak(f_query[g, q] * f_train[t], grid) for q, t, g in blocks])

    return evaluate


def _at_once(grid: tuple[int, ...], device: torch.device) -> int:
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    return max(1, threads * CHUNK.get(device.type, CHUNK["cpu"]) // math.prod(grid))


def _peak(cross: Tensor, grid: tuple[int, ...]) -> Tensor:
    r"""Largest value over shifts of the correlations with cross spectra (..., C, \*half), summed over components."""
    axes = len(grid)
    cross = cross.squeeze(-axes - 1) if cross.shape[-axes - 1] == 1 else cross.sum(dim=-axes - 1)
    return torch.fft.irfftn(cross, s=grid, dim=tuple(range(-axes, 0)), norm="forward").flatten(-axes).amax(dim=-1)


def two_largest(bound: Tensor, evaluate: Evaluate) -> Tensor:
    """The largest value over G of each pair that may be one of the two largest of its query; -inf for the others.

    Args:
        bound: (Q, T, G), none below its value.
        evaluate: the values.
    """
    rows, count, group = bound.shape
    bound, order = bound.flatten(1).sort(dim=1, descending=True)
    best = bound.new_full((rows, count), -torch.inf)
    start, size = 0, FIRST
    while start < count * group:
        second = best.topk(2, dim=1).values[:, 1:] if count > 1 else best.new_full((rows, 1), -torch.inf)
        row, column = (bound[:, start : start + size] >= second).nonzero(as_tuple=True)
        if len(row) == 0:
            break
        item = order[row, start + column]
        value = evaluate(row, item // group, item % group)
        best.view(-1).scatter_reduce_(0, row * count + item // group, value, "amax")
        start, size = start + size, min(2 * size, MOST)
    return best


def worth_bounding(query: Tensor, f_train: Tensor, symmetries: int) -> LowModes | None:
    r"""The block of low modes with which the search costs least, or None where transforming every pair does.

    Tried on a sample of the pairs: low modes hold nearly the largest correlation, so a pair is left over where its own
    is within what the high modes may add of the second largest.

    Args:
        query: (Q, C, \*grid). f_train: conjugate spectra (T, C, \*half). symmetries: G.
    """
    axes, grid = query.ndim - 2, tuple(query.shape[2:])
    if len(query) * len(f_train) * symmetries < FEWEST or len(f_train) < 3 or math.prod(grid) > LARGEST:
        return None
    some, known = (x[:: max(1, len(x) // n)][:n] for x, n in zip((query, f_train), SAMPLE, strict=True))
    f_some, kind = spectrum(some, axes), fast_type(query.device.type)
    rho = exhaustive(f_some, known, grid)
    short = rho.topk(2, dim=1).values[:, 1:] - rho
    cells = math.prod(grid)
    transform = 2.5 * cells * math.log2(cells)
    costs: dict[LowModes | None, float] = {None: transform}
    for fraction in FRACTIONS:
        low = LowModes.of(grid, fraction)
        left = (short <= f_some.abs().flatten(1) @ amplitude(known, grid, low, kind)).float().mean().item()
        products, factor = low.operations(query.shape[1])
        costs[low] = products / SPEED[kind] + PREPARATION * factor / len(f_train) + 1.3 * left * transform
    return min(costs, key=lambda low: costs[low])
