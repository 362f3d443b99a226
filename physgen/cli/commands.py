"""The command line: it calls a stage, and prints what was written and what to do next."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from physgen.cli import inferring
from physgen.cli.combining import combine_command, pair_command
from physgen.cli.parser import STOPPED, parser
from physgen.progress import progress_bar

if TYPE_CHECKING:
    from physgen.config import Experiment


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
    if taker is not None:
        getattr(arguments, taker).extend(rest)


def _pairs(words: list[str], what: str) -> dict[str, str]:
    from physgen.errors import InputError

    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"{what} {word!r} is not of the form name=value")
        found[name] = value
    return found


def _command(*words: object) -> str:
    """A command of physgen that runs as it is printed."""
    return shlex.join(["physgen", *map(str, words)])


def _free(path: Path) -> Path:
    """The path, or the first of path-2, path-3, ... that is no file yet: nothing is overwritten."""
    number, chosen = 1, path
    while chosen.exists():
        number += 1
        chosen = path.with_stem(f"{path.stem}-{number}")
    return chosen


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
    from physgen.stages import default_dataset, describe_data, simulate

    experiment = _experiment(arguments)
    processes = (os.cpu_count() or 1) if arguments.processes is None else arguments.processes
    path = simulate(experiment, arguments.output, processes, progress_bar("simulate"), arguments.given)
    where = [] if path == default_dataset(experiment) else [f"dataset={path}"]
    print(describe_data(path, _command("train", arguments.config, *arguments.overrides, *where)))


def _import(arguments: argparse.Namespace) -> None:
    from physgen.cli.demo import shipped_config
    from physgen.stages import describe_data, domain_of_format, import_files

    paths = [Path(w) for w in arguments.paths if "=" not in w or Path(w).exists()]
    options = _pairs([w for w in arguments.paths if "=" in w and not Path(w).exists()], "option")
    path = import_files(arguments.format, paths, arguments.output, options)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)
    config = shipped_config(domain_of_format(arguments.format), "demo") or "CONFIG"
    train = _command("train", config, f"name={name}", f"dataset={path}")
    print(describe_data(path, train, _command("simulate", config, f"name={name}-simulated", "--given", path)))


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
        todo = _command("sample", run, "-o", _free(run / "generated.h5"))
        if not complete:
            runs = [] if arguments.runs == Path("runs") else ["--runs", arguments.runs]
            device = [] if arguments.device == "auto" else ["--device", arguments.device]
            todo = _command("train", arguments.config, *arguments.overrides, *runs, *device, "--resume")
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
            print(f"next, to go on: {_command('sweep', arguments.config, *arguments.overrides)}")
    return 0 if complete else STOPPED


def _sample(arguments: argparse.Namespace) -> None:
    from physgen.stages import DrawOptions, describe_average, extrapolation, labels_not_held, sample

    if any(getattr(arguments, name) is not None for name in ("given", "operator", "truth")):
        from physgen.cli.given import sample_given_observation

        sample_given_observation(arguments, _conditions(arguments))
        return
    given = _conditions(arguments)
    options = DrawOptions(
        arguments.n,
        arguments.like,
        given,
        arguments.sampler,
        arguments.steps,
        arguments.seed,
        arguments.levels,
        arguments.average,
        arguments.guidance,
        arguments.weights,
    )
    path = sample(arguments.run, arguments.output, options, arguments.device, progress_bar("sample"))
    if arguments.average is not None:
        print(describe_average(arguments.run, arguments.average))
    if arguments.weights:
        from physgen.stages.guidance import describe_weights

        print(describe_weights(path))
    if words := extrapolation(path):
        print(f"extrapolation: {words} of the labels, where nothing was learned")
    varying = labels_not_held(arguments.run, path, given)
    if varying:
        print(f"not held fixed, as in {arguments.like or 'the test part'}: {varying}")
    print(f"wrote {path}\n{_after_sample(arguments, path, given)}")


def _conditions(arguments: argparse.Namespace) -> dict[str, float]:
    words = [word for several in arguments.condition for word in several.split(",") if word]
    return {k: _number(v, k) for k, v in _pairs(words, "condition").items()}


def _after_sample(arguments: argparse.Namespace, path: Path, given: dict[str, float]) -> str:
    from physgen.runs.shipped import folder_of, is_shipped
    from physgen.stages import conditions_without_data, reference_settings

    if is_shipped(folder_of(arguments.run)):
        config, output = folder_of(arguments.run) / "experiment.yaml", _free(path.with_stem(f"{path.stem}-reference"))
        return f"next, a reference to judge it by: {_command('simulate', config, '--given', path, '-o', output)}"
    data = arguments.run / "data"
    settings = reference_settings(arguments.like, path) if arguments.like else None
    if settings is not None:
        output = _free(path.with_stem(f"{path.stem}-reference"))
        words = (arguments.run / "experiment.yaml", *settings, "--given", arguments.like, "-o", output)
        return f"next, a reference to judge it by: {_command('simulate', *words)}"
    reference = arguments.like or data / "test.h5"
    strange = conditions_without_data(reference, given)
    if strange:
        return (
            f"{reference} holds no configuration at {', '.join(strange)}: judge this ensemble against one that was "
            "made under the same conditions, see physgen evaluate --help"
        )
    words = (path, "--reference", reference, "--train", data / "train.h5", "--run", arguments.run)
    return f"next: {_command('evaluate', *words)}"


def _pack(arguments: argparse.Namespace) -> None:
    from physgen.stages import describe_pack, pack_run

    folder = pack_run(arguments.run, arguments.output)
    print(f"{describe_pack(folder)}\nnext: {_command('sample', folder, '-o', _free(folder / 'generated.h5'))}")


def _number(text: str, name: str) -> float:
    from physgen.errors import InputError

    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name}={text!r} is not a number") from None


def _average(arguments: argparse.Namespace) -> None:
    from physgen.stages import best_width, compare_widths, width_table

    found = compare_widths(arguments.run, arguments.device, progress_bar("average"))
    best = best_width(found)
    words = [] if best is None else ["--average", f"{best:g}"]
    output = _free(arguments.run / "generated.h5")
    print(f"{width_table(found)}\nnext: {_command('sample', arguments.run, *words, '-o', output)}")


def _evaluate(arguments: argparse.Namespace) -> None:
    from physgen.stages import evaluate
    from physgen.stages.correction import parse_correction

    tolerances = {k: _number(v, k) for k, v in _pairs(arguments.tolerance, "tolerance").items()}
    correction = parse_correction(_pairs(arguments.correct, "correction"))
    result = evaluate(
        arguments.generated, arguments.reference, arguments.train, arguments.output, arguments.run, tolerances,
        box_size=arguments.box, domain=arguments.domain, processes=min(os.cpu_count() or 1, 4), correction=correction,
    )  # fmt: skip
    print(result.table)
    print(f"wrote {result.folder}/report.html, summary.json, diagnostics.nc and figures/")


def _compare(arguments: argparse.Namespace) -> None:
    from physgen.stages.comparison import compare, log_comparison

    found = compare(arguments.runs)
    output = arguments.output or _free(arguments.runs[0].parent / "comparison")
    written = found.write(output)
    uri = log_comparison(written, output, arguments.uri)
    print(found.table)
    print(f"wrote {written.folder}/report.html and figures/" + (f"; it is in MLflow at {uri}" if uri else ""))


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
        print(f"next: {_command('ui', *([] if runs == Path('runs').absolute() else ['--runs', runs]))}")
    else:
        print(f"next, does a model of these data copy them: {_command('regimes', 'runs/NAME')} after physgen train")


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
    "sweep": _sweep,
    "sample": _sample,
    "pack": _pack,
    "average": _average,
    "evaluate": _evaluate,
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
