"""What the looks of a training (:mod:`physgen.stages.monitor`) say together: curves, and the times found on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.regimes.training_dynamics import learning_times
from physgen.errors import InputError
from physgen.tracking.journal import read_journal

if TYPE_CHECKING:
    import xarray as xr

WORDS = {
    "effective_steps": "steps, each by its part of the peak learning rate",
    "f_mem": "part of the drawn configurations that are copies",
    "f_mem_heldout": "the same part of held-out configurations",
    "auc": "probability that a drawn configuration is nearer to the training set than a held-out one",
    "distance": "distance of the drawn to the held-out configurations",
    "distance_floor": "the same distance between equal laws",
    "order_parameter": "participation of the training configurations in the posterior of a drawn one",
    "order_parameter_heldout": "the same of a held-out one",
    "loss_train": "denoising loss on training data",
    "loss_test": "denoising loss on held-out data",
}
LEAST_LOOKS = 3


def monitor_curves(run: str | Path) -> xr.Dataset:
    """The looks of a training over ``step``, those by noise level over (``step``, ``level``), each with ``_error``.

    Raises:
        InputError: the training had no monitor, or no look yet.
    """
    import xarray as xr

    looks = [entry for entry in read_journal(Path(run)) if entry.get("event") == "monitor"]
    if not looks:
        raise InputError(f"{run} holds no look of a monitor: train with training.monitor.every=500, or per_octave=2")
    looks = list({look["step"]: look for look in looks}.values())
    names = [n for n in WORDS | {f"{name}_error": "" for name in WORDS} if any(n in look for look in looks)]
    found: dict[str, Any] = {}
    for name in names:
        by_level = any(isinstance(look.get(name), list) for look in looks)
        empty: Any = [np.nan] * len(looks[0]["levels"]) if by_level else np.nan
        values = np.array([look.get(name, empty) for look in looks], dtype=float)
        described = {"long_name": WORDS.get(name, "standard error"), "units": "1"}
        found[name] = (("step", "level") if by_level else ("step",), values, described)
    of = next((look["distance_of"] for look in looks if "distance_of" in look), "")
    coords = {"step": [look["step"] for look in looks], "level": looks[0]["levels"]}
    return xr.Dataset(found, coords, {"weights": looks[0]["weights"], "distance_of": of})


def times_of_run(run: str | Path, good: float | None = None, memorized: float = 0.1) -> xr.Dataset:
    """:func:`times_of_curves` of the looks of a run."""
    return times_of_curves(monitor_curves(run), good, memorized)


def times_of_curves(curves: xr.Dataset, good: float | None = None, memorized: float = 0.1) -> xr.Dataset:
    """When a monitored training generalised and when it began to memorise, in effective steps.

    Args:
        curves: of :func:`monitor_curves`.
        good, memorized: levels of the distance and of f_mem, as in
            :func:`physgen.diagnostics.regimes.training_dynamics.learning_times`.

    Raises:
        InputError: fewer than three looks.
    """
    if curves.sizes["step"] < LEAST_LOOKS or "f_mem" not in curves:
        raise InputError(
            f"the training holds {curves.sizes['step']} looks, too few for times: set training.monitor.every or "
            f"per_octave so that there are {LEAST_LOOKS}"
        )
    tau, empty = curves["effective_steps"].values, np.full(curves.sizes["step"], np.nan)
    names = ("distance", "f_mem", "distance_error", "f_mem_error")
    distance, f_mem, distance_error, f_mem_error = (curves[n].values if n in curves else empty for n in names)
    if not np.isfinite(distance).any():  # it never falls: the time is unknown
        distance, distance_error = np.ones(len(tau)), empty
    return learning_times(tau, distance, f_mem, distance_error, f_mem_error, (good, memorized))
