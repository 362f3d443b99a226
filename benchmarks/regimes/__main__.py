"""Measure every regime and write docs/regimes.md with its figures: ``python -m benchmarks.regimes [topic ...]``.

A topic is a module of this folder with ``rows() -> list[Row]`` and, where it draws, ``figures(folder) -> list`` of
(file name, caption). With topics named the table is printed and nothing is written.
"""

import datetime
import importlib
import math
import os
import pkgutil
import platform
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


def main(wanted):
    names = [m.name for m in pkgutil.iter_modules(regimes.__path__) if m.name not in NO_TOPICS]
    unknown = set(wanted) - set(names)
    if unknown:
        sys.exit(f"unknown topic {sorted(unknown)[0]!r}; choose from {', '.join(names)}")
    parts, broken, count = [], [], 0
    with tempfile.TemporaryDirectory() as folder:  # figures of a topic that fails are not half replaced
        for name in wanted or names:
            part, rows, failed = measure(name, Path(folder))
            parts.append(part)
            broken += failed
            count += rows
            if wanted:
                print(part, flush=True)
            else:  # after each topic: a campaign that is stopped leaves what it measured
                publish(parts, Path(folder))
    if not wanted:
        print(f"wrote {PAGE.relative_to(ROOT)}: {count} rows, {len(broken)} not kept")
    for line in broken:
        print(f"not kept: {line}")
    return 1 if broken else 0


def measure(name, folder):
    """One topic: its part of the page, its number of rows, and what was not kept."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        module = importlib.import_module(f"benchmarks.regimes.{name}")
        if not hasattr(module, "rows"):  # a piece of another topic
            return "", 0, []
        rows = list(module.rows())
        drawn = module.figures(folder) if hasattr(module, "figures") else []
    except Exception as error:  # the others are still worth their minutes; the page says what is missing
        traceback.print_exc()
        print(f"{name}: failed", flush=True)
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"\n## {name}\n\nThis topic failed: {said}", 0, [f"{name}: {said}"]
    seconds = f"{time.perf_counter() - wall:.0f} s ({time.process_time() - cpu:.0f} s of CPU)"
    print(f"{name}: {len(rows)} rows in {seconds}", flush=True)
    about = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    lines = [f"\n## {name}\n", f"{about} {seconds}.\n", HEAD, *map(as_line, rows)]
    lines += [f"\n![{Path(file).stem}](figures/regimes/{file})\n\n*{caption}*" for file, caption in drawn]
    return "\n".join(lines), len(rows), [f"{name}: {row.quantity}" for row in rows if row.kept is False]


def as_line(row):
    theory = "" if row.theory is None else number(row.theory, 0)
    cells = row.quantity, number(row.measured, row.error), theory, row.paper, KEPT[row.kept], row.note
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def number(value, error):
    """0.7750(12); a deterministic figure with six digits; an error that nobody knows shows as (?)."""
    return f"{value:.6g}".replace("-", "−") if error == 0 and math.isfinite(value) else format_value(value, error)


def publish(parts, folder):
    """Write the page and its figures."""
    fields = PAGE.with_name("regimes-fields.md")
    elsewhere = f"Fields and glasses have [a page of their own]({fields.name}). " if fields.exists() else ""
    head = (
        "# Dynamical regimes\n\nFigures of the papers on dynamical regimes and memorization, measured beside theory. A "
        "figure carries its standard error in units of its last digits; one without is deterministic. *Kept* says "
        "whether measured and theory agree by the rule in the note; rows marked stated claim nothing. "
        f"{elsewhere}Written by `make regimes` on {datetime.date.today()}, commit {git_commit()}: {processor()}, "
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads of torch, Python {platform.python_version()}, "
        f"torch {torch.__version__}.\n"
    )
    PAGE.write_text(head + "\n".join(filter(None, parts)) + "\n")
    FIGURES.mkdir(parents=True, exist_ok=True)
    for file in sorted(folder.iterdir()):
        shutil.copy(file, FIGURES / file.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
