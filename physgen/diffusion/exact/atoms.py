r"""Laws on a finite set of points: the empirical measure of a data set, and all states of a small spin system.

Mean-field spin glasses, :func:`p_spin` and any :func:`from_interactions`, are such systems.

The posterior of the point a given y is a softmax, :math:`P(a|y) \propto p_a e^{-|y - a|^2 / 2 s^2}`. It is computed
in float64, because large squares are subtracted, and in blocks: memory is bounded whatever the number of points,
their size and the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, like
from physgen.diffusion.exact.law import LOG_2PI, ExactLaw
from physgen.errors import InputError

BLOCK = 2**22  # float64 entries of a work array: 32 MiB
LARGEST_SYSTEM = 20


@dataclass(frozen=True, eq=False)
class EmpiricalMeasure(ExactLaw):
    r"""Weighted points :math:`p(x_0) = \sum_a p_a \delta(x_0 - a)`; with equal weights the perfect memorizer of a
    data set.

    Args:
        data: the points (n, C, \*grid), floating or integer.
        log_weights: (n,) logarithms of the weights up to a constant; None is equal weights.

    Raises:
        ValueError: no data, or log_weights of another length.
    """

    data: Tensor
    log_weights: Tensor | None = None

    def __post_init__(self) -> None:
        if self.data.ndim < 2 or len(self.data) == 0:
            raise ValueError(f"data must be (n, C, *grid) with n >= 1, got shape {tuple(self.data.shape)}")
        if self.log_weights is not None and self.log_weights.shape != (len(self.data),):
            raise ValueError(f"log_weights must have shape ({len(self.data)},), got {tuple(self.log_weights.shape)}")

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        means = [self._mean(torch.softmax(log_joint, dim=1)) for log_joint in self._log_joint(y, s)]
        return torch.cat(means).reshape(y.shape).to(y.dtype)

    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        evidence = torch.cat([torch.logsumexp(log_joint, dim=1) for log_joint in self._log_joint(y, s)])
        return (evidence - y[0].numel() * (torch.log(s.double()) + 0.5 * LOG_2PI)).to(y.dtype)

    def posterior(self, y: Tensor, s: Tensor) -> Tensor:
        """Posterior probabilities (B, n) of the points given y, float64; this array is not blocked."""
        return torch.cat([torch.softmax(log_joint, dim=1) for log_joint in self._log_joint(y, s)])

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        prior = torch.exp(self._log_prior(generator.device))
        return self.data[torch.multinomial(prior, n, replacement=True, generator=generator).to(self.data.device)]

    def _log_prior(self, device: torch.device) -> Tensor:
        logs = torch.zeros(len(self.data)) if self.log_weights is None else self.log_weights
        return torch.log_softmax(logs.to(device=device, dtype=torch.float64), dim=0)

    def _points(self, device: torch.device) -> Iterator[Tensor]:
        """The points (n, d) in float64, block by block."""
        flat = self.data.flatten(1)
        return (block.to(device=device, dtype=torch.float64) for block in flat.split(max(1, BLOCK // flat.shape[1])))

    def _log_joint(self, y: Tensor, s: Tensor) -> Iterator[Tensor]:
        r""":math:`\log p_a - |y - a|^2 / 2 s^2`, (b, n) for one block b of the batch after the other."""
        rows = max(1, BLOCK // len(self.data))
        wide, levels, log_prior = y.flatten(1).double(), s.double().expand(len(y)), self._log_prior(y.device)
        for part, level in zip(wide.split(rows), levels.split(rows), strict=True):
            products = [part @ points.T - 0.5 * points.square().sum(1) for points in self._points(y.device)]
            half_squares = 0.5 * part.square().sum(1, keepdim=True) - torch.cat(products, dim=1)
            yield log_prior - half_squares / like(level, part) ** 2

    def _mean(self, probability: Tensor) -> Tensor:
        """Mean point (b, d) under probabilities (b, n)."""
        parts = self._points(probability.device)
        weights = probability.split(max(1, BLOCK // self.data[0].numel()), dim=1)
        return torch.stack([weight @ points for weight, points in zip(weights, parts, strict=True)]).sum(0)


@dataclass(frozen=True, eq=False)
class EnumeratedIsing(ExactLaw):
    r"""Spins :math:`\pm1` on N <= 20 sites with any law over their :math:`2^N` states, :math:`D_i = \langle S_i
    \rangle` in the field :math:`y/s^2`.

    Args:
        log_weights: (2^N,) logarithms of the weights up to a constant. In state number j, site i (C order of
            ``shape``) is up, +1, where bit i of j is 1: state 0 is all down.
        shape: (C, \*grid) of one configuration, N sites in all.

    Raises:
        InputError: N above 20.
        ValueError: log_weights not of length 2^N.
    """

    log_weights: Tensor
    shape: tuple[int, ...]
    _measure: EmpiricalMeasure = field(init=False, repr=False)

    def __post_init__(self) -> None:
        states = enumerate_spins(math.prod(self.shape)).reshape(-1, *self.shape)
        object.__setattr__(self, "_measure", EmpiricalMeasure(states.to(self.log_weights.device), self.log_weights))

    @classmethod
    def from_couplings(
        cls, couplings: Tensor, beta: float, shape: Sequence[int], external_field: Tensor | None = None
    ) -> EnumeratedIsing:
        r"""The Boltzmann law :math:`e^{-\beta H}` of :math:`H = -\tfrac12 \sum_{ij} J_{ij} S_i S_j - \sum_i h_i S_i`.

        Args:
            couplings: J (N, N), symmetric with zero diagonal, so that every bond counts once.
            beta: inverse temperature in the units of 1/J.
            shape: (C, \*grid) with N sites, in C order.
            external_field: h (N,), None is no field.
        """
        if not torch.equal(couplings, couplings.T) or bool(couplings.diagonal().any()):
            raise ValueError("couplings must be a symmetric matrix with zero diagonal, J[i, j] = J[j, i] for a bond")
        states = enumerate_spins(len(couplings)).to(device=couplings.device, dtype=torch.float64)
        minus_energy = 0.5 * ((states @ couplings.double()) * states).sum(1)
        if external_field is not None:
            minus_energy = minus_energy + states @ external_field.double()
        return cls(beta * minus_energy, tuple(shape))

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        return self._measure(y, s)

    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        return self._measure.log_density(y, s)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self._measure.sample(n, generator).to(self.log_weights.dtype)


def p_spin(sites: int, p: int, beta: float, generator: torch.Generator) -> EnumeratedIsing:
    r"""The Boltzmann law of a mean-field p-spin model with Gaussian couplings from the generator, shape (1, N).

    :math:`H = -\sum_{i_1 < \dots < i_p} J_{i_1 \dots i_p} S_{i_1} \dots S_{i_p}` with :math:`J \sim N(0, p!/2N^{p-1})`,
    which for p = 2 is Sherrington-Kirkpatrick with J of variance 1/N. Source: Derrida 1981.

    Args:
        sites: N <= 20.
        p: spins of an interaction, 2 <= p <= N; 2 is Sherrington-Kirkpatrick.
        beta: inverse temperature.
    """
    if not 2 <= p <= sites:
        raise ValueError(f"an interaction needs 2 <= p <= N = {sites} spins, got p = {p}; 2 is Sherrington-Kirkpatrick")
    groups = torch.tensor(list(combinations(range(sites), p)))
    scale = math.sqrt(math.factorial(p) / (2 * sites ** (p - 1)))
    couplings = scale * torch.randn(len(groups), generator=generator, dtype=torch.float64)
    return from_interactions(groups, couplings, beta, (1, sites))


def from_interactions(groups: Tensor, couplings: Tensor, beta: float, shape: tuple[int, ...]) -> EnumeratedIsing:
    r"""The law :math:`e^{-\beta H}` of :math:`H = -\sum_g J_g \prod_{i \in g} S_i`.

    Args:
        groups: (G, p) sites of each interaction, C order of ``shape``; a repeated site drops out in pairs.
        couplings: J (G,).
        shape: (C, \*grid) with N <= 20 sites.
    """
    if groups.ndim != 2 or couplings.shape != (len(groups),):
        raise ValueError(
            f"groups (G, p) and couplings (G,) go together, got {tuple(groups.shape)} and {tuple(couplings.shape)}"
        )
    states = enumerate_spins(math.prod(shape))
    exponent = torch.zeros(len(states), dtype=torch.float64)
    for group, coupling in zip(groups, couplings.double(), strict=True):
        exponent += beta * coupling * states[:, group].prod(1)
    return EnumeratedIsing(exponent, shape)


def enumerate_spins(sites: int) -> Tensor:
    """All states (2^N, N) of N spins as int8; site i of state j is +1 where bit i of j is 1, so state 0 is all down.

    The one convention of this package: transfer matrices number the states of a layer in this way too.

    Raises:
        InputError: more than 20 spins: 2^20 states fill 20 MiB here and 170 MiB as float64.
    """
    if not 1 <= sites <= LARGEST_SYSTEM:
        raise InputError(
            f"enumeration of {sites} spins: it takes 1 to {LARGEST_SYSTEM}; use a transfer matrix or parallel tempering"
        )
    numbers = torch.arange(2**sites)
    return (2 * ((numbers[:, None] >> torch.arange(sites)) & 1) - 1).to(torch.int8)
