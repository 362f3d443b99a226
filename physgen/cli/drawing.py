"""The commands that draw from a run, or give it away: ``physgen sample``, ``physgen pack``."""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen.cli.words import command, free_path, number, pairs
from physgen.progress import progress_bar


def add_sample(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of ``sample``, ``pack`` and ``average``."""
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
        help="classifier-free guidance towards p(x|labels)^W p(x)^(1-W); needs diffusion.label_dropout; 1 is none",
    )
    sample.add_argument(
        "--exact",
        action="store_true",
        help="with --guidance: draws of that very law, populations that are resampled on their way; a plain guided "
        "draw is of another law, too narrow and too far out",
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


def sample_command(arguments: argparse.Namespace) -> None:
    """physgen sample: draw, and say what was not held fixed and what comes next."""
    from physgen.stages import (
        DrawOptions,
        describe_acceptance,
        describe_average,
        extrapolation,
        labels_not_held,
        sample,
    )  # fmt: skip

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
        arguments.reverse,
        arguments.resample,
        arguments.metropolis,
        exact=arguments.exact,
        sweeps=arguments.sweeps,
    )
    path = sample(arguments.run, arguments.output, options, arguments.device, progress_bar("sample"))
    if arguments.average is not None:
        print(describe_average(arguments.run, arguments.average))
    if arguments.weights:
        print(_worth_of_weights(path, arguments.guidance is not None))
    if arguments.exact:
        from physgen.stages.guidance import describe_populations

        print(describe_populations(path))
    if words := describe_acceptance(path):
        print(words)
    if words := extrapolation(path):
        print(f"extrapolation: {words} of the labels, where nothing was learned")
    varying = labels_not_held(arguments.run, path, given)
    if varying:
        print(f"not held fixed, as in {arguments.like or 'the test part'}: {varying}")
    print(f"wrote {path}\n{_after_sample(arguments, path, given)}")


def _worth_of_weights(path: Path, guided: bool) -> str:
    from physgen.stages.guidance import describe_weights
    from physgen.stages.weight_words import describe_draws

    return describe_weights(path) if guided else describe_draws(path)


def _conditions(arguments: argparse.Namespace) -> dict[str, float]:
    words = [word for several in arguments.condition for word in several.split(",") if word]
    return {k: number(v, k) for k, v in pairs(words, "condition").items()}


def _after_sample(arguments: argparse.Namespace, path: Path, given: dict[str, float]) -> str:
    from physgen.stages import conditions_without_data, packed_config, reference_settings

    config = packed_config(arguments.run)
    if config is not None and not arguments.like:
        output = free_path(path.with_stem(f"{path.stem}-reference"))
        return f"next, a reference to judge it by: {command('simulate', config, '--given', path, '-o', output)}"
    data = arguments.run / "data"
    settings = reference_settings(arguments.like, path) if arguments.like else None
    if settings is not None:
        output = free_path(path.with_stem(f"{path.stem}-reference"))
        words = (config or arguments.run / "experiment.yaml", *settings, "--given", arguments.like, "-o", output)
        return f"next, a reference to judge it by: {command('simulate', *words)}"
    reference = arguments.like or data / "test.h5"
    strange = conditions_without_data(reference, given)
    if strange:
        return (
            f"{reference} holds no configuration at {', '.join(strange)}: judge this ensemble against one that was "
            "made under the same conditions, see physgen evaluate --help"
        )
    of_the_run = () if config is not None else ("--train", data / "train.h5", "--run", arguments.run)
    return f"next: {command('evaluate', path, '--reference', reference, *of_the_run)}"


def pack_command(arguments: argparse.Namespace) -> None:
    """physgen pack: a run without its data."""
    from physgen.stages import describe_pack, pack_run

    folder = pack_run(arguments.run, arguments.output)
    print(f"{describe_pack(folder)}\nnext: {command('sample', folder, '-o', free_path(folder / 'generated.h5'))}")
