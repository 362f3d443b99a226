"""One training followed along its steps: losses at fixed noise levels, and how many of its samples are copies.

Everything is written down line by line, so that an interruption loses one training at most. Shapes: n training samples,
N held-out ones, G generated ones, C channels, *grid lattice.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.learning.batches import Augmentation
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.learning.validation import sample_losses, summarise_losses
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.provenance import git_commit

FIELDS = Path(__file__).parent  # where the records lie
RATIO = math.sqrt(2)  # of the steps of successive measurements
GAP = 1 / 3  # d1/d2 of a copy (2505.17638)
EMA_EXPONENT = 16.97  # relative width .05: lags by 6 % of the step at all n alike
ENOUGH = 0.85  # copies, twice in a row, after which a training has nothing more to tell


@dataclass(frozen=True)
class Data:
    """What one training sees and is judged by.

    Attributes:
        train: (n, C, *grid). heldout: (N, C, *grid). unit: (N,) independent unit of each held-out one.
        condition, heldout_condition: of the denoiser, leading with n and N, or None.
    """

    train: Tensor
    heldout: Tensor
    unit: np.ndarray
    condition: dict[str, Tensor] | None = None
    heldout_condition: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class Plan:
    """How one training is measured.

    Attributes:
        levels: noise levels s of the losses. generated: samples drawn at each measurement.
        s_max, s_min, evaluations: log-uniform levels of the sampler (dpmpp_2m).
        first, first_drawn: step of the first measurement, and of the first at which samples are drawn.
        gaps: generated, train -> {name: (G,) ratios d1/d2}.
        draw_every: samples are drawn at every so many measurements.
        stop: (all that was measured so far) -> whether the training has nothing more to tell.
        reference: denoiser whose losses are the unit; None for the baseline of the one that is trained.
    """

    levels: tuple[float, ...]
    generated: int
    s_max: float
    s_min: float
    evaluations: int
    first: int
    first_drawn: int
    gaps: Callable[[Tensor, Tensor], Mapping[str, np.ndarray]]
    draw_every: int
    stop: Callable[[list[dict[str, Any]]], bool]
    reference: Denoiser | None = None


def constant_rate(steps: int, batch_size: int, learning_rate: float, **given: Any) -> Recipe:
    """AdamW at a constant learning rate after a short warm-up, the same at all n."""
    return Recipe(steps, batch_size, learning_rate, warmup=50, final_fraction=1.0, ema_exponent=EMA_EXPONENT, **given)


def moments(first: int, last: int, ratio: float = RATIO) -> list[int]:
    """Steps first, first ratio, first ratio^2, ... up to ``last``."""
    count = int(math.log(last / first) / math.log(ratio) + 1e-9) + 1
    return sorted({round(first * ratio**i) for i in range(count)})


def follow(
    denoiser: nn.Module, data: Data, recipe: Recipe, plan: Plan, augment: Augmentation | None = None
) -> Iterator[dict[str, Any]]:
    """Train, and yield what is measured on the EMA weights at geometric steps; ends where the plan says so."""
    state, started, told = TrainingState(denoiser, recipe), time.perf_counter(), list[dict[str, Any]]()
    wanted, base = set(moments(plan.first, recipe.steps)), plan.reference or denoiser.baseline
    assert callable(base)
    floors = floors_of(base, data, plan, recipe.seed)
    for done in train(state, data.train, data.condition, augment):
        if done.step not in wanted:
            continue
        found = losses_of(state.ema, data, plan, recipe.seed, floors)
        if done.step >= plan.first_drawn and len(told) % plan.draw_every == 0:
            found |= copies_of(state.ema, data, plan, recipe.seed)
        told.append({"step": done.step, **found, "seconds": round(time.perf_counter() - started, 1)})
        yield told[-1]
        if plan.stop(told):
            return


def copied(told: list[dict[str, Any]], name: str = "orbit") -> bool:
    """Whether nearly all samples were copies twice in a row."""
    seen = [line["f_mem"][name] for line in told if "f_mem" in line]
    return len(seen) >= 2 and min(seen[-2:]) >= ENOUGH


def overfitted(told: list[dict[str, Any]], level: int, factor: float) -> bool:
    """Whether the held-out loss at a level was ``factor`` times the training loss twice in a row."""
    gaps = [line["test"]["loss"][level] / line["train"]["loss"][level] for line in told[-2:]]
    return len(gaps) == 2 and min(gaps) >= factor


def parts(data: Data) -> dict[str, tuple[Tensor, dict[str, Tensor] | None, np.ndarray]]:
    """What losses are measured on: held-out configurations, and at most as many training ones, each its own unit."""
    most = len(data.heldout)
    seen = data.train[:most]
    return {
        "train": (seen, data.condition and {k: v[:most] for k, v in data.condition.items()}, np.arange(len(seen))),
        "test": (data.heldout, data.heldout_condition, data.unit),
    }


def floors_of(reference: Denoiser, data: Data, plan: Plan, seed: int) -> dict[str, Tensor]:
    """Squared errors (levels, n) of the denoiser whose losses are the unit: once, the noise being always the same."""
    levels = torch.tensor(plan.levels)
    return {name: sample_losses(reference, x, given, levels, seed)[0] for name, (x, given, _) in parts(data).items()}


def losses_of(denoiser: nn.Module, data: Data, plan: Plan, seed: int, floors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Losses over those of the reference at each level, on training and held-out configurations, with errors."""
    found, levels = {}, torch.tensor(plan.levels)
    for name, (x, condition, unit) in parts(data).items():
        error, _ = sample_losses(denoiser, x, condition, levels, seed)
        losses = summarise_losses(levels, error, floors[name], unit)
        found[name] = {
            "loss": _short(losses.ratio.tolist()),
            "error": _short(losses.ratio_error.tolist()),
            "overall": _short([losses.overall])[0],
            "overall_error": _short([losses.overall_error])[0],
        }
    return found


