"""The table and the figure of the inventions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from physgen.figures.style import plain_log_ticks, save_figure, styled

# what is drawn, of those that the physics has: name in the rows -> axis label
PANELS = {
    "power_spectrum/mean_abs_log_ratio": r"spectrum, mean $|\ln P/P_{ref}|$",
    "log_power_spectrum/mean_abs_log_ratio": r"spectrum of the log, mean $|\ln P/P_{ref}|$",
    "one_point/distance_tv": "grey values, total variation",
}
COLOURS = ("#3b3b3b", "#0072b2", "#d55e00", "#cc79a7", "#009e73", "#e69f00", "#56b4e9", "#7a5195", "#8c8c8c")
MARKS = "osD^vP*X"
MOST_PANELS = 3


def shown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The distances that all rows hold, of those that have a panel."""
    return [name for name in PANELS if rows and all(name in row["distances"] for row in rows)][:MOST_PANELS]


def markdown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a table in Markdown: one row for each method and number of evaluations, errors in brackets."""
    names = shown(rows)
    held = next((row["agreement"][2] for row in rows if row.get("agreement")), None)
    head = ["evaluations", "method", *[f"{name.replace('/', ': ')} (floor)" for name in names]]
    head += ([f"class as asked (data: {held:.3f})"] if held is not None else []) + ["fails of the judge"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in sorted(rows, key=lambda row: (row["most"], row["method"])):
        cells = [f"{row['evaluations']}", row["method"]]
        cells += [
            f"{value:.3f} ± {error:.3f} ({floor:.3f})" for value, error, floor in map(row["distances"].get, names)
        ]
        if held is not None:
            cells.append("{:.3f} ± {:.3f}".format(*row["agreement"][:2]) if row.get("agreement") else "")
        cells.append(f"{len(row['failed'])} of {row['of']}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@styled
def draw_figure(rows: Sequence[Mapping[str, Any]], folder: Path, name: str) -> Path:
    """``inventions.png`` and ``.svg``: each distance against the evaluations; grey: what equal laws give."""
    panels = shown(rows)
    figure = Figure(figsize=(3.9 * len(panels) + 2.4, 3.7), layout="constrained")
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, method in enumerate(methods):
            own = sorted((row for row in rows if row["method"] == method), key=lambda row: row["evaluations"])
            value, error, _ = zip(*(row["distances"][panel] for row in own), strict=True)
            axes.errorbar(
                [row["evaluations"] for row in own], value, error, label=method, color=COLOURS[number % len(COLOURS)],
                marker=MARKS[number % len(MARKS)], ms=4, lw=1.1,
            )  # fmt: skip
        floor = statistics.median(row["distances"][panel][2] for row in rows)  # of a wide law it is wide
        axes.axhspan(0, floor, color="#dddddd", zorder=0)
        axes.text(0.02, floor, "equal laws", transform=axes.get_yaxis_transform(), va="top", fontsize=9)
        axes.set(xscale="log", yscale="log", xlabel="evaluations of the network", ylabel=PANELS[panel])
        axes.set_xticks(sorted({row["most"] for row in rows}), [str(n) for n in sorted({row["most"] for row in rows})])
        axes.xaxis.set_minor_locator(_none())
        plain_log_ticks(axes.yaxis)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=9.5)
    figure.suptitle(name, fontsize=11.5)
    return save_figure(figure, folder, "inventions")[0]


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()
