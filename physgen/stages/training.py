"""The stage that trains: the generator of steps, and everything that happens around a step.

The same function runs alone, under torchrun and under srun. Process 0 writes the run folder.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen.config import Experiment
from physgen.diffusion.learning.training import Step, TrainingState
from physgen.diffusion.learning.training import train as training_steps
from physgen.diffusion.learning.validation import ValidationLoss
from physgen.processes.launch import Launch, launch
from physgen.processes.signals import StopRequest
from physgen.progress import Progress
from physgen.provenance import file_digest, git_commit
from physgen.runs.facts import settings_in_use
from physgen.runs.folder import Run, open_run, withdraw_run
from physgen.runs.model import save_model
from physgen.runs.serving import save_template
from physgen.stages.ema import AverageRecord
from physgen.stages.training_setup import Data, first_state, prepare, validate
from physgen.storage.checkpoint import checkpoint_steps, load_checkpoint, save_checkpoint
from physgen.tracking.journal import Journal
from physgen.tracking.tracker import Tracker

if TYPE_CHECKING:
    import xarray as xr


def train(
    experiment: Experiment,
    runs: Path,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    data: xr.Dataset | None = None,
) -> Path | None:
    """Train an experiment; the folder of its run, or None where another process writes it.

    Args:
        experiment: see load_config.
        runs: folder that holds the folders of runs.
        resume: go on from the last good checkpoint; the configuration must be that of the run.
        device: auto, cpu or cuda.
        progress: called as progress(step, steps, note) after each step; the note is its loss.
        data: the ensemble to train on, in place of the experiment's dataset.
    """
    folder = Path(runs) / experiment.name
    with launch(device) as here:
        # in a function of its own: when the processes part, nothing may hold the wrapped network any more
        _train(experiment, folder, resume, here, progress, data)
    return folder if here.is_main else None


def _train(
    experiment: Experiment, folder: Path, resume: bool, here: Launch, progress: Progress | None, ensemble: Any
) -> None:
    run = prepare(experiment, folder, resume, here, ensemble)
    try:
        data, constants, state = first_state(run, here)
    except BaseException:  # out of memory, Ctrl-C, a mistake in a domain: whatever it was, no step was made
        if here.is_main and not resume:
            withdraw_run(run)
        raise
    found = load_checkpoint(folder / "checkpoints", here) if resume else None
    averages, tracking = AverageRecord(run, state, here), experiment.tracking
    with Journal(folder, write=here.is_main) as journal, StopRequest(here) as stop:
        if found is not None:
            state.load_state_dict(found[0])
        averages.restore(found[0] if found else None)
        if resume:
            journal.rewind(state.step, found[1]["journal_offset"] if found else 0)
        with Tracker(journal, here, experiment.name, tracking.experiment, tracking.uri) as tracker:
            _describe(tracker, run, constants, data, here)
            ended = _Loop(run, state, data, here, journal, constants, averages).go(stop, progress)
            _finish(tracker, run, constants, state, ended)


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
    facts, values = run.facts(), dataclasses.asdict(run.domain)
    section = {name: values[name] for name in settings_in_use(experiment, facts["made_from_this_section"])}
    plain = experiment.resolved() | {"data": section}
    tracker.params(
        plain
        | {f"data.{key}": value for key, value in facts.items()}
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
    tracker.model(run.folder / "model", "physgen.runs.serving:load_sampler", name, "newest", shape, state.step)


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
    averages: AverageRecord

    def go(self, stop: StopRequest, progress: Progress | None) -> bool:
        """Train to the end or to a request to stop; whether the end was reached."""
        settings, total = self.run.experiment.training, self.run.experiment.training.steps
        augment = functools.partial(self.run.domain.augment, constants=self.constants) if settings.augment else None
        clock, counted = time.perf_counter(), self.state.step
        steps = training_steps(
            self.state, self.data.x, self.data.condition, augment, self.here.rank, self.here.world_size
        )
        if self.state.step == 0:
            self.validate()
        for step in steps:
            self.averages.take(step)  # before a checkpoint of this step: a resume must not miss its snapshots
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
                progress(step.step, total, f"loss {step.loss:.3g}")
            if stopping:
                return step.step == total
        return True

    def validate(self) -> None:
        """Loss of the averaged weights by noise level, as it is and beside that of the baseline."""
        if self.here.is_main:
            model = self.state.ema if self.state.step else self.state.model
            found = validate(model, self.data.held, self.constants, model.baseline)
            self.journal.log(self.state.step, _validation_metrics(found))
        self.here.barrier()

    def save(self) -> None:
        """Checkpoint to resume from, and the averaged weights to draw with."""
        offset = self.journal.sync()
        save_checkpoint(
            self.run.folder / "checkpoints", self.state.step,
            self.state.state_dict() | self.averages.state_dict(), self.here,
            {"journal_offset": offset, "config_digest": self.run.experiment.digest()},
            keep_last=self.run.experiment.training.keep_checkpoints,
        )  # fmt: skip
        if self.here.is_main:
            model = save_model(
                self.run.folder / "model", self.state.ema.state_dict(), self.run.experiment, self.constants
            )
            save_template(model, self.run.domain, self.run.part("train"), self.constants)


def _metrics(step: Step, rate: float) -> dict[str, float]:
    return {
        "train/loss": step.loss,
        "train/grad_norm": step.grad_norm,
        "train/learning_rate": step.lr,
        "train/skipped_steps": step.skipped,
        "train/samples_per_second": rate,
    }


def _validation_metrics(found: ValidationLoss) -> dict[str, float]:
    """``validation/ratio_mean`` is the loss over that of the baseline, both summed over the noise levels where the
    baseline errs; ``validation/ratio_s...`` is that of one such level. 1 = only Gaussian (or free-spin) information.
    Errors that one unit does not give are left out."""
    metrics = {"validation/ratio_mean": found.overall, "validation/ratio_mean_error": found.overall_error}
    for i, level in enumerate(found.levels.tolist()):
        name = f"s{level:.3g}".replace(".", "p")
        metrics[f"validation/loss_{name}"] = float(found.loss[i])
        if found.counted[i]:
            metrics[f"validation/ratio_{name}"] = float(found.ratio[i])
            metrics[f"validation/ratio_error_{name}"] = float(found.ratio_error[i])
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
