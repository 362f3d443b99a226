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
from physgen.diffusion.inference.weight_statistics import resample, summarise_weights
from physgen.diffusion.noise import generator_for
from physgen.ensemble import LOG_WEIGHT, load_ensemble, sample_dims
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.levels import Levels
from physgen.runs.model import Model, draw
from physgen.stages.laws import FEWEST

if TYPE_CHECKING:
    import xarray as xr


THRESHOLD = 0.5  # effective fraction below which a population is resampled
ANCESTORS, LEAST = "guided_ancestors", "guided_least_fraction"
TOLD = {
    LOG_WEIGHT: "log-weight of the guided law, up to a constant for each row of labels",
    ANCESTORS: "first particles of the population that still have descendants",
    LEAST: "smallest effective fraction of the population on its way",
}


@dataclass(frozen=True)
class Guidance:
    """W of the law p(x|c)^W p(x)^(1-W), 1 for none; with log-weights, or drawn of that very law (exact)."""

    strength: float
    weights: bool = False
    exact: bool = False


def check_guidance(experiment: Experiment, strength: float) -> None:
    """Raise InputError where a run has not learned the law without labels, or W has no law."""
    if not math.isfinite(strength):
        raise InputError(f"guidance = {strength} is no number: give W, 1 for none")
    if experiment.diffusion.process == "masked":
        raise InputError(
            f"guidance = {strength:g} mixes scores of noise levels, of which masked diffusion has none: leave it out"
        )
    if experiment.diffusion.label_dropout == 0:
        raise InputError(
            f"guidance = {strength:g} needs the law without labels, which {experiment.name} has not learned: train it "
            "with diffusion.label_dropout=0.1, or leave guidance out"
        )


def draw_guided(
    model: Model, template: xr.Dataset, asked: Guidance, seed: int, sampler: str, levels: Levels,
    progress: Progress | None = None,
) -> xr.Dataset:  # fmt: skip
    r"""Configurations of the guided denoiser, with ``log_weight`` where weights are asked for.

    Without weights any sampler draws from the guided score, which is that of no noised law: too narrow and too far out.
    With them the paths are stochastic (:func:`physgen.diffusion.inference.guidance.sample_guided`), not resampled.
    ``exact`` resamples them on the way and at the end, so that equal weights are left: the n draws of each row of
    labels are one population, of the guided law up to the errors of the network, the steps, and of order 1/n. Then
    ``guided_ancestors`` over the sample dims is how many first particles have descendants in the draw's population,
    ``guided_least_fraction`` the smallest effective fraction on the way.
    """
    guided = guided_denoiser(model, asked.strength)
    said = {"guidance": asked.strength}
    if not (asked.weights or asked.exact):
        other = dataclasses.replace(model, denoiser=cast(torch.nn.Module, guided))
        made = draw(other, template, seed=seed, sampler=sampler, levels=levels, progress=progress)
        return made.assign_attrs(said)
    condition = dict(model.domain.condition(template, model.encoding.domain))
    labels = condition.pop("labels")
    if condition:
        raise InputError(
            "weights and exact draws are for laws with labels alone, these have further conditions: leave them out"
        )
    x, columns = _populations(guided, labels, levels, seed, model, asked.exact, progress)
    made = model.domain.decode(x, template, model.encoding.domain)
    dims = sample_dims(made)
    for name, values in columns.items():
        shaped = values.reshape([made.sizes[d] for d in dims]).numpy()
        made[name] = (dims, shaped, {"long_name": TOLD[name], "units": "1", "is_condition": 0})
    steps = {"sampler": "guided particles", "sampler_steps": len(levels.values) - 1, "seed": seed}
    return made.assign_attrs({**said, **steps, **levels.facts()})


def guided_denoiser(model: Model, strength: float) -> Product:
    """The denoiser of p(x|c)^W p(x)^(1-W): labels that are NaN are no labels."""
    null = {"labels": torch.full((1, model.encoding.labels), torch.nan)}
    return classifier_free(model.denoiser, with_condition(model.denoiser, null), strength - 1)


def _populations(
    guided: Product,
    labels: torch.Tensor,
    levels: Levels,
    seed: int,
    model: Model,
    exact: bool,
    progress: Progress | None,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """x (N, C, \\*grid) and what is told of each draw (N,): each distinct row of labels is one law, one population."""
    rows, law = torch.unique(labels, dim=0, return_inverse=True)
    fewest = int(torch.bincount(law).min())
    if exact and fewest < FEWEST:
        raise InputError(
            f"exact draws of a guided law come in populations, of {FEWEST} at least; these are {len(rows)} rows of "
            f"labels with {fewest} draws: give -n {FEWEST} or more and hold the labels with --condition"
        )
    x = torch.empty(len(labels), *model.encoding.shape)
    names = (ANCESTORS, LEAST) if exact else (LOG_WEIGHT,)
    columns = {name: torch.empty(len(labels), dtype=torch.float64) for name in names}
    for number, row in enumerate(rows):
        place = torch.nonzero(law == number)[:, 0]
        seeded = generator_for(seed, "guided particles", number).initial_seed()
        generator = torch.Generator(model.device).manual_seed(seeded)
        one: Mapping[str, torch.Tensor] = {"labels": row[None].to(model.device)}
        shape = (len(place), *model.encoding.shape)
        threshold = THRESHOLD if exact else 0.0
        found = sample_guided(guided, levels.values, shape, generator, one, threshold=threshold, batch=64)
        drawn = found.x
        if exact:
            drawn = drawn[resample(found.weights.log(), len(place), seed=seeded)]
            columns[ANCESTORS][place], columns[LEAST][place] = float(found.ancestors), found.least_ess
        else:
            columns[LOG_WEIGHT][place] = found.weights.log().cpu()
        x[place] = drawn.float().cpu()
        if progress is not None:
            progress(number + 1, len(rows))
    return x, columns


def describe_populations(path: Path) -> str:
    """How much of each population of exact guided draws is left, in words."""
    ensemble = load_ensemble(path)
    kept, least = ensemble[ANCESTORS].values.reshape(-1), ensemble[LEAST].values.reshape(-1)
    told = (
        f"drawn of the guided law itself: {int(kept.min())} first particles left of {len(kept)} in the smallest "
        f"population, effective fraction down to {least.min():.2f}"
    )
    few = kept.min() < FEWEST
    return f"{told}; so few are no sample, draw more or lower W" if few else told


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
    return (
        f"effective sample size {found.effective_sample_size:.1f} of {count} draws (fraction "
        f"{found.effective_fraction:.3f}), Pareto tail {found.tail:.2f} (< 0.7)"
    )
