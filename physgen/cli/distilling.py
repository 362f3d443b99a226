"""The command that makes a student of few steps: ``physgen distill``."""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen.cli.words import command, free_path
from physgen.progress import progress_bar

METHODS = ("progressive", "consistency", "consistency_training", "mean_flow")


def add_distill(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Its words."""
    distill = commands.add_parser(
        "distill",
        help="make a student of a run that draws in a few evaluations",
        epilog="The student is a run as any: sample, evaluate and compare work on it. key=value sets training.*, "
        "sampling.*, judging.*, tracking.* or seed in place of the teacher's. Exit status as of train.",
    )
    distill.add_argument("run", type=Path, metavar="RUN", help="the run that teaches")
    distill.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. training.steps=400 seed=2")
    distill.add_argument("--method", choices=METHODS, default="progressive", help="default: progressive")
    distill.add_argument("--evaluations", type=int, default=4, metavar="K", help="steps of the student (default: 4)")
    distill.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: RUN-student")
    distill.add_argument("--resume", action="store_true", help="go on from the last good checkpoint of the student")
    distill.add_argument("--device", default="auto", help="auto, cpu or cuda")


def distill_command(arguments: argparse.Namespace) -> int:
    """physgen distill: train the student, and say what comes next."""
    from physgen.cli.parser import STOPPED
    from physgen.stages import DistillOptions, distill, is_complete

    output = arguments.output or arguments.run.with_name(f"{arguments.run.name}-student")
    options = DistillOptions(arguments.method, arguments.evaluations, tuple(arguments.overrides))
    bar = progress_bar("distill")
    written = distill(arguments.run, output, options, arguments.resume, arguments.device, bar)
    complete = is_complete(output)
    if written is not None:
        todo = command("sample", output, "-o", free_path(output / "generated.h5"))
        if not complete:
            words = [arguments.run, *arguments.overrides, "--method", arguments.method]
            todo = command("distill", *words, "--evaluations", arguments.evaluations, "-o", output, "--resume")
        print(f"wrote {output}\nnext: {todo}")
    return 0 if complete else STOPPED
