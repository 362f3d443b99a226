"""Spawn or not: a fresh interpreter imports torch and scipy before it works, which short work does not repay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import process_time
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

START_SECONDS = 4.0  # of CPU until a spawned process works: importing the simulator took 3.2 and 3.8 s on a busy core


def begin_alone(run: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    r"""Results of the first tasks, made in this process; it ends where ``workers`` of their own would finish sooner.

    n tasks left of t seconds each take n t here and n t / w + ``START_SECONDS`` there: it goes on alone while
    n t (1 - 1/w) is less than ``START_SECONDS``. t is the quickest task so far (CPU, so the load does not count);
    a short first one is not believed, since it warms caches. With one worker all is done here.
    """
    quickest = float("inf")
    for done, task in enumerate(tasks, 1):
        begun = process_time()
        result = run(task)
        quickest = min(quickest, process_time() - begun)
        yield result
        left = (len(tasks) - done) * quickest
        if (done > 1 or quickest > START_SECONDS) and left * (1 - 1 / workers) > START_SECONDS:
            return
