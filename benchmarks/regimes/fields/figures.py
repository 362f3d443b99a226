"""Figures of docs/regimes-fields.md, from the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.regimes.drawing import Curve, draw_curves, save
from benchmarks.regimes.fields.course import FIELDS, lines
from benchmarks.regimes.fields.windows import LEVEL, Mean, Run, best, law, memorized, overfitted, runs

TITLES = {"maps32": "N-body maps, U-Net", "glasses": "one 2-D glass, residual network"}


def figures(folder: Path) -> list[str]:
    """Names of the files written."""
    found = {name: runs(FIELDS / f"{name}.jsonl") for name in TITLES}
    return [_windows(folder, found), _copies(folder, found["glasses"]), _losses(folder, found), _data(folder)]


def _windows(folder: Path, found: dict[str, list[Run]]) -> str:
    panels = {}
    for name, trainings in found.items():
        off, level = [run for run in trainings if not run.key[2] and len(run.told) > 2], LEVEL[name]
        times = {
            r"$\tau_{gen}$": [(run.n, best(run, level).tau_gen) for run in off],
            r"$\tau_{over}$": [(run.n, overfitted(run, level)) for run in off],
            r"$\tau_{mem}$": [(run.n, memorized(run)) for run in off],
        }
        panels[TITLES[name]] = [
            curve for place, (symbol, pairs) in enumerate(times.items()) for curve in _growth(symbol, pairs, place)
        ]
    figure = draw_curves(panels, "training configurations n", "step", xscale="log", yscale="log")
    return save(figure, folder, "windows")


def _growth(symbol: str, pairs: Sequence[tuple[int, float]], colour: int) -> list[Curve]:
    """Means over seeds, and the law through the single trainings."""
    counts = sorted({n for n, tau in pairs if np.isfinite(tau) and tau > 0})
    if not counts:
        return []
    means = [Mean.over([tau for n, tau in pairs if n == count]) for count in counts]
    error = np.nan_to_num([mean.error for mean in means])
    fit = law(pairs, counts)
    name = symbol
    curves = []
    if fit is not None:
        name = f"{symbol}, $b = {float(fit.exponent):.2f} \\pm {float(fit.exponent_error):.2f}$"
        curves.append(Curve(counts, fit.tau_mem.values, colour=colour, line="-"))
    return [Curve(counts, [mean.value for mean in means], error, name, colour), *curves]


def _copies(folder: Path, trainings: list[Run]) -> str:
    panels: dict[str, list[Curve]] = {}
    for title, scaled in (("as trained", False), ("steps over n", True)):
        curves = []
        counts = sorted({run.n for run in trainings if not run.key[2]})
        for place, n in enumerate(counts):
            for i, run in enumerate(run for run in trainings if run.n == n and not run.key[2]):
                steps, copies = run.curve(lambda line: line["f_mem"]["orbit"] if "f_mem" in line else None)
                name = f"n = {n}" if not i else ""
                curves.append(Curve(steps / (n if scaled else 1), copies, name=name, colour=place, line="-"))
        panels[title] = curves
    figure = draw_curves(panels, "step, step / n", r"$f_{mem}$", xscale="log")
    return save(figure, folder, "glass_copies")


def _losses(folder: Path, found: dict[str, list[Run]]) -> str:
    panels = {}
    for name, trainings in found.items():
        first = {run.n: run for run in reversed(trainings) if not run.key[2] and len(run.told) > 2}
        curves = []
        for place, (n, run) in enumerate(sorted(first.items())):
            level = LEVEL[name]
            steps = [line["step"] for line in run.told]
            heldout, seen = ([line[part]["loss"][level] for line in run.told] for part in ("test", "train"))
            curves.append(Curve(steps, heldout, name=f"n = {n}", colour=place, line="-"))
            curves.append(Curve(steps, seen, colour=place, line="--"))
        panels[f"{TITLES[name]}, s = 1"] = curves
    figure = draw_curves(panels, "step", "loss over that of the reference", xscale="log", ylim=(0, 2.2))
    return save(figure, folder, "losses")


def _data(folder: Path) -> str:
    told = lines(FIELDS / "times.jsonl")
    names = {"maps32": "maps 32$^2$", "maps64": "maps 64$^2$", "glass8": "glass 8 x 8"}
    panels: dict[str, list[Curve]] = {}
    for data in (name for name in names if any(line["data"] == name for line in told)):
        curves, these = [], [line for line in told if line["data"] == data]
        for place, orbit in enumerate(dict.fromkeys(line["orbit"] for line in these)):
            some = sorted((line for line in these if line["orbit"] == orbit), key=lambda line: int(line["n"]))
            n = [line["n"] for line in some]
            label = "" if orbit == "none" else f", {orbit.replace('_', ' ')}"
            for key, line_style in (("t_C", ""), ("t_S", "")):
                colour = 2 * place + (key == "t_S")
                value, error = [line[key] for line in some], [line[f"{key}_error"] for line in some]
                curves.append(Curve(n, value, error, f"${key}${label}", colour, line_style))
            curves.append(Curve(n, [line["t_C_gaussian"] for line in some], colour=2 * place, line="--"))
        panels[names[data]] = curves
    figure = draw_curves(panels, "configurations n", "Ornstein-Uhlenbeck time", xscale="log")
    return save(figure, folder, "times_of_data")
