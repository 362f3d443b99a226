"""Many figures at once: made and saved by several processes, since matplotlib keeps the interpreter to itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from physgen.figures.style import Figure, save_figure
from physgen.processes.spawning import begin_alone

Draw = Callable[[], Figure]


def save_figures(drawings: Mapping[str, Draw], folder: str | Path, processes: int = 1) -> dict[str, Path]:
    """Make and save each figure, see :func:`save_figure`; the svg files by name.

    Args:
        drawings: name of the files -> function that makes the figure; picklable where several processes draw.
        folder: made if absent.
        processes: how many draw at most, this one included, where there is enough to draw; the files do not depend
            on it. They are spawned: a script keeps its own work under ``if __name__ == "__main__"``.
    """
    names = list(drawings)[::-1]
    mine = begin_alone(lambda name: _save(drawings[name], folder, name), names, min(processes, len(names)))
    drawn = dict(zip(names, mine, strict=False))
    left = {name: draw for name, draw in drawings.items() if name not in drawn}
    if left:
        drawn |= _drawn_together(left, folder, min(processes - 1, len(left)))
    return {name: drawn[name] for name in drawings}


def _drawn_together(drawings: Mapping[str, Draw], folder: str | Path, helpers: int) -> dict[str, Path]:
    with ProcessPoolExecutor(helpers, mp_context=get_context("spawn")) as pool:
        try:
            waiting = {name: pool.submit(_save, draw, folder, name) for name, draw in drawings.items()}
            return _drawn_from_the_end(drawings, folder, waiting)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _drawn_from_the_end(
    drawings: Mapping[str, Draw], folder: str | Path, waiting: Mapping[str, Future[Path]]
) -> dict[str, Path]:
    """The helpers begin with the first figures, this process with the last ones, until they meet."""
    mine = {}
    for name in reversed(list(drawings)):
        if not waiting[name].cancel():
            break
        mine[name] = _save(drawings[name], folder, name)
    return {name: mine[name] if name in mine else waiting[name].result() for name in drawings}


def _save(draw: Draw, folder: str | Path, name: str) -> Path:
    return save_figure(draw(), folder, name)[1]
