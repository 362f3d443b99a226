"""The stage that trains a product of settings, one flat run each, and says what they have come to.

A setting is ``key=a,b,c``; those with one value hold for all runs. Runs are called after the experiment and their own
settings, carry the tag ``physgen.sweep``, are skipped where they are complete and continued where they are not. All
are trained on the ensemble of the experiment, save where a setting of ``data.`` varies: then each set of them has an
ensemble of its own, which is simulated where it is missing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from physgen.config import Experiment, load_config
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.stages.data import default_dataset, simulate
from physgen.stages.training import is_complete, train

MOST_RUNS = 1000  # more are a misprint


@dataclass(frozen=True)
class Sweep:
    """What to train.

    Attributes:
        name: of the sweep, its tag in MLflow. axes: key -> its values, as they were typed.
        points: name of a run -> value of each axis; experiments: name of a run -> its experiment.
    """

    name: str
    axes: Mapping[str, tuple[str, ...]]
    points: Mapping[str, Mapping[str, str]]
    experiments: Mapping[str, Experiment]


def plan_sweep(config: Path, words: Sequence[str]) -> Sweep:
    """All runs of a sweep, each checked before the first is trained.

    Args:
        config: an experiment. words: ``key=value`` for all runs, ``key=a,b,c`` for a run each; a list in brackets is
            one value.

    Raises:
        InputError: no key with several values, a value that does not fit, two runs of one name.
    """
    settings = {key: split_values(text) for key, text in map(_pair, words)}
    axes = {key: values for key, values in settings.items() if len(values) > 1}
    if not axes:
        raise InputError("a sweep needs a key with several values, e.g. training.learning_rate=1e-3,3e-3")
    common = [f"{key}={values[0]}" for key, values in settings.items() if key not in axes]
    base = load_config(config, common)
    short = _short_names(list(axes))
    name = base.tracking.sweep or f"{base.name}-{'-'.join(short[key] for key in axes)}"
    points: dict[str, Mapping[str, str]] = {}
    experiments: dict[str, Experiment] = {}
    for values in itertools.product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        if len(points) == MOST_RUNS:
            raise InputError(f"a sweep of more than {MOST_RUNS} runs: give fewer values")
        run = "-".join([base.name, *(f"{short[key]}{_as_name(value)}" for key, value in point.items())])
        if run in points:
            raise InputError(f"two runs of the sweep would be called {run}: give each value once")
        own = {"name": run, "tracking.sweep": name, "dataset": str(_dataset(base, point, short))}
        varied = [f"{key}={value}" for key, value in point.items()]
        experiments[run] = load_config(config, [*common, *(f"{key}={value}" for key, value in own.items()), *varied])
        points[run] = point
    return Sweep(name, axes, points, experiments)


def train_sweep(
    sweep: Sweep,
    runs: Path,
    device: str = "auto",
    progress: Callable[[str], Progress | None] = lambda words: None,
    processes: int = 1,
) -> bool:
    """Train what is not complete, one run after the other; whether all are.

    Args:
        runs: folder that holds the folders of runs. progress: words about a run -> what shows its steps.
        processes: that simulate, where ``data.`` varies.
    """
    for number, (name, experiment) in enumerate(sweep.experiments.items(), 1):
        folder = runs / name
        exists = (folder / "experiment.yaml").exists()
        if exists and is_complete(folder):
            continue
        words = f"{number}/{len(sweep.experiments)} {name}"
        dataset = default_dataset(experiment)
        if _varies_data(sweep.axes) and not dataset.exists():
            simulate(experiment, dataset, processes, progress(f"simulate {words}"))
        train(experiment, runs, exists, device, progress(f"train {words}"))
        if not is_complete(folder):
            return False  # asked to stop
    return True


def _pair(word: str) -> tuple[str, str]:
    key, equals, text = word.partition("=")
    if not equals or not key or not text:
        raise InputError(f"{word!r} is not of the form key=value or key=a,b,c, e.g. training.steps=100,200")
    if key in ("name", "tracking.sweep"):
        raise InputError(f"{key} of the runs is made from their settings: set it in the configuration")
    return key, text


def split_values(text: str) -> tuple[str, ...]:
    """The values between commas, of which those within brackets, braces or quotes separate nothing."""
    values, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(sign, 0) if not quote else 0
        if sign == "," and not depth and not quote:
            values.append("")
        else:
            values[-1] += sign
    if not all(value.strip() for value in values):
        raise InputError(f"{text!r} holds an empty value: write the values between single commas")
    return tuple(value.strip() for value in values)


def _short_names(keys: list[str]) -> dict[str, str]:
    """The last part of each key, or all of it where two keys share that."""
    leaves = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: leaf if leaves.count(leaf) == 1 else key for key, leaf in zip(keys, leaves, strict=True)}


def _as_name(value: str) -> str:
    """A value within a name of a run."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", value.replace("-", "m")).strip("_") or "none"


def _varies_data(axes: Mapping[str, object]) -> bool:
    return any(key.startswith("data.") for key in axes)


def _dataset(base: Experiment, point: Mapping[str, str], short: Mapping[str, str]) -> Path:
    own = {short[key]: value for key, value in point.items() if key.startswith("data.")}
    path = default_dataset(base)
    if not own:
        return path
    if "seed" in point:  # another seed makes other data
        own["seed"] = point["seed"]
    return path.with_stem("-".join([path.stem, *(f"{key}{_as_name(value)}" for key, value in own.items())]))
