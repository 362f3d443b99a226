"""The training stage: data, denoiser, the generator of steps, and everything that happens around a step.

The same function runs alone, under torchrun and under srun. Process 0 writes the run folder.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from physgen.config import Experiment
from physgen.diffusion.spectrum import Spectrum, fit_spectrum
from physgen.diffusion.training import Recipe, Step, TrainingState
from physgen.diffusion.training import train as training_steps
from physgen.diffusion.validation import ValidationLoss, validation_loss
from physgen.engine.checkpoint import checkpoint_steps, load_checkpoint, save_checkpoint
from physgen.engine.journal import Journal
from physgen.engine.launch import Launch, launch
from physgen.engine.mlflow_store import clean_tracking_uri
from physgen.engine.signals import StopRequest
from physgen.engine.tracking import Tracker
from physgen.ensemble import load_ensemble
from physgen.errors import InputError
from physgen.model import build_denoiser, noise_range, save_model, schedule_law
from physgen.provenance import file_digest, git_commit
from physgen.run import Run, create_run, open_run, read_json, withdraw_run, write_config, write_json
from physgen.stages import default_dataset

VALIDATION_LEVELS = 9
VALIDATION_SEED = 20_000


@dataclass(frozen=True)
class Data:
    """Encoded training and validation sets, in memory."""

    x: torch.Tensor
    condition: dict[str, torch.Tensor]
    validation_x: torch.Tensor
    validation_condition: dict[str, torch.Tensor]


def train(
    experiment: Experiment,
    runs: Path,
    resume: bool = False,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Path | None:
    """Train an experiment; the folder of its run, or None where another process writes it.

    Args:
        experiment: see load_config.
        runs: folder that holds the folders of runs.
        resume: go on from the last good checkpoint; the configuration must be that of the run.
        device: auto, cpu or cuda.
        progress: called as progress(step, steps) after each step.
    """
    folder = Path(runs) / experiment.name
    tracking = experiment.tracking
    with launch(device) as here:
        run = _prepare(experiment, folder, resume, here)
        try:
            data, constants, state = _first_state(run, here)
        except InputError:
            if here.is_main and not resume:
                withdraw_run(run)
            raise
        found = load_checkpoint(folder / "checkpoints", here) if resume else None
        with Journal(folder, write=here.is_main) as journal, StopRequest(here) as stop:
            if found is not None:
                state.load_state_dict(found[0])
            if resume:
                journal.rewind(state.step, found[1]["journal_offset"] if found else 0)
            with Tracker(journal, here, experiment.name, tracking.experiment, tracking.uri) as tracker:
                _describe(tracker, run, constants, data, here)
                ended = _Loop(run, state, data, here, journal, constants).go(stop, progress)
                _finish(tracker, run, constants, state, ended)
    return folder if here.is_main else None


def is_complete(run: Path) -> bool:
    """Whether a run was trained to its last step (a request to stop ends it earlier, saved)."""
    steps = checkpoint_steps(run / "checkpoints")
    return bool(steps) and steps[-1] >= open_run(run).experiment.training.steps


def _describe(tracker: Tracker, run: Run, constants: dict[str, Any], data: Data, here: Launch) -> None:
    """What MLflow shows of a run before its first step."""
    if not here.is_main:
        return
    experiment = run.experiment
    units = {f"data.{f.name}": f.metadata.get("unit", "") for f in dataclasses.fields(run.domain)}
    plain = experiment.resolved() | {"data": dataclasses.asdict(run.domain)}
    tracker.params(
        plain
        | {
            "diffusion": plain["diffusion"] | {"s_min": constants["s_min"], "s_max": constants["s_max"]},
            "data.training_samples": len(data.x),
            "launch": {"processes": here.world_size, "device": here.device.type},
        },
        units,
    )
    tracker.tags(
        {"physgen.domain": experiment.domain, "physgen.commit": git_commit(), "physgen.config": experiment.digest()}
        | ({"physgen.sweep": experiment.tracking.sweep} if experiment.tracking.sweep else {})
    )
    tracker.note(
        f"**{run.domain.description}**\n\n`validation/ratio_*` is the denoising loss over that of the baseline at the "
        "same noise (fields: the Wiener filter with the training spectrum; spins: free spins). 1 = no more than "
        "that was learned; lower is better. `eval_*` carries each figure with its error and its floor."
    )
    for part in ("train", "test"):
        path = run.folder / "data" / f"{part}.h5"
        tracker.dataset(f"{experiment.name}-{part}", path, file_digest(path), "training" if part == "train" else "test")
    tracker.artifact(run.folder / "experiment.yaml")


def _finish(tracker: Tracker, run: Run, constants: dict[str, Any], state: TrainingState, ended: bool) -> None:
    if not ended:
        tracker.status = "KILLED"
        return
    name = run.experiment.tracking.register_as or f"physgen-{run.experiment.domain}"
    shape = (constants["channels"], *constants["grid"])
    tracker.model(run.folder / "model", "physgen.model:load_sampler", name, "newest", shape, state.step)


# --- before the first step ------------------------------------------------------------------------


def _prepare(experiment: Experiment, folder: Path, resume: bool, here: Launch) -> Run:
    """The run folder: made by process 0, opened by all. A message of process 0 is raised on all."""
    problem = None
    if here.is_main:
        try:
            _check_launch(experiment, here)
            if resume:
                _check_same(experiment, open_run(folder))
                write_config(experiment, folder / "experiment.yaml")  # what may change on a resume, changes
            else:
                create_run(experiment, folder, load_ensemble(default_dataset(experiment)))
        except InputError as error:
            problem = str(error)
    problem = here.broadcast_object(problem)
    if problem:
        raise InputError(problem)
    return open_run(folder)


def _check_launch(experiment: Experiment, here: Launch) -> None:
    if experiment.training.batch_size < here.world_size:
        raise InputError(
            f"training.batch_size={experiment.training.batch_size} is less than the {here.world_size} processes: "
            "give each at least one configuration, or start fewer"
        )
    if experiment.tracking.uri not in (None, "off"):
        clean_tracking_uri(experiment.tracking.uri)


def _check_same(experiment: Experiment, run: Run) -> None:
    """A resume with another configuration would be another experiment under the same name."""
    asked, stands = (_flat(e.resolved()) for e in (experiment, run.experiment))
    free = ("tracking.", "sampling.", "training.steps", "training.keep_checkpoints", "dataset")
    changed = [k for k in sorted(asked | stands) if asked.get(k) != stands.get(k) and not k.startswith(free)]
    if changed:
        key = changed[0]
        raise InputError(
            f"{run.folder} was started with {key}={stands.get(key)!r}, not {asked.get(key)!r}"
            f"{f' (and {len(changed) - 1} more differ)' if len(changed) > 1 else ''}: "
            "resume with its own configuration (experiment.yaml), or start a run of another name"
        )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _first_state(run: Run, here: Launch) -> tuple[Data, dict[str, Any], TrainingState]:
    """Data, constants and the untrained state. Raises InputError where the network does not fit the data."""
    data, constants, spectrum = _encode(run, here)
    denoiser = build_denoiser(run.experiment, constants, spectrum).to(here.device)
    one = {k: v[:1] for k, v in data.validation_condition.items()}
    try:
        with torch.no_grad():
            denoiser(data.validation_x[:1], torch.ones(1, device=here.device), one)
    except ValueError as error:
        raise InputError(f"network: {error}") from None
    if run.experiment.training.compile:
        denoiser.network.compile(dynamic=False)
    return data, constants, TrainingState(denoiser, _recipe(run.experiment, constants), here.wrap)


def _encode(run: Run, here: Launch) -> tuple[Data, dict[str, Any], Spectrum | None]:
    """Encoded data, the constants fitted on the training part, and its spectrum."""
    domain, path = run.domain, run.folder / "encoding.json"
    train_part, validation = run.part("train"), run.part("validation")
    if here.is_main and not path.exists():
        constants = dict(domain.fit_encoding(train_part))
        x, condition = domain.encode(train_part, constants)
        s_min, s_max = noise_range(x, domain.values, run.experiment.diffusion)
        constants |= {
            "grid": list(x.shape[2:]),
            "channels": x.shape[1],
            "condition_shapes": {k: list(v.shape[1:]) for k, v in condition.items()},
            "s_min": s_min,
            "s_max": s_max,
        }
        write_json(path, constants)
    here.barrier()
    constants = read_json(path)
    x, condition = domain.encode(train_part, constants)
    held_x, held_condition = domain.encode(validation, constants)
    # evenly spread over the validation part, so that every condition is met
    chosen = torch.linspace(0, len(held_x) - 1, min(run.experiment.training.validation_size, len(held_x))).long()
    spectrum = fit_spectrum(x, condition.get("labels")) if domain.values == "real" else None
    held = {k: v[chosen].to(here.device) for k, v in held_condition.items()}
    return Data(x, dict(condition), held_x[chosen].to(here.device), held), constants, spectrum


def _recipe(experiment: Experiment, constants: dict[str, Any]) -> Recipe:
    settings = experiment.training
    return Recipe(
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=experiment.seed,
        law=schedule_law(experiment, constants["s_min"], constants["s_max"]),
        warmup=settings.warmup,
        clip_norm=settings.clip,
        weight_decay=settings.weight_decay,
        ema_exponent=settings.ema_exponent,
        precision=settings.precision,
    )


# --- the loop -------------------------------------------------------------------------------------


@dataclass
class _Loop:
    """One training: what happens around each step."""

    run: Run
    state: TrainingState
    data: Data
    here: Launch
    journal: Journal
    constants: dict[str, Any]

    def go(self, stop: StopRequest, progress: Callable[[int, int], None] | None) -> bool:
        """Train to the end or to a request to stop; whether the end was reached."""
        settings, total = self.run.experiment.training, self.run.experiment.training.steps
        augment = self.run.domain.augment if settings.augment else None
        clock, counted = time.perf_counter(), self.state.step
        steps = training_steps(
            self.state, self.data.x, self.data.condition, augment, self.here.rank, self.here.world_size
        )
        if self.state.step == 0:
            self.validate()
        for step in steps:
            if step.step % settings.log_every == 0 or step.step == total:
                rate = (step.step - counted) * settings.batch_size / (time.perf_counter() - clock)
                clock, counted = time.perf_counter(), step.step
                self.journal.log(step.step, _metrics(step, rate))
            if step.step % settings.validate_every == 0 or step.step == total:
                self.validate()
            stopping = stop.poll()
            if step.step % settings.checkpoint_every == 0 or step.step == total or stopping:
                self.save()
            if progress:
                progress(step.step, total)
            if stopping:
                return step.step == total
        return True

    def validate(self) -> None:
        """Loss of the averaged weights by noise level, as it is and beside that of the baseline."""
        if self.here.is_main:
            model = self.state.ema if self.state.step else self.state.model
            s_min, s_max = self.constants["s_min"], self.constants["s_max"]
            levels = torch.logspace(*torch.tensor([s_min, s_max]).log10().tolist(), VALIDATION_LEVELS)
            found = validation_loss(
                model, self.data.validation_x, self.data.validation_condition, levels.to(self.here.device),
                VALIDATION_SEED, baseline=model.baseline,
            )  # fmt: skip
            self.journal.log(self.state.step, _validation_metrics(found))
        self.here.barrier()

    def save(self) -> None:
        """Checkpoint to resume from, and the averaged weights to draw with."""
        offset = self.journal.sync()
        save_checkpoint(
            self.run.folder / "checkpoints", self.state.step, self.state.state_dict(), self.here,
            {"journal_offset": offset, "config_digest": self.run.experiment.digest()},
            keep_last=self.run.experiment.training.keep_checkpoints,
        )  # fmt: skip
        if self.here.is_main:
            save_model(self.run.folder / "model", self.state.ema.state_dict(), self.run.experiment, self.constants)


def _metrics(step: Step, rate: float) -> dict[str, float]:
    return {
        "train/loss": step.loss,
        "train/grad_norm": step.grad_norm,
        "train/learning_rate": step.lr,
        "train/skipped_steps": step.skipped,
        "train/samples_per_second": rate,
    }


def _validation_metrics(found: ValidationLoss) -> dict[str, float]:
    """``validation/ratio_s...`` is the loss over that of the baseline: 1 = only Gaussian (or free-spin) information."""
    metrics = {"validation/ratio_mean": float(found.ratio.mean())}
    for i, level in enumerate(found.levels.tolist()):
        name = f"s{level:.3g}".replace(".", "p")
        metrics[f"validation/loss_{name}"] = float(found.loss[i])
        metrics[f"validation/ratio_{name}"] = float(found.ratio[i])
        metrics[f"validation/ratio_error_{name}"] = float(found.ratio_error[i])
    return metrics