def copies_of(denoiser: nn.Module, data: Data, plan: Plan, seed: int) -> dict[str, Any]:
    """Fractions of copies among generated samples: f_mem at the gap 1/3, and at 1/2."""
    ratios = plan.gaps(draw(denoiser, data, plan, seed), data.train)
    return {key: _fractions(ratios, gap) for key, gap in (("f_mem", GAP), ("f_mem_half", 1 / 2))}


def _fractions(ratios: Mapping[str, np.ndarray], threshold: float) -> dict[str, float]:
    return {name: _short([float(np.mean(gap < threshold))])[0] for name, gap in ratios.items()}


def draw(denoiser: nn.Module, data: Data, plan: Plan, seed: int) -> Tensor:
    """(G, C, *grid) samples; conditions are those of the training samples in turn."""
    condition: Condition = None
    if data.condition is not None:
        rows = torch.arange(plan.generated) % len(data.train)
        condition = {name: value[rows] for name, value in data.condition.items()}
    shape = (plan.generated, *data.train.shape[1:])
    levels = log_uniform(plan.s_max, plan.s_min, plan.evaluations)
    return sample(denoiser, levels, shape, seed + 10**6, condition)


def null(data: Data, plan: Plan) -> dict[str, float]:
    """Fraction of *held-out* configurations that the same rule calls copies."""
    return _fractions(plan.gaps(data.heldout, data.train), GAP)


# --- the record -----------------------------------------------------------------------------------


def append(path: Path, line: Mapping[str, Any]) -> None:
    """One line of json, on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")


def lines(path: Path) -> list[dict[str, Any]]:
    """All lines of a record; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def record(
    path: Path, key: Mapping[str, Any], course: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]
) -> None:
    """Append a whole training to the record under its key; one that stands there completely is not run again."""
    if any(line.get("done") and all(line[name] == value for name, value in key.items()) for line in lines(path)):
        return
    started = datetime.now(UTC).isoformat(timespec="seconds")
    append(path, {**key, "started": started, "commit": git_commit(), **settings})
    for line in course:
        append(path, {**key, **line})
    append(path, {**key, "done": True})


def _short(values: list[float]) -> list[float]:
    """Five digits are more than any error here allows."""
    return [float(f"{value:.5g}") if math.isfinite(value) else math.nan for value in values]
