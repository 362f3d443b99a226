"""The demo: every domain that ships a demo configuration, from nothing to a verdict, with the public stages alone."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

from physgen.config import load_config
from physgen.domains.contract import list_domains
from physgen.errors import InputError
from physgen.progress import Progress

Bar = Callable[[str], Progress]


def _package() -> Path:
    return Path(__file__).parents[1]


def shipped_config(domain: str, name: str) -> Path | None:
    """A configuration that comes with physgen, in the installed package or in a checkout."""
    found = [root / "configs" / domain / f"{name}.yaml" for root in (_package(), _package().parent)]
    return next((path for path in found if path.is_file()), None)


def demo(folder: Path, only: str | None, bar: Bar) -> int:
    """Run the demo of each domain in a new folder and print the tables of fidelity."""
    domains = [only] if only else list_domains()
    configs = {d: shipped_config(d, "demo") for d in domains}
    missing = [d for d, path in configs.items() if path is None]
    if only and only not in list_domains():
        raise InputError(f"{only!r} has no demo; choose one of {', '.join(list_domains())}")
    if len(missing) == len(domains):
        raise InputError(
            f"{_package()} has no configuration of a demo of {' or '.join(domains)}: this installation is not "
            "whole, reinstall it"
        )
    folder = _new_folder(folder)
    started, reports = time.perf_counter(), []
    for path in filter(None, configs.values()):
        table, report = _one(path, folder, bar)
        reports.append((path.parent.name, table, report))
    print()
    for name, table, report in reports:
        print(f"{name}\n{table}\nreport: {report}\n")
    print(f"figures: {folder}/*/evaluation/figures/   runs: {folder}/runs/")
    print(f"the whole demo took {(time.perf_counter() - started) / 60:.1f} minutes")
    print(f"compare the runs in MLflow: physgen ui --runs {shlex.quote(str(folder / 'runs'))}")
    return 0


def _new_folder(folder: Path) -> Path:
    """The folder, or the first free one of folder-2, folder-3, ...: an earlier demo is kept."""
    number, chosen = 1, folder
    while chosen.exists():
        number += 1
        chosen = folder.with_name(f"{folder.name}-{number}")
    chosen.mkdir(parents=True)
    return chosen


def _one(config: Path, folder: Path, bar: Bar) -> tuple[str, Path]:
    import os

    from physgen.stages import evaluate, is_complete, sample, simulate, train

    name = config.parent.name
    place = folder / name
    place.mkdir()
    data = place / "data.h5"
    experiment = load_config(config, [f"dataset={data}"])
    simulate(experiment, data, os.cpu_count() or 1, bar(f"{name}: simulate"))
    run = train(experiment, folder / "runs", progress=bar(f"{name}: train"))
    if not is_complete(run):
        raise KeyboardInterrupt  # the training was asked to stop, so was the demo
    generated = sample(run, place / "generated.h5", progress=bar(f"{name}: sample"))
    parts = run / "data"
    print(f"{name}: evaluate", flush=True)
    evaluation = evaluate(generated, parts / "test.h5", parts / "train.h5", place / "evaluation", run)
    return evaluation.table, evaluation.folder / "report.html"
