"""The stage that draws configurations from a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from physgen.domains.contract import check_same_domain
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
    like: str | Path | None = None
    given: dict[str, float] = field(default_factory=dict)
    sampler: str | None = None
    steps: int | None = None
    seed: int = 0
    levels: str | None = None  # which noise levels: checked, chosen, log-uniform
    average: float | None = None  # relative width of a post-hoc EMA of the weights; None for the run's own EMA


def sample(
    run: str | Path | Run,
    output: str | Path,
    options: DrawOptions | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw configurations from a run and write them as an ensemble.

    Args:
        run: a run or its folder.
        output: new file.
        options: what to draw; None for the run's own settings.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: called with (done, total).

    Returns:
        The file.

    Raises:
        InputError: no run, options out of range, conditions that the model was not trained on, an output that exists.
    """
    options, output = options or DrawOptions(), Path(output)
    run = run if isinstance(run, Run) else open_run(Path(run))
    settings = run.experiment.sampling
    check_new(output)
    _check_options(options)
    model = load_model(run.folder / "model", device)
    like = load_ensemble(options.like) if options.like else run.part("test")
    check_same_domain(like, run.experiment.domain, str(options.like), "the run")
    grid = [like.sizes[d] for d in space_dims(like)]
    if grid != model.constants["grid"]:
        raise InputError(
            f"{options.like} has the lattice {grid}, the run {model.constants['grid']}: "
            "take conditions on the lattice that the model was trained on"
        )
    averaged = {} if options.average is None else _take_average(model, run, options.average)
    template = run.domain.request(like, options.n or settings.n, options.given, model.constants)
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
    return save_ensemble(generated.assign_attrs(made | averaged), output)


def conditions_without_data(reference: str | Path, given: dict[str, float]) -> list[str]:
    """Which of the given conditions, as name=value, no configuration of the reference was made under."""
    known = load_ensemble(reference)
    return [f"{name}={value:g}" for name, value in given.items() if value not in known[name].values]


def _take_average(model: Model, run: Run, width: float) -> dict[str, float | int]:
    """Put a post-hoc EMA of the weights into the model; the attributes that say so."""
    facts = take_average(model.denoiser, run, width)
    return {"average_width": width, "average_residual": facts.residual, "average_update": facts.update}


def _check_options(options: DrawOptions) -> None:
    for name, value, least in (("n", options.n, 1), ("steps", options.steps, 2)):
        if value is not None and value < least:
            raise InputError(f"{name} = {value} is too few: give at least {least}, or leave it out for the run's own")
    if options.sampler is not None:
        check_sampler(options.sampler)
    if options.levels is not None and options.levels not in RULES:
        raise InputError(f"levels = {options.levels!r} is an unknown rule: choose one of {', '.join(RULES)}")
    if options.average is not None:
        check_width(options.average)
