"""The stages that make data: simulate and import."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from physgen.config import Experiment
from physgen.domains.contract import Domain, check_same_domain, get_domain, list_domains, with_units
from physgen.ensemble import (
    TEMPLATE,
    is_foreign,
    is_template,
    load_conditions,
    load_ensemble,
    open_conditions,
    sample_count,
    save_ensemble,
)
from physgen.ensemble.pairing import paired_ensemble
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.shipped import about_shipped, shipped_names
from physgen.stages.sources import described

if TYPE_CHECKING:
    import xarray as xr

    from physgen.stages.proposals import NetworkMoves


def describe_domains() -> str:
    """One paragraph for each domain: what it is, its labels, diagnostics, importers and exports; and the networks that
    come with the package.
    """
    paragraphs = []
    for name in list_domains():
        domain = get_domain(name)
        instance = domain()
        oracle = "no" if domain.exact_denoiser is Domain.exact_denoiser else "yes"
        paragraphs.append(
            f"{name}: {domain.description}\n"
            f"  labels: {domain.label_words or ', '.join(domain.labels) or 'none'}\n"
            f"  diagnostics: {', '.join(instance.diagnostics())}\n"
            f"  exact denoiser: {oracle}\n"
            + "\n".join(
                f"  physgen {word} {f:<14} {text}"
                for word, formats in (("import", domain.formats), ("export", domain.exports))
                for f, text in formats.items()
            )
        )
    shipped = [f"  physgen sample {name:<18} {about_shipped(name)}" for name in shipped_names()]
    if shipped:
        paragraphs.append("networks that come with physgen:\n" + "\n".join(shipped))
    return "\n\n".join(paragraphs)


def simulate(
    experiment: Experiment,
    output: str | Path | None = None,
    processes: int = 1,
    progress: Progress | None = None,
    given: str | Path | None = None,
    moves: NetworkMoves | None = None,
) -> Path:
    """Make the ensemble of an experiment and write it.

    Args:
        experiment: its ``data`` section and seed say what to make.
        output: new file; None for :func:`default_dataset`.
        processes: how many work at once; the result does not depend on it.
        progress: called with (done, total).
        given: a template or ensemble whose conditions are taken.
        moves: whole configurations that a network proposes to the Monte Carlo; None for none.

    Returns:
        The file.

    Raises:
        InputError: the file exists, or its folder does not.
    """
    output = default_dataset(experiment) if output is None else Path(output)
    with suppress(FileExistsError, NotADirectoryError):
        output.parent.mkdir(parents=True, exist_ok=True)
    check_new(output)
    return save_ensemble(simulate_ensemble(experiment, processes, progress, given, moves), output)


def simulate_ensemble(
    experiment: Experiment,
    processes: int = 1,
    progress: Progress | None = None,
    given: str | Path | xr.Dataset | None = None,
    moves: NetworkMoves | None = None,
) -> xr.Dataset:
    """The ensemble of an experiment, which says how it was made; under the conditions of ``given``, if any.

    With ``moves`` the Monte Carlo of the domain takes what a network proposes, accepted with the exact probability.
    """
    if processes < 1:
        raise InputError(f"{processes} processes cannot simulate: give at least 1")
    if isinstance(given, str | Path) and not Path(given).is_file():
        raise InputError(f"{given} does not exist or is not a file: check the path of the given conditions")
    before = _cpu_seconds()
    taken = {} if given is None else described({"given": given})
    template = None if given is None else _conditions(experiment, given)
    if moves is not None:
        proposals = moves.proposals(experiment)
        taken["proposals_of"] = str(moves.run)
        ensemble = experiment.data.simulate_proposed(
            experiment.seed, proposals, moves.every, template, processes, progress
        )
    elif template is None:
        ensemble = experiment.data.simulate(experiment.seed, processes, progress)
    else:
        ensemble = experiment.data.simulate_given(template, experiment.seed, processes, progress)
    provenance = taken | {
        "seed": experiment.seed,
        "config_json": json.dumps(experiment.resolved()),
        "domain": experiment.domain,
        "simulation_cpu_seconds": round(_cpu_seconds() - before, 1),
        "simulation_count": sample_count(ensemble),
    }
    return with_units(ensemble.assign_attrs(provenance), experiment.data)


def _conditions(experiment: Experiment, given: str | Path | xr.Dataset) -> xr.Dataset:
    """The template, or the ensemble, whose conditions are taken."""
    name, template = str(given), given
    if isinstance(template, str | Path) and is_foreign(template):
        template = experiment.data.load_conditions(Path(template), getattr(experiment.data, "dimension", 0))
    elif isinstance(template, str | Path):
        template = load_conditions(template)
    else:
        name = "the given ensemble"
    check_same_domain(template, experiment.domain, name, "the experiment")
    return template


def _cpu_seconds() -> float:
    """CPU time of this process and of the children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def seconds_of_each(ensemble: xr.Dataset) -> float | None:
    """CPU seconds that a configuration took to simulate, or seconds to draw, as the file states it; else None."""
    stated, count = ensemble.attrs.get("simulation_cpu_seconds"), ensemble.attrs.get("simulation_count")
    if stated is None or count is None:
        stated, count = ensemble.attrs.get("draw_seconds"), sample_count(ensemble)
    return float(stated) / int(count) if stated is not None and float(stated) > 0 else None


