"""The stage that trains: the generator of steps, and everything that happens around a step.

The same function runs alone, under torchrun and under srun. Process 0 writes the run folder. What a training leaves on
the disk comes in this order, on which a resume relies:

1. the run folder: parts of the data, ``facts.json``, ``experiment.yaml`` (last: it makes the folder a run);
2. ``encoding.json``, fitted once on the training part and read by all processes. An error up to here takes the whole
   folder back, so that its name is free again;
3. the lock of the journal. On a resume the state and the averages are those of the last good checkpoint, and the
   journal is cut back to it *before* its tracker starts to ship it;
4. the tracker: parameters, tags and data sets stand in the journal before the first metric;
5. the validation of the untrained network, on a fresh start;
6. after each step: the running averages, then the journal, then the validation, then the look of the monitor, then the
   checkpoint. A look that ends the training says so in the journal and in ``stopped.json``, and the checkpoint of its
   step follows: a run killed in between goes on from an earlier one, and comes to the same end. A checkpoint
   holds the averages of its step and the length of the journal, which is on the disk first; the weights to draw with
   follow it. Last, the progress is shown and a request to stop is obeyed. The loss and the norm of a step are read
   from the device where they are logged alone, and in between the device is not waited for;
7. at the end, be it the last step or that of the monitor's rule, the times that the monitor found are logged, the noise
   levels of the configured sampler are chosen, once for all requests, and the model is registered; not where the
   training was stopped by a request.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from physgen.config import Experiment
from physgen.diffusion.convention import Denoiser
from physgen.diffusion.learning.training import Step, TrainingState
from physgen.diffusion.learning.training import train as training_steps
from physgen.diffusion.learning.validation import ValidationLoss
from physgen.diffusion.names import DIVERGENCE
from physgen.domains.contract import Domain
from physgen.errors import InputError
from physgen.processes.launch import Launch, launch
from physgen.processes.memory import keep_freed_memory
from physgen.processes.signals import StopRequest
from physgen.progress import Progress
from physgen.provenance import file_digest, git_commit
from physgen.runs.encoding import Encoding
from physgen.runs.facts import settings_in_use
from physgen.runs.folder import Run, open_run, withdraw_run
from physgen.runs.levels import choose_levels
from physgen.runs.model import load_model, save_conditions, save_model
from physgen.runs.serving import DESCRIPTION as SERVED
from physgen.runs.serving import save_template
from physgen.stages.calibration import calibrate
from physgen.stages.ema import AverageRecord
from physgen.stages.monitor import Monitor, stopped_at, why_stopped
from physgen.stages.monitored import times_of_run
from physgen.stages.training_setup import Data, Settings, first_state, prepare
from physgen.stages.validation import validate
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
        progress: called as progress(step, steps, note) after each step; the note is the loss logged last.
        data: the ensemble to train on, in place of the experiment's dataset.
    """
    folder = Path(runs) / experiment.name
    keep_freed_memory()
    with launch(device) as here:
        # in a function of its own: when the processes part, nothing may hold the wrapped network any more
        _train(experiment, folder, resume, here, progress, data)
    return folder if here.is_main else None


def _train(
    experiment: Experiment, folder: Path, resume: bool, here: Launch, progress: Progress | None, ensemble: Any
) -> None:
    settings, tracking = Settings.of(experiment), experiment.tracking
    run = prepare(experiment, folder, resume, here, ensemble)
    try:
        data, encoding, state = first_state(run, settings, here)
        averages = AverageRecord(run, state, here)
    except BaseException:  # out of memory, Ctrl-C, a mistake in a domain: whatever it was, no step was made
        if here.is_main and not resume:
            withdraw_run(run)
        raise
    found = load_checkpoint(folder / "checkpoints", here) if resume else None
    with Journal(folder, write=here.is_main) as journal, StopRequest(here) as stop:
        if found is not None:
            state.load_state_dict(found[0])
        averages.restore(found[0] if found else None)
        if resume:
            journal.rewind(state.step, found[1]["journal_offset"] if found else 0)
        with Tracker(journal, here, experiment.name, tracking.experiment, tracking.uri) as tracker:
            _describe(tracker, run, encoding, len(data.x), state.recipe.precision, here)
            monitor = Monitor(run, state, data, encoding, here, journal)
            loop = _Loop(folder, run.domain, settings, state, data, here, journal, encoding, averages, monitor)
            if loop.go(stop, progress):
                _conclude(tracker, run, state.step, monitor)
                _calibrate(run, here, journal)
                _choose_levels(run, here, journal)
                _register(tracker, run, encoding, state.step)
            else:
                tracker.status = "KILLED"


