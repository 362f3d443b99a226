"""The stage that draws configurations from a run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from physgen.diffusion.names import DIVERGENCE, LevelRule
from physgen.diffusion.sampling.metropolis import SENSIBLE
from physgen.domains.contract import Domain, check_same_domain, with_units
from physgen.ensemble import (
    CORNER,
    EXTRAPOLATED,
    SPACE,
    is_foreign,
    is_template,
    load_conditions,
    marked,
    open_conditions,
    save_ensemble,
    space_dims,
)
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.folder import Run, open_run
from physgen.runs.levels import EVEN, RULES, choose_levels, path_levels, surrogate_spectra, takes_levels
from physgen.runs.model import Model, check_sampler, draw, load_model
from physgen.stages.data import check_new
from physgen.stages.distillation import check_few_steps
from physgen.stages.ema import check_width, take_average
from physgen.stages.guidance import Guidance, check_guidance, draw_guided
from physgen.stages.reverse_paths import with_reverse_paths
from physgen.stages.weighing import draw_weighted, metropolised, resampled

if TYPE_CHECKING:
    import torch
    import xarray as xr


@dataclass(frozen=True)
class DrawOptions:
    """What to draw. What is left out comes from the run's configuration."""

    n: int | None = None
    like: str | Path | xr.Dataset | None = None
    given: dict[str, float] = field(default_factory=dict)
    sampler: str | None = None
    steps: int | None = None
    seed: int = 0
    levels: str | None = None  # which noise levels: checked, chosen, log-uniform
    average: float | None = None  # relative width of a post-hoc EMA of the weights; None for the run's own EMA
    guidance: float | None = None  # W of classifier-free guidance; None or 1 is none
    weights: bool = False  # log-weights beside the configurations: of the guided law, else of that of the domain
    reverse: int | None = (
        None  # with weights of the domain's law: paths of each law the other way; None: as like allows
    )
    resample: int | None = None  # with weights of the domain's law: so many configurations of each law, drawn by them
    metropolis: int | None = None  # the same, or so many states of a Metropolis chain through the draws of each law
    exact: bool = False  # with guidance: draws of the guided law itself, by populations
    sweeps: int | None = None  # of local moves that leave the law unchanged, after drawing, where the physics has them


