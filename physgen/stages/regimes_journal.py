"""What the monitor of a training has seen, from the journal of its run: the window between learning and memorizing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.regimes.training_dynamics import learning_times
from physgen.runs.folder import Run
from physgen.tracking.journal import read_journal

if TYPE_CHECKING:
    from physgen.stages.regimes_data import Found

FEWEST_LOOKS = 3
CURVES = {
    "distance": "distance to the data",
    "f_mem": "part of copies $f_{mem}$",
}


def measure_journal(run: Run, found: Found) -> None:
    """Add ``dynamics`` over ``step`` with tau_gen and tau_mem, where the training was monitored."""
    import xarray as xr

    looks = {
        int(e["step"]): e for e in read_journal(run.folder) if e.get("event") == "monitor" and e.get("step", 0) > 0
    }
    steps = np.array(sorted(looks))
    columns = {
        name: np.array([float(looks[step].get(name, np.nan)) for step in steps])
        for curve in CURVES
        for name in (curve, f"{curve}_error")
    }
    if len(steps) < FEWEST_LOOKS or not all(np.isfinite(columns[name]).sum() >= 2 for name in CURVES):
        return
    errors = (columns["distance_error"], columns["f_mem_error"])
    times = learning_times(steps, columns["distance"], columns["f_mem"], *errors)
    described = {name: ("step", values, {"long_name": CURVES.get(name, "")}) for name, values in columns.items()}
    found.results["dynamics"] = xr.Dataset(
        {**described, "tau_gen": float(times["tau_gen"]), "tau_mem": float(times["tau_mem"])}, {"step": steps}
    )
    found.take(times, "tau_gen", "tau_mem")
