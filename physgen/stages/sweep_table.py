"""What the runs of a sweep came to: a table of their last figures, and where n was varied their times against n."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.regimes.training_dynamics import predicted_window
from physgen.errors import InputError
from physgen.figures import format_value
from physgen.runs.folder import open_run
from physgen.stages.sweep import Sweep
from physgen.storage.disk import write_atomically
from physgen.tracking.journal import read_journal

if TYPE_CHECKING:
    import xarray as xr

COLUMNS = {  # heading -> metric; its error is metric_error
    "loss ratio": "validation/ratio_mean",
    "f_mem": "regimes/f_mem",
    "distance": "regimes/distance",
    "floor": "regimes/distance_floor",
    "tau_gen": "regimes/tau_gen",
    "tau_mem": "regimes/tau_mem",
}


def last_figures(run: Path) -> dict[str, float]:
    """Step, number of training configurations and the last value of each metric of a run."""
    found: dict[str, float] = {
        "n": float(open_run(run).facts().get("configurations_of_parts", {}).get("train", math.nan))
    }
    for entry in read_journal(run):
        for name, value in entry.get("metrics", {}).items():
            found[name] = value
            found["step"] = max(found.get("step", 0), entry["step"])
    return found


def sweep_table(sweep: Sweep, runs: Path) -> str:
    """One line for each run: its settings, its number of training configurations and its last figures with errors."""
    figures = {name: last_figures(runs / name) for name in sweep.points if (runs / name / "experiment.yaml").exists()}
    columns = {head: metric for head, metric in COLUMNS.items() if any(metric in f for f in figures.values())}
    lines = [[*sweep.axes, "n", "step", *columns]]
    for name, found in figures.items():
        cells = [_shown(found.get(metric), found.get(f"{metric}_error")) for metric in columns.values()]
        lines.append([*sweep.points[name].values(), f"{found['n']:g}", f"{found.get('step', 0):g}", *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    ends = ["n: training configurations; tau: effective steps, nothing where it was not reached or not looked for"]
    return "\n".join(
        [rows[0], "-" * len(rows[0]), *rows[1:], *(ends if "tau_mem" in columns or "tau_gen" in columns else [])]
    )


def _shown(value: float | None, error: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.4g}" if error is None or not math.isfinite(error) or error <= 0 else format_value(value, error)


def sweep_times(sweep: Sweep, runs: Path) -> dict[str, xr.Dataset]:
    """tau_gen and tau_mem against n, for each set of the other settings (the seed excepted), with the law through them.

    Datasets over ``run``: ``n``, ``tau_gen``, ``tau_mem`` and their errors, nan where they are unknown; and, where
    tau_mem is known at two or more n, over ``at`` (n to draw or predict the law at) that of
    :func:`physgen.diagnostics.regimes.training_dynamics.predicted_window`. Empty where n was not varied.
    """
    import xarray as xr

    groups: dict[str, list[dict[str, float]]] = {}
    names = [name for name in sweep.points if (runs / name / "experiment.yaml").exists()]
    for name in names:
        others = [f"{k}={v}" for k, v in sweep.points[name].items() if k != "seed" and not _sets_n(k)]
        groups.setdefault(", ".join(others), []).append(last_figures(runs / name))
    found = {}
    for group, members in groups.items():
        n = np.array([one["n"] for one in members])
        columns = {
            key: np.array([one.get(f"regimes/{key}", math.nan) for one in members])
            for key in ("tau_gen", "tau_gen_error", "tau_mem", "tau_mem_error")
        }
        if len(np.unique(n)) < 2 or not np.isfinite([columns["tau_gen"], columns["tau_mem"]]).any():
            continue
        result = xr.Dataset({key: ("run", values) for key, values in columns.items()} | {"n": ("run", n)})
        at = np.geomspace(n.min(), 4 * n.max(), 25)
        try:
            law = predicted_window(n, columns["tau_mem"], columns["tau_mem_error"], columns["tau_gen"], at)
        except InputError:  # tau_mem at fewer than two n
            law = None
        if law is not None:
            result = result.merge(law.rename({"n": "at", "tau_mem": "law", "tau_mem_error": "law_error"}).drop_vars(
                ("tau_gen", "tau_gen_error")
            ))  # fmt: skip
        found[group] = result.assign_attrs(law.attrs if law is not None else {})
    return found


def _sets_n(key: str) -> bool:
    return key in ("split.train_units", "split.units", "split.train", "split.train_from") or key.startswith("data.")


def describe_times(times: dict[str, xr.Dataset]) -> str:
    """The law of tau_mem against n, and the window that it predicts, a line for each group."""
    lines = []
    for group, one in times.items():
        words = f"{group}: " if group else ""
        if "exponent" not in one:
            lines.append(f"{words}tau_mem is known at fewer than two n: train longer, or look more often")
            continue
        last = float(one["at"][-1])
        value, low, high = (float(one[name][-1]) for name in ("law", "low", "high"))
        exponent = _shown(float(one["exponent"]), float(one["exponent_error"]))
        interval = f"{low:.3g} to {high:.3g}" if math.isfinite(low) else "no error: two runs alone"
        lines.append(
            f"{words}tau_mem ~ n^{exponent} (theory 1 for large n); predicted at n = {last:g}: {value:.3g} effective "
            f"steps ({interval}, {100 * one.attrs['confidence']:g} %)"
        )
    return "\n".join(lines)


def write_sweep(sweep: Sweep, runs: Path, folder: Path) -> list[Path]:
    """The table, and for a sweep over n the figure and the numbers of its times, into ``folder``."""
    from physgen.figures.style import save_figure
    from physgen.figures.sweep import times_against_n

    folder.mkdir(parents=True, exist_ok=True)
    table, times = folder / "table.txt", sweep_times(sweep, runs)
    write_atomically(table, f"{sweep_table(sweep, runs)}\n{describe_times(times)}\n")
    written: list[Any] = [table]
    if times:
        written += save_figure(times_against_n(times), folder, "times")
    return written
