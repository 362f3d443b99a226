"""A campaign: the topics of one folder, measured and written to one page of docs/ with their figures.

A topic is a module of the folder with ``rows() -> list[Row]`` (:mod:`benchmarks.regimes.row`) and, where it draws,
``figures(folder) -> list`` of (file name, caption). One with ``SLOW = True`` is measured only when it is named.
"""

import datetime
import importlib
import math
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.speed.__main__ import _processor as processor
from benchmarks.steps import Steps
from physgen.figures import format_value
from physgen.provenance import git_commit

KEPT = {True: "yes", False: "**no**", None: "stated"}
ROOT = Path(__file__).resolve().parents[1]
HEAD = "| quantity | measured | theory | paper | kept | note |\n" + "|---" * 6 + "|"


@dataclass(frozen=True)
class Campaign:
    """The folder ``benchmarks/<name>``, which writes ``docs/<name>.md``.

    Attributes:
        title: of the page.
        about: its first sentences.
        beside: further page of docs/ on the same matter, named where it exists.
        head: head of the table. line: row -> a line of it; None for :func:`as_line`.
    """

    name: str
    title: str
    about: str
    beside: str = ""
    head: str = HEAD
    line: Callable | None = None

    @property
    def written(self):
        """The name of page, figures and make target: with hyphens, as documents have."""
        return self.name.replace("_", "-")

    @property
    def page(self):
        return ROOT / "docs" / f"{self.written}.md"

    @property
    def figures(self):
        return ROOT / "docs" / "figures" / self.written


def run(campaign, words):
    """Measure all topics, or those named, and write them; ``--write`` writes those that are named too."""
    write, wanted = "--write" in words, [word for word in words if word != "--write"]
    names = topics(campaign)
    unknown = set(wanted) - set(names)
    if unknown:
        sys.exit(f"unknown topic {sorted(unknown)[0]!r}; choose from {', '.join(names)}")
    broken, count = [], 0
    for name in wanted or [name for name in names if not slow(campaign, name)]:
        with tempfile.TemporaryDirectory() as folder:
            section, rows, failed = measure(campaign, name, Path(folder))
            broken += failed
            count += rows
            if wanted and not write:
                print(section, flush=True)
            elif rows:  # after each topic: a campaign that is stopped leaves what it measured
                publish(campaign, name, section, Path(folder))
    if write or not wanted:
        print(f"wrote {campaign.page.relative_to(ROOT)}: {count} rows, {len(broken)} not kept")
    for line in broken:
        print(f"not kept: {line}")
    return 1 if broken else 0


def topics(campaign):
    """Modules of this folder that measure something: by their text, without importing what takes seconds."""
    files = sorted((ROOT / "benchmarks" / campaign.name).glob("*.py"))
    return [file.stem for file in files if "\ndef rows(" in file.read_text()]


def slow(campaign, name):
    """Whether a topic takes minutes of training: it is measured when it is named, its section stays otherwise."""
    return "\nSLOW = True" in (ROOT / "benchmarks" / campaign.name / f"{name}.py").read_text()


def measure(campaign, name, folder):
    """One topic: its section of the page, its number of rows, and what was not kept."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        module = importlib.import_module(f"benchmarks.{campaign.name}.{name}")
        rows = list(module.rows())
        drawn = module.figures(folder) if hasattr(module, "figures") else []
    except Exception as error:  # the others are still worth their minutes; the section of an earlier run stays
        traceback.print_exc()
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"\n## {name}\n\nThis topic failed: {said}", 0, [f"{name}: {said}"]
    seconds = f"{time.perf_counter() - wall:.0f} s ({time.process_time() - cpu:.0f} s of CPU)"
    if slow(campaign, name):  # what was made before is not made again
        seconds += f", its commands {Steps(name).all_seconds():.0f} s of CPU in all"
    print(f"{name}: {len(rows)} rows in {seconds}", flush=True)
    about = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    where = f"{datetime.date.today()}, commit {git_commit()}, {torch.get_num_threads()} threads, {seconds}"
    lines = [f"\n## {name}\n", f"{about}\n", f"Measured on {where}.\n", campaign.head]
    lines += map(campaign.line or as_line, rows)
    lines += [f"\n![{Path(file).stem}](figures/{campaign.written}/{file})\n\n*{caption}*" for file, caption in drawn]
    return "\n".join(lines), len(rows), [f"{name}: {row.quantity}" for row in rows if row.kept is False]


def as_line(row):
    theory = "" if row.theory is None else number(row.theory, 0)
    cells = row.quantity, number(row.measured, row.error), theory, row.paper, KEPT[row.kept], row.note
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def number(value, error):
    """0.7750(12); a deterministic figure with six digits; an error that nobody knows shows as (?)."""
    return f"{value:.6g}".replace("-", "−") if error == 0 and math.isfinite(value) else format_value(value, error)


def publish(campaign, name, section, folder):
    """Put one section and its figures in the place of the old ones."""
    sections, names = {}, topics(campaign)
    if campaign.page.exists():
        for part in re.split(r"\n(?=## \w+\n)", campaign.page.read_text())[1:]:
            sections[part.split("\n", 1)[0][3:]] = part.strip()
    sections[name] = section.strip()
    missing = [other for other in names if other not in sections]
    absent = f" Not run for this page: {', '.join(missing)}." if missing else ""
    beside = f" {campaign.beside}" if campaign.beside else ""
    head = (
        f"# {campaign.title}\n\n{campaign.about} A figure carries its standard error in units of its last digits; one "
        "without is deterministic. *Kept* says whether measured and theory agree by the rule in the note; rows marked "
        f"stated claim nothing. Written by `make {campaign.written}`, one section by `python -m "
        f"benchmarks.{campaign.name} --write TOPIC`: {processor()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__}.{beside}{absent}"
    )
    campaign.page.write_text("\n\n".join([head, *(sections[name] for name in names if name in sections)]) + "\n")
    drawn = sorted(folder.iterdir())
    if drawn:
        campaign.figures.mkdir(parents=True, exist_ok=True)
    for file in drawn:
        shutil.copy(file, campaign.figures / file.name)
