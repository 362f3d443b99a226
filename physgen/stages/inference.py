"""The stage of inference: posteriors of the labels of each configuration of a file, by ln p(x | labels) of a run.

The prior is uniform over the range of the training data. Noise, noise levels and probes are the same for all labels of
one configuration, so that differences of ln p between labels are precise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from physgen.diagnostics.coverage import coverage_curve, credibilities
from physgen.diagnostics.ranks import ranks, standard_scores
from physgen.diffusion.inference.bound import BoundSettings, denoising_bound
from physgen.diffusion.inference.label_posterior import LabelPosterior, label_posterior
from physgen.ensemble import units_of_samples
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.report.found import Found
from physgen.runs.folder import Run, open_run, result_folder
from physgen.runs.model import Model, load_model
from physgen.stages.encoded_data import EncodedData, at_samples, encoded_data, limited, noise_levels
from physgen.stages.inference_summary import summary_of
from physgen.stages.likelihood_methods import flow_likelihood
from physgen.stages.likelihood_options import LikelihoodOptions

if TYPE_CHECKING:
    import xarray as xr

    from physgen.figures.style import Figure

METHODS = ("bound", "flow")
DRAWS = {"bound": 4, "flow": 4}
LEVELS = {"bound": 32, "flow": 24}
FOLDER, POSTERIOR_DRAWS = "inference", 1000
VALUES_AT_ONCE = 2**24  # of configurations, a copy for each point of a design


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
        folder: where it was written; None before.
    """

    stem: ClassVar[str] = "posteriors"
    columns: ClassVar[tuple[int, int]] = (34, 16)
    subject: str
    posterior: xr.Dataset
    coverage: xr.Dataset | None
    summary: dict[str, Any]
    folder: Path | None = None

    @property
    def figure(self) -> Figure:
        """Posteriors of a few units; ranks and coverage where the truth is known."""
        from physgen.figures.posteriors import posterior_panel

        return posterior_panel(self.posterior, self.coverage)

    @property
    def groups(self) -> dict[str, xr.Dataset]:
        """``posterior``, and ``coverage`` where the truth is known."""
        known = {} if self.coverage is None else {"coverage": self.coverage}
        return {"posterior": self.posterior, **known}


