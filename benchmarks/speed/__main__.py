"""Run every race and write docs/benchmarks.md: ``python -m benchmarks.speed [topic ...]``."""

import datetime
import importlib
import importlib.metadata
import os
import pkgutil
import platform
import sys
import time
from pathlib import Path

import torch

from benchmarks import speed
from physgen.provenance import git_commit

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
NAMED = ("torch", "numpy", "scipy", "numba", "azula", "diffusers", "powerbox", "Pylians", "pyfftw", "peapods")
HEAD = "| work | competitor | CPU s | wall s | physgen / it: CPU | wall | goal | note |\n" + "|---" * 8 + "|"


def main(wanted):
    names = [m.name for m in pkgutil.iter_modules(speed.__path__) if m.name not in ("row", "__main__")]
    unknown = set(wanted) - set(names)
    if unknown:
        sys.exit(f"unknown topic {sorted(unknown)[0]!r}; choose from {', '.join(names)}")
    lines = []
    for name in wanted or names:
        started = time.perf_counter()
        rows = list(importlib.import_module(f"benchmarks.speed.{name}").rows())
        lines += [f"\n## {name}\n", HEAD, *(line for row in rows for line in as_lines(row))]
        print(f"{name}: {len(rows)} rows in {time.perf_counter() - started:.0f} s", flush=True)
        if not wanted:  # after each topic: a campaign that is stopped leaves what it measured
            PAGE.write_text(_head() + "\n".join(lines) + "\n")
    print("\n".join(lines) if wanted else f"wrote {PAGE.relative_to(ROOT)}")


def as_lines(row):
    for position, (name, cost) in enumerate(row.costs.items()):
        cpu, wall = (f"{value:.3g}" for value in row.ratios.get(name, ())) if name in row.ratios else ("", "")
        said = (row.work, row.goal, row.note) if position == 0 else ("", "", "")
        yield f"| {said[0]} | {name} | {cost.cpu:.3g} | {cost.wall:.3g} | {cpu} | {wall} | {said[1]} | {said[2]} |"


def _head():
    return (
        "# Benchmarks\n\nCost of physgen beside that of a limit or of another code, which took turns in one process: "
        "medians over the rounds, ratios taken within each round; below 1 physgen is the cheaper one. CPU seconds "
        "count all threads; wall time is that of a machine that may be shared. "
        f"Written by `make benchmarks` on {datetime.date.today()}, commit {git_commit()}: {_processor()}, "
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads of torch, Python {platform.python_version()}, "
        f"{', '.join(filter(None, map(_version, NAMED)))}.\n"
    )


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package):
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main(sys.argv[1:])
