"""Before the first step of a training: its settings, the run folder, the encoded data, the untrained denoiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch

from physgen.config import Experiment
from physgen.diffusion.convention import Denoiser
from physgen.diffusion.learning.denoisers import LevelDistribution
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState
from physgen.diffusion.learning.validation import ValidationLoss, sample_losses, summarise_losses
from physgen.domains.contract import Domain
from physgen.ensemble import check_ensemble, load_ensemble, units_of_samples
from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.runs.encoding import Encoding, fit_encoding
from physgen.runs.folder import ENCODING, Run, create_run, open_run, write_config, write_json
from physgen.runs.model import build_denoiser, level_distribution
from physgen.stages.data import default_dataset
from physgen.tracking.server import clean_tracking_uri

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Cadence:
    """When a training logs, validates and saves, in steps; how many checkpoints are kept."""

    steps: int
    log_every: int
    validate_every: int
    checkpoint_every: int
    kept: int


@dataclass(frozen=True)
class Settings:
    """The few plain settings that a training needs, taken from its experiment once, at the door.

    Attributes:
        recipe: how to train; its distribution of noise levels is set when their range is known, by
            ``level_distribution(s_min, s_max)``.
        s_min, s_max: ends of that range where the experiment gives them.
        network: options of the domain's network.
        validation_size: configurations to validate on, at most.
        cadence: when to log, validate and save.
        augment: apply the symmetries of the domain. compile: compile the network.
        description: the resolved experiment, stored with the weights. digest: of it, stored with the checkpoints.
    """

    recipe: Recipe
    level_distribution: Callable[[float, float], LevelDistribution]
    s_min: float | None
    s_max: float | None
    network: Mapping[str, Any]
    validation_size: int
    cadence: Cadence
    augment: bool
    compile: bool
    description: Mapping[str, Any]
    digest: str

    @classmethod
    def of(cls, experiment: Experiment) -> Settings:
        """The settings of an experiment."""
        training = experiment.training
        recipe = Recipe(
            steps=training.steps,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            seed=experiment.seed,
            warmup=training.warmup,
            clip_norm=training.clip,
            weight_decay=training.weight_decay,
            ema_exponent=training.ema_exponent,
            precision=training.precision,
        )
        return cls(
            recipe=recipe,
            level_distribution=lambda s_min, s_max: level_distribution(experiment, s_min, s_max),
            s_min=experiment.diffusion.s_min,
            s_max=experiment.diffusion.s_max,
            network=experiment.network.model_dump(),
            validation_size=training.validation_size,
            cadence=Cadence(
                training.steps, training.log_every, training.validate_every, training.checkpoint_every,
                training.keep_checkpoints,
            ),
            augment=training.augment,
            compile=training.compile,
            description=experiment.resolved(),
            digest=experiment.digest(),
        )  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Encoded training set and held-out configurations with their conditions, in memory."""

    x: torch.Tensor
    condition: dict[str, torch.Tensor]
    held: HeldOut


def prepare(experiment: Experiment, folder: Path, resume: bool, here: Launch, ensemble: Any = None) -> Run:
    """The run folder: made by process 0, opened by all. A message of process 0 is raised on all.

    ``ensemble`` are data in memory, which come before the experiment's dataset.
    """
    problem = None
    if here.is_main:
        try:
            _check_launch(experiment, here)
            if resume:
                _check_same(experiment, open_run(folder))
                write_config(experiment, folder / "experiment.yaml")  # what may change on a resume, changes
            else:
                dataset = default_dataset(experiment) if ensemble is None else None
                data = check_ensemble(ensemble) if dataset is None else load_ensemble(dataset)
                create_run(experiment, folder, data, dataset)
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
    asked, stands = (e.flat() for e in (experiment, run.experiment))
    free = ("tracking.", "sampling.", "training.steps", "training.keep_checkpoints", "dataset")
    changed = [k for k in sorted(asked | stands) if asked.get(k) != stands.get(k) and not k.startswith(free)]
    if changed:
        key = changed[0]
        raise InputError(
            f"{run.folder} was started with {key}={stands.get(key)!r}, not {asked.get(key)!r}"
            f"{f' (and {len(changed) - 1} more differ)' if len(changed) > 1 else ''}: "
            "resume with its own configuration (experiment.yaml), or start a run of another name"
        )


def first_state(run: Run, settings: Settings, here: Launch) -> tuple[Data, Encoding, TrainingState]:
    """Data, encoding and the untrained state. Raises InputError where the network does not fit the data."""
    data, encoding, spectrum = _encode(run, settings, here)
    denoiser = build_denoiser(run.domain, settings.network, settings.recipe.seed, encoding, spectrum).to(here.device)
    x, condition, _ = data.held
    one = {k: v[:1] for k, v in condition.items()}
    try:
        with torch.no_grad():
            denoiser(x[:1], torch.ones(1, device=here.device), one)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"network: {error}") from None
    if settings.compile:
        cast(torch.nn.Module, denoiser.network).compile(dynamic=False)
    recipe = replace(settings.recipe, level_distribution=settings.level_distribution(encoding.s_min, encoding.s_max))
    return data, encoding, TrainingState(denoiser, recipe, here.wrap)


def _encode(run: Run, settings: Settings, here: Launch) -> tuple[Data, Encoding, Spectrum | None]:
    """Encoded data, the encoding fitted on the training part, and the spectrum that the denoiser starts from."""
    domain, train = run.domain, run.part("train")
    if here.is_main and not (run.folder / ENCODING).exists():
        fitted, _, _ = fit_encoding(domain, train, settings.s_min, settings.s_max)
        write_json(run.folder / ENCODING, fitted.to_json())
    here.barrier()
    encoding = run.encoding()
    x, condition = domain.encode(train, encoding.domain)
    spectrum = domain.values.prior_spectrum(x, condition.get("labels"), encoding.cell_size)
    held = held_out(domain, run.part("validation"), encoding, settings.validation_size, here.device)
    return Data(x, dict(condition), held), encoding, spectrum


LEVELS = 9
SEED = 20_000


class HeldOut(NamedTuple):
    r"""Encoded configurations (N, C, \*grid), their conditions, and the independent unit (N,) of each."""

    x: torch.Tensor
    condition: dict[str, torch.Tensor]
    units: np.ndarray


def held_out(domain: Domain, part: xr.Dataset, encoding: Encoding, size: int, device: torch.device) -> HeldOut:
    """At most ``size`` configurations of the validation part, spread evenly over it: every condition is met."""
    x, condition = domain.encode(part, encoding.domain)
    chosen = torch.linspace(0, len(x) - 1, min(size, len(x))).long()
    conditions = {name: value[chosen].to(device) for name, value in condition.items()}
    return HeldOut(x[chosen].to(device), conditions, units_of_samples(part)[chosen.numpy()])


def validate(denoiser: torch.nn.Module, held: HeldOut, encoding: Encoding, baseline: Denoiser) -> ValidationLoss:
    """Loss by noise level over the trained range, and its ratio to that of ``baseline`` at the same noise.

    Errors are taken over the independent units of the held-out data.
    """
    first, last = torch.tensor([encoding.s_min, encoding.s_max]).log10().tolist()
    levels = torch.logspace(first, last, LEVELS).to(held.x.device)
    losses = sample_losses(denoiser, held.x, held.condition, levels, SEED, baseline)
    return summarise_losses(levels, *losses, held.units)
