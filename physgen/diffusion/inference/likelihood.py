r"""Log-likelihood by the probability flow, in any dimension, each value with its error.

In u = log s the flow is :math:`dy/du = y - D(y, s)` and carries the density along,

.. math:: \log p_{s_{min}}(y) = \log p_{s_{max}}(y(s_{max})) + \int_{\log s_{min}}^{\log s_{max}}
          \big(d - \mathrm{tr}\,\partial D/\partial y\big)\,du .

It is the density of the data at the noise level :math:`s_{min}`: at a point y that carries that noise. The integral is
not the density of the discrete map that an integrator makes of the flow; where the difference would be taken for
physics (ln Z of spins), ``divergence="jacobian"`` and :func:`sample_with_log_density` take the Jacobian of the map.
Source: Song et al., arXiv:2011.13456, eq. 39 and appendix D.2.

Shapes: N samples, B batch, C channels, \*grid lattice, d = C x grid, K probes. Integration is done in float64, the
denoiser sees the dtype asked for; it must treat samples independently and be differentiable in y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.exact.law import LOG_2PI, ExactLaw
from physgen.diffusion.inference.flow_ode import METHODS, Flow, adaptive, runge_kutta, stepper
from physgen.diffusion.levels import check_levels
from physgen.diffusion.noise import Stream, noise_like
from physgen.diffusion.sampling.samplers import Sampler, find_sampler
from physgen.diffusion.sampling.tiles import Execution, check_condition
from physgen.diffusion.traces import exact_trace, for_copies, jacobian, probe_traces

SAFETY = 3.0
Divergence = Literal["exact", "hutchinson", "jacobian"]


@dataclass(frozen=True)
class Likelihood:
    r"""Log-likelihoods of N samples.

    Attributes:
        nats: natural logarithm of the density, (N,) float64.
        probe_error: standard error over the Hutchinson probes, zero for an exact trace, (N,).
        step_error: bound of the error of the integration, (N,): three times what halving the number of steps changes,
            over 2^order - 1 (adaptive: tenfold tolerance, over 9); zero for the exact Jacobian, which has none. The
            factor is Roache's for two step sizes (1994).
        prior_error: what the prior :math:`N(0, s^2)` misses of the signal at s_max, (N,), to first order in signal over
            noise; zero with a prior given, and for the exact Jacobian, whose density is that of the map from this
            prior.
        latent: y at s_max, (N, C, *grid).
        per_probe: ``nats`` by each probe, (K, N); one row for an exact trace.
        evaluations: calls of the denoiser on a block, those behind ``step_error`` included.
    """

    nats: Tensor
    probe_error: Tensor
    step_error: Tensor
    prior_error: Tensor
    latent: Tensor
    per_probe: Tensor
    evaluations: int

    @property
    def error(self) -> Tensor:
        """All three in quadrature, nats."""
        return torch.hypot(self.probe_error, torch.hypot(self.step_error, self.prior_error))

    @property
    def bits_per_dimension(self) -> Tensor:
        r""":math:`-\log_2 p/d`, (N,)."""
        return -self.nats / (math.log(2) * self.latent[0].numel())

    def mean_bits_per_dimension(self) -> tuple[float, float]:
        """Mean over the samples and its error: their scatter, which holds the probes', and the systematic rest."""
        bits, scale = self.bits_per_dimension, math.log(2) * self.latent[0].numel()
        systematic = float((self.step_error + self.prior_error).mean()) / scale
        return float(bits.mean()), math.hypot(float(bits.std()) / math.sqrt(len(bits)), systematic)


@dataclass(frozen=True)
class FlowSettings:
    """How :func:`log_likelihood` integrates: its arguments of these names."""

    method: str
    divergence: Divergence
    probes: int
    seed: int
    chunk: int
    tolerance: float

    def __post_init__(self) -> None:
        if self.method not in (*METHODS, "adaptive"):
            raise ValueError(f"unknown method {self.method!r}; choose one of {', '.join(METHODS)}, adaptive")
        if self.divergence not in ("exact", "hutchinson", "jacobian"):
            raise ValueError(f'divergence is "exact", "hutchinson" or "jacobian", got {self.divergence!r}')
        if self.divergence == "jacobian" and self.method == "adaptive":
            raise ValueError("an adaptive method has no fixed map: take euler, heun or rk4 for the exact Jacobian")
        if self.divergence == "hutchinson" and self.probes < 2:
            raise ValueError(f"an error over the probes needs at least two of them, got {self.probes}; take 16")