def is_complete(run: Path) -> bool:
    """Whether a run was trained to its end: its last step, or that at which the rule of its monitor ended it.

    A request to stop ends it earlier, saved. One that was ended by a rule that it is now without goes on.
    """
    steps = checkpoint_steps(run / "checkpoints")
    training = open_run(run).experiment.training
    ended = training.monitor.stop != "none" and bool(steps) and stopped_at(run) == steps[-1]
    return bool(steps) and (ended or steps[-1] >= training.steps)


def _describe(tracker: Tracker, run: Run, encoding: Encoding, samples: int, precision: str, here: Launch) -> None:
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
            "diffusion": plain["diffusion"] | {"s_min": encoding.s_min, "s_max": encoding.s_max},
            "data.training_samples": samples,
            "launch": {"processes": here.world_size, "device": here.device.type, "precision": precision},
        },
        units,
    )
    tracker.tags(
        {"physgen.domain": experiment.domain, "physgen.commit": git_commit(), "physgen.config": experiment.digest()}
        | ({"physgen.sweep": experiment.tracking.sweep} if experiment.tracking.sweep else {})
    )
    tracker.note(
        f"**{run.domain.description}**\n\n`validation/ratio_*` is the denoising loss over that of the baseline at the "
        f"same noise, {run.domain.values.baseline}. 1 = no more than that was learned; lower is better. "
        "`eval_*` carries each figure with its error and its floor."
    )
    for part in ("train", "test"):
        path = run.folder / "data" / f"{part}.h5"
        tracker.dataset(f"{experiment.name}-{part}", path, file_digest(path), "training" if part == "train" else "test")
    tracker.artifact(run.folder / "experiment.yaml")


def _conclude(tracker: Tracker, run: Run, step: int, monitor: Monitor) -> None:
    """What the looks of the monitor found, and why it ended the training, if it did."""
    if not monitor.here.is_main:
        return
    if monitor.steps:
        with contextlib.suppress(InputError):  # too few looks
            found = {str(name): float(value) for name, value in times_of_run(run.folder).items()}
            monitor.journal.event("learning_times", step=step, **found)
            known = {name: value for name, value in found.items() if math.isfinite(value)}
            monitor.journal.log(step, {f"regimes/{name}": value for name, value in known.items()})
    if monitor.stops and stopped_at(run.folder) == step:
        tracker.tags({"physgen.stopped": why_stopped(run.folder)})


def _calibrate(run: Run, here: Launch, journal: Journal) -> None:
    """The linear part of the denoiser made exact, where the configuration asks for it."""
    configurations = run.experiment.training.calibration
    if here.is_main and configurations:
        journal.event("calibration", **calibrate(run, configurations, str(here.device)))


def _choose_levels(run: Run, here: Launch, journal: Journal) -> None:
    """Noise levels of the configured sampler, stored beside the weights; the journal says what they cost."""
    if not here.is_main:
        return
    settings, cpu, wall = run.experiment.sampling, time.process_time(), time.perf_counter()
    model = load_model(run.folder / "model", str(here.device), few_steps=True)
    levels = choose_levels(model, settings.sampler, settings.steps, settings.levels)
    cost = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    journal.event("levels", sampler=settings.sampler, steps=settings.steps, **cost, **levels.facts())


def _register(tracker: Tracker, run: Run, encoding: Encoding, step: int) -> None:
    name = run.experiment.tracking.register_as or f"physgen-{run.experiment.domain}"
    tracker.model(run.folder / "model", "physgen.runs.serving:load_sampler", name, "newest", encoding.shape, step)


# --- the loop -------------------------------------------------------------------------------------


