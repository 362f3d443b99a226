r"""Statistics of log-weights: ln Z with its error, effective sample size, path KL, reweighted means, exact resampling.

With independent weights of mean Z (:mod:`physgen.diffusion.inference.path_weights`) everything here is exact as N
grows. The effective sample size alone is blind: a sampler that misses a mode, or a density that is not that of the map
which drew the samples, has a good one. So it is never given without ln Z and its error. Shapes: N weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.noise import generator_for

BOOTSTRAP_DRAWS = 400
LONGEST_TAIL, FEWEST_OF_TAIL = 0.7, 5


@dataclass(frozen=True)
class WeightStatistics:
    r"""Statistics of N log-weights (:func:`summarise_weights`).

    Attributes:
        count: N.
        log_Z: log-mean-exp; Z is unbiased, ln Z is low by about log_Z_error^2/2.
        log_Z_error: jackknife standard error.
        log_Z_interval: 95 % bootstrap interval (percentiles).
        effective_fraction: :math:`(\sum w)^2 / (N \sum w^2)`, the effective sample size over N.
        path_KL: :math:`KL(p\,\|\,q) = \ln Z - \langle\ln w\rangle \ge 0` in nats between drawn and reversed paths, the
            dissipated work; it bounds the KL of the samples from the target.
        path_KL_error: jackknife standard error.
        tail: shape :math:`\hat k` of the generalised Pareto law of the largest weights (:func:`tail_shape`); NaN where
            there are too few. Above 0.7 the weights may have no finite mean square, and the effective sample size says
            nothing (Vehtari et al., arXiv:1507.02646).
    """

    count: int
    log_Z: float
    log_Z_error: float
    log_Z_interval: tuple[float, float]
    effective_fraction: float
    path_KL: float
    path_KL_error: float
    tail: float = math.nan

    @property
    def is_reliable(self) -> bool:
        """Whether the tail of the weights lets the effective sample size mean something."""
        return self.tail <= LONGEST_TAIL

    @property
    def effective_sample_size(self) -> float:
        r""":math:`(\sum w)^2 / \sum w^2`."""
        return self.count * self.effective_fraction


def summarise_weights(log_weight: Tensor, seed: int = 0) -> WeightStatistics:
    """ln Z, effective sample size and path KL of log-weights (N,), N >= 2; ``seed`` is that of the bootstrap.

    Raises:
        ValueError: fewer than two weights, or one that is NaN or +infinity.
    """
    logs = _checked(log_weight)
    count, top = len(logs), logs.max()
    weights = torch.exp(logs - top)
    without = torch.log((weights.sum() - weights).clamp(min=torch.finfo(torch.float64).tiny) / (count - 1)) + top
    log_mean = log_mean_exp(logs)
    divergence = without - (logs.sum() - logs) / (count - 1)
    draws = torch.randint(count, (BOOTSTRAP_DRAWS, count), generator=generator_for(seed, "bootstrap", 0))
    bootstrap = torch.log(weights.cpu()[draws].mean(1)) + top.cpu()
    low, high = torch.quantile(bootstrap, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return WeightStatistics(
        count=count,
        log_Z=log_mean,
        log_Z_error=jackknife_error(without),
        log_Z_interval=(low, high),
        effective_fraction=effective_fraction(logs),
        path_KL=log_mean - float(logs.mean()),
        path_KL_error=jackknife_error(divergence),
        tail=tail_shape(logs),
    )


def tail_shape(log_weight: Tensor) -> float:
    r"""Shape :math:`\hat k` of the generalised Pareto law of the largest :math:`\min(N/5, 3\sqrt N)` weights (N,).

    k < 1/2: finite variance; the moments of order 1/k and above do not exist. Equal weights have k = -infinity; NaN
    where the tail holds fewer than five weights. Zhang and Stephens 2009, Technometrics 51, 316, with the weak prior
    at 1/2 of ten weights of Vehtari et al., arXiv:1507.02646, appendix C.
    """
    logs = _checked(log_weight).sort().values
    count = int(min(len(logs) / 5, 3 * math.sqrt(len(logs))))
    if count < FEWEST_OF_TAIL:
        return math.nan
    tail = torch.exp(logs[-count:] - logs[-1])
    x = tail - torch.exp(logs[-count - 1] - logs[-1])
    if not float(x[-1]) > 0:
        return -math.inf
    x = x.clamp(min=torch.finfo(torch.float64).tiny)
    grid = 20 + int(math.sqrt(count))
    j = torch.arange(1, grid + 1, dtype=torch.float64, device=x.device)
    theta = 1 / x[-1] + (1 - torch.sqrt(grid / (j - 0.5))) / (3 * x[int(count / 4 + 0.5) - 1])
    shape = torch.log1p(-theta[:, None] * x).mean(1)
    likelihood = count * (torch.log(-theta / shape) - shape - 1)
    best = (torch.softmax(likelihood, 0) * theta).sum()
    k = float(torch.log1p(-best * x).mean())
    return (count * k + 5) / (count + 10)


def log_mean_exp(log_weight: Tensor) -> float:
    r""":math:`\ln \frac1N \sum_j e^{l_j}` of log-weights (N,), without overflow."""
    return float(torch.logsumexp(log_weight, 0)) - math.log(len(log_weight))


def effective_fraction(log_weight: Tensor) -> float:
    r"""Effective sample size over N of log-weights (N,), :math:`(\sum w)^2 / (N \sum w^2)`, in (0, 1]."""
    squares = 2 * torch.logsumexp(log_weight, 0) - torch.logsumexp(2 * log_weight, 0)
    return float(torch.exp(squares)) / len(log_weight)


def jackknife_error(left_out: Tensor) -> float:
    r"""Standard error :math:`\sqrt{\frac{N - 1}{N} \sum_j (\theta_j - \bar\theta)^2}` from the N estimates
    :math:`\theta_j`, each without sample j, shape (N,)."""
    count = len(left_out)
    return math.sqrt((count - 1) / count * float((left_out - left_out.mean()).square().sum()))


def reweighted_mean(values: Tensor, log_weight: Tensor) -> tuple[Tensor, Tensor]:
    r"""Self-normalised mean :math:`\sum w f/\sum w` of values (N, ...) and its standard error, both of shape (...).

    The error is that of a ratio of means, linearised; the bias is of order 1/N.
    """
    logs = _checked(log_weight)
    weight = torch.softmax(logs, dim=0).reshape(-1, *[1] * (values.ndim - 1))
    mean = (weight * values).sum(0)
    return mean, (weight * (values - mean)).square().sum(0).sqrt()


def reweighted_jackknife(values: Tensor, log_weight: Tensor) -> tuple[float, float]:
    r"""Self-normalised mean :math:`\sum w f/\sum w` of values (N,) and its delete-one jackknife error.

    As :func:`reweighted_mean`, with the same bias of order 1/N; where few draws carry the weight its error is the
    larger one of both, and infinite where one draw carries all of it.
    """
    weight = torch.exp(_checked(log_weight) - log_weight.max())
    return _ratio(weight * values.double(), weight, 1)


def reweighted_pair_mean(
    pairs: Callable[[Tensor], Tensor], log_weight: Tensor, block: int = 1024
) -> tuple[float, float]:
    r"""Mean over pairs of two different draws, :math:`\sum_{a \ne b} w_a w_b f_{ab}/\sum_{a \ne b} w_a w_b`, and its
    delete-one jackknife error.

    Of a product of two means under one law, such as :math:`f_{ab} = g_a g_b`, there is no bias but that of the weights,
    of order 1/N. NaN where one draw carries all the weight.

    Args:
        pairs: numbers of draws (n,) -> symmetric values of the pairs of each with all N, (n, N).
        log_weight: (N,), N >= 2.
        block: so many draws are given to ``pairs`` at a time; of no effect on the result.
    """
    logs = _checked(log_weight)
    weight = torch.exp(logs - logs.max())
    rows = []
    for part in torch.arange(len(logs)).split(block):
        found = pairs(part).to(weight.device, torch.float64, copy=True)
        found[torch.arange(len(part)), part] = 0.0
        rows.append(weight[part] * (found @ weight))
    return _ratio(torch.cat(rows), weight * (weight.sum() - weight), 2)


def _ratio(parts: Tensor, norms: Tensor, order: int) -> tuple[float, float]:
    """Ratio of sums (N,), and its jackknife error: with draw j go ``order`` times its parts and its norms."""
    total, norm = parts.sum(), norms.sum()
    left = norm - order * norms
    if not float(norm) > 0:
        return math.nan, math.inf
    mean = float(total / norm)
    if not bool((left > norm * len(norms) * torch.finfo(torch.float64).eps).all()):
        return mean, math.inf  # without one of the draws nothing is left
    return mean, jackknife_error((total - order * parts) / left)


def independence_metropolis(log_weight: Tensor, seed: int, chain: int = 0) -> tuple[Tensor, float]:
    r"""Independence Metropolis chain through the samples in their order: sample j replaces i with probability
    :math:`\min(1, w_j/w_i)`.

    With weights of whole paths the state is a path, and the acceptance is exact: detailed balance holds for the law
    q w/Z of paths, of which the last configurations follow the target, so the chain is stationary for the exact law at
    any number of steps and for any network. It starts at the first sample, which is of q: where weights are at most
    :math:`w^*`, the law of state t is within :math:`(1 - Z/w^*)^t` of the exact one in total variation (Mengersen and
    Tweedie, Ann. Statist. 24 (1996), 101), where they are unbounded there is no such rate. The first states are
    therefore *burn-in*, to be left out.

    Args:
        log_weight: (N,), N >= 2.
        seed: of the decisions. chain: number of the chain, of which each has decisions of its own.

    Returns:
        indices (N,) of the states of the chain, whose law tends to the target, and the accepted fraction of proposals.
    """
    logs = _checked(log_weight).tolist()
    uniform = torch.rand(len(logs), generator=generator_for(seed, "metropolis", chain), dtype=torch.float64).tolist()
    current, states, accepted = 0, [0], 0
    for proposal in range(1, len(logs)):
        if math.log(max(uniform[proposal], 1e-300)) < logs[proposal] - logs[current]:
            current, accepted = proposal, accepted + 1
        states.append(current)
    return torch.tensor(states, device=log_weight.device), accepted / (len(logs) - 1)


def stays(states: Tensor) -> Tensor:
    r"""Lengths (K,) of the K stays of a chain of independent proposals, from the sample of each state (N,), N >= 1.

    Two stays are at independent samples, so a quantity that does not depend on the weight is correlated within a stay
    alone: its integrated autocorrelation time :math:`\tau = 1 + 2\sum_t \rho_t` is
    :math:`\sum_k L_k^2/\sum_k L_k`, the mean length of the stay that a state is in.
    """
    return torch.unique_consecutive(states, return_counts=True)[1]


def resample(log_weight: Tensor, count: int, seed: int) -> Tensor:
    """Indices (count,) of a systematic resampling: sample i appears count * w_i / sum(w) times, rounded up or down."""
    if count < 1:
        raise ValueError(f"resampling needs count >= 1, got {count}; take the number of samples wanted")
    edges = torch.softmax(_checked(log_weight), dim=0).cumsum(0)
    offset = torch.rand((), generator=generator_for(seed, "resample", 0), dtype=torch.float64).to(edges.device)
    comb = (torch.arange(count, dtype=torch.float64, device=edges.device) + offset) / count
    return torch.searchsorted(edges, comb * edges[-1], right=True).clamp(max=len(edges) - 1)


def _checked(log_weight: Tensor) -> Tensor:
    logs = log_weight.double()
    if logs.ndim != 1 or len(logs) < 2:
        raise ValueError(f"log-weights must be one-dimensional and at least two, got shape {tuple(logs.shape)}")
    if not bool((logs < math.inf).all()) or not bool((logs > -math.inf).any()):
        raise ValueError(
            "log-weights must be below infinity and not all -infinity, got NaN, infinity or no weight at all"
        )
    return logs
