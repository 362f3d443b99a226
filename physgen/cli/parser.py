"""The words of the command line: all commands and their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen.cli.certifying import add_certify
from physgen.cli.combining import add_combine
from physgen.cli.distilling import add_distill
from physgen.cli.drawing import add_sample
from physgen.cli.inferring import add_inference
from physgen.cli.latents import add_latents

STOPPED = 75  # EX_TEMPFAIL of sysexits.h: come again

EPILOG = f"""\
a first session:
  physgen demo                                    every physics end to end, minutes on two cores
  physgen simulate configs/<domain>/demo.yaml     make the training data
  physgen train configs/<domain>/demo.yaml        train; the same command under torchrun or srun
  physgen sample runs/<name> -n 256 -o new.h5     draw configurations
  physgen evaluate new.h5 --reference runs/<name>/data/test.h5

exit status:
  0    done
  2    refused or failed: one message says what is wrong and what to do
  {STOPPED}   a training was asked to stop (Ctrl-C, SIGTERM, SIGUSR1): it is saved and goes on with --resume
  130  interrupted (the second Ctrl-C of a training)
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
    _add_train(commands)
    add_distill(commands)
    add_sample(commands)
    add_latents(commands)
    _add_sweep(commands)
    _add_judging(commands)
    add_inference(commands)
    _add_looking(commands)
    return top


def _add_making(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser("demo", help="every domain end to end on this machine")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="folder (default: demo)")
    demo.add_argument("--only", metavar="DOMAIN", help="one domain alone")

    commands.add_parser("domains", help="the physics here, its diagnostics, importers and oracles")

    simulate = commands.add_parser("simulate", help="make an ensemble from a configuration")
    _add_config(simulate)
    simulate.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: data/<name>.h5")
    simulate.add_argument(
        "--processes", type=int, metavar="P", help="default: all cores; the result does not depend on it"
    )

    simulate.add_argument(
        "--given", type=Path, metavar="FILE", help="conditions to simulate under: an import without configurations"
    )
    simulate.add_argument(
        "--proposals", metavar="RUN", help="a run, or a network of physgen, whose draws the Monte Carlo takes as moves"
    )
    simulate.add_argument(
        "--every", type=int, metavar="SWEEPS", help="of --proposals: sweeps between two of them (default: 100)"
    )

    _add_pair(commands)
    load = commands.add_parser("import", help="bring foreign files in as an ensemble")
    load.add_argument("format", metavar="FORMAT", help="a format that `physgen domains` lists")
    load.add_argument("paths", nargs="+", metavar="PATH", help="files, then options as key=value")
    load.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")

    export = commands.add_parser("export", help="write an ensemble for other programs")
    export.add_argument("format", metavar="FORMAT", help="a format that `physgen domains` lists")
    export.add_argument("ensemble", type=Path, metavar="ENSEMBLE")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="PATH", help="a new file, or folder")


def _add_pair(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    pair = commands.add_parser(
        "pair",
        help="an ensemble whose fields are conditioned on those of another one, of the same random starts",
        epilog="A network that is trained on the pairs draws TARGET given SOURCE; draw with --like a file of pairs.",
    )
    pair.add_argument("target", type=Path, metavar="TARGET", help="what is drawn")
    pair.add_argument("source", type=Path, metavar="SOURCE", help="what it is drawn under")
    pair.add_argument("--name", default="surrogate", metavar="NAME", help="of the condition (default: surrogate)")
    pair.add_argument("--by", metavar="NAME", help="variable that names the random starts")
    pair.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    train = commands.add_parser(
        "train",
        help="train a denoiser (alone, under torchrun or under srun)",
        epilog="Ctrl-C, SIGTERM and SIGUSR1 end a training after the step, saved; it goes on with --resume. "
        f"Exit status: 0 trained to its last step, {STOPPED} stopped before, 2 refused.",
    )
    _add_config(train)
    train.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the runs (default: runs)"
    )
    train.add_argument("--resume", action="store_true", help="go on from the last good checkpoint of the run")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda")


def _add_sweep(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="train a product of settings, one run each",
        epilog="key=a,b,c gives a run for each value, several such keys a run for each combination; a list in brackets "
        "is one value. Complete runs are skipped and partial ones continued, so that the same command goes on. n of "
        "the training data is varied by split.train_units. Exit status as of train.",
    )
    sweep.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file, see configs/")
    sweep.add_argument("overrides", nargs="+", metavar="key=a,b,c", help="e.g. split.train_units=16,32,64 seed=1,2,3")
    sweep.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the runs (default: runs)"
    )
    sweep.add_argument("-o", "--output", type=Path, metavar="DIR", help="table and figure (default: beside the runs)")
    sweep.add_argument("--device", default="auto", help="auto, cpu or cuda")


def _add_judging(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    judged = "judge an ensemble or an array against a reference, anybody's files"
    evaluate = commands.add_parser("evaluate", help=judged)
    evaluate.add_argument(
        "generated", type=Path, metavar="GENERATED", help="an ensemble, or an array in .npy or .npz, samples first"
    )
    evaluate.add_argument("--reference", type=Path, required=True, metavar="FILE")
    evaluate.add_argument("--train", type=Path, metavar="FILE", help="the training data, for the memorization test")
    evaluate.add_argument("--box", metavar="LENGTH", help='side of the box of arrays, e.g. --box "25 Mpc/h"')
    evaluate.add_argument("--domain", metavar="NAME", help="physics of files that name none (default: any field)")
    evaluate.add_argument("--run", type=Path, metavar="RUN", help="log the figures and metrics to this run as well")
    evaluate.add_argument("--resample", type=int, metavar="M", help="judge M weighted draws of each law, by weights")
    evaluate.add_argument("--seed", type=int, default=0, metavar="S", help="of what --resample takes (default: 0)")
    evaluate.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="DIAGNOSTIC=X",
        help="accepted deviation, e.g. power_spectrum=0.05; may be given several times",
    )
    evaluate.add_argument(
        "--correct",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="what to take off spectra of both: deconvolve=window|aliased, mass_assignment=CIC (default: as the files "
        "state), shot_noise=poisson or a level of P; default: judging.* of the run",
    )
    evaluate.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="default: GENERATED without suffix, or GENERATED-evaluation"
    )

    add_certify(commands)

    compare = commands.add_parser("compare", help="diagnostics of several runs over one reference, on one page")
    compare.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN|DIR|FILE",
        help="folders of runs that were judged, or of evaluations; or ensembles of several sizes, where curves cross",
    )
    compare.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: comparison, beside the first run")
    compare.add_argument("--uri", metavar="URI", help="MLflow tracking URI (default: that of the runs)")

    add_combine(commands)

    regimes = commands.add_parser(
        "regimes", help="speciation, collapse, cloning and memorization of data or of a run, on one page"
    )
    regimes.add_argument(
        "data", type=Path, metavar="DATA|RUN", help="an ensemble, an array in .npy or .npz, or the folder of a run"
    )
    regimes.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="default: RUN/regimes, or DATA without suffix with -regimes"
    )
    regimes.add_argument("--box", metavar="LENGTH", help='side of the box of an array, e.g. --box "25 Mpc/h"')
    regimes.add_argument("--domain", metavar="NAME", help="physics of a file that names none (default: any field)")
    regimes.add_argument("--seed", type=int, default=0, metavar="S")
    regimes.add_argument("--device", default="auto", help="auto, cpu or cuda")


def _add_looking(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
