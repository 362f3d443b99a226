"""Post-hoc EMA: an exponential moving average of the weights, of any width, made after training from snapshots.

A training with ``training.averages: N`` keeps the power-law EMAs of relative widths 0.05 and 0.10 and stores both
at N evenly spread steps, in ``averages/`` of the run. Cost: two more copies of the parameters on the device of
process 0, in each checkpoint, and on disk for each of the N steps.

Residual of the profile for N evenly spread steps of 2000 (a smaller one is a better average):

    width     0.02   0.03   0.04   0.06   0.08   0.12   0.15   0.20   0.25
    N = 5    3.1e-1 1.5e-1 5.0e-2 2.2e-2 2.2e-2 2.8e-2 7.2e-2 1.5e-1 2.7e-1
    N = 10   2.0e-1 7.7e-2 2.2e-2 7.9e-3 7.2e-3 8.5e-3 2.2e-2 5.2e-2 1.3e-1
    N = 20   8.7e-2 2.6e-2 6.8e-3 2.2e-3 1.9e-3 2.2e-3 5.8e-3 1.5e-2 5.9e-2
    N = 40   2.6e-2 7.3e-3 1.8e-3 5.6e-4 4.9e-4 5.7e-4 1.5e-3 4.2e-3 2.6e-2

N = 20, the 40 snapshots of docs/conformance.md, suffices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from physgen.diffusion.learning.denoisers import FieldDenoiser
from physgen.diffusion.learning.ema import PowerEMA, Snapshot, exponent_of, synthesis_coefficients, synthesize
from physgen.diffusion.learning.training import Step, TrainingState
from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.runs.folder import Run, open_run
from physgen.runs.model import load_model
from physgen.stages.validation import held_out, validate
from physgen.storage.weights import drop_snapshots, read_snapshots, write_snapshots

WORST_RESIDUAL = 0.1


def snapshot_steps(steps: int, count: int) -> list[int]:
    """``count`` evenly spread steps of a run of ``steps``, the last one included."""
    return [(number * steps + count // 2) // count for number in range(1, count + 1)]


class AverageRecord:
    """The EMAs of a training and their snapshots. Process 0 holds them, all processes call the methods."""

    def __init__(self, run: Run, state: TrainingState, here: Launch) -> None:
        settings = run.experiment.training
        self.folder, self.here, self.state = run.folder / "averages", here, state
        self.steps = set(snapshot_steps(settings.steps, settings.averages))
        self.running = PowerEMA(state.model) if settings.averages and here.is_main else None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the state of the training; empty without EMA snapshots."""
        return {} if self.running is None else {"averages": self.running.state_dict()}

    def restore(self, checkpoint: dict[str, Any] | None) -> None:
        """Continue from a checkpoint, or from the first step; snapshots of later steps are removed."""
        if self.running is not None:
            if checkpoint is not None:
                self.running.load_state_dict(checkpoint["averages"])
            drop_snapshots(self.folder, after=self.state.step)

    def take(self, step: Step) -> None:
        """Update the EMAs with the weights after a step, and store them where a snapshot is due."""
        if self.running is not None:
            self.running.update(self.state.model, step.report[2])
        if step.step in self.steps and step.step > step.skipped:
            found = self.running.snapshots() if self.running is not None else []
            stored = [(s.weights, {"update": s.update, "exponent": s.exponent}) for s in found]
            write_snapshots(self.folder, step.step, stored, self.here)


# --- after training -------------------------------------------------------------------------------


@dataclass(frozen=True)
class AverageFacts:
    """Relative width of a post-hoc EMA, the update that it ends at, number of snapshots, residual of its profile."""

    width: float
    update: int
    snapshots: int
    residual: float


def check_width(width: float) -> None:
    """Raise InputError for a number that is not the relative width of an EMA."""
    try:
        exponent_of(width)
    except ValueError as error:
        raise InputError(f"EMA of width {width:g}: {error}; choose one, e.g. 0.1") from None


