"""The stages: simulate, import, sample, evaluate. Files in, files out; no physics, no torch loop.

Training, the longest stage, stands in training_stage.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physgen.config import Experiment
from physgen.domain import domain_of, get_domain, list_domains
from physgen.ensemble import load_ensemble, sample_count, save_ensemble, space_dims, units_of_samples
from physgen.errors import InputError
from physgen.run import Run, open_run

Progress = Callable[[int, int], None]


def describe_domains() -> str:
    """One paragraph for each domain: what it is, its diagnostics, its importers."""
    paragraphs = []
    for name in list_domains():
        domain = get_domain(name)
        instance = domain()
        oracle = "yes" if hasattr(domain, "exact_denoiser") else "no"
        paragraphs.append(
            f"{name}: {domain.description}\n"
            f"  diagnostics: {', '.join(instance.diagnostics())}\n"
            f"  exact denoiser: {oracle}\n"
            + "\n".join(f"  physgen import {f:<14} {text}" for f, text in domain.formats.items())
        )
    return "\n\n".join(paragraphs)


# --- data ---------------------------------------------------------------------------------------


def simulate(experiment: Experiment, output: Path | None, processes: int = 1, progress: Progress | None = None) -> Path:
    """Make the ensemble of an experiment and write it."""
    output = output or default_dataset(experiment)
    with suppress(FileExistsError, NotADirectoryError):
        output.parent.mkdir(parents=True, exist_ok=True)
    _check_new(output)
    if processes < 1:
        raise InputError(f"{processes} processes cannot simulate: give at least 1")
    before = _cpu_seconds()
    ensemble = experiment.data.simulate(experiment.seed, processes, progress)
    provenance = {
        "seed": experiment.seed,
        "config_json": json.dumps(experiment.resolved()),
        "domain": experiment.domain,
        "simulation_cpu_seconds": round(_cpu_seconds() - before, 1),
        "simulation_count": sample_count(ensemble),
    }
    return save_ensemble(ensemble.assign_attrs(provenance), output)


def _check_new(output: Path) -> None:
    """Say before any work is done that a file cannot be written."""
    if output.exists():
        raise InputError(f"{output} exists already: choose another -o, or remove it first; nothing is overwritten")
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not a folder: create it first, or give another -o")


def _cpu_seconds() -> float:
    """CPU time of this process and of the children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def default_dataset(experiment: Experiment) -> Path:
    """Where `physgen simulate` writes and `physgen train` looks."""
    return Path(experiment.dataset) if experiment.dataset else Path("data") / f"{experiment.name}.h5"


def import_files(format: str, paths: list[Path], output: Path, options: dict[str, str]) -> Path:
    """Bring foreign files in as an ensemble, with the importer of the domain that knows the format."""
    owners = {f: name for name in list_domains() for f in get_domain(name).formats}
    if format not in owners:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(sorted(owners))}")
    missing = [p for p in paths if not p.exists()]
    if missing or not paths:
        raise InputError(f"{missing[0]} does not exist: check the path" if missing else "give the files to import")
    _check_new(output)
    if {"format", "paths"} & set(options):
        raise InputError("'format' and 'paths' are no options: give the format first, then the files")
    ensemble = get_domain(owners[format]).load(format, paths, **options)
    source = {"domain": owners[format], "source": ", ".join(map(str, paths)), "format": format}
    return save_ensemble(ensemble.assign_attrs(source), output)


# --- drawing ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DrawOptions:
    """What to draw. What is left out comes from the run's configuration."""

    n: int | None = None
    like: Path | None = None
    given: dict[str, float] = field(default_factory=dict)
    sampler: str | None = None
    steps: int | None = None
    seed: int = 0


def sample(
    run: Path | Run,
    output: Path,
    options: DrawOptions | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Draw configurations from a run and write them as an ensemble."""
    from physgen.model import draw, load_model

    options = options or DrawOptions()
    run = run if isinstance(run, Run) else open_run(run)
    settings = run.experiment.sampling
    _check_new(output)
    _check_options(options)
    model = load_model(run.folder / "model", device)
    like = load_ensemble(options.like) if options.like else run.part("test")
    _check_same_domain(like, run.experiment.domain, str(options.like), "the run")
    grid = [like.sizes[d] for d in space_dims(like)]
    if grid != model.constants["grid"]:
        raise InputError(
            f"{options.like} has the lattice {grid}, the run {model.constants['grid']}: "
            "take conditions on the lattice that the model was trained on"
        )
    template = run.domain.request(like, options.n or settings.n, options.given)
    started = time.perf_counter()
    generated = draw(
        model,
        template,
        seed=options.seed,
        sampler=options.sampler or settings.sampler,
        steps=options.steps or settings.steps,
        progress=progress,
    )
    made = {
        "domain": run.experiment.domain,
        "run": run.experiment.name,
        "seed": options.seed,
        "draw_seconds": round(time.perf_counter() - started, 2),
        "draw_device": str(model.device),
    }
    return save_ensemble(generated.assign_attrs(made), output)


def _check_options(options: DrawOptions) -> None:
    from physgen.model import check_sampler

    for name, value, least in (("-n", options.n, 1), ("--steps", options.steps, 2)):
        if value is not None and value < least:
            raise InputError(f"{name} {value} is too few: give at least {least}, or leave it out for the run's own")
    if options.sampler is not None:
        check_sampler(options.sampler)


# --- judging ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation wrote and the table that it prints."""

    folder: Path
    summary: dict[str, Any]
    table: str


def evaluate(generated: Path, reference: Path, train: Path | None, output: Path, run: Path | None = None) -> Evaluation:
    """Judge an ensemble against a reference: every diagnostic with errors and floors, a report, a summary."""
    from physgen.judging import judge_ensembles, write_evaluation

    new, truth = load_ensemble(generated), load_ensemble(reference)
    learned = load_ensemble(train) if train else None
    try:
        domain = domain_of(truth)()
    except InputError as error:
        raise InputError(f"{reference}: {error}") from None
    for name, other in (("generated ensemble", new), ("reference", truth), ("training set", learned)):
        if other is not None:
            _check_same_domain(other, domain.name, f"the {name}", "the reference")
            _check_comparable(new, other, name)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: give a folder for the report with -o")
    logged_to = open_run(run) if run else None
    judged = judge_ensembles(domain, new, truth, learned)
    sources = {"generated": generated, "reference": reference, "train": train}
    evaluation = write_evaluation(judged, output, sources, logged_to)
    return Evaluation(output, evaluation.summary, evaluation.table)


def _check_same_domain(ensemble: Any, domain: str, name: str, owner: str) -> None:
    """An ensemble that names no domain, anybody's file, passes."""
    found = ensemble.attrs.get("domain") or domain
    if found != domain:
        raise InputError(f"{name} is of the domain {found!r}, {owner} of {domain!r}: give files of the same physics")


def _check_comparable(generated: Any, other: Any, name: str) -> None:
    mine = {d: generated.sizes[d] for d in space_dims(generated)}
    theirs = {d: other.sizes[d] for d in space_dims(other)}
    if mine != theirs:
        raise InputError(
            f"the generated lattice is {mine}, that of the {name} is {theirs}: compare ensembles on the same lattice"
        )
    if sample_count(other) < 4:
        raise InputError(
            f"the {name} holds {sample_count(other)} configurations; at least 4 are needed for errors: make more"
        )
    if len(set(units_of_samples(other))) < 2:
        raise InputError(
            f"the {name} holds one independent unit (simulation or disorder instance); errors need at least 2: add some"
        )
