"""Before the first step of a training: the run folder, the encoded data, the untrained denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from physgen.config import Experiment
from physgen.diffusion.learning.prior_spectrum import Spectrum, fit_spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState
from physgen.diffusion.learning.validation import ValidationLoss, sample_losses, summarise_losses
from physgen.ensemble import load_ensemble, units_of_samples
from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.runs.folder import Run, create_run, open_run, read_json, write_config, write_json
from physgen.runs.model import build_denoiser, noise_range, schedule_law
from physgen.stages.data import default_dataset
from physgen.tracking.server import clean_tracking_uri


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
                create_run(experiment, folder, ensemble if dataset is None else load_ensemble(dataset), dataset)
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
    asked, stands = (_flat(e.resolved()) for e in (experiment, run.experiment))
    free = ("tracking.", "sampling.", "training.steps", "training.keep_checkpoints", "dataset")
    changed = [k for k in sorted(asked | stands) if asked.get(k) != stands.get(k) and not k.startswith(free)]
    if changed:
        key = changed[0]
        raise InputError(
            f"{run.folder} was started with {key}={stands.get(key)!r}, not {asked.get(key)!r}"
            f"{f' (and {len(changed) - 1} more differ)' if len(changed) > 1 else ''}: "
            "resume with its own configuration (experiment.yaml), or start a run of another name"
        )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def first_state(run: Run, here: Launch) -> tuple[Data, dict[str, Any], TrainingState]:
    """Data, constants and the untrained state. Raises InputError where the network does not fit the data."""
    data, constants, spectrum = _encode(run, here)
    denoiser = build_denoiser(run.experiment, constants, spectrum).to(here.device)
    x, condition, _ = data.held
    one = {k: v[:1] for k, v in condition.items()}
    try:
        with torch.no_grad():
            denoiser(x[:1], torch.ones(1, device=here.device), one)
    except ValueError as error:
        raise InputError(f"network: {error}") from None
    if run.experiment.training.compile:
        denoiser.network.compile(dynamic=False)
    return data, constants, TrainingState(denoiser, _recipe(run.experiment, constants), here.wrap)


def _encode(run: Run, here: Launch) -> tuple[Data, dict[str, Any], Spectrum | None]:
    """Encoded data, the constants fitted on the training part, and its spectrum."""
    domain, path = run.domain, run.folder / "encoding.json"
    train_part = run.part("train")
    if here.is_main and not path.exists():
        constants = dict(domain.fit_encoding(train_part))
        x, condition = domain.encode(train_part, constants)
        s_min, s_max = noise_range(x, domain.values, run.experiment.diffusion, constants.get("cell_size"))
        constants |= {
            "grid": list(x.shape[2:]),
            "channels": x.shape[1],
            "condition_shapes": {k: list(v.shape[1:]) for k, v in condition.items()},
            "s_min": s_min,
            "s_max": s_max,
        }
        write_json(path, constants)
    here.barrier()
    constants = read_json(path)
    x, condition = domain.encode(train_part, constants)
    spectrum = None
    if domain.values == "real":
        spectrum = fit_spectrum(x, condition.get("labels"), cell_size=constants.get("cell_size"))
    return Data(x, dict(condition), held_out(run, constants, here.device)), constants, spectrum


def _recipe(experiment: Experiment, constants: dict[str, Any]) -> Recipe:
    settings = experiment.training
    return Recipe(
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=experiment.seed,
        level_distribution=schedule_law(experiment, constants["s_min"], constants["s_max"]),
        warmup=settings.warmup,
        clip_norm=settings.clip,
        weight_decay=settings.weight_decay,
        ema_exponent=settings.ema_exponent,
        precision=settings.precision,
    )


LEVELS = 9
SEED = 20_000


class HeldOut(NamedTuple):
    r"""Encoded configurations (N, C, \*grid), their conditions, and the independent unit (N,) of each."""

    x: torch.Tensor
    condition: dict[str, torch.Tensor]
    units: np.ndarray


def held_out(run: Run, constants: dict[str, Any], device: torch.device) -> HeldOut:
    """Configurations of the validation part.

    N is at most training.validation_size, evenly spread over the part, so that every condition is met.
    """
    part = run.part("validation")
    x, condition = run.domain.encode(part, constants)
    chosen = torch.linspace(0, len(x) - 1, min(run.experiment.training.validation_size, len(x))).long()
    conditions = {name: value[chosen].to(device) for name, value in condition.items()}
    return HeldOut(x[chosen].to(device), conditions, units_of_samples(part)[chosen.numpy()])


def validate(denoiser: torch.nn.Module, held: HeldOut, constants: dict[str, Any], baseline: Any) -> ValidationLoss:
    """Loss by noise level over the trained range, and its ratio to that of ``baseline`` at the same noise.

    Errors are taken over the independent units of the held-out data.
    """
    ends = torch.tensor([constants["s_min"], constants["s_max"]]).log10().tolist()
    levels = torch.logspace(*ends, LEVELS).to(held.x.device)
    losses = sample_losses(denoiser, held.x, held.condition, levels, SEED, baseline)
    return summarise_losses(levels, *losses, held.units)
