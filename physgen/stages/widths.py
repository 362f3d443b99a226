"""Which width of the average of the weights is best: the validation loss of each, after training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from physgen.diffusion.averaging import synthesis_shares
from physgen.model import load_model
from physgen.run import open_run
from physgen.stages.averages import WORST_RESIDUAL, read_average, take_average
from physgen.stages.validation import held_out, validate

WIDTHS = (0.03, 0.05, 0.07, 0.10, 0.14, 0.20, 0.25)


@dataclass(frozen=True)
class WidthLoss:
    """Validation loss of the average of one width over that of the run's own average, at the same noise.

    ``ratio`` is the sum over noise levels of one loss over that of the other; ``error`` its paired standard error over
    independent units (nan for a single one).
    """

    width: float
    residual: float
    ratio: float
    error: float

    @property
    def better(self) -> bool:
        """Whether the run's own average is worse by more than two errors."""
        return self.ratio + 2 * self.error < 1


def compare_widths(
    folder: Path, device: str = "auto", progress: Callable[[int, int], None] | None = None
) -> list[WidthLoss]:
    """The validation loss of the averages of WIDTHS that the snapshots of a run hold within WORST_RESIDUAL.

    Raises:
        InputError: no run, no snapshots, or a damaged file.
    """
    run = open_run(folder)
    snapshots, _ = read_average(run, 0.10)
    own, other = (load_model(run.folder / "model", device) for _ in range(2))
    held = held_out(run, own.constants, own.device)
    chosen = [width for width in WIDTHS if synthesis_shares(snapshots, width)[1] <= WORST_RESIDUAL]
    found = []
    for width in chosen:
        facts = take_average(other.denoiser, run, width)
        loss = validate(other.denoiser, held, own.constants, own.denoiser)
        found.append(WidthLoss(width, facts.residual, loss.overall, loss.overall_error))
        if progress:
            progress(len(found), len(chosen))
    return found


def width_table(found: list[WidthLoss]) -> str:
    """The comparison as text, and what it says."""
    lines = ["width   residual   validation loss / that of the run's own average", "-" * 66]
    lines += [f"{w.width:<7g} {w.residual:<10.1e} {w.ratio:.5f} {_error_words(w.error)}" for w in found]
    best = best_width(found)
    verdict = "no width is better than the run's own average by two errors"
    return "\n".join([*lines, verdict if best is None else f"the best is {best:g}, better by more than two errors"])


def _error_words(error: float) -> str:
    return f"+- {error:.5f}" if math.isfinite(error) else "(no error: one independent unit)"


def best_width(found: list[WidthLoss]) -> float | None:
    """The width of least loss where it is better than the run's own average by more than two errors, else None."""
    better = [w for w in found if w.better]
    return min(better, key=lambda w: w.ratio).width if better else None
