"""Posteriors of labels as a stage finds them: which labels, of which configurations, measured how, as a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diagnostics.ranks import ranks, standard_scores
from physgen.diffusion.inference.bound import BoundSettings, denoising_bound
from physgen.diffusion.inference.label_posterior import Design, LabelPosterior, label_posterior
from physgen.ensemble import units_of_samples
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.folder import Run
from physgen.runs.model import Model
from physgen.stages.encoded_data import EncodedData, at_samples, encoded_data, limited, noise_levels
from physgen.stages.likelihood_methods import flow_likelihood
from physgen.stages.likelihood_options import LikelihoodOptions

if TYPE_CHECKING:
    import xarray as xr

    from physgen.stages.inference import InferenceOptions

POSTERIOR_DRAWS = 1000
VALUES_AT_ONCE = 2**24  # of configurations, a copy for each point of a design


@dataclass(frozen=True)
class Chosen:
    """Configurations of a source whose labels are asked for.

    Attributes:
        run, model: whose law tells. data: the configurations, encoded.
        names: of the labels, n.
        cells: (N,) which posterior, of U, each configuration has a share in.
    """

    run: Run
    model: Model
    data: EncodedData
    names: tuple[str, ...]
    cells: np.ndarray

    @property
    def first(self) -> list[int]:
        """The first configuration of each posterior (U,)."""
        return [int(place) for place in np.unique(self.cells, return_index=True)[1]]

    @property
    def independent(self) -> np.ndarray:
        """Name of the independent unit of each posterior (U,)."""
        return np.asarray(units_of_samples(self.data.ensemble)[self.first])

    @property
    def truth(self) -> np.ndarray | None:
        """Labels of the file (U, n); None where it does not hold them all."""
        if not all(name in self.data.ensemble.variables for name in self.names):
            return None
        return np.stack([at_samples(self.data.ensemble, name)[self.first] for name in self.names], axis=1)

    @property
    def prior(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends (n,) of the range of the training data."""
        ranges = self.run.domain.label_ranges(self.model.encoding.domain)
        low, high = (np.array([ranges[name][i] for name in self.names]) for i in (0, 1))
        return low, high


def choose(run: Run, model: Model, source: Any, plan: InferenceOptions) -> Chosen:
    """The labels and configurations that a plan asks for.

    Raises:
        InputError: a run without labels of its own, labels that it does not know, data that do not fit.
    """
    names = _names(run, model, plan)
    data = limited(encoded_data(run, model, source, tuple(names)), plan.limit)
    unit = units_of_samples(data.ensemble) if plan.combine else np.arange(len(data.x))
    cells = np.unique(unit, return_inverse=True)[1]
    _check_combined(data, names, cells)
    return Chosen(run, model, data, tuple(names), cells)


def measure(chosen: Chosen, plan: InferenceOptions, progress: Progress | None) -> LabelPosterior:
    """Posteriors of the chosen configurations on [-1, 1]^n."""
    return label_posterior(design_of(chosen, plan, progress), len(chosen.first), len(chosen.names))


def design_of(chosen: Chosen, plan: InferenceOptions, progress: Progress | None = None) -> Design:
    """What draws ln p of the chosen configurations for :func:`label_posterior`."""
    return _Measure(chosen, plan, progress)


class _Measure:
    """ln p (R, T) of units at labels: sums over the configurations of each unit."""

    def __init__(self, chosen: Chosen, plan: InferenceOptions, progress: Progress | None) -> None:
        self.model, self.data, self.plan, self.progress = chosen.model, chosen.data, plan, progress
        every = list(chosen.run.domain.label_ranges(chosen.model.encoding.domain))
        self.columns = [every.index(name) for name in chosen.names]
        self.members = [np.flatnonzero(chosen.cells == unit) for unit in range(len(chosen.first))]
        self.round = 0

    def __call__(self, which: np.ndarray, labels: np.ndarray, last: bool) -> np.ndarray:
        """Before the last round, which finds where to look, one draw of a third of the levels does, or two probes."""
        draws, steps = self.plan.draw_count, self.plan.step_count
        if not last and self.plan.method == "bound":
            draws, steps = 1, max(steps // 3, 2)
        elif not last:
            draws = 2
        point = np.concatenate([np.full(len(self.members[u]), t) for t, u in enumerate(which)])
        config = np.concatenate([self.members[u] for u in which])
        total = np.zeros((draws, len(which)))
        self.round += 1
        block = max(VALUES_AT_ONCE // self.data.x[0].numel(), 1)
        for first in range(0, len(config), block):
            rows = slice(first, first + block)
            drawn = self._rows(config[rows], labels[point[rows]], draws, steps)
            for into, values in zip(total, drawn, strict=True):
                np.add.at(into, point[rows], values)
            if self.progress is not None:
                self.progress(min(first + block, len(config)), len(config), f"round {self.round}")
        return total

    def _rows(self, config: np.ndarray, labels: np.ndarray, draws: int, steps: int) -> np.ndarray:
        index = torch.from_numpy(config)
        condition = {name: value[index].clone() for name, value in self.data.condition.items()}
        condition["labels"][:, self.columns] = torch.from_numpy(labels).to(condition["labels"])
        given = {name: value.to(self.model.device) for name, value in condition.items()}
        x, numbers = self.data.x[index], config.tolist()
        if self.plan.method == "bound":
            settings = BoundSettings(draws, steps, self.plan.seed)
            denoiser, levels = self.model.denoiser, noise_levels(self.model)
            return denoising_bound(denoiser, levels, x.to(self.model.device), given, numbers, settings).numpy()
        flow = LikelihoodOptions("hutchinson", draws, steps, self.plan.seed)
        return flow_likelihood(self.model, x, given, numbers, flow).per_probe.cpu().numpy()


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


def _check_combined(data: EncodedData, names: list[str], cells: np.ndarray) -> None:
    """Configurations that share a posterior must share their labels."""
    for name in (n for n in names if n in data.ensemble.variables):
        values = at_samples(data.ensemble, name)
        for unit in range(int(cells.max()) + 1):
            if len(np.unique(values[cells == unit])) > 1:
                raise InputError(
                    f"combine needs one value of {name!r} in each unit, and one unit has several: leave combine out"
                )


def as_dataset(chosen: Chosen, found: LabelPosterior, plan: InferenceOptions) -> xr.Dataset:
    """Posteriors in units of the labels, beside the truth where the file holds it; ``inference.Inference`` names it."""
    import xarray as xr

    low, high = chosen.prior
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
        "configurations": ("unit", np.bincount(chosen.cells), {"long_name": "configurations", "units": "1"}),
    }
    truth = chosen.truth
    if truth is not None:
        columns["truth"] = (over, truth, {"long_name": "label of the file"})
        columns["rank"] = (over, ranks(draws, truth), {"long_name": "rank of the truth", "units": "1"})
        columns["score"] = (over, standard_scores(columns["mean"][1], columns["std"][1], truth))
    attrs = {"run": chosen.run.experiment.name, "method": plan.method, "combined": int(plan.combine), "seed": plan.seed}
    coords = {
        "label": list(chosen.names),
        "unit": np.arange(len(found.mean)),
        "unit_name": ("unit", chosen.independent),
    }
    return xr.Dataset(columns, coords, attrs)