@dataclass
class _Loop:
    """One training: what happens around each step."""

    folder: Path
    domain: Domain
    settings: Settings
    state: TrainingState
    data: Data
    here: Launch
    journal: Journal
    encoding: Encoding
    averages: AverageRecord
    monitor: Monitor

    def go(self, stop: StopRequest, progress: Progress | None) -> bool:
        """Train to the end, that of the monitor's rule included, or to a request to stop; whether it was the end."""
        if self.monitor.has_ended():
            return True
        cadence, total = self.settings.cadence, self.settings.cadence.steps
        batch_size = self.settings.recipe.batch_size
        augment = None
        if self.settings.augment:
            augment = functools.partial(self.domain.augment, constants=self.encoding.domain)
        clock, counted, note = time.perf_counter(), self.state.step, ""
        steps = training_steps(
            self.state, self.data.x, self.data.condition, augment, self.here.rank, self.here.world_size
        )
        if self.state.step == 0:
            self.validate()
        for step in steps:
            self.averages.take(step)  # before a checkpoint of this step: a resume must not miss its snapshots
            if step.step % cadence.log_every == 0 or step.step == total:
                note = f"loss {step.loss:.3g}"  # waits for the device: the clock is read after
                rate = (step.step - counted) * batch_size / (time.perf_counter() - clock)
                clock, counted = time.perf_counter(), step.step
                self.journal.log(step.step, _metrics(step, rate))
            if step.step % cadence.validate_every == 0 or step.step == total:
                self.validate()
            ended = bool(self.monitor.look())
            stopping = stop.poll()
            if step.step % cadence.checkpoint_every == 0 or step.step == total or stopping or ended:
                self.save()
            if progress:
                progress(step.step, total, note)
            if stopping or ended:
                return ended or step.step == total
        return True

    def validate(self) -> None:
        """Loss of the averaged weights by noise level, as it is and beside that of the baseline."""
        if self.here.is_main:
            model = self.state.ema if self.state.step else self.state.model
            alone = self.settings.loss == DIVERGENCE
            found = validate(model, self.data.held, self.encoding, cast(Denoiser, model.baseline), alone)
            self.journal.log(self.state.step, _validation_metrics(found))
            self.journal.event("validation", step=self.state.step, **_by_level(found))
        self.here.barrier()

    def save(self) -> None:
        """Checkpoint to resume from, and the averaged weights to draw with."""
        offset = self.journal.sync()
        save_checkpoint(
            self.folder / "checkpoints", self.state.step,
            self.state.state_dict() | self.averages.state_dict(), self.here,
            {"journal_offset": offset, "config_digest": self.settings.digest},
            keep_last=self.settings.cadence.kept,
        )  # fmt: skip
        if self.here.is_main:
            weights, folder = self.state.ema.state_dict(), self.folder / "model"
            save_model(folder, weights, self.settings.description, self.encoding)
            if not (folder / SERVED).exists():  # they never change
                if getattr(self.state.ema, "spectrum", None) is not None:  # only their levels are checked
                    save_conditions(folder, self.data.held.condition)
                steps = self.settings.description["sampling"]["steps"]
                with open_run(self.folder).open_part("train") as train:
                    save_template(folder, self.domain, train, self.encoding.domain, steps)


def _metrics(step: Step, rate: float) -> dict[str, float]:
    return {
        "train/loss": step.loss,
        "train/grad_norm": step.grad_norm,
        "train/learning_rate": step.lr,
        "train/skipped_steps": step.skipped,
        "train/samples_per_second": rate,
    }


def _by_level(found: ValidationLoss) -> dict[str, list[float]]:
    """What :func:`physgen.tracking.journal.read_validation` reads: lists over the levels where the baseline errs."""
    rows = [i for i, counted in enumerate(found.counted.tolist()) if counted]
    columns = {"level": found.levels, "loss": found.loss, "ratio": found.ratio, "error": found.ratio_error}
    return {name: [float(values[i]) for i in rows] for name, values in columns.items()}


def _validation_metrics(found: ValidationLoss) -> dict[str, float]:
    """Metrics for curves over the steps; nothing is read back from their names.

    ``validation/ratio_mean`` is the loss over that of the baseline, both summed over the noise levels where the
    baseline errs; ``validation/ratio_s...`` is that of one such level. 1 = only what the baseline knows. Errors that
    one unit does not give are left out.
    """
    metrics = {"validation/ratio_mean": found.overall, "validation/ratio_mean_error": found.overall_error}
    for i, level in enumerate(found.levels.tolist()):
        name = f"s{level:.3g}".replace(".", "p")
        metrics[f"validation/loss_{name}"] = float(found.loss[i])
        if found.counted[i]:
            metrics[f"validation/ratio_{name}"] = float(found.ratio[i])
            metrics[f"validation/ratio_error_{name}"] = float(found.ratio_error[i])
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
