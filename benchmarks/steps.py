"""Campaigns of minutes, as the commands that a user would type: what was made already is not made again.

A topic with ``SLOW = True`` is measured only when it is named. Its folder is one in that of the environment variable
``PHYSGEN_CAMPAIGN``, where it is kept, or a temporary one.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from pathlib import Path

import torch

from physgen.cli import main

ROOT = Path(__file__).resolve().parents[1]


def cpu_seconds() -> float:
    """Of this process and of those that it waited for."""
    return sum(os.times()[:4])


class Steps:
    """Commands of one topic in a folder of its own; their CPU seconds in ``seconds.json``, words in ``log.txt``."""

    def __init__(self, topic: str) -> None:
        self.folder = Path(os.environ.get("PHYSGEN_CAMPAIGN") or tempfile.mkdtemp()) / topic
        self.folder.mkdir(parents=True, exist_ok=True)
        self._noted = self.folder / "seconds.json"

    def make(self, output: str, *words: str) -> Path:
        """``physgen`` with these words, from within the folder, unless its output is there; the output."""
        target = self.folder / output
        if not target.exists():
            torch.set_num_threads(1)
            words = (*words, "--processes", "1") if words[0] == "simulate" else words
            began = cpu_seconds()
            with (self.folder / "log.txt").open("a") as log, contextlib.chdir(self.folder):
                print("$ physgen", *words, file=log, flush=True)
                with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                    failed = main(list(words))
            if failed:
                raise RuntimeError(f"physgen {' '.join(words)} failed: see {self.folder / 'log.txt'}")
            self.note(output, cpu_seconds() - began)
        return target

    def note(self, name: str, seconds: float) -> None:
        """Keep the CPU seconds of a step."""
        self._noted.write_text(json.dumps(self._seconds() | {name: seconds}, indent=1))

    def seconds(self, *names: str) -> float:
        """CPU seconds of steps together, nan where nobody noted them."""
        return sum(self._seconds().get(name, math.nan) for name in names)

    def all_seconds(self) -> float:
        """CPU seconds of all steps that were noted."""
        return sum(self._seconds().values())

    def _seconds(self) -> dict[str, float]:
        return json.loads(self._noted.read_text()) if self._noted.exists() else {}