def default_dataset(experiment: Experiment) -> Path:
    """Where `physgen simulate` writes and `physgen train` looks."""
    return Path(experiment.dataset) if experiment.dataset else Path("data") / f"{experiment.name}.h5"


def domain_of_format(format: str) -> str:
    """Name of the domain that imports a format."""
    owners = {f: name for name in list_domains() for f in get_domain(name).formats}
    if format not in owners:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(sorted(owners))}")
    return owners[format]


def import_files(
    format: str, paths: Sequence[str | Path], output: str | Path, options: Mapping[str, str] | None = None
) -> Path:
    """Bring foreign files in as an ensemble file; see :func:`import_ensemble`. ``output`` is a new file, returned."""
    output = Path(output)
    check_new(output)
    return save_ensemble(import_ensemble(format, paths, options), output)


def import_ensemble(format: str, paths: Sequence[str | Path], options: Mapping[str, str] | None = None) -> xr.Dataset:
    """The ensemble of foreign files, read with the importer of the domain that knows the format.

    Args:
        format: one of those that :func:`describe_domains` lists.
        paths: files, in the order that the format asks for.
        options: of the importer, name -> value as text.

    Raises:
        InputError: unknown format or option, a missing or unreadable file.
    """
    owner, options = domain_of_format(format), dict(options or {})
    files = [Path(path) for path in paths]
    missing = [file for file in files if not file.exists()]
    if missing:
        raise InputError(f"{missing[0]} does not exist: check the path")
    if not files:
        words = [f"{name}={value}" for name, value in options.items()]
        read = [word for word in words if Path(word).suffix[1:].isalnum() and " " not in Path(word).suffix]
        raise InputError(
            "give the files to import"
            + "".join(f" ({word} is not an existing file, so it was read as an option)" for word in read)
        )
    if {"format", "paths"} & set(options):
        raise InputError("'format' and 'paths' are not options: give the format first, then the files")
    ensemble = get_domain(owner).load(format, files, **options)
    source = {"domain": owner, "source": ", ".join(map(str, files)), "format": format}
    return with_units(ensemble.assign_attrs(source))


def pair(
    target: str | Path, source: str | Path, output: str | Path, name: str = "surrogate", by: str | None = None
) -> Path:
    """Write an ensemble whose fields are conditioned on those of another one of the same random starts.

    Args:
        target: file of what a network is to draw. source: file of what it is drawn under.
        output: new file, returned.
        name: of the condition. by: variable that names the random starts; None for the one that says so.

    Raises:
        InputError: starts that do not match, other lattices or labels, an output that exists.
    """
    output = Path(output)
    check_new(output)
    drawn, under = load_ensemble(target), load_ensemble(source)
    check_same_domain(under, str(drawn.attrs.get("domain", "")), str(source), str(target))
    made = paired_ensemble(drawn, under, name, by)
    said = described({"target": target, "source": source})
    return save_ensemble(made.assign_attrs({f"paired_{key}": text for key, text in said.items()}), output)


def describe_data(path: str | Path, train: str, simulate: str = "") -> str:
    """What the importer notes about a file (attribute ``import_notes``), where it is, and what to do with it.

    An attribute ``not_trainable`` says why no network can be trained on it; it can still serve as a reference. A
    template can be simulated, with the attribute ``settings`` added to the command, and drawn from a run. To training
    the attribute ``training_settings`` is added: what the data need of a network.
    """
    with open_conditions(path) as ensemble:
        names = ("import_notes", "not_trainable", "settings", "training_settings", TEMPLATE)
        notes, reason, settings, learning, holds = (str(ensemble.attrs.get(name, "")) for name in names)
        bare = is_template(ensemble)
        if "proposals_accepted" in ensemble.attrs:
            accepted, proposed = (int(ensemble.attrs[name]) for name in ("proposals_accepted", "proposals"))
            notes = f"{notes}\n{accepted} of {proposed} proposals were accepted".strip()
    todo = f"next: {train}" + (f" {shlex.quote(learning)}" if learning else "")
    if bare:
        todo = f"next: {' '.join([simulate, *map(shlex.quote, settings.split())])}"
        draw = f"physgen sample RUN --like {shlex.quote(str(path))} -o NEW.h5"
        todo += f"\nno network can draw for these {holds} ({reason})" if reason else f"\nor, from a run: {draw}"
    elif reason:
        todo = f"physgen train cannot take it ({reason}); physgen evaluate can, as --reference {shlex.quote(str(path))}"
    return "\n".join([*notes.splitlines(), f"wrote {path}", todo])


def check_new(output: Path) -> None:
    """Refuse an output that exists or has no folder, before any work is done."""
    if output.exists():
        raise InputError(f"{output} exists already: choose another output, or remove it first; nothing is overwritten")
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not a folder: create it first, or choose another output")
