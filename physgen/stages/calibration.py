"""After a training: the linear part of its denoiser made exact, kept with the weights."""

from __future__ import annotations

import time

import numpy as np
import torch

from physgen.diffusion.learning.calibration import calibration_levels, fit_calibration
from physgen.diffusion.learning.denoisers import FieldDenoiser
from physgen.errors import InputError
from physgen.runs.encoded import encoded_part
from physgen.runs.folder import Run
from physgen.runs.model import CALIBRATION, load_model, save_model

LEVELS = 17
SEED = 30_000


def calibrate(run: Run, configurations: int, device: str = "auto") -> dict[str, float]:
    """Fit :mod:`physgen.diffusion.learning.calibration` on the training part and add it to the model of a run.

    Args:
        configurations: of the training part, spread evenly over it; all of it where it has fewer.

    Returns:
        ``configurations``, ``seconds``, and the largest and the root mean square correction f at the middle of the
        labels.

    Raises:
        InputError: the run has no prior spectrum of a lattice.
    """
    started, model = time.perf_counter(), load_model(run.folder / "model", device)
    denoiser = can_be_calibrated(model.denoiser, configurations)
    chosen = _spread(run, configurations)
    found = encoded_part(run, "train", model.encoding.domain, chosen, write=False)
    condition = {name: value.to(model.device) for name, value in found.condition.items()}
    levels = calibration_levels(model.encoding.s_min, model.encoding.s_max, LEVELS)
    made = fit_calibration(denoiser, found.x.to(model.device), condition, levels, SEED)
    weights = {name: value for name, value in denoiser.state_dict().items() if not name.startswith(CALIBRATION)}
    weights |= {f"{CALIBRATION}{name}": value for name, value in made.state_dict().items()}
    save_model(run.folder / "model", weights, model.experiment.resolved(), model.encoding)
    middle = made.coefficients[:, 0]
    return {
        "configurations": float(len(chosen)),
        "seconds": time.perf_counter() - started,
        "largest": float(middle.abs().max()),
        "root_mean_square": float(middle.square().mean().sqrt()),
    }


def can_be_calibrated(denoiser: torch.nn.Module, configurations: int) -> FieldDenoiser:
    """The denoiser, of real numbers on a lattice. Raises InputError for another: said before it is trained."""
    if not isinstance(denoiser, FieldDenoiser) or denoiser.spectrum is None or not denoiser.spectrum.grid:
        raise InputError(
            f"training.calibration={configurations} needs fields of real numbers on a lattice, which these data are "
            "not: leave it out"
        )
    return denoiser


def _spread(run: Run, configurations: int) -> np.ndarray:
    from physgen.ensemble import sample_count

    with run.open_part("train") as train:
        count = sample_count(train)
    return torch.linspace(0, count - 1, min(configurations, count)).long().numpy()
