"""The command line: it calls a stage, and prints what was written and what to do next."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from physgen.cli import inferring
from physgen.cli.certifying import certify_command
from physgen.cli.combining import combine_command, pair_command
from physgen.cli.distilling import distill_command
from physgen.cli.drawing import pack_command, sample_command
from physgen.cli.latents import decode_command, encode_command
from physgen.cli.parser import STOPPED, parser
from physgen.cli.words import command, free_path, number, pairs
from physgen.progress import progress_bar

if TYPE_CHECKING:
    from physgen.config import Experiment


def main(words: list[str] | None = None) -> int:
    """Run one command. Bad input prints one message and gives 2."""
    top = parser()
    arguments, rest = top.parse_known_args(words)
    _take_latepairs(top, arguments, rest)
    if arguments.version:
        from physgen import __version__

        print(f"physgen {__version__}")
        return 0
    if arguments.command is None:
        parser().print_help()
        return 0
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from physgen.errors import InputError

    try:
        return COMMANDS[arguments.command](arguments) or 0
    except InputError as error:
        print(f"physgen {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nphysgen {arguments.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"physgen {arguments.command}: {where}{error.strerror or error}; free space or get the right to write "
            "there, or choose another place",
            file=sys.stderr,
        )
        return 2


def _take_latepairs(top: argparse.ArgumentParser, arguments: argparse.Namespace, rest: list[str]) -> None:
    """key=value words may stand after options too; anything else that is left is an error."""
    taker = next((name for name in ("overrides", "paths") if hasattr(arguments, name)), None)
    strange = [word for word in rest if taker is None or word.startswith("-") or "=" not in word]
    if strange:
        top.error(f"unrecognized arguments: {' '.join(strange)}")
    if taker is not None:
        getattr(arguments, taker).extend(rest)


def _demo(arguments: argparse.Namespace) -> int:
    from physgen.cli.demo import demo

    return demo(arguments.output, arguments.only, progress_bar)


def _domains(arguments: argparse.Namespace) -> None:
    from physgen.stages import describe_domains

    print(describe_domains())


def _experiment(arguments: argparse.Namespace) -> Experiment:
    import yaml

    from physgen.config import load_config
    from physgen.errors import InputError

    try:
        return load_config(arguments.config, arguments.overrides)
    except yaml.YAMLError as error:  # of an override; errors of the file are explained by load_config
        words = " ".join(str(error).split())
        raise InputError(
            f"an override in {arguments.overrides} is not a valid YAML value ({words}): quote it"
        ) from None


def _simulate(arguments: argparse.Namespace) -> None:
    from physgen.errors import InputError
    from physgen.stages import default_dataset, describe_data, simulate

    experiment, moves = _experiment(arguments), None
    if arguments.every is not None and arguments.proposals is None:
        raise InputError("--every says how often a network proposes: name it by --proposals RUN, or leave --every out")
    if arguments.proposals is not None:
        from physgen.stages import NetworkMoves

        moves = NetworkMoves(arguments.proposals, **({} if arguments.every is None else {"every": arguments.every}))
    processes = (os.cpu_count() or 1) if arguments.processes is None else arguments.processes
    path = simulate(experiment, arguments.output, processes, progress_bar("simulate"), arguments.given, moves)
    where = [] if path == default_dataset(experiment) else [f"dataset={path}"]
    print(describe_data(path, command("train", arguments.config, *arguments.overrides, *where)))


def _import(arguments: argparse.Namespace) -> None:
    from physgen.cli.demo import shipped_config
    from physgen.stages import describe_data, domain_of_format, import_files

    paths = [Path(w) for w in arguments.paths if "=" not in w or Path(w).exists()]
    options = pairs([w for w in arguments.paths if "=" in w and not Path(w).exists()], "option")
    path = import_files(arguments.format, paths, arguments.output, options)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)
    config = shipped_config(domain_of_format(arguments.format), "demo") or "CONFIG"
    train = command("train", config, f"name={name}", f"dataset={path}")
    print(describe_data(path, train, command("simulate", config, f"name={name}-simulated", "--given", path)))


def _export(arguments: argparse.Namespace) -> None:
    from physgen.cli.exporting import export

    export(arguments)


def _train(arguments: argparse.Namespace) -> int:
    from physgen.stages import is_complete, train, why_stopped

    experiment = _experiment(arguments)
    written = train(experiment, arguments.runs, arguments.resume, arguments.device, progress_bar("train"))
    run = arguments.runs / experiment.name
    complete = is_complete(run)  # asked by every process: they end alike
    if written is not None:
        if complete and why_stopped(run):
            print(why_stopped(run))
        todo = command("sample", run, "-o", free_path(run / "generated.h5"))
        if not complete:
            runs = [] if arguments.runs == Path("runs") else ["--runs", arguments.runs]
            device = [] if arguments.device == "auto" else ["--device", arguments.device]
            todo = command("train", arguments.config, *arguments.overrides, *runs, *device, "--resume")
        print(f"wrote {run}\nnext: {todo}")
    return 0 if complete else STOPPED


def _sweep(arguments: argparse.Namespace) -> int:
    from physgen.stages.sweep import plan_sweep, train_sweep
    from physgen.stages.sweep_table import describe_times, sweep_table, sweep_times, write_sweep

    sweep = plan_sweep(arguments.config, arguments.overrides)
    complete = train_sweep(sweep, arguments.runs, arguments.device, progress_bar, os.cpu_count() or 1)
    if int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0:
        written = write_sweep(sweep, arguments.runs, arguments.output or arguments.runs / f"{sweep.name}.sweep")
        print(sweep_table(sweep, arguments.runs))
        told = describe_times(sweep_times(sweep, arguments.runs))
        print(*([told] if told else []), f"wrote {', '.join(map(str, written))}", sep="\n")
        if not complete:
            print(f"next, to go on: {command('sweep', arguments.config, *arguments.overrides)}")
    return 0 if complete else STOPPED


def _average(arguments: argparse.Namespace) -> None:
    from physgen.stages import best_width, compare_widths, width_table

    found = compare_widths(arguments.run, arguments.device, progress_bar("average"))
    best = best_width(found)
    words = [] if best is None else ["--average", f"{best:g}"]
    output = free_path(arguments.run / "generated.h5")
    print(f"{width_table(found)}\nnext: {command('sample', arguments.run, *words, '-o', output)}")


def _evaluate(arguments: argparse.Namespace) -> None:
    from physgen.stages import evaluate
    from physgen.stages.correction import parse_correction

    tolerances = {k: number(v, k) for k, v in pairs(arguments.tolerance, "tolerance").items()}
    correction = parse_correction(pairs(arguments.correct, "correction"))
    result = evaluate(
        arguments.generated, arguments.reference, arguments.train, arguments.output, arguments.run, tolerances,
        box_size=arguments.box, domain=arguments.domain, processes=min(os.cpu_count() or 1, 4), correction=correction,
        resample=arguments.resample, seed=arguments.seed,
    )  # fmt: skip
    print(result.table)
    print(f"wrote {result.folder}/report.html, summary.json, diagnostics.nc and figures/")


def _compare(arguments: argparse.Namespace) -> None:
    from physgen.stages.comparison import compare, log_comparison

    if all(path.is_file() for path in arguments.runs):
        return _compare_sizes(arguments)
    found = compare(arguments.runs)
    output = arguments.output or free_path(arguments.runs[0].parent / "comparison")
    written = found.write(output)
    uri = log_comparison(written, output, arguments.uri)
    print(found.table)
    print(f"wrote {written.folder}/report.html and figures/" + (f"; it is in MLflow at {uri}" if uri else ""))


def _compare_sizes(arguments: argparse.Namespace) -> None:
    from physgen.stages.sizes import compare_sizes, log_sizes

    found = compare_sizes(arguments.runs, arguments.output or free_path(arguments.runs[0].parent / "sizes"))
    uri = log_sizes(found, arguments.uri)
    print(found.table)
    words = f"; it is in MLflow at {uri}" if uri else ""
    print(f"wrote {found.folder}/summary.json, crossings.nc and figures/crossings.png{words}")


def _regimes(arguments: argparse.Namespace) -> None:
    from physgen.stages.regimes import write_regimes

    found = write_regimes(
        arguments.data, arguments.output, box_size=arguments.box, domain=arguments.domain, seed=arguments.seed,
        device=arguments.device, progress=progress_bar("regimes"), processes=min(os.cpu_count() or 1, 4),
    )  # fmt: skip
    print(found.table)
    print(f"wrote {found.folder}/regimes.html, summary.json, regimes.nc and figures/")
    if (arguments.data / "experiment.yaml").is_file():
        runs = arguments.data.absolute().parent
        print(f"next: {command('ui', *([] if runs == Path('runs').absolute() else ['--runs', runs]))}")
    else:
        print(f"next, does a model of these data copy them: {command('regimes', 'runs/NAME')} after physgen train")


def _ui(arguments: argparse.Namespace) -> int:
    from physgen.errors import InputError
    from physgen.tracking.server import default_tracking_uri
    from physgen.tracking.ui import ui

    if not 0 < arguments.port < 65536:
        raise InputError(f"--port {arguments.port} is not a valid port: give a number from 1 to 65535")
    return ui(arguments.uri or default_tracking_uri(arguments.runs / "any"), port=arguments.port)


def _sync(arguments: argparse.Namespace) -> None:
    from physgen.tracking.tracker import sync

    print(f"{arguments.run} is in MLflow at {sync(arguments.run, arguments.uri)}")


def _config(arguments: argparse.Namespace) -> None:
    import json

    from physgen.config import explain_key, json_schema, load_config

    if arguments.action == "schema":
        print(json.dumps(json_schema(arguments.domain), indent=2))
    elif arguments.action == "explain":
        print(explain_key(arguments.domain, arguments.key or "training"))
    else:
        load_config(arguments.domain)
        print(f"{arguments.domain} is a valid experiment")


COMMANDS = {
    "demo": _demo,
    "domains": _domains,
    "simulate": _simulate,
    "import": _import,
    "export": _export,
    "train": _train,
    "distill": distill_command,
    "sweep": _sweep,
    "sample": sample_command,
    "pack": pack_command,
    "encode": encode_command,
    "decode": decode_command,
    "average": _average,
    "evaluate": _evaluate,
    "certify": certify_command,
    "compare": _compare,
    "combine": combine_command,
    "pair": pair_command,
    "regimes": _regimes,
    "likelihood": inferring.likelihood,
    "infer": inferring.infer,
    "ui": _ui,
    "sync": _sync,
    "config": _config,
}

if __name__ == "__main__":
    sys.exit(main())
