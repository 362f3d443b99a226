r"""Classifier-free guidance of a trained run: towards :math:`p(x|c)^W p(x)^{1-W}`, exact with its weights alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from physgen.config import Experiment
from physgen.diffusion.inference.guidance import Product, classifier_free, sample_guided, with_condition
from physgen.diffusion.inference.weight_statistics import summarise_weights
from physgen.diffusion.noise import generator_for
from physgen.ensemble import LOG_WEIGHT, load_ensemble, sample_dims
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.levels import Levels
from physgen.runs.model import Model, draw

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Guidance:
    """W of the law p(x|c)^W p(x)^(1-W), 1 for none; with or without log-weights."""

    strength: float
    weights: bool = False


def check_guidance(experiment: Experiment, strength: float) -> None:
    """Raise InputError where a run has not learned the law without labels, or W has no law."""
    if not math.isfinite(strength):
        raise InputError(f"guidance = {strength} is no number: give W, 1 for none")
    if experiment.training.label_dropout == 0:
        raise InputError(
            f"guidance = {strength:g} needs the law without labels, which {experiment.name} has not learned: train it "
            "with training.label_dropout=0.1, or leave guidance out"
        )


def draw_guided(
    model: Model, template: xr.Dataset, asked: Guidance, seed: int, sampler: str, levels: Levels,
    progress: Progress | None = None,
) -> xr.Dataset:  # fmt: skip
    r"""Configurations of the guided denoiser, with ``log_weight`` where weights are asked for.

    Without weights any sampler draws from the guided score, which is that of no noised law: too narrow and too far out.
    With them the paths are stochastic (:func:`physgen.diffusion.inference.guidance.sample_guided`), not resampled.
    """
    guided = guided_denoiser(model, asked.strength)
    said = {"guidance": asked.strength}
    if not asked.weights:
        other = dataclasses.replace(model, denoiser=cast(torch.nn.Module, guided))
        made = draw(other, template, seed=seed, sampler=sampler, levels=levels, progress=progress)
        return made.assign_attrs(said)
    condition = dict(model.domain.condition(template, model.encoding.domain))
    labels = condition.pop("labels")
    if condition:
        raise InputError("weights are for laws with labels alone, these have further conditions: leave weights out")
    x, log_weight = _weighted(guided, labels, levels, seed, model, progress)
    made = model.domain.decode(x, template, model.encoding.domain)
    dims = sample_dims(made)
    told = {"long_name": "log-weight of the guided law, up to a constant for each row of labels", "units": "1"}
    values = log_weight.reshape([made.sizes[d] for d in dims])
    made[LOG_WEIGHT] = (dims, values.numpy(), told | {"is_condition": 0})
    steps = {"sampler": "guided particles", "sampler_steps": len(levels.values) - 1, "seed": seed}
    return made.assign_attrs({**said, **steps, **levels.facts()})


def guided_denoiser(model: Model, strength: float) -> Product:
    """The denoiser of p(x|c)^W p(x)^(1-W): labels that are NaN are no labels."""
    null = {"labels": torch.full((1, model.encoding.labels), torch.nan)}
    return classifier_free(model.denoiser, with_condition(model.denoiser, null), strength - 1)


def _weighted(
    guided: Product, labels: torch.Tensor, levels: Levels, seed: int, model: Model, progress: Progress | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """x (N, C, \\*grid) and log-weights (N,): each distinct row of labels is one law."""
    rows, law = torch.unique(labels, dim=0, return_inverse=True)
    x = torch.empty(len(labels), *model.encoding.shape)
    log_weight = torch.empty(len(labels), dtype=torch.float64)
    for number, row in enumerate(rows):
        place = torch.nonzero(law == number)[:, 0]
        seeded = generator_for(seed, "guided particles", number).initial_seed()
        generator = torch.Generator(model.device).manual_seed(seeded)
        one: Mapping[str, torch.Tensor] = {"labels": row[None].to(model.device)}
        shape = (len(place), *model.encoding.shape)
        found = sample_guided(guided, levels.values, shape, generator, one, threshold=0, batch=64)
        x[place], log_weight[place] = found.x.float().cpu(), found.weights.log().cpu()
        if progress is not None:
            progress(number + 1, len(rows))
    return x, log_weight


def describe_weights(path: Path) -> str:
    """What the weights of a file are worth: no effective sample size without a tail that allows one."""
    ensemble = load_ensemble(path)
    names = [str(n) for n, v in ensemble.data_vars.items() if v.dtype.kind == "f" and n not in ("field", LOG_WEIGHT)]
    rows = np.stack([np.broadcast_to(ensemble[n], ensemble[LOG_WEIGHT].shape).reshape(-1) for n in sorted(names)], 1)
    law = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    logs = torch.from_numpy(ensemble[LOG_WEIGHT].values.reshape(-1))
    told = [_describe(logs[torch.from_numpy(law == number)]) for number in range(law.max() + 1)]
    return told[0] if len(told) == 1 else "\n".join(f"labels {i}: {text}" for i, text in enumerate(told))


def _describe(log_weight: torch.Tensor) -> str:
    count = len(log_weight)
    if count < 2:
        return "one configuration has no effective sample size"
    found = summarise_weights(log_weight)
    if math.isnan(found.tail):
        return f"{count} weights are too few to judge their tail, so no effective sample size is given: draw 25 or more"
    if not found.is_reliable:
        return (
            f"the largest of the {count} weights have a Pareto tail of shape {found.tail:.2f} > 0.7: the guided law is "
            "not reached by weighting, and no effective sample size is given; lower W or draw many more"
        )
    return f"effective sample size {found.effective_sample_size:.1f} of {count}, Pareto tail {found.tail:.2f} (< 0.7)"
