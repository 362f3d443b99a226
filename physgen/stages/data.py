"""The stages that make data: simulate and import."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from physgen.config import Experiment
from physgen.domains.contract import Domain, get_domain, list_domains, with_units
from physgen.ensemble import open_ensemble, sample_count, save_ensemble
from physgen.errors import InputError

Progress = Callable[[int, int], None]


def describe_domains() -> str:
    """One paragraph for each domain: what it is, its diagnostics, its importers."""
    paragraphs = []
    for name in list_domains():
        domain = get_domain(name)
        instance = domain()
        oracle = "no" if domain.exact_denoiser is Domain.exact_denoiser else "yes"
        paragraphs.append(
            f"{name}: {domain.description}\n"
            f"  diagnostics: {', '.join(instance.diagnostics())}\n"
            f"  exact denoiser: {oracle}\n"
            + "\n".join(f"  physgen import {f:<14} {text}" for f, text in domain.formats.items())
        )
    return "\n\n".join(paragraphs)


def simulate(
    experiment: Experiment, output: Path | None, processes: int = 1, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Make the ensemble of an experiment and write it."""
    output = output or default_dataset(experiment)
    with suppress(FileExistsError, NotADirectoryError):
        output.parent.mkdir(parents=True, exist_ok=True)
    check_new(output)
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
    return save_ensemble(with_units(ensemble.assign_attrs(provenance), experiment.data), output)


def _cpu_seconds() -> float:
    """CPU time of this process and of the children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def default_dataset(experiment: Experiment) -> Path:
    """Where `physgen simulate` writes and `physgen train` looks."""
    return Path(experiment.dataset) if experiment.dataset else Path("data") / f"{experiment.name}.h5"


def domain_of_format(format: str) -> str:
    """Name of the domain that imports a format."""
    owners = {f: name for name in list_domains() for f in get_domain(name).formats}
    if format not in owners:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(sorted(owners))}")
    return owners[format]


def import_files(format: str, paths: list[Path], output: Path, options: dict[str, str]) -> Path:
    """Bring foreign files in as an ensemble, with the importer of the domain that knows the format."""
    owner = domain_of_format(format)
    missing = [p for p in paths if not p.exists()]
    if missing:
        raise InputError(f"{missing[0]} does not exist: check the path")
    if not paths:
        words = [f"{name}={value}" for name, value in options.items()]
        read = [word for word in words if Path(word).suffix[1:].isalnum() and " " not in Path(word).suffix]
        raise InputError(
            "give the files to import" + "".join(f" ({word} is no file: it was read as an option)" for word in read)
        )
    check_new(output)
    if {"format", "paths"} & set(options):
        raise InputError("'format' and 'paths' are no options: give the format first, then the files")
    ensemble = get_domain(owner).load(format, paths, **options)
    source = {"domain": owner, "source": ", ".join(map(str, paths)), "format": format}
    return save_ensemble(with_units(ensemble.assign_attrs(source)), output)


def describe_import(path: Path, train: str) -> str:
    """What the importer has to say of a file (attribute ``import_notes``), where it is, and the command that trains.

    An attribute ``not_trainable`` says why no network takes it; it can be a reference all the same.
    """
    with open_ensemble(path) as ensemble:
        notes, reason = (str(ensemble.attrs.get(name, "")) for name in ("import_notes", "not_trainable"))
    todo = f"next: {train}"
    if reason:
        todo = f"physgen train cannot take it ({reason}); physgen evaluate can, as --reference {shlex.quote(str(path))}"
    return "\n".join([*notes.splitlines(), f"wrote {path}", todo])


def check_new(output: Path) -> None:
    """Say before any work is done that a file cannot be written."""
    if output.exists():
        raise InputError(f"{output} exists already: choose another -o, or remove it first; nothing is overwritten")
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not a folder: create it first, or give another -o")
