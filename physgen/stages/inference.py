"""The stage of inference: posteriors of the labels of each configuration of a file, by ln p(x | labels) of a run.

The prior is uniform over the range of the training data. Noise, noise levels and probes are the same for all labels of
one configuration, so that differences of ln p between labels are precise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from physgen.diagnostics.coverage import coverage_curve, credibilities
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.report.found import Found
from physgen.runs.folder import Run, open_run, result_folder
from physgen.runs.model import Model, load_model
from physgen.stages.inference_summary import summary_of, with_recalibration
from physgen.stages.label_posteriors import as_dataset, choose, measure
from physgen.stages.recalibration import held_out_for, recalibration

if TYPE_CHECKING:
    import xarray as xr

    from physgen.figures.style import Figure

METHODS = ("bound", "flow")
DRAWS = {"bound": 4, "flow": 4}
LEVELS = {"bound": 32, "flow": 24}
FOLDER = "inference"


@dataclass(frozen=True)
class InferenceOptions:
    """How posteriors are found.

    Args:
        method: ``bound`` (denoising errors, no gradients: the cheap one) or ``flow`` (probability flow).
        labels: those to infer; the others stay at the values of the file. None: all that vary in the training data and
            are no axis of it.
        combine: one posterior for all configurations of an independent unit, as if they were independent of each
            other; False: one for each configuration.
        draws: of noise (bound) or probes (flow); None for 4.
        steps: noise levels of a draw (bound), steps (flow); None for 32 and 24.
        limit: configurations at most, of the first of each unit on; None for all.
        seed: of noise, levels, probes and draws of the posteriors.
    """

    method: Literal["bound", "flow"] = "bound"
    labels: tuple[str, ...] | None = None
    combine: bool = False
    draws: int | None = None
    steps: int | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method = {self.method!r} is unknown: choose one of {', '.join(METHODS)}")
        for name, value, least in (("draws", self.draws, 2), ("steps", self.steps, 2), ("limit", self.limit, 1)):
            if value is not None and value < least:
                raise InputError(f"{name} = {value} is too few: give at least {least}, or leave it out")

    @property
    def draw_count(self) -> int:
        """Draws of ln p."""
        return self.draws or DRAWS[self.method]

    @property
    def step_count(self) -> int:
        """Noise levels of a draw, or steps."""
        return self.steps or LEVELS[self.method]


@dataclass(frozen=True)
class Recalibrated:
    """Posteriors recalibrated on held-out units.

    Attributes:
        calibration: what was learned, with errors: ``value`` over ``parameter``, ``widening`` and ``shift`` over label.
        posterior, coverage: like those of :class:`Inference`.
        held_out: raw posteriors of the units that it was learned from.
    """

    calibration: xr.Dataset
    posterior: xr.Dataset
    coverage: xr.Dataset | None
    held_out: xr.Dataset


@dataclass(frozen=True, repr=False)
class Inference(Found):
    """Posteriors of labels.

    Attributes:
        subject: what was inferred, in words.
        posterior: Dataset over ``unit``, ``label`` and ``draw``: ``mean``, ``std``, ``mean_error`` (Monte Carlo),
            ``draws``, ``misfit``, ``outside``, ``ln_evidence``, ``low`` and ``high`` of the prior; where the file holds
            the labels also ``truth``, ``rank`` and ``score``, (mean - truth)/std.
        coverage: TARP curve of all inferred labels; None where the truth is not known.
        summary: numbers with their errors, settings, ``notes``.
        recalibrated: the same posteriors recalibrated, where that was asked for; else None.
        folder: where it was written; None before.
    """

    stem: ClassVar[str] = "posteriors"
    columns: ClassVar[tuple[int, int]] = (34, 16)
    subject: str
    posterior: xr.Dataset
    coverage: xr.Dataset | None
    summary: dict[str, Any]
    recalibrated: Recalibrated | None = None
    folder: Path | None = None

    @property
    def figure(self) -> Figure:
        """Posteriors of a few units; ranks and coverage where the truth is known."""
        from physgen.figures.posteriors import posterior_panel

        other = self.recalibrated
        if other is None:
            return posterior_panel(self.posterior, self.coverage)
        return posterior_panel(self.posterior, self.coverage, other.posterior, other.coverage)

    @property
    def groups(self) -> dict[str, xr.Dataset]:
        """``posterior``, and ``coverage`` where the truth is known; with ``calibration``, ``held_out`` and the same
        two ``recalibrated`` where that was asked for."""
        found: dict[str, xr.Dataset | None] = {"posterior": self.posterior, "coverage": self.coverage}
        if (other := self.recalibrated) is not None:
            found |= {"calibration": other.calibration, "recalibrated": other.posterior}
            found |= {"recalibrated_coverage": other.coverage, "held_out": other.held_out}
        return {name: group for name, group in found.items() if group is not None}


def write_inference(
    run: str | Path,
    source: str | Path,
    options: InferenceOptions | None = None,
    output: str | Path | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    calibrate: Any = None,
) -> Inference:
    """Posteriors of a file under a run, written into a folder (``RUN/inference`` where ``output`` is None)."""
    found_run = open_run(run)
    folder = result_folder(found_run, output, FOLDER)
    found = infer(found_run, source, options, device=device, progress=progress, calibrate=calibrate)
    return found.write(folder)


def infer(
    run: Run,
    source: Any,
    options: InferenceOptions | None = None,
    *,
    device: str = "auto",
    model: Model | None = None,
    progress: Progress | None = None,
    calibrate: Any = None,
) -> Inference:
    """Posteriors of the labels of an ensemble, an array or a file under a run, unwritten.

    Args:
        calibrate: held-out configurations of known labels, to recalibrate on (:mod:`physgen.stages.recalibration`): an
            ensemble, a file, or the part ``validation`` or ``test`` of the run; None: the raw posteriors alone.

    Raises:
        InputError: a run without labels of its own, labels that it does not know, data that do not fit; units
            to recalibrate on that are tested or trained on.
    """
    plan = options or InferenceOptions()
    model = model or load_model(run.folder / "model", device)
    model.check_noise("the posterior of labels")
    chosen = choose(run, model, source, plan)
    held_out = None if calibrate is None else held_out_for(run, model, calibrate, chosen, plan)
    found = measure(chosen, plan, progress)
    posterior = as_dataset(chosen, found, plan)
    coverage = _coverage(posterior, plan.seed)
    summary = summary_of(posterior, coverage, plan, found.evaluations)
    what = "units" if plan.combine else "configurations"
    subject = f"posterior of {', '.join(chosen.names)} of {len(posterior['unit'])} {what} under {run.experiment.name}"
    if held_out is None:
        return Inference(subject, posterior, coverage, summary)
    learned = recalibration(held_out, calibrate, plan, progress)
    other = learned.apply(chosen, found, plan)
    covered = _coverage(other, plan.seed)
    summary = with_recalibration(summary, learned, summary_of(other, covered, plan, found.evaluations))
    return Inference(
        subject, posterior, coverage, summary, Recalibrated(learned.dataset, other, covered, learned.held_out)
    )


def _coverage(posterior: xr.Dataset, seed: int) -> xr.Dataset | None:
    units = posterior["unit_name"].values
    if "truth" not in posterior or len(np.unique(units)) < 2:
        return None
    draws, truth, low, high = (posterior[name].values for name in ("draws", "truth", "low", "high"))
    return coverage_curve(credibilities(draws, truth, low, high, seed), units)
