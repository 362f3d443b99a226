"""A trained model: the denoiser, its noise levels, and the domain that gives its numbers a meaning.

``model/`` of a run (weights.safetensors and model.json) is all that a sampler needs; nothing is pickled.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_file, save_file

from physgen.config import DiffusionConfig, Experiment, check_config
from physgen.diffusion.distillation.flow_map import FlowMap
from physgen.diffusion.learning.calibration import LinearCalibration
from physgen.diffusion.learning.denoisers import FieldDenoiser, LevelDistribution, LogNormal, LogUniform
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.masked import MaskedDenoiser, sample_masked, uniform_fraction
from physgen.diffusion.names import DIVERGENCE, UNMASKING
from physgen.diffusion.sampling.metropolis import Acceptance, AnnealedMetropolis
from physgen.diffusion.sampling.samplers import SAMPLERS, sample
from physgen.diffusion.sampling.tiles import tile_of
from physgen.diffusion.sde import SDES
from physgen.domains.contract import Domain
from physgen.errors import InputError
from physgen.processes.launch import choose_device
from physgen.runs.encoding import Encoding
from physgen.runs.levels import Levels, sampler_bias
from physgen.runs.student import needs_a_denoiser, taught_in
from physgen.storage.weights import export_weights, load_weights

if TYPE_CHECKING:
    import xarray as xr

CONDITIONS, KEPT_CONDITIONS = "conditions.safetensors", 64


@dataclass(frozen=True)
class Model:
    """A denoiser with everything needed to draw with it.

    ``folder`` is where it was read from, ``conditions`` are some that were trained, where labels alone do not say all.
    """

    denoiser: torch.nn.Module
    experiment: Experiment
    encoding: Encoding
    device: torch.device
    folder: Path | None = None
    conditions: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def domain(self) -> Domain:
        return self.experiment.data

    @property
    def is_masked(self) -> bool:
        """Whether it draws by unmasking: its denoiser then gives local fields, and has no noise levels."""
        return isinstance(self.denoiser, MaskedDenoiser)

    def check_noise(self, purpose: str) -> None:
        """Raise InputError where there is no noise that ``purpose`` (a noun) rests on."""
        if self.is_masked:
            raise InputError(
                f"{purpose} rests on noise levels, which {self.experiment.name} (diffusion.process=masked) has "
                "none of: train it with diffusion.process=gaussian"
            )
        if self.experiment.diffusion.loss == DIVERGENCE:
            raise InputError(
                f"{purpose} rests on many noise levels, of which {self.experiment.name} (diffusion.loss={DIVERGENCE}) "
                "learned one: train it with another loss"
            )


def build_denoiser(
    domain: Domain,
    options: Mapping[str, Any],
    seed: int,
    encoding: Encoding,
    spectrum: Spectrum | None,
    diffusion: DiffusionConfig | None = None,
) -> torch.nn.Module:
    """Untrained denoiser; its weights depend on the seed alone.

    ``options`` are those of the network, ``spectrum`` that of the training data where the kind of value has one.
    ``diffusion`` says the process and the head; None for noise and the preconditioned one.
    """
    diffusion = diffusion or DiffusionConfig()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = domain.network(options, encoding.for_network)
    if diffusion.process == "masked":
        return domain.values.masked_denoiser(network)
    return domain.values.denoiser(network, spectrum, diffusion.head)


def save_model(
    folder: Path, weights: Mapping[str, torch.Tensor], experiment: Mapping[str, Any], encoding: Encoding
) -> Path:
    """Write the weights and what rebuilds their denoiser: ``experiment`` is the resolved configuration.

    In the folder of a student what it was taught comes with it (:mod:`physgen.runs.student`).
    """
    described: dict[str, Any] = {"experiment": dict(experiment), "encoding": encoding.to_json()}
    taught = taught_in(folder.parent)
    return export_weights(folder, weights, described | ({"student": taught} if taught else {}))


CALIBRATION = "calibration."


def kept_calibration(weights: Mapping[str, torch.Tensor]) -> LinearCalibration | None:
    """The calibration among the weights of a model, None where there is none."""
    if f"{CALIBRATION}ln_s" not in weights:
        return None
    return LinearCalibration(*(weights[CALIBRATION + name] for name in ("ln_s", "coefficients", "shell")))


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    """(B, n) with a one at the largest of each row, zeros elsewhere."""
    return torch.nn.functional.one_hot(labels.argmax(1), labels.shape[1]).to(labels)


def save_conditions(folder: Path, condition: Mapping[str, torch.Tensor]) -> None:
    """Keep conditions that were trained, of which those beyond labels cannot be made up when levels are checked.

    Labels that are zeros and a single one name a class: there is nothing between them either.
    """
    labels = condition.get("labels")
    if set(condition) - {"labels"} or labels is not None and torch.equal(labels, one_hot(labels)):
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v[:KEPT_CONDITIONS].cpu().contiguous() for k, v in condition.items()}, folder / CONDITIONS)


def load_model(folder: Path, device: str = "auto", few_steps: bool = False) -> Model:
    """Read what :func:`save_model` wrote, onto a device, in evaluation mode.

    ``few_steps``: whether the caller can do with a student, whose D(y, s) is the end of the flow, not E[x0 | y].

    Raises InputError where it is missing or damaged, or a student where a denoiser is needed.
    """
    weights, described = load_weights(folder)
    taught = described.get("student")
    if taught and not few_steps:
        raise needs_a_denoiser(folder, taught)
    source = str(folder / "model.json")
    experiment = check_config(described["experiment"], source)
    encoding = Encoding.from_json(described.get("encoding", {}), source)
    spectrum = None
    if "spectrum.ln_power" in weights:
        spectrum = Spectrum(weights["spectrum.ln_power"], encoding.grid, weights.get("spectrum.axes"))
    options = experiment.network.model_dump()
    denoiser = build_denoiser(experiment.data, options, experiment.seed, encoding, spectrum, experiment.diffusion)
    if isinstance(denoiser, FieldDenoiser):
        denoiser.calibration = kept_calibration(weights)
    if taught:
        denoiser = FlowMap.of(denoiser)
    denoiser.load_state_dict(weights)
    place = choose_device(device, 0)
    kept = folder / CONDITIONS
    conditions = load_file(kept) if kept.is_file() else {}
    return Model(denoiser.to(place).eval().requires_grad_(False), experiment, encoding, place, folder, conditions)


def check_sampler(name: str, masked: bool = False) -> None:
    """Raise InputError for an unknown sampler, or one that does not draw the process."""
    if masked and name != UNMASKING:
        raise InputError(f"sampler {name!r} is one of noise: masked diffusion has {UNMASKING} alone, leave it out")
    if name not in SAMPLERS and not masked:
        close = difflib.get_close_matches(name, SAMPLERS, n=1)
        hint = f"did you mean {close[0]!r}? There are" if close else "choose one of"
        raise InputError(f"unknown sampler {name!r}; {hint} {', '.join(SAMPLERS)}")


def draw(
    model: Model,
    template: xr.Dataset,
    *,
    seed: int,
    sampler: str,
    levels: Levels,
    progress: Callable[[int, int], None] | None = None,
    streams: Sequence[int] | None = None,
    tile: int | None = None,
) -> xr.Dataset:
    """Configurations under the conditions of ``template``, as an ensemble in physical units.

    ``streams`` number the noise of each sample, as the domain does where None; ``tile`` is that of
    :class:`physgen.diffusion.sampling.tiles.Execution`; ``progress`` is called with (configurations done, asked for).
    """
    encoding, accepted = model.encoding, Acceptance()
    numbers = model.domain.streams(template) if streams is None else streams
    condition = dict(model.domain.condition(template, encoding.domain))
    count = len(next(iter(condition.values()))) if condition else encoding.count(template)
    shape, chosen = (count, *encoding.shape), None if numbers is None else [int(number) for number in numbers]
    counted = None if progress is None else _in_configurations(progress, count)
    if model.is_masked:
        x = sample_masked(
            cast("MaskedDenoiser", model.denoiser), shape, seed, condition or None, len(levels.values) - 1,
            tile=tile, device=model.device, streams=chosen, progress=progress,
        ).x.cpu()  # fmt: skip
    else:
        x = sample(
            model.denoiser, levels.values, shape, seed, condition or None,
            AnnealedMetropolis(seen=accepted) if sampler == "mala" else sampler, device=model.device, home="cpu",
            tile=tile, progress=counted, workers=_workers(model, tile), streams=chosen,
        )  # fmt: skip
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).flatten(1).any(1).sum())
        raise InputError(
            f"{bad} of {count} configurations are not finite: ask for conditions within those of the "
            "training data, train longer, or lower the learning rate"
        )
    made = model.domain.decode(x, template, encoding.domain)
    drawn = {"sampler": sampler, "sampler_steps": len(levels.values) - 1, "seed": seed}
    return made.assign_attrs(drawn | levels.facts() | sampler_bias(model, sampler, levels.values) | accepted.facts())


def _in_configurations(progress: Callable[[int, int], None], count: int) -> Callable[[int, int], None]:
    """``progress`` in the ``count`` configurations asked for, of a part done of all evaluations of the denoiser."""
    said = 0

    def seen(done: int, total: int) -> None:
        nonlocal said
        now = count * done // total
        if now > said:  # a bar that stands still is not called
            said = now
            progress(now, count)

    return seen


SHARED_VALUES = 2**16  # of a tile: larger ones gain from the threads of torch, and several take much memory


def _workers(model: Model, tile: int | None) -> int:
    """Threads that compute a tile each: operations on a small tile gain next to nothing from several threads."""
    values = (tile or tile_of(model.encoding.shape)) * math.prod(model.encoding.shape)
    return torch.get_num_threads() if model.device.type == "cpu" and values <= SHARED_VALUES else 1


def level_distribution(experiment: Experiment, s_min: float, s_max: float) -> LevelDistribution:
    """Distribution of the noise level, or masked fraction, in training: a quantile function u in (0, 1) -> s."""
    if experiment.diffusion.process == "masked":
        return uniform_fraction
    chosen = experiment.diffusion.noise_levels
    if chosen.kind == "log_uniform":
        return LogUniform(s_min, s_max)
    if chosen.kind == "log_normal":
        return LogNormal(chosen.log_mean, chosen.log_std)
    process = SDES[chosen.sde](**({"sigma_min": s_min, "sigma_max": s_max} if chosen.sde == "ve" else {}))
    first, last = (float(process.t_of_s(torch.tensor(s, dtype=torch.float64))) for s in (s_min, s_max))

    def quantile(u: torch.Tensor) -> torch.Tensor:
        return process.s(first + u.double() * (min(last, process.t_end) - first)).to(u.dtype)

    return quantile
