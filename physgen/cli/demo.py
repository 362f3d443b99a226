"""The demo: every domain that ships a demo configuration, from nothing to a verdict, with the public stages alone.

The domains run side by side, each in a process with its share of the cores: most of what they do is too small for
many threads.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from physgen.config import load_config
from physgen.domains.contract import list_domains
from physgen.errors import InputError
from physgen.progress import Progress, progress_bar

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
    folder, started = _new_folder(folder), time.perf_counter()
    found = [path for path in configs.values() if path is not None]
    cores = os.cpu_count() or 1
    if min(cores, len(found)) > 1:
        reports = _side_by_side(found, folder, max(1, cores // len(found)))
    else:
        reports = [_one(path, folder, bar) for path in found]
    print()
    for path, (table, report) in zip(found, reports, strict=True):
        print(f"{path.parent.name}\n{table}\nreport: {report}\n")
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


def _side_by_side(configs: list[Path], folder: Path, threads: int) -> list[tuple[str, Path]]:
    """One process a domain; their bars stand below each other."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    spawn = get_context("spawn")  # a fork would share the threads of torch
    with ProcessPoolExecutor(
        len(configs), mp_context=spawn, initializer=_share, initargs=(spawn.RLock(), threads)
    ) as pool:
        waiting = [pool.submit(_in_process, path, folder, place) for place, path in enumerate(configs)]
        return [future.result() for future in waiting]


def _share(lock: Any, threads: int) -> None:
    import torch
    from tqdm.auto import tqdm

    tqdm.set_lock(lock)
    torch.set_num_threads(threads)


def _in_process(config: Path, folder: Path, place: int) -> tuple[str, Path]:
    return _one(config, folder, lambda title: progress_bar(title, place))


def _one(config: Path, folder: Path, bar: Bar) -> tuple[str, Path]:
    from physgen.stages import evaluate, is_complete, sample, simulate, train

    name = config.parent.name
    place = folder / name
    place.mkdir()
    data = place / "data.h5"
    experiment = load_config(config, [f"dataset={data}"])
    simulate(experiment, data, os.cpu_count() or 1, bar(f"{name}: simulate"))
    run = train(experiment, folder / "runs", progress=bar(f"{name}: train"))
    if run is None or not is_complete(run):
        raise KeyboardInterrupt  # the training was asked to stop, so was the demo
    generated = sample(run, place / "generated.h5", progress=bar(f"{name}: sample"))
    parts = run / "data"
    print(f"{name}: evaluate", flush=True)
    evaluation = evaluate(generated, parts / "test.h5", parts / "train.h5", place / "evaluation", run)
    return evaluation.table, place / "evaluation" / "report.html"