def write_inference(
    run: str | Path,
    source: str | Path,
    options: InferenceOptions | None = None,
    output: str | Path | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Inference:
    """Posteriors of a file under a run, written into a folder (``RUN/inference`` where ``output`` is None)."""
    found_run = open_run(run)
    folder = result_folder(found_run, output, FOLDER)
    return infer(found_run, source, options, device=device, progress=progress).write(folder)


def infer(
    run: Run,
    source: Any,
    options: InferenceOptions | None = None,
    *,
    device: str = "auto",
    model: Model | None = None,
    progress: Progress | None = None,
) -> Inference:
    """Posteriors of the labels of an ensemble, an array or a file under a run, unwritten.

    Raises:
        InputError: a run without labels of its own, labels that it does not know, data that do not fit.
    """
    plan = options or InferenceOptions()
    model = model or load_model(run.folder / "model", device)
    model.check_noise("the posterior of labels")
    names = _names(run, model, plan)
    data = limited(encoded_data(run, model, source, tuple(names)), plan.limit)
    unit = units_of_samples(data.ensemble) if plan.combine else np.arange(len(data.x))
    cells = np.unique(unit, return_inverse=True)[1]
    _check_combined(data, names, cells)
    measure = _Measure(model, data, [_column(run, model, name) for name in names], cells, plan, progress)
    found = label_posterior(measure, int(cells.max()) + 1, len(names))
    posterior = _dataset(run, model, data, found, names, cells, plan)
    independent = _independent(data, cells)
    coverage = _coverage(posterior, independent, plan)
    summary = summary_of(posterior, coverage, independent, plan, found.evaluations)
    what = "units" if plan.combine else "configurations"
    subject = f"posterior of {', '.join(names)} of {len(posterior['unit'])} {what} under {run.experiment.name}"
    return Inference(subject, posterior, coverage, summary)


class _Measure:
    """ln p (R, T) of units at labels: sums over the configurations of each unit."""

    def __init__(
        self,
        model: Model,
        data: EncodedData,
        columns: list[int],
        cells: np.ndarray,
        plan: InferenceOptions,
        progress: Progress | None,
    ) -> None:
        self.model, self.data, self.columns, self.plan, self.progress = model, data, columns, plan, progress
        self.members = [np.flatnonzero(cells == unit) for unit in range(int(cells.max()) + 1)]
        self.round = 0

    def __call__(self, which: np.ndarray, labels: np.ndarray, last: bool) -> np.ndarray:
        """Before the last round one draw, of two probes, does."""
        draws = self.plan.draw_count if last else 1 if self.plan.method == "bound" else 2
        point = np.concatenate([np.full(len(self.members[u]), t) for t, u in enumerate(which)])
        config = np.concatenate([self.members[u] for u in which])
        total = np.zeros((draws, len(which)))
        self.round += 1
        block = max(VALUES_AT_ONCE // self.data.x[0].numel(), 1)
        for first in range(0, len(config), block):
            rows = slice(first, first + block)
            drawn = self._rows(config[rows], labels[point[rows]], draws)
            for into, values in zip(total, drawn, strict=True):
                np.add.at(into, point[rows], values)
            if self.progress is not None:
                self.progress(min(first + block, len(config)), len(config), f"round {self.round}")
        return total

    def _rows(self, config: np.ndarray, labels: np.ndarray, draws: int) -> np.ndarray:
        index = torch.from_numpy(config)
        condition = {name: value[index].clone() for name, value in self.data.condition.items()}
        condition["labels"][:, self.columns] = torch.from_numpy(labels).to(condition["labels"])
        given = {name: value.to(self.model.device) for name, value in condition.items()}
        x, numbers, steps = self.data.x[index], config.tolist(), self.plan.step_count
        if self.plan.method == "bound":
            settings = BoundSettings(draws, steps, self.plan.seed)
            denoiser, levels = self.model.denoiser, noise_levels(self.model)
            return denoising_bound(denoiser, levels, x.to(self.model.device), given, numbers, settings).numpy()
        flow = LikelihoodOptions("hutchinson", draws, steps, self.plan.seed)
        return flow_likelihood(self.model, x, given, numbers, flow).per_probe.cpu().numpy()


# --- what is asked ------------------------------------------------------------------------------------


def _names(run: Run, model: Model, plan: InferenceOptions) -> list[str]:
    ranges = run.domain.label_ranges(model.encoding.domain)
    free = [name for name, (low, high) in ranges.items() if high > low]
    if not free or "labels" not in model.encoding.condition_shapes:
        raise InputError(
            f"the run {run.experiment.name} has no labels that could be inferred: train on data whose labels vary"
        )
    if plan.labels is None:
        return [name for name in free if name not in model.encoding.sample_dims]
    strange = [name for name in plan.labels if name not in free]
    if strange:
        raise InputError(f"{strange[0]!r} is no label that varied in the training: choose from {', '.join(free)}")
    return list(plan.labels)


def _column(run: Run, model: Model, name: str) -> int:
    return list(run.domain.label_ranges(model.encoding.domain)).index(name)


def _check_combined(data: EncodedData, names: list[str], cells: np.ndarray) -> None:
    """Configurations that share a posterior must share their labels."""
    for name in (n for n in names if n in data.ensemble.variables):
        values = at_samples(data.ensemble, name)
        for unit in range(int(cells.max()) + 1):
            if len(np.unique(values[cells == unit])) > 1:
                raise InputError(
                    f"combine needs one value of {name!r} in each unit, and one unit has several: leave combine out"
                )


def _independent(data: EncodedData, cells: np.ndarray) -> np.ndarray:
    """Name of the independent unit of each posterior."""
    of_samples = units_of_samples(data.ensemble)
    return of_samples[[int(np.flatnonzero(cells == unit)[0]) for unit in range(int(cells.max()) + 1)]]


# --- what came out ------------------------------------------------------------------------------------


def _dataset(
    run: Run,
    model: Model,
    data: EncodedData,
    found: LabelPosterior,
    names: list[str],
    cells: np.ndarray,
    plan: InferenceOptions,
) -> xr.Dataset:
    import xarray as xr

    ranges = run.domain.label_ranges(model.encoding.domain)
    low, high = (np.array([ranges[name][i] for name in names]) for i in (0, 1))
    half, middle = (high - low) / 2, (high + low) / 2
    draws = middle + half * found.draw(POSTERIOR_DRAWS, plan.seed)
    over = ("unit", "label")
    columns: dict[str, Any] = {
        "mean": (over, middle + half * found.mean, {"long_name": "posterior mean"}),
        "std": (over, half * found.std, {"long_name": "posterior standard deviation"}),
        "mean_error": (over, half * found.mean_error, {"long_name": "Monte Carlo error of the mean"}),
        "covariance": ((*over, "other"), found.covariance * half[:, None] * half),
        "draws": (("unit", "draw", "label"), draws, {"long_name": "draws from the posterior"}),
        "misfit": ("unit", found.misfit, {"long_name": "rms misfit of ln p near its peak", "units": "nat"}),
        "outside": ("unit", found.outside, {"long_name": "weight at the edges of the box", "units": "1"}),
        "ln_evidence": ("unit", found.ln_evidence, {"long_name": "ln of the evidence", "units": "nat"}),
        "low": ("label", low, {"long_name": "lower end of the prior"}),
        "high": ("label", high, {"long_name": "upper end of the prior"}),
        "configurations": ("unit", np.bincount(cells), {"long_name": "configurations", "units": "1"}),
    }
    if all(name in data.ensemble.variables for name in names):
        first = [int(np.flatnonzero(cells == unit)[0]) for unit in range(len(found.mean))]
        truth = np.stack([at_samples(data.ensemble, name)[first] for name in names], axis=1)
        columns["truth"] = (over, truth, {"long_name": "label of the file"})
        columns["rank"] = (over, ranks(draws, truth), {"long_name": "rank of the truth", "units": "1"})
        columns["score"] = (over, standard_scores(columns["mean"][1], columns["std"][1], truth))
    attrs = {"run": run.experiment.name, "method": plan.method, "combined": int(plan.combine), "seed": plan.seed}
    coords = {"label": names, "unit": np.arange(len(found.mean)), "unit_name": ("unit", _independent(data, cells))}
    return xr.Dataset(columns, coords, attrs)


def _coverage(posterior: xr.Dataset, independent: np.ndarray, plan: InferenceOptions) -> xr.Dataset | None:
    if "truth" not in posterior or len(np.unique(independent)) < 2:
        return None
    draws, truth, low, high = (posterior[name].values for name in ("draws", "truth", "low", "high"))
    return coverage_curve(credibilities(draws, truth, low, high, plan.seed), independent)
