"""What the monitor of a training has seen, on the page of regimes: the window between learning and memorizing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen.errors import InputError
from physgen.runs.folder import Run
from physgen.stages.monitored import monitor_curves, times_of_curves

if TYPE_CHECKING:
    from physgen.stages.regimes_data import Found

LABELS = {"distance": "distance to the data", "f_mem": "part of copies $f_{mem}$"}


def measure_journal(run: Run, found: Found) -> None:
    """Add ``dynamics`` over ``step`` with tau_gen and tau_mem, in effective steps, where the training was monitored."""
    try:
        curves = monitor_curves(run.folder)
        times = times_of_curves(curves)
    except InputError:  # no monitor, or too few looks: the page does without
        return
    names = [name for label in LABELS for name in (label, f"{label}_error") if name in curves]
    shown = curves[[*names, "effective_steps"]].sel(step=curves["step"] > 0).drop_vars("level", errors="ignore")
    for name in LABELS.keys() & shown.keys():
        shown[name].attrs["long_name"] = LABELS[name]
    shown = shown.set_coords("effective_steps")
    found.results["dynamics"] = shown.assign({name: float(times[name]) for name in ("tau_gen", "tau_mem")})
    found.take(times, "tau_gen", "tau_mem")
