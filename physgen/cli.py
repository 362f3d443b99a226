"""The command line: it parses, calls a stage, and prints what was written and what to do next."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

EPILOG = """\
a first session:
  physgen demo                                    both kinds of physics end to end, minutes on two cores
  physgen simulate configs/<domain>/demo.yaml     make the training data
  physgen train configs/<domain>/demo.yaml        train; the same command under torchrun or srun
  physgen sample runs/<name> -n 256 -o new.h5     draw configurations
  physgen evaluate new.h5 --reference runs/<name>/data/test.h5
"""


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(
        prog="physgen",
        description="Train score-based diffusion models on physical configurations and judge them with error bars.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _add_making(commands)
    _add_model(commands)
    _add_looking(commands)
    return top


def _add_making(commands) -> None:
    demo = commands.add_parser("demo", help="both domains end to end on this machine")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="folder (default: demo)")
    demo.add_argument("--only", metavar="DOMAIN", help="one domain alone")

    commands.add_parser("domains", help="the physics here, its diagnostics, importers and oracles")

    simulate = commands.add_parser("simulate", help="make an ensemble from a configuration")
    _add_config(simulate)
    simulate.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: data/<name>.h5")
    simulate.add_argument(
        "--processes", type=int, metavar="P", help="default: all cores; the result does not depend on it"
    )

    load = commands.add_parser("import", help="bring foreign files in as an ensemble")
    load.add_argument("format", metavar="FORMAT", help="a format that `physgen domains` lists")
    load.add_argument("paths", nargs="+", metavar="PATH", help="files, then options as key=value")
    load.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")


def _add_model(commands) -> None:
    train = commands.add_parser("train", help="train a denoiser (alone, under torchrun or under srun)")
    _add_config(train)
    train.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the runs (default: runs)"
    )
    train.add_argument("--resume", action="store_true", help="go on from the last good checkpoint of the run")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda")

    sample = commands.add_parser("sample", help="draw configurations from a run")
    sample.add_argument("run", type=Path, metavar="RUN")
    sample.add_argument(
        "-n", type=int, metavar="N", help="configurations (fields: in all; spins: per instance and temperature)"
    )
    sample.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    sample.add_argument(
        "--like", type=Path, metavar="FILE", help="conditions of this ensemble (default: the run's test data)"
    )
    sample.add_argument(
        "--condition",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="fixed labels, e.g. Omega_m=0.3",
    )
    sample.add_argument("--sampler", metavar="NAME", help="default: the run's")
    sample.add_argument("--steps", type=int, metavar="K", help="noise levels (default: the run's)")
    sample.add_argument("--seed", type=int, default=0, metavar="S")
    sample.add_argument("--device", default="auto", help="auto, cpu or cuda")

    evaluate = commands.add_parser("evaluate", help="judge an ensemble against a reference, anybody's files")
    evaluate.add_argument("generated", type=Path, metavar="GENERATED")
    evaluate.add_argument("--reference", type=Path, required=True, metavar="FILE")
    evaluate.add_argument("--train", type=Path, metavar="FILE", help="the training data, for the memorization test")
    evaluate.add_argument("--run", type=Path, metavar="RUN", help="log the figures and metrics to this run as well")
    evaluate.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: GENERATED without its suffix")


def _add_looking(commands) -> None:
    ui = commands.add_parser("ui", help="the MLflow UI, opened at the page that compares runs")
    ui.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR")
    ui.add_argument("--uri", metavar="URI", help="tracking URI (default: the SQLite file in the folder of the runs)")
    ui.add_argument("--port", type=int, default=5000)

    sync = commands.add_parser("sync", help="send the journal of a run to MLflow again")
    sync.add_argument("run", type=Path, metavar="RUN")
    sync.add_argument("--uri", metavar="URI", help="another tracking URI than the run's own")

    config = commands.add_parser("config", help="editor schema of a configuration, or the meaning of a key")
    config.add_argument("action", choices=["schema", "explain", "check"])
    config.add_argument("domain", metavar="DOMAIN|CONFIG", help="a domain (schema, explain) or a file (check)")
    config.add_argument("key", nargs="?", help="a dotted key, e.g. training.clip")


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file, see configs/")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. training.steps=500 seed=2")


def main(words: list[str] | None = None) -> int:
    """Run one command. Bad input prints one message and gives 2."""
    top = parser()
    arguments, rest = top.parse_known_args(words)
    _take_late_pairs(top, arguments, rest)
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


def _take_late_pairs(top: argparse.ArgumentParser, arguments: argparse.Namespace, rest: list[str]) -> None:
    """key=value words may stand after options too; anything else that is left is an error."""
    taker = next((name for name in ("overrides", "paths") if hasattr(arguments, name)), None)
    strange = [word for word in rest if taker is None or word.startswith("-") or "=" not in word]
    if strange:
        top.error(f"unrecognized arguments: {' '.join(strange)}")
    if rest:
        getattr(arguments, taker).extend(rest)


def _progress(title: str):
    """A progress bar on a terminal, a line each tenth elsewhere."""
    state = {"tenth": -1}
    live = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        share = done / max(total, 1)
        if live:
            bar = "#" * int(30 * share)
            end = "\n" if done >= total else ""
            print(f"\r{title} [{bar:<30}] {done}/{total}", end=end, file=sys.stderr, flush=True)
        elif int(10 * share) > state["tenth"]:
            state["tenth"] = int(10 * share)
            print(f"{title} {done}/{total}", file=sys.stderr, flush=True)

    return show


def _pairs(words: list[str], what: str) -> dict[str, str]:
    from physgen.errors import InputError

    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"{what} {word!r} is not of the form name=value")
        found[name] = value
    return found


def _demo(arguments) -> int:
    from physgen.demo import demo

    return demo(arguments.output, arguments.only, _progress)


def _domains(arguments) -> None:
    from physgen.stages import describe_domains

    print(describe_domains())


def _experiment(arguments):
    import yaml

    from physgen.config import load_config
    from physgen.errors import InputError

    try:
        return load_config(arguments.config, arguments.overrides)
    except yaml.YAMLError as error:  # of an override; errors of the file are explained by load_config
        words = " ".join(str(error).split())
        raise InputError(f"an override in {arguments.overrides} is no YAML value ({words}): quote it") from None


def _simulate(arguments) -> None:
    from physgen.stages import simulate

    experiment = _experiment(arguments)
    processes = (os.cpu_count() or 1) if arguments.processes is None else arguments.processes
    path = simulate(experiment, arguments.output, processes, _progress("simulate"))
    print(f"wrote {path}\nnext: physgen train {arguments.config} {' '.join(arguments.overrides)}".rstrip())


def _import(arguments) -> None:
    from physgen.stages import import_files

    paths = [Path(w) for w in arguments.paths if "=" not in w or Path(w).exists()]
    options = _pairs([w for w in arguments.paths if "=" in w and not Path(w).exists()], "option")
    path = import_files(arguments.format, paths, arguments.output, options)
    print(f"wrote {path}\nnext: physgen train CONFIG dataset={path}")


def _train(arguments) -> int:
    from physgen.training_stage import is_complete, train

    experiment = _experiment(arguments)
    run = train(experiment, arguments.runs, arguments.resume, arguments.device, _progress("train"))
    if run is not None:
        todo = f"physgen sample {run} -o {run}/generated.h5"
        if not is_complete(run):
            todo = " ".join(["physgen train", str(arguments.config), *arguments.overrides, "--resume"])
        print(f"wrote {run}\nnext: {todo}")
    return 0


def _sample(arguments) -> None:
    from physgen.stages import DrawOptions, sample

    given = {k: _number(v, k) for k, v in _pairs(arguments.condition, "condition").items()}
    options = DrawOptions(arguments.n, arguments.like, given, arguments.sampler, arguments.steps, arguments.seed)
    path = sample(arguments.run, arguments.output, options, arguments.device, _progress("sample"))
    data = arguments.run / "data"
    print(
        f"wrote {path}\nnext: physgen evaluate {path} --reference {arguments.like or data / 'test.h5'}"
        f" --train {data / 'train.h5'} --run {arguments.run}"
    )


def _number(text: str, name: str) -> float:
    from physgen.errors import InputError

    try:
        return float(text)
    except ValueError:
        raise InputError(f"condition {name}={text!r} is not a number") from None


def _evaluate(arguments) -> None:
    from physgen.stages import evaluate

    folder = arguments.output or arguments.generated.with_suffix("")
    result = evaluate(arguments.generated, arguments.reference, arguments.train, folder, arguments.run)
    print(result.table)
    print(f"wrote {result.folder}/report.html, summary.json, diagnostics.nc and figures/")


def _ui(arguments) -> int:
    from physgen.engine.mlflow_store import default_tracking_uri
    from physgen.engine.ui import ui
    from physgen.errors import InputError

    if not 0 < arguments.port < 65536:
        raise InputError(f"--port {arguments.port} is no port: give one from 1 to 65535")
    return ui(arguments.uri or default_tracking_uri(arguments.runs / "any"), port=arguments.port)


def _sync(arguments) -> None:
    from physgen.engine.tracking import sync

    print(f"{arguments.run} is in MLflow at {sync(arguments.run, arguments.uri)}")


def _config(arguments) -> None:
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
    "train": _train,
    "sample": _sample,
    "evaluate": _evaluate,
    "ui": _ui,
    "sync": _sync,
    "config": _config,
}

if __name__ == "__main__":
    sys.exit(main())
