"""Run every law and write docs/conformance.md: ``python -m benchmarks.conformance [--write] [topic ...]``.

Topics that are named are printed; with ``--write`` their sections of the page are replaced, the others stay.
"""

import datetime
import importlib
import pkgutil
import platform
import re
import sys
import time
from pathlib import Path

from benchmarks import conformance
from physgen.provenance import git_commit

KEPT = {True: "yes", False: "**no**", None: "stated"}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


def main(words):
    write, wanted = "--write" in words, [word for word in words if word != "--write"]
    names = [m.name for m in pkgutil.iter_modules(conformance.__path__) if m.name not in ("row", "__main__")]
    unknown = set(wanted) - set(names)
    if unknown:
        sys.exit(f"unknown topic {sorted(unknown)[0]!r}; choose from {', '.join(names)}")
    sections, failed, total = {}, 0, 0
    for name in wanted or names:
        sections[name], rows = measured(name, alone=bool(wanted))
        failed += sum(row.passed is not None and not row.passed and row.code == "physgen" for row in rows)
        total += len(rows)
    if wanted and not write:
        print("\n\n".join(sections.values()))
        return 1 if failed else 0
    head = PAGE.read_text().split("\n\n## ", 1)[0] if wanted else (
        "# Conformance\n\nEvery row holds a figure of the core against a law that is known exactly; rows marked stated "
        "claim nothing. Written by "
        f"`make conformance` on {datetime.date.today()}, commit {git_commit()}, {platform.machine()}, "
        f"Python {platform.python_version()}. Rows of other codes show the same law in the same run."
    )  # fmt: skip
    sections = (earlier() if wanted else {}) | sections
    PAGE.write_text("\n\n".join([head, *(sections[name] for name in names if name in sections)]) + "\n")
    print(f"wrote docs/conformance.md: {total} rows, {failed} of physgen's do not keep their law")
    return 1 if failed else 0


def measured(name, alone):
    """The section of a topic and its rows; one that is measured alone says when, the head does for all."""
    started = time.perf_counter()
    rows = list(importlib.import_module(f"benchmarks.conformance.{name}").rows())
    print(f"{name}: {len(rows)} rows in {time.perf_counter() - started:.0f} s", flush=True)
    lines = [f"## {name}", ""]
    if alone:
        lines += [f"Measured by itself on {datetime.date.today()}, commit {git_commit()}.", ""]
    lines += ["| tested | law | measured | expected | error bar | order | cost | code | kept |", "|---" * 9 + "|"]
    for row in rows:
        order = "" if row.order is None else f"{row.order:.2f}"
        lines.append(
            f"| {row.name} | {row.law} | {row.measured:.5g} | {row.expected:.5g} | {row.error:.2g} | {order} "
            f"| {row.cost} | {row.code} | {KEPT[row.passed]} |"
        )
    return "\n".join(lines), rows


def earlier():
    """Topic -> its section of the page as it stands."""
    parts = re.split(r"\n(?=## \w+\n)", PAGE.read_text())[1:]
    return {part.split("\n", 1)[0][3:]: part.strip() for part in parts}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