def log_likelihood(
    denoiser: Denoiser,
    levels: Tensor,
    y: Tensor,
    condition: Condition = None,
    prior: ExactLaw | None = None,
    *,
    method: str = "rk4",
    divergence: Divergence = "exact",
    probes: int = 16,
    seed: int = 0,
    chunk: int = 64,
    batch: int = 64,
    tolerance: float = 1e-6,
    dtype: torch.dtype = torch.float64,
    streams: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Likelihood:
    r"""Log-density of the model at the last positive level, at the points y.

    Args:
        denoiser: D(y, s, condition).
        levels: noise levels, descending; a last one 0 is dropped. "adaptive" uses the first and the last.
        y: (N, C, \*grid).
        condition: tensors that lead with N.
        prior: law whose density at s_max closes the integral; None is :math:`N(0, s_{max}^2)`, that of the sampler.
        method: "euler", "heun", "rk4" on the levels, or "adaptive" (Dormand-Prince 5(4) of torchdiffeq).
        divergence: "exact" (d backward passes), "hutchinson" (one a probe) or "jacobian" (the exact discrete Jacobian
            of the steps; not adaptive).
        probes: K, for "hutchinson"; at least two, for their error.
        seed: of the probes.
        chunk: backward passes done at once.
        batch: samples done at once.
        tolerance: relative and absolute tolerance, "adaptive" only.
        dtype: what the denoiser sees.
        streams: N numbers of the probes; rows of one number share them. None: the position.
        progress: called as progress(done, total) with samples.

    Raises:
        ValueError: an unknown method, levels that do not descend or are too few, a condition whose length is not N.

    Example:
        >>> law = GaussianField(torch.ones(1, 8))
        >>> likelihood = log_likelihood(law, log_uniform(20, 0.1, 33), law.sample(5, generator), method="heun")
        >>> likelihood.nats, likelihood.error  # (5,) each
    """
    plan = FlowSettings(method, divergence, probes, seed, chunk, tolerance)
    values = [level for level in check_levels(levels) if level > 0]
    if len(values) < 3:
        raise ValueError(f"an error of the integration needs three positive levels or more, got {values}")
    numbers, parts = _numbers(streams, len(y)), []
    for first in range(0, len(y), batch):
        rows = range(first, min(first + batch, len(y)))
        flow = Flow(denoiser, _rows(condition, rows, len(y)), dtype)
        block = y[rows.start : rows.stop].double()
        parts.append(_block(flow, values, block, numbers[rows.start : rows.stop], (plan, prior)))
        if progress is not None:
            progress(rows.stop, len(y))
    return _joined(parts)


def _numbers(streams: Sequence[int] | None, count: int) -> list[int]:
    numbers = list(range(count) if streams is None else streams)
    if len(numbers) != count:
        raise ValueError(f"streams must name one stream for each of the {count} samples, got {len(numbers)}")
    return numbers


def _joined(parts: Sequence[Likelihood]) -> Likelihood:
    fields = ("nats", "probe_error", "step_error", "prior_error", "latent")
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in fields}
    joined["per_probe"] = torch.cat([part.per_probe for part in parts], dim=1)
    return Likelihood(**joined, evaluations=sum(part.evaluations for part in parts))


def sample_with_log_density(
    denoiser: Denoiser,
    levels: Tensor,
    shape: Sequence[int],
    seed: int,
    condition: Condition = None,
    sampler: str | Sampler = "heun",
    tile: int = 64,
) -> tuple[Tensor, Tensor]:
    r"""Samples of a deterministic sampler's own law, with its exact log-density at them, N and N x d backward passes.

    The law is that of the map itself, :math:`\log p(x) = \log N(y; 0, s_{max}^2) - \log|\det \partial x/\partial y|`:
    weights :math:`\tilde p(x)/p(x)` are unbiased at any number of steps. For spins end at a level above 0 and take
    :math:`\tilde p` with that noise.

    Args:
        denoiser: D(y, s, condition), float64 throughout.
        levels: noise levels, descending.
        shape: (N, C, \*grid).
        seed: sample j depends on (seed, j, its condition) alone.
        condition: tensors that lead with N.
        sampler: a deterministic one of ``SAMPLERS`` or a function of the same signature.
        tile: samples done at once, as in :class:`physgen.diffusion.sampling.tiles.Execution`; the graph of the whole
            path is kept in memory.

    Returns:
        x (N, C, \*grid) and log-densities (N,), float64.
    """
    integrate, s_max = find_sampler(sampler), check_levels(levels)[0]
    plan, one = Execution(tile=tile, dtype=torch.float64), tuple(shape[1:])
    tiles, samples, log_densities = plan.tiles(int(shape[0]), one), [], []
    for block, given in zip(tiles, plan.conditions(condition, tiles), strict=True):
        start = s_max * noise_like(seed, "sampler start", block.index, one, dtype=torch.float64)
        x, matrix = jacobian(partial(_mapped, integrate, denoiser, levels, given), start, chunk=64)
        samples.append(x[block.inside])
        log_densities.append((_log_prior(start, s_max, None) - torch.linalg.slogdet(matrix).logabsdet)[block.inside])
    return torch.cat(samples), torch.cat(log_densities)


def _mapped(integrate: Sampler, denoiser: Denoiser, levels: Tensor, condition: Condition, y: Tensor) -> Tensor:
    """The sampler's map of y, or of several copies of the batch of the condition."""
    return integrate(denoiser, levels, y, condition=for_copies(condition, len(y)))