def sample(
    run: str | Path | Run,
    output: str | Path,
    options: DrawOptions | None = None,
    device: str = "auto",
    progress: Progress | None = None,
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
    output = Path(output)
    run = run if isinstance(run, Run) else open_run(run)
    check_new(output)
    return save_ensemble(draw_ensemble(run, options, device=device, progress=progress), output)


def draw_ensemble(
    run: Run,
    options: DrawOptions | None = None,
    *,
    device: str = "auto",
    model: Model | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Draw configurations from a run: an ensemble that says how it was made.

    ``model`` saves reading that of the run again; with ``options.average`` it takes on other weights.
    """
    options = options or DrawOptions()
    settings = run.experiment.sampling
    _check_options(options)
    _check_run(run, options)
    model = model or load_model(run.folder / "model", device, few_steps=True)
    like, name = _conditions(options.like, run, len(model.encoding.grid))
    check_same_domain(like, run.experiment.domain, name, "the run")
    if options.sweeps and type(run.domain).local_moves is Domain.local_moves:
        run.domain.local_moves(like, options.sweeps, options.seed)  # refuses, before any work
    template = run.domain.request(like, options.n or settings.n, options.given, model.encoding.domain)
    dims = space_dims(like) if "field" in like else [d for d in SPACE if d in like.dims]
    grid = tuple(like.sizes[d] for d in dims)
    placed = _on_lattice(model, grid, name)
    averaged = {} if options.average is None else _take_average(model, run, options.average)
    sampler, steps = options.sampler or settings.sampler, options.steps or settings.steps
    weighted = options.weights and options.guidance is None
    if weighted:
        levels = path_levels(model, run.domain.values.path_kernel(), steps, partial(known_conditions, run, model))
    else:
        levels = choose_levels(model, sampler, steps, _rule(options.levels, model, sampler) or settings.levels)
    model = placed  # the levels are those of the lattice that was trained
    started = time.perf_counter()
    if options.guidance is not None:
        asked = Guidance(options.guidance, options.weights, options.exact)
        generated = draw_guided(model, template, asked, options.seed, sampler, levels, progress)
    elif weighted:
        generated = draw_weighted(model, template, options.seed, levels, progress, sweeps=options.sweeps or 0)
        generated = with_reverse_paths(generated, model, template, like, levels, options.reverse, progress)
        generated = _kept(generated, options)
    else:
        generated = draw(model, template, seed=options.seed, sampler=sampler, levels=levels, progress=progress)
        if options.sweeps:
            generated = run.domain.local_moves(generated, options.sweeps, options.seed)
    made = {
        "domain": run.experiment.domain,
        "run": run.experiment.name,
        "seed": options.seed,
        "draw_seconds": round(time.perf_counter() - started, 2),
        "draw_device": str(model.device),
    } | ({"local_sweeps": options.sweeps} if options.sweeps else {})
    generated.attrs = {k: v for k, v in generated.attrs.items() if k not in (CORNER, EXTRAPOLATED)}  # those of like
    made |= marked(template, run.experiment.split.corner)
    return with_units(generated.assign_attrs(made | averaged), run.domain)


def known_conditions(run: Run, model: Model) -> Mapping[str, torch.Tensor]:
    """The conditions of the test part, one draw of each."""
    known = run.domain.request(run.open_conditions("test"), 1, {}, model.encoding.domain)
    return run.domain.condition(known, model.encoding.domain)


def _on_lattice(model: Model, grid: tuple[int, ...], name: str) -> Model:
    """The model for another lattice than that of its training, where its network is one for any."""
    trained = model.encoding.grid
    if grid == trained:
        return model
    if not model.domain.fits_lattice(model.experiment.network.model_dump(), trained, grid):
        raise InputError(
            f"{name} has the lattice {grid}, the run {trained}: "
            "take conditions on the lattice that the model was trained on"
        )
    return replace(model, encoding=replace(model.encoding, grid=grid))


def _conditions(like: str | Path | xr.Dataset | None, run: Run, dimension: int) -> tuple[xr.Dataset, str]:
    """The ensemble whose conditions are taken, and what to call it."""
    if like is None:
        return run.open_conditions("test"), "the test part"
    if not isinstance(like, str | Path):
        return like, "the ensemble of like"
    if is_foreign(like):
        return run.domain.load_conditions(Path(like), dimension), str(like)
    return load_conditions(like), str(like)


def conditions_without_data(reference: str | Path, given: dict[str, float]) -> list[str]:
    """Which of the given conditions, as name=value, no configuration of the reference was made under."""
    known = load_conditions(reference)
    return [f"{name}={value:g}" for name, value in given.items() if value not in known[name].values]


def extrapolation(generated: str | Path) -> str:
    """Which configurations of a file lie in the corner that its training held out, in words; empty for none."""
    with open_conditions(generated) as drawn:
        return str(drawn.attrs.get(EXTRAPOLATED, ""))


def describe_acceptance(generated: str | Path) -> str:
    """What part of its proposals the sampler mala accepted, with a warning outside SENSIBLE; empty for others."""
    with open_conditions(generated) as drawn:
        names = ("mala_acceptance", "mala_acceptance_least", "mala_acceptance_largest")
        found = [float(drawn.attrs.get(name, math.nan)) for name in names]
    mean, least, largest = found
    if math.isnan(mean):
        return ""
    said = f"mala accepted {mean:.2f} of its proposals, {least:.2f} to {largest:.2f} by levels"
    low, high = SENSIBLE
    if least < low:
        return f"{said}: below {low:g} the chains hardly move, and the draws are those of the steps between the levels"
    if largest > high:
        return f"{said}: above {high:g} the steps are too small to mix, and the draws are those of the way down alone"
    return said


def labels_not_held(run: str | Path | Run, generated: str | Path, given: Mapping[str, float]) -> str:
    """Which labels of the run vary in the generated file though others were given, in words; empty for none."""
    run = run if isinstance(run, Run) else open_run(run)
    names = [key.removesuffix("_range") for key in run.facts() if key.endswith("_range")]
    said = []
    with open_conditions(generated) as drawn:
        for name in names if given else []:
            if name not in given and name in drawn.variables:
                low, high = float(drawn[name].min()), float(drawn[name].max())
                said += [f"{name} {low:.3g} to {high:.3g}"] if high > low else []
    return ", ".join(said)


def reference_settings(like: str | Path, generated: str | Path) -> list[str] | None:
    """Overrides with which ``physgen simulate`` takes the conditions of ``generated``.

    None where ``like`` holds configurations.
    """
    with open_conditions(generated) as drawn:
        settings = str(drawn.attrs.get("settings", "")).split()
    if is_foreign(like):
        return settings
    with open_conditions(like) as conditions:
        return settings if is_template(conditions) else None


def _take_average(model: Model, run: Run, width: float) -> dict[str, float | int]:
    """Put a post-hoc EMA of the weights into the model; the attributes that say so."""
    facts = take_average(model.denoiser, run, width)
    return {"average_width": width, "average_residual": facts.residual, "average_update": facts.update}


def _kept(generated: xr.Dataset, options: DrawOptions) -> xr.Dataset:
    """Of weighted draws those that were asked for."""
    if options.resample is not None:
        return resampled(generated, options.resample, options.seed)
    if options.metropolis is not None:
        return metropolised(generated, options.metropolis, options.seed)
    return generated


def _rule(asked: str | None, model: Model, sampler: str) -> LevelRule | None:
    """The rule that was asked for; one that rests on the Gaussian surrogate needs a denoiser that has one, and a
    sampler that errs on it.
    """
    rule = next((known for known in RULES if known == asked), None)
    if rule not in (None, EVEN) and surrogate_spectra(model) is None:
        raise InputError(
            f"levels = {rule!r} has no effect on this run: its denoiser holds no spectrum of the data, so the noise "
            f"levels are {EVEN}; leave levels out"
        )
    if rule not in (None, EVEN) and not takes_levels(sampler):
        raise InputError(
            f"levels = {rule!r} has no effect on the sampler {sampler}, whose error on the Gaussian surrogate is not "
            f"of that kind: its noise levels are {EVEN}; leave levels out"
        )
    return rule


def _check_run(run: Run, options: DrawOptions) -> None:
    """What this run cannot do, said before anything is read."""
    diffusion = run.experiment.diffusion
    masked, one_level = diffusion.process == "masked", diffusion.loss == DIVERGENCE
    if options.sampler is not None:
        check_sampler(options.sampler, masked)
    if masked and options.levels is not None:
        raise InputError(f"levels = {options.levels!r} has no effect on masked diffusion, which has none: leave it out")
    if one_level and (options.sampler not in (None, "mala") or options.levels or options.guidance or options.weights):
        raise InputError(
            f"{run.experiment.name} learned an energy at one noise level (diffusion.loss={DIVERGENCE}): it is drawn by "
            "the sampler mala there, without levels, guidance or weights"
        )
    if options.guidance is not None:
        check_guidance(run.experiment, options.guidance)
        if (options.exact or options.weights) and options.sampler:
            raise InputError("exact draws and weights belong to paths of their own: leave sampler out")
    elif options.weights and (options.sampler or options.levels):
        raise InputError("weights belong to paths of their own kernel and levels: leave sampler and levels out")
    check_few_steps(run, options)


def _check_options(options: DrawOptions) -> None:
    for name, value, least in (("n", options.n, 1), ("steps", options.steps, 1), ("sweeps", options.sweeps, 1)):
        if value is not None and value < least:
            raise InputError(f"{name} = {value} is too few: give at least {least}, or leave it out for the run's own")
    if options.levels is not None and options.levels not in RULES:
        raise InputError(f"levels = {options.levels!r} is an unknown rule: choose one of {', '.join(RULES)}")
    if options.average is not None:
        check_width(options.average)
    if options.exact and (options.guidance is None or options.weights):
        raise InputError("exact draws are those of a guided law, with equal weights: give guidance, no weights")
    if options.sweeps is not None and options.guidance is not None:
        raise InputError(
            f"sweeps = {options.sweeps} leave the law of the physics unchanged, not the guided one: give one"
        )
    for name in ("resample", "metropolis", "reverse"):
        if getattr(options, name) is not None and (options.guidance is not None or not options.weights):
            raise InputError(f"{name} = {getattr(options, name)} needs weights of the law: give weights, no guidance")
    if options.resample is not None and options.metropolis is not None:
        raise InputError(
            f"resample = {options.resample} and metropolis = {options.metropolis}: give one, both choose draws"
        )
