"""Progress of a long task: tqdm's bar on a terminal and in notebooks, a line each tenth elsewhere."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any, Protocol


class Progress(Protocol):
    """What a stage calls after each step."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` steps are done; ``note`` is a word on the last one, such as its loss."""


def progress_bar(title: str) -> Progress:
    """A new bar. It shows itself with the first step and closes itself with the last one."""
    return _Live(title) if _in_notebook() or sys.stderr.isatty() else _Lines(title)


def shown_bar(shown: bool, title: str) -> Progress | None:
    """:func:`progress_bar` where it is to be shown."""
    return progress_bar(title) if shown else None


class Board:
    """A bar for each of several tasks at once, below each other; each goes through stages with a title of their own.

    One process draws them all: bars of several processes write over each other.

    Args:
        tasks: their names, from the top.
    """

    def __init__(self, tasks: Sequence[str]):
        self.tasks, self.live = list(tasks), _in_notebook() or sys.stderr.isatty()
        self.bars: dict[str, Any] = {}
        self.lines: dict[str, _Lines] = {}

    def __call__(self, task: str, title: str, done: int, total: int, note: str = "") -> None:
        """A stage of a task stands at ``done`` of ``total``."""
        if not self.live:
            self.lines.setdefault(title, _Lines(title))(done, total, note)
            return
        if not self.bars:
            self.bars = {name: _tqdm(name, 1, 0, place) for place, name in enumerate(self.tasks)}
        bar = self.bars[task]
        if title != bar.desc.removesuffix(": "):
            bar.reset(total)
            bar.set_description(title, refresh=False)
            bar.set_postfix_str("", refresh=False)
        if note:
            bar.set_postfix_str(note, refresh=False)
        bar.total, bar.n = total, done
        bar.refresh()

    def close(self) -> None:
        """Leave the bars as they are, the cursor below them."""
        for bar in self.bars.values():
            bar.close()


class _Live:
    def __init__(self, title: str):
        self.title = title
        self.bar: Any = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        if self.bar is not None and self.bar.disable and done > self.bar.n:
            return  # an adaptive solver needs more evaluations than were foreseen
        if self.bar is None or done <= self.bar.n:  # a title may be used for several rounds
            self.bar = _tqdm(self.title, total, done - 1)
        if note:
            self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(done - self.bar.n)
        if done >= total:
            self.bar.close()


class _Lines:
    def __init__(self, title: str):
        self.title, self.tenth = title, -1

    def __call__(self, done: int, total: int, note: str = "") -> None:
        tenth = int(10 * done / max(total, 1))
        if tenth != self.tenth:
            self.tenth = tenth
            print(f"{self.title} {done}/{total} {note}".rstrip(), file=sys.stderr, flush=True)


def _tqdm(title: str, total: int, initial: int, place: int | None = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets gets the bar of a terminal
        from tqdm.auto import tqdm
    return tqdm(desc=title, total=total, initial=max(initial, 0), dynamic_ncols=True, mininterval=0.2, position=place)


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config
