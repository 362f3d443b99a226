"""The commands that draw from a run, or give it away: ``physgen sample``, ``physgen pack``."""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen.cli.words import command, free_path, number, pairs
from physgen.progress import progress_bar


def sample_command(arguments: argparse.Namespace) -> None:
    """physgen sample: draw, and say what was not held fixed and what comes next."""
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
        arguments.reverse,
        arguments.resample,
        arguments.metropolis,
        arguments.sweeps,
    )
    path = sample(arguments.run, arguments.output, options, arguments.device, progress_bar("sample"))
    if arguments.average is not None:
        print(describe_average(arguments.run, arguments.average))
    if arguments.weights:
        print(_worth_of_weights(path, arguments.guidance is not None))
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