def read_average(run: str | Path | Run, width: float) -> tuple[list[Snapshot], AverageFacts]:
    """The snapshots of a run, and what an EMA of a relative width at the latest of them would be.

    Raises:
        InputError: no such width, no snapshots, or a residual above WORST_RESIDUAL.
    """
    check_width(width)
    run = run if isinstance(run, Run) else open_run(Path(run))
    found = [
        Snapshot(int(s.metadata["update"]), float(s.metadata["exponent"]), s.weights)
        for s in read_snapshots(run.folder / "averages")
    ]
    if not found:
        raise InputError(
            f"EMA of width {width:g}: {run.folder} holds no EMA snapshots; train with training.averages=20, or "
            "use the run's own EMA"
        )
    _, residual = synthesis_coefficients(found, width)
    if residual > WORST_RESIDUAL:
        raise InputError(
            f"EMA of width {width:g}: the {len(found)} snapshots of {run.folder} miss it by a residual of "
            f"{residual:.2g}, at most {WORST_RESIDUAL:g} is accepted; choose a width nearer to 0.05 and 0.1, or "
            f"train with more training.averages than {run.experiment.training.averages}"
        )
    return found, AverageFacts(width, max(s.update for s in found), len(found), residual)


def take_average(denoiser: torch.nn.Module, run: Run, width: float) -> AverageFacts:
    """Load the post-hoc EMA of a relative width into a denoiser; its buffers stay, a calibration of others goes.

    Raises:
        InputError: see read_average, and where the snapshots are of another network.
    """
    snapshots, facts = read_average(run, width)
    names = {name for name, _ in denoiser.named_parameters()}
    if any(set(s.weights) != names for s in snapshots):
        raise InputError(f"{run.folder}: averages/ and model/ are of different networks; copy the whole run again")
    weights, _ = synthesize(snapshots, width)
    denoiser.load_state_dict(weights, strict=False)
    if isinstance(denoiser, FieldDenoiser):  # a calibration is that of the run's own EMA
        denoiser.calibration = None
    return facts


def describe_average(run: str | Path | Run, width: float) -> str:
    """One line: what the post-hoc EMA of a relative width is made of, and its residual."""
    facts = read_average(run, width)[1]
    return (
        f"post-hoc EMA of relative width {width:g} after {facts.update} updates, from {facts.snapshots} snapshots; "
        f"residual of its profile {facts.residual:.2g}"
    )


WIDTHS = (0.03, 0.05, 0.07, 0.10, 0.14, 0.20, 0.25)


@dataclass(frozen=True)
class WidthLoss:
    """Validation loss of the EMA of one width over that of the run's own EMA, at the same noise.

    ``ratio`` is the sum over noise levels of one loss over that of the other; ``error`` its paired standard error over
    independent units (nan for a single one).
    """

    width: float
    residual: float
    ratio: float
    error: float

    @property
    def better(self) -> bool:
        """Whether the run's own EMA is worse by more than two errors."""
        return self.ratio + 2 * self.error < 1


def compare_widths(
    folder: str | Path, device: str = "auto", progress: Callable[[int, int], None] | None = None
) -> list[WidthLoss]:
    """Validation loss of the EMAs of WIDTHS that the snapshots of a run reproduce within WORST_RESIDUAL.

    Raises:
        InputError: no run, no snapshots, or a damaged file.
    """
    run = open_run(Path(folder))
    snapshots, _ = read_average(run, 0.10)
    own, other = (load_model(run.folder / "model", device) for _ in range(2))
    size = run.experiment.training.validation_size
    held = held_out(run, own.encoding, size, own.device)
    chosen = [width for width in WIDTHS if synthesis_coefficients(snapshots, width)[1] <= WORST_RESIDUAL]
    found = []
    for width in chosen:
        facts = take_average(other.denoiser, run, width)
        loss = validate(other.denoiser, held, own.encoding, own.denoiser)
        found.append(WidthLoss(width, facts.residual, loss.overall, loss.overall_error))
        if progress:
            progress(len(found), len(chosen))
    return found


def width_table(found: list[WidthLoss]) -> str:
    """The comparison as text, and what it says."""
    lines = ["width   residual   validation loss / that of the run's own EMA", "-" * 66]
    lines += [f"{w.width:<7g} {w.residual:<10.1e} {w.ratio:.5f} {_error_words(w.error)}" for w in found]
    best = best_width(found)
    verdict = "no width is better than the run's own EMA by two errors"
    return "\n".join([*lines, verdict if best is None else f"the best is {best:g}, better by more than two errors"])


def _error_words(error: float) -> str:
    return f"+- {error:.5f}" if math.isfinite(error) else "(no error: one independent unit)"


def best_width(found: list[WidthLoss]) -> float | None:
    """The width of least loss where it is better than the run's own EMA by more than two errors, else None."""
    better = [w for w in found if w.better]
    return min(better, key=lambda w: w.ratio).width if better else None
