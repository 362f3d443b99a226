"""The rooms of physgen and who imports whom, read from the code: docs/figures/rooms.svg."""

import ast
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

PACKAGE = Path(__file__).resolve().parents[1] / "physgen"
LEAVES = {"errors", "provenance", "units", "lazy", "progress", "py.typed"}
CORE = {"diffusion", "networks", "lattice", "diagnostics"}


def rooms() -> dict[str, set[str]]:
    """Room -> the rooms that it imports."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        here = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if here in LEAVES | {"__init__"}:
            continue
        there = found.setdefault(here, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("physgen."):
                there.add(node.module.split(".")[1])
    return {here: {t for t in there if t != here and t not in LEAVES} for here, there in found.items()}


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """Length of the longest way down from each room; raises where the imports run in a circle."""
    level: dict[str, int] = {}

    def height(room: str, path: tuple[str, ...] = ()) -> int:
        if room in path:
            raise ValueError(f"imports run in a circle: {' -> '.join([*path, room])}")
        if room not in level:
            level[room] = 1 + max((height(t, (*path, room)) for t in graph[room]), default=-1)
        return level[room]

    for room in graph:
        height(room)
    return level


def draw(graph: dict[str, set[str]]) -> Figure:
    """Boxes on their floors; an arrow skips what another way implies already."""
    level = floors(graph)
    rows = [sorted(r for r in graph if level[r] == f) for f in range(max(level.values()) + 1)]
    figure = Figure(figsize=(9, 1.05 * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 10), ylim=(-0.6, len(rows) - 0.4))
    axes.set_axis_off()
    place = {r: (10 * (i + 0.5) / len(row), level[r]) for row in rows for i, r in enumerate(row)}
    for room, (x, y) in place.items():
        colour = "#dbe9f6" if room in CORE else "#f3efe6"
        axes.add_patch(FancyBboxPatch((x - 0.62, y - 0.2), 1.24, 0.4, "round,pad=0.05", fc=colour, ec="#444444", lw=1))
        axes.text(x, y, room, ha="center", va="center", fontsize=11)
    for room, below in graph.items():
        implied = {t for b in below for t in _reach(graph, b)}
        for other in sorted(below - implied):
            start, end = place[room], place[other]
            arrow = FancyArrowPatch(
                (start[0], start[1] - 0.26), (end[0], end[1] + 0.26), arrowstyle="-|>", mutation_scale=10,
                color="#777777", lw=1, connectionstyle="arc3,rad=0.05", zorder=0,
            )  # fmt: skip
            axes.add_patch(arrow)
    return figure


def _reach(graph: dict[str, set[str]], room: str) -> set[str]:
    return {t for b in graph[room] for t in {b} | _reach(graph, b)}


def write() -> None:
    """Write the figure: the same bytes from the same code."""
    with rc_context({"svg.hashsalt": "rooms"}):
        draw(rooms()).savefig(Path(__file__).parent / "figures" / "rooms.svg", metadata={"Date": None})


if __name__ == "__main__":
    write()
