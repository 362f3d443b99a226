"""The stage that draws configurations from a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from physgen.domains.contract import check_same_domain, with_units
from physgen.ensemble import load_ensemble, save_ensemble, space_dims
from physgen.errors import InputError
from physgen.runs.folder import Run, open_run
from physgen.runs.levels import RULES, choose_levels
from physgen.runs.model import Model, check_sampler, draw, load_model
from physgen.stages.data import check_new
from physgen.stages.ema import check_width, take_average


@dataclass(frozen=True)
class DrawOptions:
    """What to draw. What is left out comes from the run's configuration."""

    n: int | None = None
    like: Path | None = None
    given: dict[str, float] = field(default_factory=dict)
    sampler: str | None = None
    steps: int | None = None
    seed: int = 0
    levels: str | None = None  # which noise levels: checked, chosen, log-uniform
    average: float | None = None  # relative width of the average of the weights; None is the run's own


def sample(
    run: Path | Run,
    output: Path,
    options: DrawOptions | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw configurations from a run and write them as an ensemble."""
    options = options or DrawOptions()
    run = run if isinstance(run, Run) else open_run(run)
    settings = run.experiment.sampling
    check_new(output)
    _check_options(options)
    model = load_model(run.folder / "model", device)
    like = load_ensemble(options.like) if options.like else run.part("test")
    check_same_domain(like, run.experiment.domain, str(options.like), "the run")
    grid = tuple(like.sizes[d] for d in space_dims(like))
    if grid != model.encoding.grid:
        raise InputError(
            f"{options.like} has the lattice {grid}, the run {model.encoding.grid}: "
            "take conditions on the lattice that the model was trained on"
        )
    averaged = {} if options.average is None else _take_average(model, run, options.average)
    template = run.domain.request(like, options.n or settings.n, options.given, model.encoding.domain)
    sampler, steps = options.sampler or settings.sampler, options.steps or settings.steps
    levels = choose_levels(model, sampler, steps, options.levels or settings.levels)
    started = time.perf_counter()
    generated = draw(model, template, seed=options.seed, sampler=sampler, levels=levels, progress=progress)
    made = {
        "domain": run.experiment.domain,
        "run": run.experiment.name,
        "seed": options.seed,
        "draw_seconds": round(time.perf_counter() - started, 2),
        "draw_device": str(model.device),
    }
    return save_ensemble(with_units(generated.assign_attrs(made | averaged), run.domain), output)


def conditions_without_data(reference: Path, given: dict[str, float]) -> list[str]:
    """Which of the given conditions, as name=value, no configuration of the reference was made under."""
    known = load_ensemble(reference)
    return [f"{name}={value:g}" for name, value in given.items() if value not in known[name].values]


def _take_average(model: Model, run: Run, width: float) -> dict[str, float | int]:
    """Draw with another average of the weights; the attributes that say so."""
    facts = take_average(model.denoiser, run, width)
    return {"average_width": width, "average_residual": facts.residual, "average_update": facts.update}


def _check_options(options: DrawOptions) -> None:
    for name, value, least in (("-n", options.n, 1), ("--steps", options.steps, 2)):
        if value is not None and value < least:
            raise InputError(f"{name} {value} is too few: give at least {least}, or leave it out for the run's own")
    if options.sampler is not None:
        check_sampler(options.sampler)
    if options.levels is not None and options.levels not in RULES:
        raise InputError(f"--levels {options.levels} is no rule: choose one of {', '.join(RULES)}")
    if options.average is not None:
        check_width(options.average)
