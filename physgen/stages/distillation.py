"""The stage that makes a student of few steps of a trained run: a new run that draws, is judged and compared as any."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen.config import Experiment, check_config
from physgen.diffusion.names import OF_STUDENTS
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.folder import ENCODING, FACTS, PARTS, Run, open_run, withdraw_run, write_config
from physgen.runs.student import TAUGHT, needs_a_denoiser, say_taught, taught_in
from physgen.storage.checkpoint import checkpoint_steps
from physgen.storage.weights import load_weights

if TYPE_CHECKING:
    from physgen.stages.sampling import DrawOptions

SHARE = 0.25  # of the cost of the teacher's training that a student takes, unless training.steps says otherwise
RATE = 1 / 3  # of the peak of the learning rate: the weights are not new
KNOWN = ("progressive", "consistency", "consistency_training", "mean_flow")
DENOISING_STEP = 3.0  # in evaluations of the network: one, and its gradient


@dataclass(frozen=True)
class DistillOptions:
    """What to teach: ``method``, the steps that the student shall draw with, and settings in place of the teacher's."""

    method: str = "progressive"
    evaluations: int = 4
    overrides: Sequence[str] = ()


def distill(
    teacher: str | Path,
    output: str | Path | None = None,
    options: DistillOptions | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path | None:
    """Make a student of a run; the folder of the student, or None where another process writes it.

    The student has the network, the data and the encoding of its teacher and starts with its weights. It trains as
    `physgen train` does, with the settings of the teacher but a quarter of its cost, a third of its learning rate, and
    in float32: what it learns are differences of maps, which bfloat16 rounds away. `validation/ratio_*` of a student is
    the distance of X(x0 + s z, s -> 0) from x0 over that of the Gaussian map: near 1, not a measure of its quality.

    Args:
        teacher: the run that teaches, or its folder. output: folder of the student; None: TEACHER-student beside it.
        options: what to teach. resume: go on from the last good checkpoint.
        device, progress: as :func:`physgen.stages.training.train` takes them.

    Raises:
        InputError: a run that cannot teach, an output that exists, options out of range.
    """
    from physgen.stages.training import train

    asked = options or DistillOptions()
    run = open_run(teacher)
    _check(run, asked)
    folder = Path(output) if output is not None else run.folder.with_name(f"{run.folder.name}-student")
    experiment = student_experiment(run, folder.name, asked)
    if resume:
        stands = taught_in(folder)
        if (stands.get("method"), stands.get("evaluations")) != (asked.method, asked.evaluations):
            raise InputError(f"{folder} is no student by {asked.method} for {asked.evaluations}: resume it as it began")
        return train(experiment, folder.parent, True, device, progress)
    _create(run, folder, experiment, asked)
    try:
        return train(experiment, folder.parent, True, device, progress)
    except BaseException:
        if not checkpoint_steps(folder / "checkpoints"):
            _withdraw(folder)
        raise


def student_experiment(run: Run, name: str, options: DistillOptions) -> Experiment:
    """The experiment of a student: that of its teacher, with a sampler of few steps and fewer steps of training."""
    from physgen.diffusion.distillation.losses import METHODS

    method: Any = METHODS[options.method]
    training = run.experiment.training
    steps = max(1, round(SHARE * training.steps * DENOISING_STEP / method.cost))
    content = run.experiment.resolved()
    content["name"] = name
    content["sampling"] |= {"sampler": method.sampler, "steps": options.evaluations, "levels": None}
    content["training"] |= {
        "steps": steps, "warmup": min(training.warmup, steps // 10), "averages": 0, "calibration": 0, "start": None,
        "target": "sample", "monitor": {}, "learning_rate": RATE * training.learning_rate, "precision": "float32",
    }  # fmt: skip
    return check_config(_overridden(content, options.overrides), f"the settings of {run.folder}")


def _overridden(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    import yaml

    for word in overrides:
        key, equals, text = word.partition("=")
        section, _, name = key.partition(".")
        free = section in ("training", "sampling", "judging", "tracking") and name
        if not equals or not (free or key == "seed"):
            raise InputError(
                f"{word!r} cannot be set for a student, which has the data and the network of its teacher: give "
                "training.*, sampling.*, judging.*, tracking.* or seed as key=value"
            )
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"{word!r} is not a valid YAML value: quote it") from None
        if free:
            content[section][name] = value
        else:
            content[key] = value
    return content


def _check(run: Run, options: DistillOptions) -> None:
    if options.method not in KNOWN:
        raise InputError(f"method {options.method!r} is unknown: choose one of {', '.join(KNOWN)}")
    if not 1 <= options.evaluations <= 64:
        raise InputError(f"evaluations = {options.evaluations}: give 1 to 64; 4 is usual, 1 the fastest")
    if not run.domain.values.has_prior:
        raise InputError(
            f"{run.folder} draws {run.domain.values.name} values: a flow map carries numbers along the probability "
            "flow, which real values alone have here; draw with fewer steps instead (physgen sample --steps)"
        )
    taught = taught_in(run.folder)
    if taught:
        raise needs_a_denoiser(run.folder / "model", taught)
    if not run.path_of_part("train").is_file():
        raise InputError(f"{run.folder} has no training data: a student is taught at configurations of them")
    load_weights(run.folder / "model")


def _create(run: Run, folder: Path, experiment: Experiment, options: DistillOptions) -> None:
    """The folder of the student: parts, facts and encoding of its teacher, and what it is taught."""
    from physgen.provenance import file_digest

    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} exists already: continue it (--resume), or choose another name (-o)")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    parts = [path for name in (*PARTS, "corner") if (path := run.path_of_part(name)).is_file()]
    for path in parts:
        shutil.copyfile(path, folder / "data" / path.name)
    for name in (FACTS, ENCODING):
        shutil.copyfile(run.folder / name, folder / name)
    weights = file_digest(run.folder / "model" / "weights.safetensors")
    taught = {"method": options.method, "evaluations": options.evaluations, "teacher": str(run.folder.resolve())}
    say_taught(folder, taught | {"teacher_weights": weights})
    write_config(experiment, folder / "experiment.yaml")


def _withdraw(folder: Path) -> None:
    (folder / TAUGHT).unlink(missing_ok=True)
    withdraw_run(open_run(folder))


# --- drawing ----------------------------------------------------------------------------------------


def check_few_steps(run: Run, options: DrawOptions) -> None:
    """Raise InputError where a student is asked for what it was not taught, or another run for what a student does."""
    taught: Mapping[str, Any] = taught_in(run.folder)
    sampler, steps = options.sampler or run.experiment.sampling.sampler, options.steps or run.experiment.sampling.steps
    if not taught:
        if sampler in OF_STUDENTS:
            raise InputError(f"the sampler {sampler} draws with a student: make one, physgen distill {run.folder}")
        if steps < 2:
            raise InputError(f"steps = {steps} is too few: give at least 2, or leave it out for the run's own")
        return
    if options.guidance is not None or options.weights or options.levels is not None:
        raise needs_a_denoiser(run.folder / "model", taught)
    method, known = taught["method"], samplers_of(taught["method"])
    if sampler not in known:
        raise InputError(
            f"sampler = {sampler} is none of a student taught by {method}: choose {' or '.join(known)}, or leave it out"
        )
    if method == "progressive" and steps != taught["evaluations"]:
        raise InputError(
            f"steps = {steps}: this student was taught the {taught['evaluations']} steps between its own levels alone; "
            "leave steps out, or distill for another number (--evaluations)"
        )


def samplers_of(method: str) -> tuple[str, ...]:
    """The samplers of what a method teaches: maps between levels, to 0, or both."""
    return {"progressive": OF_STUDENTS[:1], "mean_flow": OF_STUDENTS}.get(method, OF_STUDENTS[1:])