def _rows(condition: Condition, rows: range, count: int) -> Condition:
    check_condition(condition, count)
    return condition and {name: value[rows.start : rows.stop] for name, value in condition.items()}


def _log_prior(y: Tensor, s: float, prior: ExactLaw | None) -> Tensor:
    if prior is not None:
        return prior.log_density(y, torch.tensor(s, dtype=y.dtype, device=y.device))
    return -0.5 * (y / s).flatten(1).square().sum(1) - y[0].numel() * (math.log(s) + 0.5 * LOG_2PI)


def _block(
    flow: Flow, levels: list[float], y: Tensor, rows: Sequence[int], settings: tuple[FlowSettings, ExactLaw | None]
) -> Likelihood:
    plan, prior = settings
    probes = None
    if plan.divergence == "hutchinson":
        shape = (plan.probes, *y.shape[1:])
        signs = 2 * Stream(plan.seed, "probes", device=y.device).integers(2, rows, shape) - 1
        probes = signs.to(y.dtype).transpose(0, 1)
    latent, gain = _integrate(flow, levels, y, plan, probes)  # gain (K, B), one row for an exact trace
    close = _log_prior(latent, levels[0], prior)
    nats = close + gain.mean(0)
    probe_error = torch.zeros_like(nats) if probes is None else gain.std(0) / math.sqrt(len(gain))
    step_error, prior_error = torch.zeros_like(nats), torch.zeros_like(nats)
    if plan.divergence != "jacobian":
        coarse_plan, coarse_levels = _coarser(plan, levels)
        end, coarse_gain = _integrate(flow, coarse_levels, y, coarse_plan, probes)
        coarse = _log_prior(end, levels[0], prior) + coarse_gain.mean(0)
        growth = 10 if plan.method == "adaptive" else 2 ** METHODS[plan.method].order
        step_error = SAFETY * (coarse - nats).abs() / (growth - 1)
        if prior is None:
            prior_error = _missing_signal(flow, levels[0], latent, plan, probes)
    return Likelihood(nats, probe_error, step_error, prior_error, latent, close + gain, flow.evaluations)


def _coarser(plan: FlowSettings, levels: list[float]) -> tuple[FlowSettings, list[float]]:
    """Half the steps, or ten times the tolerance."""
    if plan.method == "adaptive":
        return replace(plan, tolerance=10 * plan.tolerance), levels
    return plan, [*levels[:-1:2], levels[-1]]


def _integrate(
    flow: Flow, levels: list[float], y: Tensor, plan: FlowSettings, probes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """y at the first level and the gain (K, B) of log-density on the way up from the last."""
    clock = [math.log(level) for level in reversed(levels)]
    if plan.divergence == "jacobian":
        gain = torch.zeros(1, len(y), dtype=y.dtype, device=y.device)
        for u, u_next in pairwise(clock):
            step = stepper(flow, u, u_next - u, plan.method)
            y, matrix = jacobian(step, y, plan.chunk)
            gain = gain + torch.linalg.slogdet(matrix).logabsdet
        return y, gain

    def slope(u: float, y: Tensor) -> tuple[Tensor, Tensor]:
        return _slope(flow, u, y, plan, probes)

    start = torch.zeros(1 if probes is None else len(probes), len(y), dtype=y.dtype, device=y.device)
    if plan.method == "adaptive":
        return adaptive(slope, (y, start), (clock[0], clock[-1]), plan.tolerance)
    state = (y, start)
    for u, u_next in pairwise(clock):
        state = runge_kutta(slope, u, u_next - u, state, plan.method)
    return state


def _slope(flow: Flow, u: float, y: Tensor, plan: FlowSettings, probes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Velocity (B, C, *grid) and its divergence (K, B)."""
    if probes is not None:
        velocity, traces = probe_traces(flow.velocity(u), y, probes, plan.chunk)
        surprise = flow.surprise(u, probes)
        return velocity, traces if surprise is None else traces - surprise
    velocity, trace = exact_trace(flow.velocity(u), y, plan.chunk)
    return velocity, trace[None]


def _missing_signal(flow: Flow, s: float, y: Tensor, plan: FlowSettings, probes: Tensor | None) -> Tensor:
    r""":math:`|\log p_s(y) - \log N(y; 0, s^2)|` for a Gaussian signal, with :math:`D_0 = D(0, s)`:
    :math:`\tfrac12 |(y \cdot (D + D_0) - |D_0|^2)/s^2 - \mathrm{tr}\,\partial D/\partial y|` up to (signal/noise)^2."""
    velocity, divergence = _slope(flow, math.log(s), y, plan, probes)
    with torch.no_grad():
        at_zero = -flow.velocity(math.log(s))(torch.zeros_like(y))
    shift = (y * (y - velocity + at_zero) - at_zero.square()) / s**2
    return 0.5 * (shift.flatten(1).sum(1) - (y[0].numel() - divergence.mean(0))).abs()
