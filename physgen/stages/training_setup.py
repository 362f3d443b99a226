"""Before the first step of a training: its settings, the run folder, the encoded data, the untrained denoiser."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from physgen.config import Experiment
from physgen.diffusion.learning.denoisers import LevelDistribution
from physgen.diffusion.learning.precision import compile_network, fitting_precision
from physgen.diffusion.learning.prior_spectrum import PowerMeter, Spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState
from physgen.ensemble import check_ensemble, open_verified, sample_dims, space_dims
from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.runs.encoded import Encoded, encoded_part, keep_spectrum, kept_spectrum, store_folder
from physgen.runs.encoding import Encoding, describe_encoding
from physgen.runs.folder import (
    ENCODING,
    PRECISION,
    Run,
    create_run,
    open_run,
    point_to,
    read_json,
    write_config,
    write_json,
)
from physgen.runs.model import build_denoiser, level_distribution
from physgen.runs.student import taught_in
from physgen.stages.calibration import can_be_calibrated
from physgen.stages.data import default_dataset
from physgen.stages.objective import objective
from physgen.stages.starting import check_start, start_of
from physgen.stages.student import student_state
from physgen.stages.validation import HeldOut, held_out
from physgen.tracking.server import clean_tracking_uri


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
        loss: its name. augment: apply the symmetries of the domain. compile: compile the network.
        calibration: configurations for the calibration at the end; 0 for none.
        automatic_precision: the precision of the recipe is not the one to take, but chosen for the machine.
        description: the resolved experiment, stored with the weights. digest: of it, stored with the checkpoints.
    """

    recipe: Recipe
    level_distribution: Callable[[float, float], LevelDistribution]
    s_min: float | None
    s_max: float | None
    network: Mapping[str, Any]
    validation_size: int
    cadence: Cadence
    loss: str
    augment: bool
    calibration: int
    automatic_precision: bool
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
            label_dropout=experiment.diffusion.label_dropout,
            precision="float32" if training.precision == "auto" else training.precision,
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
            loss=experiment.diffusion.loss,
            augment=training.augment,
            calibration=training.calibration,
            automatic_precision=training.precision == "auto",
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
                stands = open_run(folder)
                _check_same(experiment, stands)
                if experiment.dataset:
                    point_to(stands, Path(experiment.dataset))
                write_config(experiment, folder / "experiment.yaml")  # what may change on a resume, changes
            else:
                check_start(experiment)
                _create(experiment, folder, ensemble)
        except InputError as error:
            problem = str(error)
    problem = here.broadcast_object(problem)
    if problem:
        raise InputError(problem)
    return open_run(folder)


def _create(experiment: Experiment, folder: Path, ensemble: Any) -> None:
    """The run of data in memory, else of the experiment's dataset, which is read block by block."""
    if ensemble is not None:
        create_run(experiment, folder, check_ensemble(ensemble))
        return
    dataset = default_dataset(experiment)
    with open_verified(dataset) as opened:
        create_run(experiment, folder, opened, dataset)


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
    free = (
        "tracking.", "sampling.", "training.steps", "training.keep_checkpoints", "training.monitor.",
        "training.calibration", "dataset",
    )  # fmt: skip
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
    if taught_in(run.folder):
        return data, encoding, student_state(run, settings.recipe, data.x, data.condition, here)
    denoiser = build_denoiser(
        run.domain, settings.network, settings.recipe.seed, encoding, spectrum, run.experiment.diffusion
    )
    start = start_of(run)
    if start is not None:
        start.begin(denoiser, encoding.grid)
    denoiser = denoiser.to(here.device)
    x, condition, _ = data.held
    one = {k: v[:1] for k, v in condition.items()}
    try:
        with torch.no_grad():
            denoiser(x[:1], torch.ones(1, device=here.device), one)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"network: {error}") from None
    if settings.calibration:
        can_be_calibrated(denoiser, settings.calibration)
    network = cast(torch.nn.Module, denoiser.network)
    if settings.compile:
        compile_network(network, here.device)
    recipe = replace(
        settings.recipe,
        level_distribution=settings.level_distribution(encoding.s_min, encoding.s_max),
        precision=_chosen_precision(run, network, here) if settings.automatic_precision else settings.recipe.precision,
    )
    loss = objective(run, encoding, denoiser, x[:1], one)
    return data, encoding, TrainingState(denoiser, recipe, here.wrap, loss)


def _chosen_precision(run: Run, network: torch.nn.Module, here: Launch) -> str:
    """The precision that process 0 chose when the run began: a resume on another machine goes on with it."""
    path = run.folder / PRECISION
    if here.is_main and not path.exists():
        write_json(path, {"precision": fitting_precision(network, here.device), "device": here.device.type})
    here.barrier()
    return str(read_json(path)["precision"])


def _encode(run: Run, settings: Settings, here: Launch) -> tuple[Data, Encoding, Spectrum | None]:
    """Encoded data, the encoding fitted on the training part, and the spectrum that the denoiser starts from.

    Process 0 fits and, where the data are large, writes what all map (:mod:`physgen.runs.encoded`).
    """
    made = _prepare_data(run, settings, here.device) if here.is_main else None
    here.barrier()
    encoding = run.encoding()
    writes = here.local_rank == 0 and not here.is_main and store_folder(run.folder).parent != run.folder / "data"
    if writes:  # a node of its own disk
        encoded_part(run, "train", encoding.domain)
        held_out(run, encoding, settings.validation_size, here.device)
    here.barrier()
    if made is None:
        found = encoded_part(run, "train", encoding.domain, write=False)
        held = held_out(run, encoding, settings.validation_size, here.device, write=False)
    else:
        found, held, _ = made
    return Data(found.x, found.condition, held), encoding, here.broadcast_object(made and made[2])


def _prepare_data(run: Run, settings: Settings, device: torch.device) -> tuple[Encoded, HeldOut, Spectrum | None]:
    """Fit and write the encoding of a new run, encode its parts, measure the spectrum of the training part."""
    domain, values, is_new = run.domain, run.domain.values, not (run.folder / ENCODING).exists()
    with run.open_part("train") as train:
        dims, grid = sample_dims(train), tuple(train.sizes[dim] for dim in space_dims(train))
        fitted = json.loads(json.dumps(domain.fit_encoding(train))) if is_new else run.encoding().domain
    start = start_of(run) if is_new else None  # later its constants are those of the run
    constants = fitted if start is None else start.constants(fitted, grid)
    cells = constants.get("cell_size")
    meter = PowerMeter(cells)
    found = encoded_part(run, "train", constants, meter=meter)
    spectrum = None if is_new else kept_spectrum(run.folder, tuple(found.x.shape[2:]))
    if is_new or (spectrum is None and values.has_prior):
        if meter.is_empty:  # encoded before
            meter.add(found.x)
        power = meter.measured()
        if is_new:
            masked = run.experiment.diffusion.process == "masked"
            fractions = 1 / found.x[0].numel(), 1.0  # of one site and of all, in the place of noise levels
            own = start.ends(grid) if start is not None else (None, None)
            asked = (settings.s_min or own[0], settings.s_max or own[1])
            ends = fractions if masked else values.noise_range(power, cells, *asked)
            write_json(run.folder / ENCODING, describe_encoding(constants, found, dims, *ends).to_json())
        spectrum = values.prior_spectrum(power, found.condition.get("labels"), cells)
        if spectrum is not None:
            keep_spectrum(run.folder, spectrum)
    return found, held_out(run, run.encoding(), settings.validation_size, device), spectrum
