"""What a trained model adds to the regimes of its data: U-turns and clones, the gap of its loss, its copies, a film."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen.diagnostics.regimes.classes import principal_class
from physgen.diagnostics.regimes.clones import clone, cloning_gap, u_turn
from physgen.diffusion.levels import levels_from, log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.runs.folder import Run
from physgen.runs.model import Model, load_model
from physgen.stages.regimes_classes import class_lines
from physgen.stages.regimes_data import Found, Samples, encoded_samples

SAMPLER = "dpmpp_2m_sde"  # who comes back must draw from the posterior: a stochastic sampler, of second order
FEWEST_STEPS = 24
MOST_TURNS = 64  # samples that turn at each time
TURN_TIMES = 6


@dataclass(frozen=True)
class Backward:
    """The backward process of a model under the conditions of some samples, from one level to another.

    Attributes:
        levels: (steps + 1,) of a whole descent. condition: rows of the samples that go.
    """

    model: Model
    levels: Tensor
    condition: dict[str, Tensor]

    def finish(self, y: Tensor, s: float, seed: int) -> Tensor:
        r"""x0 (B, C, \*grid) from y at the level s."""
        return self._go(y, levels_from(self.levels, s), seed)

    def descend(self, y: Tensor, s: float, below: float, seed: int) -> Tensor:
        r"""y at the level ``below`` < s from y at the level s."""
        kept = levels_from(self.levels, s)
        kept = torch.cat([kept[kept > below * (1 + 1e-9)], torch.tensor([below], dtype=kept.dtype)])
        return self._go(y, kept, seed)

    def _go(self, y: Tensor, levels: Tensor, seed: int) -> Tensor:
        rows = {name: value[: len(y)] for name, value in self.condition.items()}
        return sample(
            self.model.denoiser, levels, y.shape, seed, rows or None, SAMPLER, start=y, from_level=float(levels[0]),
            device=self.model.device, home="cpu",
        )  # fmt: skip


def measure_model(run: Run, train: Samples, found: Found, seed: int, device: str, tell: Callable[[str], None]) -> Found:
    """Add to what was found of the training data what the model of a run does with them."""
    model = load_model(run.folder / "model", device)
    unseen = encoded_samples(run.part("test"), run.domain, train.constants)
    tell("U-turns and clones")
    _turn(run, model, train, unseen, found, seed)
    return found


def turn_times(t_s: float, s_min: float, s_max: float) -> np.ndarray:
    """Times around t_S at which classes are looked at, within the levels of a model."""
    low, high = (0.5 * math.log1p(s * s) for s in (s_min, s_max))
    around = max(t_s, 0.3)
    return np.linspace(max(0.3 * around, 1.05 * low), min(2.2 * around, 0.98 * high), TURN_TIMES)


def _turn(run: Run, model: Model, train: Samples, unseen: Samples, found: Found, seed: int) -> None:
    """U-turns of unseen samples and clones of the model, in the classes of the first principal component."""
    count = min(MOST_TURNS, len(unseen.x))
    x0, unit = unseen.x[:count], unseen.unit[:count]
    s_min, s_max = model.encoding.s_min, model.encoding.s_max
    levels = log_uniform(s_max, s_min, max(run.experiment.sampling.steps, FEWEST_STEPS))
    backward = Backward(model, levels, {name: value[:count] for name, value in unseen.condition.items()})
    times = turn_times(found.metrics["t_S"]["value"], s_min, s_max)
    classify = principal_class(train.x)
    turned = u_turn(x0, backward.finish, times, classify, seed, unit)
    start = s_max * torch.from_numpy(np.random.default_rng([seed, 77]).standard_normal(tuple(x0.shape))).to(x0)
    cloned = clone(start, s_max, backward.descend, backward.finish, times, classify, seed + 1)
    curves = found.results.get("cloning", class_lines(found.results["speciation"], times))
    for name, result in (("u_turn", turned), ("clone", cloned)):
        curves[name] = ("t", result["value"].values, result["value"].attrs)
        curves[f"{name}_error"] = ("t", result["error"].values)
    curves["t"] = ("t", times)
    found.results["cloning"] = curves
    gap = cloning_gap(cloned, turned)
    worst = int(np.nanargmax(np.abs(gap["value"] / gap["error"])))
    found.results["cloning_gap"] = gap
    found.put("cloning_gap", float(gap["value"][worst]), float(gap["error"][worst]))
