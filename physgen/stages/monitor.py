r"""Training as a dynamical system: what is measured at the looks of a training (``training.monitor``).

Process 0 looks; the others wait for what it says. A look depends on the weights of its step alone: the same
configurations of the training and of the validation part, the same noise, the same start of every drawn configuration.
So the curves of a resumed training are those of an undisturbed one, and of all looks together only the weights differ.
The test part is not touched.

At each look, in the journal as the event ``monitor`` and in MLflow as ``regimes/...``:

- ``loss_train``, ``loss_test`` by noise level: the denoising loss on training and on validation data at the same noise;
- ``f_mem``: part of the drawn configurations with a gap ratio below 1/3, beside ``f_mem_heldout``, and ``auc``, both
  from the domain's own memorization test, modulo its symmetries;
- ``distance`` of the drawn configurations to the validation part, in the domain's first diagnostic, beside
  ``distance_floor``, what equal laws have;
- ``order_parameter`` by noise level, :math:`Y_2 = \langle \sum_\nu w_\nu^2 \rangle` of the posterior weights of the
  training configurations given a drawn one with noise, beside ``order_parameter_heldout``;
- ``effective_steps``: the sum of the learning rates so far over their peak, the training time on which curves of
  one schedule are compared.

A figure that cannot be had, of too few validation data say, is nan there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diagnostics.comparison import MeasuredReference
from physgen.diagnostics.metrics import metrics_of
from physgen.diagnostics.regimes.alarm import MemorizationAlarm
from physgen.diffusion.exact.atoms import EmpiricalMeasure
from physgen.diffusion.learning.training import Recipe, TrainingState
from physgen.diffusion.learning.validation import sample_losses, summarise_losses
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import noise_like
from physgen.domains.contract import with_units
from physgen.ensemble import units_of_samples
from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.runs.encoding import Encoding
from physgen.runs.folder import Run, read_json, write_json
from physgen.runs.levels import EVEN, Levels
from physgen.runs.model import Model, draw
from physgen.stages.training_setup import Data
from physgen.stages.validation import HELD_VALUES, HeldOut
from physgen.storage.checkpoint import checkpoint_steps
from physgen.tracking.journal import Journal

if TYPE_CHECKING:
    import xarray as xr

    from physgen.config import MonitorConfig

SEED = 40_000  # of the noise of all looks
FIRST = 16  # step of the first look at geometric steps
LEVELS = 5
STOPPED = "stopped.json"
CHI2 = "chi2_per_dof"
DISTANCES = ("mean_abs_log_ratio", "distance_tv", CHI2)  # the first one that a comparison has
COPIES = ("f_mem", "f_mem_error", "f_mem_heldout", "auc", "auc_error")


def look_steps(settings: MonitorConfig, steps: int) -> list[int]:
    """The steps at which a training of ``steps`` is looked at; the last one is among them."""
    found = set(range(settings.every, steps + 1, settings.every)) if settings.every else set()
    if settings.per_octave:
        octaves = math.log2(max(steps / FIRST, 1)) * settings.per_octave
        found |= {round(FIRST * 2 ** (k / settings.per_octave)) for k in range(int(octaves) + 1)}
    return sorted({step for step in found if step <= steps} | {steps}) if settings.is_on else []


def effective_steps(recipe: Recipe, step: int) -> float:
    """Sum of the learning rates of the first ``step`` steps over their peak."""
    return sum(recipe.rate(k) for k in range(step)) / recipe.learning_rate


@dataclass
class Monitor:
    """Looks at a training; every process has one, process 0 measures."""

    run: Run
    state: TrainingState
    data: Data
    encoding: Encoding
    here: Launch
    journal: Journal

    def __post_init__(self) -> None:
        self.settings = self.run.experiment.training.monitor
        self.steps = look_steps(self.settings, self.run.experiment.training.steps)
        self.alarm = MemorizationAlarm(len(self.steps), self.run.experiment.judging.false_alarms)
        last, first = math.log(self.encoding.s_min), math.log(self.encoding.s_max)
        self.levels = self.settings.levels or tuple(np.exp(np.linspace(last, first, LEVELS)).tolist())

    @property
    def stops(self) -> bool:
        """Whether the training may end by its rule."""
        return self.settings.stop != "none"

    def has_ended(self) -> bool:
        """Whether the training was ended by this rule at the step that it stands at."""
        return self.here.broadcast_object(self.stops and stopped_at(self.run.folder) == self.state.step)

    def look(self) -> str:
        """Measure where this step is one of the looks. Why the training ends here, the same on all processes, or ""."""
        if self.state.step not in self.steps:
            return ""
        reason = ""
        if self.here.is_main:
            model = self.state.ema if self.settings.weights == "ema" else self.state.model
            was_training = model.training
            model.eval()
            try:
                reason = self._look(model)
            finally:
                model.train(was_training)
        return self.here.broadcast_object(reason)

    def _look(self, model: torch.nn.Module) -> str:
        step = self.state.step
        found: dict[str, Any] = {"effective_steps": effective_steps(self.state.recipe, step)}
        found |= self._losses(model)
        counts, problem = {}, ""
        try:
            generated = self._drawn(model)
            counts = self._copies(generated)
            found |= counts | self._distance(generated) | self._order_parameter(generated)
        except InputError as error:  # a look must not end a training
            problem = str(error)
        said = {"levels": list(self.levels), "weights": self.settings.weights} | (
            {"problem": problem} if problem else {}
        )
        self.journal.event("monitor", step=step, **said, **found)
        self.journal.log(step, _metrics(found, self.levels))
        return self._verdict(counts, step) if counts and self.stops else ""

    def _verdict(self, found: dict[str, Any], step: int) -> str:
        drawn, heldout = int(found["n_drawn"]), int(found["n_heldout"])
        counts = (found["f_mem"], drawn, found["f_mem_heldout"], heldout)
        if not self.alarm.rings(*counts):
            return ""
        rule = (
            f"p = {self.alarm.p_value(*counts):.1g} is below {self.alarm.false_alarms:g} / {self.alarm.looks} looks; "
            f"a look sees {100 * self.alarm.least_seen(drawn, heldout):.2g} % of copies in 9 of 10 cases"
        )
        f_mem = f"{found['f_mem']:.3g} +- {found['f_mem_error']:.2g}"
        reason = (
            f"stopped at step {step}, the first sign of memorization: f_mem = {f_mem} of {drawn} drawn configurations, "
            f"{found['f_mem_heldout']:.3g} of {heldout} held-out ones ({rule})"
        )
        self.journal.event("stopped", step=step, reason=reason)
        write_json(self.run.folder / STOPPED, {"step": step, "reason": reason})  # before the checkpoint of this step
        return reason

    # --- what is measured ---------------------------------------------------------------------

    @cached_property
    def _parts(self) -> tuple[xr.Dataset, xr.Dataset]:
        """Training and validation part in one frame, that of the latter."""
        domain, held = self.run.domain, self.run.part("validation")
        held = domain.confront(held, held, "the validation part")
        return domain.confront(held, self.run.part("train"), "the training part"), held

    @cached_property
    def _reference(self) -> MeasuredReference:
        return MeasuredReference(self._parts[1])

    @cached_property
    def _shown(self) -> HeldOut:
        """Configurations of the training part, as many as are drawn, spread evenly over it."""
        rows, device = _spread(len(self.data.x), self.settings.samples), self.data.held.x.device
        with self.run.open_part("train") as part:
            units = units_of_samples(part)[rows.numpy()]
        condition = {name: value[rows].to(device) for name, value in self.data.condition.items()}
        return HeldOut(self.data.x[rows].to(device), condition, units)

    @cached_property
    def _template(self) -> xr.Dataset:
        with self.run.open_part("validation") as like:
            return self.run.domain.request(like, self.settings.samples, {}, self.encoding.domain).load()

    def _losses(self, model: torch.nn.Module) -> dict[str, Any]:
        levels = torch.tensor(self.levels, dtype=torch.float32, device=self.data.held.x.device)
        found: dict[str, Any] = {}
        for name, (x, condition, units) in (("train", self._shown), ("test", self.data.held)):
            batch = max(1, min(256, HELD_VALUES // x[0].numel()))
            loss = summarise_losses(levels, *sample_losses(model, x, condition, levels, SEED, None, batch), units)
            found |= {f"loss_{name}": loss.loss.tolist(), f"loss_{name}_error": loss.loss_error.tolist()}
        return found

    def _drawn(self, model: torch.nn.Module) -> xr.Dataset:
        settings, encoding, domain = self.run.experiment.sampling, self.encoding, self.run.domain
        levels = Levels(log_uniform(encoding.s_max, encoding.s_min, settings.steps), EVEN)
        stands = Model(model, self.run.experiment, encoding, self.here.device)
        generated = draw(stands, self._template, seed=SEED, sampler=settings.sampler, levels=levels)
        generated = with_units(generated.assign_attrs(domain=domain.name), domain)
        return domain.confront(self._parts[1], generated, "what was drawn")

    def _copies(self, generated: xr.Dataset) -> dict[str, Any]:
        result = self.run.domain.memorization(generated, *self._parts)
        sizes = {"n_drawn": result.attrs["n_generated"], "n_heldout": result.attrs["n_heldout"]}
        return {name: float(result[name]) for name in COPIES} | sizes

    def _distance(self, generated: xr.Dataset) -> dict[str, Any]:
        """The first distance with a floor among the domain's diagnostics, else the chi-square of the first one."""
        found: dict[str, Any] = {}
        for name, diagnostic in self.run.domain.diagnostics().items():
            try:
                metrics = metrics_of(self._reference.compare(generated, diagnostic)[2])
            except InputError:  # too few independent units
                continue
            chosen = next((known for wanted in DISTANCES for known in metrics if known.startswith(wanted)), None)
            if chosen is None or (found and chosen == CHI2):
                continue
            known = {key: math.nan if value is None else value for key, value in metrics[chosen].items()}
            floor = 1.0 if chosen == CHI2 else known.get("floor", math.nan)
            found = {"distance": known["value"], "distance_error": known["error"], "distance_floor": floor}
            found["distance_of"] = f"{name} {chosen}"
            if chosen != CHI2:
                break
        return found

    def _order_parameter(self, generated: xr.Dataset) -> dict[str, Any]:
        x, _ = self.run.domain.encode(generated, self.encoding.domain)
        value, error = self._participation(x)
        null, null_error = self._heldout_participation
        names = ("order_parameter", "order_parameter_error", "order_parameter_heldout", "order_parameter_heldout_error")
        return dict(zip(names, (value, error, null, null_error), strict=True))

    @cached_property
    def _heldout_participation(self) -> tuple[list[float], list[float]]:
        return self._participation(self.data.held.x.cpu())

    def _participation(self, x: torch.Tensor) -> tuple[list[float], list[float]]:
        """Y2 by noise level, and its standard error over configurations."""
        atoms, values, errors = EmpiricalMeasure(self.data.x), [], []
        for row, level in enumerate(self.levels):
            noise = noise_like(SEED, "order parameter", range(len(x)), x.shape[1:], row)
            s = torch.full((len(x),), level)
            each = atoms.posterior(x + level * noise, s).square().sum(1)
            values.append(float(each.mean()))
            errors.append(float(each.std() / math.sqrt(len(each))) if len(each) > 1 else math.nan)
        return values, errors


def _spread(count: int, most: int) -> torch.Tensor:
    """At most so many of ``count`` rows, spread evenly."""
    return torch.linspace(0, count - 1, min(most, count)).long()


def _metrics(found: dict[str, Any], levels: tuple[float, ...]) -> dict[str, float]:
    """Metrics for curves over the steps: of lists one for each noise level."""
    metrics: dict[str, float] = {}
    for name, value in found.items():
        if isinstance(value, list):
            metrics |= {f"regimes/{name}_s{s:.3g}".replace(".", "p"): v for s, v in zip(levels, value, strict=True)}
        elif not isinstance(value, str):
            metrics[f"regimes/{name}"] = value
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


# --- afterwards -----------------------------------------------------------------------------------


def stopped_at(folder: Path) -> int | None:
    """Step at which a rule of the training ended it; None where none did."""
    path = Path(folder) / STOPPED
    return int(read_json(path)["step"]) if path.exists() else None


def why_stopped(folder: Path) -> str:
    """What the rule said, in one sentence; empty where none ended the training, or it went on without the rule."""
    steps = checkpoint_steps(Path(folder) / "checkpoints")
    if not steps or stopped_at(folder) != steps[-1]:
        return ""
    return str(read_json(Path(folder) / STOPPED)["reason"])
