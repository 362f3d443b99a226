"""Tables of docs/regimes-fields.md, from the records: ``python -m benchmarks.regimes.fields.page``.

What stands between ``<!-- name -->`` and ``<!-- end -->`` is written anew, and the figures; the text is by hand.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from benchmarks.regimes.fields.course import FIELDS, lines
from benchmarks.regimes.fields.figures import figures
from benchmarks.regimes.fields.windows import LEVEL, Mean, Run, laws, memorized, overfitted, runs, table
from physgen.figures import format_value

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "regimes-fields.md"
DATA = {"maps32": "maps 32^2", "maps64": "maps 64^2", "glass8": "glass 8 x 8"}
IMAGES = {"none": "as they stand", "translations": "translations", "point_group": "all symmetries", "flip": "flip"}


def times() -> str:
    """t_S and t_C of n data."""
    rows = ["| data | images | n | Lambda | t_S | t_C | t_C, Gauss |", "|---|---|---|---|---|---|---|"]
    order = {name: place for place, name in enumerate((*DATA, *IMAGES))}
    told = sorted(lines(FIELDS / "times.jsonl"), key=lambda d: (order[d["data"]], order[d["orbit"]], d["n"]))
    for line in told:
        figure = [format_value(line[key], line[f"{key}_error"]) for key in ("eigenvalue", "t_S", "t_C")]
        cells = [DATA[line["data"]], IMAGES[line["orbit"]], str(line["n"]), *figure, f"{line['t_C_gaussian']:.3f}"]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def predictions(found: dict[str, list[Run]]) -> str:
    """Every prediction beside what the trainings gave, where there were any."""
    head = "| data | time | written | from n up to | b | n | predicted | 95 % | trained | runs | within |"
    rows = [head, "|---" * 11 + "|"]
    for line in lines(FIELDS / "predictions.jsonl"):
        for place, n in enumerate(line["n"]):
            trained = [run for run in found[line["data"]] if run.n == n and run.key[2] == line["augment"]]
            mean = Mean.over([_time(line, run) for run in trained])
            if not mean.reached:
                continue
            low, high = line["low_95"][place], line["high_95"][place]
            cells = [
                "maps" if line["data"] == "maps32" else "glass",
                line["time"],
                line["made"][11:16],
                str(max(count for count, _ in line["from_n"])),
                format_value(line["exponent"], line["exponent_error"]),
                f"{n:.0f}",
                f"{line['tau'][place]:.0f}",
                f"{low:.0f} to {high:.0f}",
                str(mean),
                str(mean.reached),
                "yes" if low <= mean.value <= high else "**no**",
            ]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _time(line: dict[str, Any], run: Run) -> float:
    if len(run.told) < 3:
        return math.nan
    return memorized(run) if line["time"] == "tau_mem" else overfitted(run, LEVEL[line["data"]])


def main() -> None:
    """Write the tables and figures."""
    found = {name: runs(FIELDS / f"{name}.jsonl") for name in LEVEL}
    blocks = {"times": times(), "predictions": predictions(found)}
    for name, level in LEVEL.items():
        blocks[name] = table(found[name], level, "orbit")
        blocks[f"{name} laws"] = "\n".join(f"- {law}" for law in laws(found[name], level, "orbit").splitlines())
    text = PAGE.read_text()
    for name, block in blocks.items():
        mark = re.compile(rf"<!-- {name} -->\n.*?<!-- end -->", re.DOTALL)
        if not mark.search(text):
            raise SystemExit(f"{PAGE.name} has no place for the table {name!r}")
        text = mark.sub(f"<!-- {name} -->\n\n{block}\n\n<!-- end -->".replace("\\", r"\\"), text)
    PAGE.write_text(text)
    folder = PAGE.parent / "figures" / "regimes-fields"
    folder.mkdir(parents=True, exist_ok=True)
    print(PAGE.relative_to(ROOT), *figures(folder))


if __name__ == "__main__":
    main()
