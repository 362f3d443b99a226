"""A trained model: the denoiser, its noise levels, and the domain that gives its numbers a meaning.

``model/`` of a run (weights.safetensors and model.json) is all that a sampler needs; nothing is pickled.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from physgen.config import DiffusionConfig, Experiment, check_config
from physgen.diffusion.learning.denoisers import LogNormal, LogUniform, make_denoiser
from physgen.diffusion.learning.prior_spectrum import Spectrum, fit_spectrum
from physgen.diffusion.sampling.samplers import SAMPLERS, sample
from physgen.diffusion.sde import SDES
from physgen.ensemble import SPACE
from physgen.errors import InputError
from physgen.processes.launch import choose_device
from physgen.runs.levels import Levels, sampler_bias
from physgen.storage.weights import export_weights, load_weights

# s_max = 10 sqrt(P) starts the largest mode with 1/100 of its variance missing, s_min = sqrt(P)/10 ends the
# smallest one with 1/100 missing
START, END = 10.0, 0.1
BINARY_S_MIN = 0.2  # the nearest vertex is then wrong for less than one spin in a million
# Above it the nearest vertex is the likeliest configuration, not a drawn one: with the exact denoiser of 2-D glasses at
# T = 1, energies per site come out low by .001 at .4, .003 at .5, .014 at .7, .029 at 1. Drawing each site from its
# mean errs as much the other way (.013 at .7, .067 at 1): the sites of a posterior are not independent.
BINARY_LARGEST_S_MIN = 0.4


@dataclass(frozen=True)
class Model:
    """A denoiser with everything needed to draw with it; ``folder`` is where it was read from."""

    denoiser: torch.nn.Module
    experiment: Experiment
    constants: dict[str, Any]
    device: torch.device
    folder: Path | None = None

    @property
    def domain(self) -> Any:
        return self.experiment.data


def noise_range(
    x: torch.Tensor, values: str, settings: DiffusionConfig, cell_size: Sequence[float] | None = None
) -> tuple[float, float]:
    r"""(s_min, s_max) of a data set: :math:`\sqrt{P_{min}}/10` and :math:`10 \sqrt{P_{max}}` of its Fourier modes.

    ``x`` are the encoded training data (B, C, \*grid), ``cell_size`` that of each axis (cubic if None). Values
    given in the configuration win.
    """
    power = fit_spectrum(x, cell_size=cell_size).ln_power.exp()
    smallest = BINARY_S_MIN if values == "binary" else max(END * float(power.min().sqrt()), 1e-3)
    s_min = settings.s_min or smallest
    s_max = settings.s_max or START * float(power.max().sqrt())
    if s_min >= s_max:
        raise InputError(f"diffusion.s_min={s_min:g} must lie below diffusion.s_max={s_max:g}: change one of them")
    if values == "binary" and s_min > BINARY_LARGEST_S_MIN:
        raise InputError(
            f"diffusion.s_min={s_min:g} is too large for values of +1 and -1: the last step then takes the likeliest "
            f"configuration instead of drawing one, and samples come out too cold; set it to {BINARY_LARGEST_S_MIN:g} "
            f"or less (left out it is {BINARY_S_MIN:g})"
        )
    return s_min, s_max


def build_denoiser(experiment: Experiment, constants: Mapping[str, Any], spectrum: Spectrum | None) -> torch.nn.Module:
    """Untrained denoiser of an experiment; its weights depend on the seed alone."""
    domain = experiment.data
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        network = domain.network(experiment.network.model_dump(), dict(constants))
    return make_denoiser(network, domain.values, spectrum if domain.values == "real" else None)


def save_model(folder: Path, weights: Mapping[str, torch.Tensor], experiment: Experiment, constants: dict) -> Path:
    """Write the weights and what rebuilds their denoiser."""
    return export_weights(folder, weights, {"experiment": experiment.resolved(), "constants": constants})


def load_model(folder: Path, device: str = "auto") -> Model:
    """Read what :func:`save_model` wrote. Raises InputError where it is missing or damaged."""
    weights, described = load_weights(folder)
    experiment = check_config(described["experiment"], str(folder / "model.json"))
    constants = described["constants"]
    spectrum = None
    if "spectrum.ln_power" in weights:
        spectrum = Spectrum(weights["spectrum.ln_power"], tuple(constants["grid"]))
    denoiser = build_denoiser(experiment, constants, spectrum)
    denoiser.load_state_dict(weights)
    place = choose_device(device, 0)
    return Model(denoiser.to(place).eval().requires_grad_(False), experiment, constants, place, folder)


def check_sampler(name: str) -> None:
    """Raise InputError for an unknown sampler."""
    if name not in SAMPLERS:
        close = difflib.get_close_matches(name, SAMPLERS, n=1)
        hint = f"did you mean {close[0]!r}? There are" if close else "choose one of"
        raise InputError(f"unknown sampler {name!r}; {hint} {', '.join(SAMPLERS)}")


def draw(
    model: Model,
    template: Any,
    *,
    seed: int,
    sampler: str,
    levels: Levels,
    progress: Callable[[int, int], None] | None = None,
    streams: Sequence[int] | None = None,
    tile: int | None = None,
) -> Any:
    """Configurations under the conditions of ``template``, as an ensemble in physical units.

    ``streams`` number the noise of each sample, as the domain does where None; ``tile`` is that of
    :class:`physgen.diffusion.sampling.tiles.Execution`.
    """
    condition = dict(model.domain.condition(template, model.constants))
    # without a condition the template counts its configurations by its sample dims alone
    free = [size for dim, size in template.sizes.items() if dim not in (*SPACE, "component")]
    count = len(next(iter(condition.values()))) if condition else math.prod(free)
    shape = (count, model.constants["channels"], *model.constants["grid"])
    x = sample(
        model.denoiser, levels.values, shape, seed, condition or None, sampler,
        device=model.device, home="cpu", tile=tile, progress=progress,
        streams=_streams(model.domain, template) if streams is None else streams,
    )  # fmt: skip
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).flatten(1).any(1).sum())
        raise InputError(
            f"{bad} of {count} configurations are not finite: ask for conditions within those of the "
            "training data, train longer, or lower the learning rate"
        )
    made = model.domain.decode(x, template, model.constants)
    drawn = {"sampler": sampler, "sampler_steps": len(levels.values) - 1, "seed": seed}
    return made.assign_attrs(drawn | levels.facts() | sampler_bias(model, sampler, levels.values))


def _streams(domain: Any, template: Any) -> Any:
    """Numbers of the noise streams where the domain names them (``Domain.streams``), else None: the sample index."""
    named = getattr(domain, "streams", None)
    return None if named is None else [int(number) for number in named(template)]


def schedule_law(experiment: Experiment, s_min: float, s_max: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Distribution of the noise level in training, as a quantile function u in (0, 1) -> s."""
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
