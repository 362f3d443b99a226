"""Before the first step of a student: its teacher, its flow map, the way along which it learns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from physgen.diffusion.distillation.flow_map import FlowMap, teachers_way
from physgen.diffusion.distillation.losses import METHODS
from physgen.diffusion.distillation.state import StudentState
from physgen.diffusion.learning.training import Recipe
from physgen.diffusion.noise import noise_like
from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.runs.folder import Run
from physgen.runs.levels import MODAL_END, MODAL_START
from physgen.runs.model import Model, load_model
from physgen.runs.student import taught_in

SEED, SITES, FIELDS = 40_000, 17, 16  # of the way: noise, levels, configurations
# of the table of the way that is even in ln s: no level is left without students of it
EVEN_SHARE = 1 / 3


def student_state(
    run: Run, recipe: Recipe, x: torch.Tensor, condition: Mapping[str, torch.Tensor], here: Launch
) -> StudentState:
    """The untrained student of a run that says what it is taught. InputError where its teacher cannot teach it."""
    taught = taught_in(run.folder)
    teacher = load_model(Path(taught["teacher"]) / "model", str(here.device))
    student = untrained(teacher, x, condition, recipe.seed)
    loss = METHODS[taught["method"]](student, teacher.denoiser, int(taught["evaluations"])).to(here.device)
    if run.experiment.training.monitor.is_on or run.experiment.training.target != "sample":
        raise InputError("a student learns from its teacher: leave training.monitor and training.target out")
    return StudentState(loss, replace(recipe, level_distribution=AlongTheWay(student)), here.wrap)


@dataclass(frozen=True)
class AlongTheWay:
    """The training levels of a student, even along the way of its teacher: u in (0, 1) -> s."""

    student: FlowMap

    def __call__(self, u: torch.Tensor) -> torch.Tensor:
        return self.student.level_at(u)


def untrained(teacher: Model, x: torch.Tensor, condition: Mapping[str, torch.Tensor], seed: int = 0) -> FlowMap:
    r"""The student that starts as its teacher: one step of Euler's in the angles, exact for Gaussian modes.

    Args:
        x: (N, C, \*grid) encoded training data, on which the way is measured. condition: leads with N.
        seed: of the weights by which the second level enters.
    """
    try:
        student = FlowMap.of(teacher.denoiser, seed).requires_grad_(True).to(teacher.device)
    except ValueError as error:
        raise InputError(f"this run cannot teach: {error}") from None
    rows = torch.linspace(0, len(x) - 1, min(FIELDS, len(x))).long()
    given = {name: value[rows].to(teacher.device) for name, value in condition.items()}
    low, high = MODAL_END * teacher.encoding.s_min, MODAL_START * teacher.encoding.s_max
    ln_s = torch.linspace(math.log(low), math.log(high), SITES, dtype=torch.float64)

    def noise(i: int) -> torch.Tensor:
        return noise_like(SEED, "way of a teacher", range(len(rows)), x.shape[1:], i, device=teacher.device)

    way = teachers_way(
        teacher.denoiser, student.frame, x[rows].to(teacher.device), ln_s.exp(), noise, given or None
    )  # fmt: skip
    even = torch.linspace(0, 1, SITES, dtype=torch.float64)
    student.lay_out(ln_s, (1 - EVEN_SHARE) * way / way[-1].clamp(min=1e-12) + EVEN_SHARE * even)
    return student


def describe(taught: Mapping[str, Any]) -> str:
    """What a student was taught, in words."""
    return f"{taught['method']} of {taught['teacher']}, for {taught['evaluations']} evaluations"
