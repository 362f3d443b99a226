"""Run every law and write docs/conformance.md: ``python -m benchmarks.conformance [topic ...]``."""

import datetime
import importlib
import pkgutil
import platform
import sys
import time
from pathlib import Path

from benchmarks import conformance
from physgen.provenance import git_commit

KEPT = {True: "yes", False: "**no**", None: "stated"}
ROOT = Path(__file__).resolve().parents[2]


def main(wanted):
    names = [m.name for m in pkgutil.iter_modules(conformance.__path__) if m.name not in ("row", "__main__")]
    unknown = set(wanted) - set(names)
    if unknown:
        sys.exit(f"unknown topic {sorted(unknown)[0]!r}; choose from {', '.join(names)}")
    lines, failed, total = [], 0, 0
    for name in wanted or names:
        started = time.perf_counter()
        rows = list(importlib.import_module(f"benchmarks.conformance.{name}").rows())
        seconds = time.perf_counter() - started
        lines += [f"\n## {name}\n", "| tested | law | measured | expected | error bar | order | cost | code | kept |"]
        lines.append("|---|---|---|---|---|---|---|---|---|")
        for row in rows:
            order = "" if row.order is None else f"{row.order:.2f}"
            lines.append(
                f"| {row.name} | {row.law} | {row.measured:.5g} | {row.expected:.5g} | {row.error:.2g} | {order} "
                f"| {row.cost} | {row.code} | {KEPT[row.passed]} |"
            )
            failed += row.passed is not None and not row.passed and row.code == "physgen"
            total += 1
        print(f"{name}: {len(rows)} rows in {seconds:.0f} s", flush=True)
    head = (
        "# Conformance\n\nEvery row holds a figure of the core against a law that is known exactly; rows marked stated "
        "claim nothing. Written by "
        f"`make conformance` on {datetime.date.today()}, commit {git_commit()}, {platform.machine()}, "
        f"Python {platform.python_version()}. Rows of other codes show the same law in the same run.\n"
    )
    if not wanted:
        (ROOT / "docs" / "conformance.md").write_text(head + "\n".join(lines) + "\n")
        print(f"wrote docs/conformance.md: {total} rows, {failed} of physgen's do not keep their law")
    else:
        print("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
