"""The loss that a configuration names, around an untrained denoiser, tried once before the first step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch

from physgen.diffusion.energy import ContrastiveDivergence, Langevin
from physgen.diffusion.learning.losses import (
    ConditionalMeanLoss,
    ImplicitScoreMatching,
    LearnedWeight,
    SlicedScoreMatching,
    WeightedDenoising,
    likelihood_weight,
    min_snr_weight,
)
from physgen.diffusion.learning.path_variance import PATHS, TAKEN, PathVariance
from physgen.diffusion.learning.training import DenoisingLoss
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.masked import MaskedLoss
from physgen.diffusion.names import DIVERGENCE, PATH_VARIANCE
from physgen.diffusion.noise import noise_like
from physgen.errors import InputError
from physgen.runs.encoding import Encoding
from physgen.runs.folder import Run

CHAIN_STEPS = 4  # of the chains of contrastive divergence for each update
LARGEST_TRACE = 1024  # values of a configuration whose exact trace, a backward pass for each, a step can afford
Objective = Callable[[torch.nn.Module], torch.nn.Module]


def objective(
    run: Run, encoding: Encoding, denoiser: torch.nn.Module, x: torch.Tensor, condition: Mapping[str, torch.Tensor]
) -> Objective:
    """denoiser -> loss module; tried on configurations x (B, C, \\*grid) under their condition.

    Raises InputError where the physics gives no target, the trace is too large, or the network has no second slopes.
    """
    diffusion = run.experiment.diffusion
    if diffusion.process == "masked":
        made: Objective = MaskedLoss
    elif diffusion.loss == PATH_VARIANCE:
        made = _own_paths(run, encoding)
    elif run.experiment.training.target != "sample":
        made = _towards_means(run, encoding, denoiser, x, condition)
    else:
        _check_trace(diffusion.loss, x)
        known: dict[str, Objective] = {
            "denoising": DenoisingLoss,
            "likelihood": partial(WeightedDenoising, weight=likelihood_weight),
            "min_snr": partial(WeightedDenoising, weight=min_snr_weight()),
            "learned": partial(LearnedWeight, s_min=encoding.s_min, s_max=encoding.s_max),
            "implicit": ImplicitScoreMatching,
            "sliced": SlicedScoreMatching,
            DIVERGENCE: partial(_divergence, run=run, encoding=encoding, x=x, has_labels=bool(condition)),
        }
        made = known[diffusion.loss]
    if diffusion.head == "energy" or diffusion.loss in ("implicit", "sliced"):
        _check_second_slopes(run, made(denoiser).to(x.device), x, condition)
    return made


def _towards_means(
    run: Run, encoding: Encoding, denoiser: torch.nn.Module, x: torch.Tensor, condition: Mapping[str, torch.Tensor]
) -> Objective:
    """What is denoised towards in the place of configurations. InputError where nothing is known."""
    kind, sweeps = run.experiment.training.target, run.experiment.training.target_sweeps
    found = None if kind == "sample" else run.domain.training_target(kind, encoding.domain, sweeps)
    if found is None or not hasattr(denoiser, "error_scale"):
        asked = f"training.target={kind}" + (f" with training.target_sweeps={sweeps}" if sweeps else "")
        raise InputError(
            f"{asked}: {run.domain.name} gives no such mean of its configurations to train towards; leave "
            f"{'training.target_sweeps' if sweeps else 'it'} out{'' if sweeps else ', or set it to sample'}"
        )
    with torch.no_grad():
        found(x, x, torch.ones(len(x), device=x.device), condition)  # refuses at once what it cannot give
    return partial(ConditionalMeanLoss, target=found)


def _own_paths(run: Run, encoding: Encoding) -> Objective:
    """The variance of the weights of the network's own paths. InputError where there is no law to weigh against."""
    asked, steps = f"diffusion.loss={PATH_VARIANCE}", run.experiment.sampling.steps
    making, log_target = run.domain.values.path_kernel(), run.domain.conditional_log_target(encoding.domain)
    if making is None or log_target is None:
        raise InputError(
            f"{asked} weighs paths against a law known up to its norm, which {run.domain.name} does not give for its "
            "conditions: train on data, diffusion.loss=denoising"
        )
    size = run.experiment.training.batch_size
    if size % PATHS:
        near = max(PATHS, size - size % PATHS)
        raise InputError(
            f"{asked} draws {PATHS} paths of each condition, not training.batch_size={size}: set it to {near}"
        )
    if steps < TAKEN:
        raise InputError(f"{asked} draws paths of sampling.steps={steps} levels, of which it needs {TAKEN}: set more")
    levels = log_uniform(encoding.s_max, encoding.s_min, steps)
    return partial(PathVariance, making=making, levels=levels, log_target=log_target)


def _divergence(
    denoiser: torch.nn.Module, run: Run, encoding: Encoding, x: torch.Tensor, has_labels: bool
) -> torch.nn.Module:
    """Persistent chains of the energy at s_min from white noise; with labels chains that begin at the data."""
    count, seed = run.experiment.training.batch_size, run.experiment.seed
    start = noise_like(seed, "chains of a training", range(count), x.shape[1:], device=x.device)
    return ContrastiveDivergence(
        denoiser, Langevin(), start, level=encoding.s_min, steps=CHAIN_STEPS, persistent=not has_labels
    )


def _check_trace(loss: str, x: torch.Tensor) -> None:
    values = x[0].numel()
    if loss == "implicit" and values > LARGEST_TRACE:
        raise InputError(
            f"diffusion.loss=implicit takes a backward pass for each of the {values} values of a configuration, at "
            f"most {LARGEST_TRACE} are sensible: take diffusion.loss=sliced, its unbiased estimate"
        )


def _check_second_slopes(
    run: Run, loss: torch.nn.Module, x: torch.Tensor, condition: Mapping[str, torch.Tensor]
) -> None:
    """A gradient is inside this loss: a network of own kernels that have no second derivative says so now."""
    try:
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            loss(x, torch.ones(len(x), device=x.device), torch.randn_like(x), condition).sum().backward()
    except RuntimeError as error:
        raise InputError(
            f"diffusion.loss={run.experiment.diffusion.loss} and diffusion.head={run.experiment.diffusion.head} need "
            f"second derivatives, which network.kind={run.experiment.network.kind} has none of ({error}): take another "
            "loss, head or network"
        ) from None
    loss.zero_grad(set_to_none=True)
