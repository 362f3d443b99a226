"""The demo: every domain that ships a demo configuration, from nothing to a verdict, with the public stages alone.

The domains run side by side, each in a process of its own. They train one after the other, on all cores; what else is
to be done fills the gaps: most of it is too small for many threads.
"""

from __future__ import annotations

import functools
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from physgen.config import load_config
from physgen.domains.contract import list_domains
from physgen.errors import InputError
from physgen.processes.together import JobFailed, run_together
from physgen.progress import Board, Progress

Bar = Callable[[str], Progress]
At = Callable[[str], AbstractContextManager[int]]  # around a stage of this name: how many cores it may use
TRAIN, SAMPLE, EVALUATE = "train", "sample", "evaluate"
TELL_SECONDS = 0.2  # between two messages on the progress of a domain
NICE = 5  # a third of the share of a process that simulates; twice that after a training


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
        reports = _side_by_side(found, folder, cores)
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


def _side_by_side(configs: list[Path], folder: Path, cores: int) -> list[tuple[str, Path]]:
    """One process a domain, bars below each other. The first that fails stops the others."""
    from multiprocessing import get_context

    names = [path.parent.name for path in configs]
    board, spawn = Board(names), get_context("spawn")
    turn, working = spawn.Lock(), spawn.Value("i", len(configs))
    jobs = {
        name: functools.partial(_in_process, config=path, folder=folder, cores=cores, turn=turn, working=working)
        for name, path in zip(names, configs, strict=True)
    }
    try:
        reports = run_together(jobs, board)
    except JobFailed as failed:
        raise _explained(failed, folder) from None
    finally:
        board.close()
    return [reports[name] for name in names]


def _explained(failed: JobFailed, folder: Path) -> InputError:
    """One message: which domain failed and why, which others were stopped, where all is that was made."""
    stopped = _stopped(failed.stopped)
    where = f"\n{failed.trace}" if failed.trace else ""
    return InputError(f"{failed.name} failed: {failed}{stopped}; what was made is kept in {folder}{where}")


def _stopped(names: Sequence[str]) -> str:
    return f"; {' and '.join(names)} {'was' if len(names) == 1 else 'were'} stopped" if names else ""


def _in_process(
    tell: Callable[..., None], config: Path, folder: Path, cores: int, turn: Any, working: Any
) -> tuple[str, Path]:
    """The demo of a domain, in a process of its own; ``working`` counts those that are not done.

    One trains at a time, on all cores: its last bits depend on its threads, which therefore depend on the machine
    alone. Who simulates comes before it, who draws or judges after it; these take the cores that are free.
    """
    import torch

    @contextmanager
    def at(stage: str) -> Iterator[int]:
        if stage == TRAIN:
            with turn:
                os.nice(NICE)
                torch.set_num_threads(cores)
                yield cores
            os.nice(NICE)
        else:  # no bit of a sample or of an evaluation depends on the threads
            torch.set_num_threads(max(1, cores // working.value))
            yield torch.get_num_threads()

    torch.set_num_threads(max(1, cores // working.value))
    report = _one(config, folder, lambda title: _seldom(tell, title), at)
    with working.get_lock():
        working.value -= 1
    return report


def _seldom(tell: Callable[..., None], title: str) -> Progress:
    """Tell the first step, the last one and in between a few in a second."""
    last = -math.inf

    def show(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last > TELL_SECONDS:
            last = now
            tell(title, done, total, note)

    return show


def _one(
    config: Path,
    folder: Path,
    bar: Bar,
    at: Callable[[str], AbstractContextManager[int]] = lambda stage: nullcontext(1),
) -> tuple[str, Path]:
    """The stages of one domain; each but the first inside ``at(its name)``, which says how many cores it may use."""
    from physgen.stages import evaluate, is_complete, sample, simulate, train

    name = config.parent.name
    place = folder / name
    place.mkdir()
    data = place / "data.h5"
    experiment = load_config(config, [f"dataset={data}"])
    simulate(experiment, data, os.cpu_count() or 1, bar(f"{name}: simulate"))
    with at(TRAIN):
        run = train(experiment, folder / "runs", progress=bar(f"{name}: {TRAIN}"))
    if run is None or not is_complete(run):
        raise KeyboardInterrupt  # the training was asked to stop, so was the demo
    with at(SAMPLE):
        generated = sample(run, place / "generated.h5", progress=bar(f"{name}: {SAMPLE}"))
    parts, judging = run / "data", bar(f"{name}: {EVALUATE}")
    with at(EVALUATE) as processes:
        judging(0, 1)
        evaluation = evaluate(
            generated, parts / "test.h5", parts / "train.h5", place / "evaluation", run, processes=processes
        )
        judging(1, 1)
    return evaluation.table, place / "evaluation" / "report.html"
