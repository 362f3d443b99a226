"""The stages: simulate, import, sample, evaluate. Files in, files out; no physics, no torch loop.

Training, the longest stage, stands in training_stage.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physgen.config import Experiment
from physgen.domain import domain_of, get_domain, list_domains
from physgen.ensemble import load_ensemble, sample_count, save_ensemble, space_dims
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
    if output.exists():
        raise InputError(f"{output} exists already: choose another -o, or remove it first; nothing is overwritten")
    output.parent.mkdir(parents=True, exist_ok=True)
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
        raise InputError(f"{missing[0] if missing else 'no file'} does not exist: give the files to import")
    if output.exists():
        raise InputError(f"{output} exists already: choose another -o, or remove it first; nothing is overwritten")
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
    if output.exists():
        raise InputError(f"{output} exists already: choose another -o; nothing is overwritten")
    model = load_model(run.folder / "model", device)
    like = load_ensemble(options.like) if options.like else run.part("test")
    template = run.domain.request(like, options.n or settings.n, options.given)
    started = time.perf_counter()
    generated = draw(
        model,
        template,
        seed=options.seed,
        sampler=options.sampler or settings.sampler,
        steps=options.steps or settings.steps,
        batch=settings.batch_size,
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
    for name, other in (("reference", truth), ("train", learned)):
        if other is not None:
            _check_same_lattice(new, other, name)
    domain = domain_of(truth)()
    judged = judge_ensembles(domain, new, truth, learned)
    sources = {"generated": generated, "reference": reference, "train": train}
    evaluation = write_evaluation(judged, output, sources, open_run(run) if run else None)
    return Evaluation(output, evaluation.summary, evaluation.table)


def _check_same_lattice(generated: Any, other: Any, name: str) -> None:
    mine = {d: generated.sizes[d] for d in space_dims(generated)}
    theirs = {d: other.sizes[d] for d in space_dims(other)}
    if mine != theirs:
        raise InputError(
            f"the generated lattice is {mine}, that of the {name} is {theirs}: compare ensembles on the same lattice"
        )
    if sample_count(other) < 4:
        raise InputError(f"the {name} holds {sample_count(other)} configurations; at least 4 are needed for errors")
