"""Work that is shared out to threads, with results that do not depend on how many there are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def shared_out(function: Callable[[Piece], Result], pieces: Sequence[Piece]) -> list[Result]:
    """``function`` of every piece, in order, on as many threads as torch uses, each of which does its pieces alone.

    numpy, the transforms and compiled loops leave the interpreter's lock. Within a piece torch uses one thread, so that
    what it finds does not depend on their number; a piece that is shared out again is done by that thread.
    """
    import torch

    _keep_freed_memory()
    threads = torch.get_num_threads()
    workers = min(threads, len(pieces))
    try:
        if workers <= 1:
            if threads > 1:
                torch.set_num_threads(1)
            return [function(piece) for piece in pieces]
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, pieces))
    finally:
        if threads > 1:  # each thread has its number, but those that start later inherit the last one that was set
            torch.set_num_threads(threads)


@functools.cache
def _keep_freed_memory() -> None:
    """Have the C library keep freed blocks of up to 32 MiB: by default every batch faults its pages in anew.

    glibc raises its thresholds for mapping and trimming to the size of a mapped block that is freed; this one is never
    touched. It halves the time of small batches on two threads; other C libraries do not mind.
    """
    np.empty(2**25 - 2**16, np.uint8)
