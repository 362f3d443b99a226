"""The tables of :mod:`benchmarks.emulators.peers`: a line for each row of the judge, a column for each arm."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from physgen.figures import format_value

COSTS = {
    "training_cpu_s": "training, CPU s",
    "steps": "training steps",
    "parameters": "parameters",
    "evaluations": "evaluations a map",
    "draw_cpu_s_per_100": "drawing 100 maps, CPU s",
}
ROWS = (
    "mean_density", "density_scatter", "power_chi_square", "log_power_chi_square", "off_diagonal_correlation",
    "power_scatter", "correlation", "one_point", "bispectrum", "log_bispectrum", "band_moments", "scattering",
    "peaks", "minima", "volume_fraction", "boundary", "euler_characteristic", "features", "power_response",
    "one_point_response", "memorization",
)  # fmt: skip
CHANGED = ("mean_density", "density_scatter", "log_power_chi_square")  # of one point: their changes have a sign
STATUSES = ("pass", "open", "fail")
TWO = 2.0  # errors


class Cell:
    """A deviation from the truth: mean over seeds, its error from the maps, its scatter over seeds."""

    def __init__(self, values: Sequence[float], errors: Sequence[float], status: Sequence[str] = ()) -> None:
        if not all(map(math.isfinite, values)):
            raise ValueError(f"a table of numbers, got {list(values)}: judge the arm again")
        self.value, self.error = float(np.mean(values)), float(np.mean(errors))
        self.scatter = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        self.seeds, self.status = len(values), list(status)

    def words(self, percent: bool) -> str:
        scale = 100 if percent else 1
        said = format_value(scale * self.value, scale * self.error if math.isfinite(self.error) else None)
        if math.isfinite(self.scatter):
            said += f" ± {scale * self.scatter:.2g}"
        return said + (" " + "/".join(s[0] for s in self.status) if self.status else "")


def tables(results: Sequence[Mapping[str, Any]], peers: Sequence[str], ablations: Sequence[str], ours: str = "ours"):
    """Markdown: ours beside the peers, then ours beside itself with one change."""
    known = {name: [r for r in results if r["arm"] == name] for name in (*peers, *ablations)}
    unknown = sorted({r["arm"] for r in results} - set(known))
    if unknown:
        raise ValueError(f"results of unknown arms {unknown}: known are {sorted(known)}")
    if not known.get(ours):
        raise ValueError(f"no result of {ours!r}: there is nothing to compare with")
    first = [name for name in peers if known[name]]
    second = [name for name in ablations if known[name]]
    made = table({name: known[name] for name in first}, ours)
    if second:
        made += "\n\n" + table({name: known[name] for name in (ours, *second)}, ours)
        made += "\n\n" + changes(known, second, ours)
    return made


def changes(known: Mapping[str, Sequence[Mapping[str, Any]]], arms: Sequence[str], ours: str) -> str:
    """What each arm changes against ours of the same seed, in per cent of the truth (standard error over seeds).

    Maps of one seed are drawn from the same noise, and all are judged against the same maps: their common error drops
    out. A change beyond t of 95 % for so few seeds is bold.
    """
    before, lines = {r["seed"]: r for r in known[ours]}, []
    edges = known[ours][0]["band_edges"]
    titles = [f"{q}, {low:g} to {high:g}" for q in ("density", "logarithm") for low, high in edges]
    lines = ["| change | " + " | ".join([*titles, *(r.replace("_", " ") for r in CHANGED)]) + " |"]
    lines.append("|---" * (1 + len(titles) + len(CHANGED)) + "|")
    for name in arms:
        pairs = [(r, before[r["seed"]]) for r in known[name] if r["seed"] in before]
        found = 100 * np.array([np.subtract(told(a), told(b)) for a, b in pairs])
        if len(found) < 2:
            continue
        mean, error = found.mean(0), found.std(0, ddof=1) / math.sqrt(len(found))
        limit = stats.t.ppf(0.975, len(found) - 1) * error
        said = [format_value(m, e) for m, e in zip(mean, error, strict=True)]
        bold = [f"**{w}**" if abs(m) > t else w for w, m, t in zip(said, mean, limit, strict=True)]
        lines.append(f"| {name} | " + " | ".join(bold) + " |")
    return "\n".join(lines)


def told(result: Mapping[str, Any]) -> list[float]:
    """The numbers of :func:`changes`: mean power ratios of the bands, then single-point rows."""
    bands = [band[0] for key in ("power_spectrum", "log_power_spectrum") for band in result["bands"][key]]
    return bands + [result["verdicts"][row]["deviation"] for row in CHANGED]


def table(arms: Mapping[str, Sequence[Mapping[str, Any]]], ours: str) -> str:
    """One table; the arms nearest to the truth, and those that two errors do not tell from them, are bold."""
    if len({json_bands(r) for found in arms.values() for r in found}) != 1:
        raise ValueError("results of different bands in one table: judge them again")
    names = list(arms)
    lines = [
        "| deviation from the truth | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
        "| seeds | " + " | ".join(str(len(arms[n])) for n in names) + " |",
    ]
    edges = next(iter(arms[ours]))["band_edges"]
    for quantity, key in (("P(k) of the density", "power_spectrum"), ("P(k) of its logarithm", "log_power_spectrum")):
        for i, (low, high) in enumerate(edges):
            cells = {n: Cell(*np.array([np.array(r["bands"][key][i]) - [1, 0] for r in arms[n]]).T) for n in names}
            lines.append(line(f"{quantity}, {low:g} to {high:g} k_Nyquist, %", cells, True))
    for row in ROWS:
        cells = {n: cell for n in names if (cell := verdict_cell(arms[n], row)) is not None}
        if cells:
            one = next(r["verdicts"][row] for n in cells for r in arms[n] if row in r["verdicts"])
            unit = ", %" if one["percent"] else ""
            lines.append(line(f"{row.replace('_', ' ')}{unit}", cells, one["percent"], names))
    for status in STATUSES:
        counts = {n: [sum(v["status"] == status for v in r["verdicts"].values()) for r in arms[n]] for n in names}
        lines.append(f"| rows {status} | " + " | ".join("/".join(map(str, counts[n])) for n in names) + " |")
    for key, said in COSTS.items():
        found = [[r[key] for r in arms[n] if key in r] for n in names]
        lines.append(f"| {said} | " + " | ".join(f"{np.mean(f):.4g}" if f else "" for f in found) + " |")
    return "\n".join(lines)


def json_bands(result: Mapping[str, Any]) -> str:
    return str(result["band_edges"])


def verdict_cell(found: Sequence[Mapping[str, Any]], row: str) -> Cell | None:
    """The worst deviations that the verdicts of the seeds name; None where the row was not judged."""
    verdicts = [r["verdicts"][row] for r in found if r["verdicts"].get(row, {}).get("deviation") is not None]
    if not verdicts:
        return None
    errors = [math.nan if v["error"] is None else v["error"] for v in verdicts]
    several = any((v["points"] or 1) > 1 for v in verdicts)  # the worst of many points: seeds differ in its sign
    values = [abs(v["deviation"]) if several else v["deviation"] for v in verdicts]
    return Cell(values, errors, [v["status"] for v in verdicts])


def line(title: str, cells: Mapping[str, Cell], percent: bool, names: Sequence[str] = ()) -> str:
    best = nearest(cells)
    said = {n: f"**{c.words(percent)}**" if n in best else c.words(percent) for n, c in cells.items()}
    return f"| {title} | " + " | ".join(said.get(n, "") for n in (names or list(cells))) + " |"


def nearest(cells: Mapping[str, Cell]) -> set[str]:
    """The arm of least |deviation|, and all that two errors (of the maps, of the mean of seeds) do not tell from it."""
    first = min(cells, key=lambda n: abs(cells[n].value))

    def wide(cell: Cell) -> float:
        parts = [e for e in (cell.error, cell.scatter / math.sqrt(cell.seeds)) if math.isfinite(e)]
        return math.hypot(*parts) if parts else 0.0

    margin = {n: TWO * math.hypot(wide(c), wide(cells[first])) for n, c in cells.items()}
    return {n for n, c in cells.items() if abs(c.value) - abs(cells[first].value) <= margin[n]}
