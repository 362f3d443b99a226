"""The words of the command line: all commands and their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen.cli.certifying import add_certify

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
    _add_model(commands)
    _add_sweep(commands)
    _add_judging(commands)
    _add_inference(commands)
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


def _add_model(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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

    sample = commands.add_parser("sample", help="draw configurations from a run")
    sample.add_argument("run", type=Path, metavar="RUN", help="its folder, or a network that comes with physgen")
    sample.add_argument(
        "-n", type=int, metavar="N", help="configurations: in all, or under each condition of a physics that has many"
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
        help="labels to hold fixed, apart or joined by commas; `physgen domains` lists those of each physics",
    )
    sample.add_argument("--sampler", metavar="NAME", help="default: the run's")
    sample.add_argument("--steps", type=int, metavar="K", help="noise levels (default: the run's)")
    sample.add_argument("--levels", metavar="RULE", help="checked, chosen or log-uniform (default: the run's)")
    sample.add_argument("--seed", type=int, default=0, metavar="S")
    sample.add_argument(
        "--average",
        type=float,
        metavar="WIDTH",
        help="draw with the average of the weights of this relative width, e.g. 0.15 (needs training.averages)",
    )
    sample.add_argument("--device", default="auto", help="auto, cpu or cuda")
    _add_given(sample)
    pack = commands.add_parser("pack", help="a run to give away: what drawing needs of it, without its data")
    pack.add_argument("run", type=Path, metavar="RUN")
    pack.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    average = commands.add_parser("average", help="validation loss by the width of the average of the weights")
    average.add_argument("run", type=Path, metavar="RUN")
    average.add_argument("--device", default="auto", help="auto, cpu or cuda")


def _add_given(sample: argparse.ArgumentParser) -> None:
    """Draws given an observation, and guided ones."""
    sample.add_argument(
        "--given",
        type=Path,
        metavar="FILE",
        help="observed fields, an ensemble or .npy, NaN or mask = 0 where nothing was seen: draw N fields given each",
    )
    sample.add_argument(
        "--operator",
        nargs="+",
        metavar="WORDS",
        help='what was done to them: mask, "noise sigma=0.1", "blur fwhm=4 Mpc/h", "downsample factor=2", by commas',
    )
    sample.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="the fields that were observed: coverage, ranks and figures beside FILE; observed here without --given",
    )
    sample.add_argument(
        "--guidance",
        type=float,
        metavar="W",
        help="classifier-free guidance towards p(x|labels)^W p(x)^(1-W); needs training.label_dropout; 1 is none",
    )
    sample.add_argument(
        "--weights",
        action="store_true",
        help="log-weights that make the law exact, where the physics knows it, or with --guidance that of the guided "
        "one; and what they are worth: effective sample size, ln Z, tail",
    )
    sample.add_argument(
        "--reverse",
        type=int,
        metavar="M",
        help="with --weights: M reverse paths under each condition, for ln Z from both sides, from configurations of "
        "the --like file (default: as many as it holds), else from own draws (default: none)",
    )
    for name, how in (
        ("--resample", "M of the N configurations under each condition, drawn by their weights"),
        ("--metropolis", "M states of a chain through the N configurations under each condition, exact acceptance"),
    ):
        sample.add_argument(name, type=int, metavar="M", help=f"with --weights: keep {how}")
    sample.add_argument("--sweeps", type=int, metavar="K", help="then K sweeps of local moves of the physics, exact")


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
    evaluate = commands.add_parser(
        "evaluate", help="judge an ensemble or an array against a reference, anybody's files"
    )
    evaluate.add_argument(
        "generated", type=Path, metavar="GENERATED", help="an ensemble, or an array in .npy or .npz, samples first"
    )
    evaluate.add_argument("--reference", type=Path, required=True, metavar="FILE")
    evaluate.add_argument("--train", type=Path, metavar="FILE", help="the training data, for the memorization test")
    evaluate.add_argument("--box", metavar="LENGTH", help='side of the box of arrays, e.g. --box "25 Mpc/h"')
    evaluate.add_argument("--domain", metavar="NAME", help="physics of files that name none (default: any field)")
    evaluate.add_argument("--run", type=Path, metavar="RUN", help="log the figures and metrics to this run as well")
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

    _add_combine(commands)

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


def _add_combine(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    combine = commands.add_parser(
        "combine",
        help="means and covariances from few costly configurations and many surrogates of the same random starts",
        epilog="COSTLY and the surrogates are matched by their random starts, never by position: a surrogate of each "
        "costly unit, and many of further starts. The combined mean is unbiased whatever the surrogates get wrong.",
    )
    combine.add_argument("costly", type=Path, metavar="COSTLY", help="an ensemble")
    combine.add_argument("surrogates", type=Path, nargs="+", metavar="SURROGATES", help="one or more ensembles")
    combine.add_argument("--reference", type=Path, metavar="FILE", help="more costly units, to compare with")
    combine.add_argument(
        "--statistic", nargs="+", action="extend", default=[], metavar="NAME", help="default: the power spectrum"
    )
    combine.add_argument(
        "--by", metavar="NAME", help="variable that names the random starts (default: the one that says so)"
    )
    combine.add_argument("--slope", type=float, metavar="B", help="coefficient that is known from elsewhere, e.g. 1")
    combine.add_argument("--multivariate", action="store_true", help="every point of a surrogate controls every point")
    combine.add_argument("--logarithm", action="store_true", help="combine ln of the value of each unit")
    combine.add_argument("--price", type=float, metavar="X", help="what a costly unit costs, in surrogates")
    combine.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: COSTLY-combined")


def _add_inference(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    likelihood = commands.add_parser("likelihood", help="ln p of each configuration of a file under a run, with errors")
    infer = commands.add_parser("infer", help="posterior of the labels of each configuration of a file under a run")
    for command, draws in ((likelihood, "probes (hutchinson) or draws (bound), default 8"), (infer, "default 4")):
        command.add_argument("run", type=Path, metavar="RUN")
        command.add_argument("file", type=Path, metavar="FILE", help="an ensemble, or an array in .npy or .npz")
        command.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: a folder in that of the run")
        command.add_argument("--probes", type=int, metavar="K", help=f"independent draws behind each error: {draws}")
        command.add_argument("--steps", type=int, metavar="N", help="steps of the flow, or noise levels of a draw")
        command.add_argument("--seed", type=int, default=0, metavar="S")
        command.add_argument("--device", default="auto", help="auto, cpu or cuda")
    likelihood.add_argument(
        "--method", default="hutchinson", metavar="NAME", help="hutchinson (default), exact, jacobian or bound"
    )
    infer.add_argument("--method", default="bound", metavar="NAME", help="bound (default, no gradients) or flow")
    infer.add_argument("--labels", nargs="+", metavar="NAME", help="infer these alone; others are as in the file")
    infer.add_argument("--combine", action="store_true", help="one posterior for all configurations of a unit")
    infer.add_argument("--limit", type=int, metavar="N", help="at most N configurations, of as many units as can be")


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
