"""Measure every regime, write docs/regimes.md and its figures: ``python -m benchmarks.regimes [--write] [topic ...]``.

A topic is a module of this folder with ``rows() -> list[Row]`` and, where it draws, ``figures(folder) -> list`` of
(file name, caption). With topics named their tables are printed and nothing is written; with ``--write`` as well, they
take the place of their sections of the page. Each section says when and where it was measured.
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
from pathlib import Path

import torch

from benchmarks import regimes
from benchmarks.speed.__main__ import _processor as processor
from physgen.figures import format_value
from physgen.provenance import git_commit

KEPT = {True: "yes", False: "**no**", None: "stated"}
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "regimes.md"
FIGURES = PAGE.parent / "figures" / "regimes"
NO_TOPICS = ("row", "drawing", "fields", "__main__")
HEAD = "| quantity | measured | theory | paper | kept | note |\n" + "|---" * 6 + "|"


def main(words):
    write, wanted = "--write" in words, [word for word in words if word != "--write"]
    names = topics()
    unknown = set(wanted) - set(names)
    if unknown:
        sys.exit(f"unknown topic {sorted(unknown)[0]!r}; choose from {', '.join(names)}")
    broken, count = [], 0
    for name in wanted or names:
        with tempfile.TemporaryDirectory() as folder:
            section, rows, failed = measure(name, Path(folder))
            broken += failed
            count += rows
            if wanted and not write:
                print(section, flush=True)
            elif rows:  # after each topic: a campaign that is stopped leaves what it measured
                publish(name, section, names, Path(folder))
    if write or not wanted:
        print(f"wrote {PAGE.relative_to(ROOT)}: {count} rows, {len(broken)} not kept")
    for line in broken:
        print(f"not kept: {line}")
    return 1 if broken else 0


def topics():
    """Modules of this folder that measure something: by their text, without importing what takes seconds."""
    files = sorted(Path(regimes.__path__[0]).glob("*.py"))
    return [file.stem for file in files if "\ndef rows(" in file.read_text()]


def measure(name, folder):
    """One topic: its section of the page, its number of rows, and what was not kept."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        module = importlib.import_module(f"benchmarks.regimes.{name}")
        rows = list(module.rows())
        drawn = module.figures(folder) if hasattr(module, "figures") else []
    except Exception as error:  # the others are still worth their minutes; the section of an earlier run stays
        traceback.print_exc()
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"\n## {name}\n\nThis topic failed: {said}", 0, [f"{name}: {said}"]
    seconds = f"{time.perf_counter() - wall:.0f} s ({time.process_time() - cpu:.0f} s of CPU)"
    print(f"{name}: {len(rows)} rows in {seconds}", flush=True)
    about = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    where = f"{datetime.date.today()}, commit {git_commit()}, {torch.get_num_threads()} threads, {seconds}"
    lines = [f"\n## {name}\n", f"{about}\n", f"Measured on {where}.\n", HEAD, *map(as_line, rows)]
    lines += [f"\n![{Path(file).stem}](figures/regimes/{file})\n\n*{caption}*" for file, caption in drawn]
    return "\n".join(lines), len(rows), [f"{name}: {row.quantity}" for row in rows if row.kept is False]


def as_line(row):
    theory = "" if row.theory is None else number(row.theory, 0)
    cells = row.quantity, number(row.measured, row.error), theory, row.paper, KEPT[row.kept], row.note
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def number(value, error):
    """0.7750(12); a deterministic figure with six digits; an error that nobody knows shows as (?)."""
    return f"{value:.6g}".replace("-", "−") if error == 0 and math.isfinite(value) else format_value(value, error)


def publish(name, section, names, folder):
    """Put one section and its figures in the place of the old ones."""
    sections = {}
    if PAGE.exists():
        for part in re.split(r"\n(?=## \w+\n)", PAGE.read_text())[1:]:
            sections[part.split("\n", 1)[0][3:]] = part.strip()
    sections[name] = section.strip()
    fields = PAGE.with_name("regimes-fields.md")
    elsewhere = f" Fields and glasses have [a page of their own]({fields.name})." if fields.exists() else ""
    missing = [other for other in names if other not in sections]
    absent = f" Not run for this page: {', '.join(missing)}." if missing else ""
    head = (
        "# Dynamical regimes\n\nFigures of the papers on dynamical regimes and memorization, measured beside theory. A "
        "figure carries its standard error in units of its last digits; one without is deterministic. *Kept* says "
        "whether measured and theory agree by the rule in the note; rows marked stated claim nothing. Written by "
        f"`make regimes`, one section by `python -m benchmarks.regimes --write TOPIC`: {processor()}, {os.cpu_count()} "
        f"cores, Python {platform.python_version()}, torch {torch.__version__}.{elsewhere}{absent}"
    )
    PAGE.write_text("\n\n".join([head, *(sections[name] for name in names if name in sections)]) + "\n")
    FIGURES.mkdir(parents=True, exist_ok=True)
    for file in sorted(folder.iterdir()):
        shutil.copy(file, FIGURES / file.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
