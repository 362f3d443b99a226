r"""Bounds of ln p of the generative chain at given configurations, from paths that the noise draws upwards from them.

The chain :math:`p(y_0)\prod_k p(y_{k+1}|y_k)` goes down levels :math:`s_0 > \dots > s_T = e`, and its last y is the
configuration x. Along a path that noise draws upwards from x, with :math:`q(y_k|y_{k+1}) = N(y_{k+1}, s_k^2 -
s_{k+1}^2)`,

.. math:: \ln w = \ln p(y_0) + \sum_k \ln p(y_{k+1}|y_k) - \sum_k \ln q(y_k|y_{k+1}), \qquad E_q[w] = p(x) .

So :math:`E \ln w \le \ln p(x)`, the variational bound (VLB, ELBO), and with K paths

.. math:: E \ln \frac1K \sum_{j \le K} w_j ,

which lies above it, grows with K and tends to :math:`\ln p(x)` itself. The VLB is a sum over the levels, in the words
of a code: what x costs is what the chain must be told on its way down,

.. math:: -E\ln w = \underbrace{KL\big(q(y_0|x) \| p(y_0)\big)}_{prior}
          + \sum_{k < T-1} \underbrace{E\,KL\big(q(y_{k+1}|y_k, x) \| p(y_{k+1}|y_k)\big)}_{steps}
          \underbrace{- E \ln p(x|y_{T-1})}_{reconstruction} ,

:math:`q(y_{k+1}|y_k, x)` the Brownian bridge from y_k to x. Prior and steps are the rate, the reconstruction is the
distortion (Ho, Jain, Abbeel, arXiv:2006.11239, section 4.3). Each term is estimated by its own logarithm along the same
paths, so that they add up to the VLB exactly; where the chain is right, :math:`\ln w` does not scatter at all.

With e = 0 this is the law of the chain itself: for values +-1 or of q kinds the probability ln P(S), with the read-out
as reconstruction. With e > 0 it is the density of a noisy x, :math:`x_0 + e z`, of which the probability flow speaks.

Sources: Sohl-Dickstein et al., arXiv:1503.03585, section 2.4; Burda, Grosse, Salakhutdinov, arXiv:1509.00519 (growth
with K). The same bounds for masked sites: :mod:`physgen.diffusion.inference.masked_orders`.

Shapes: N configurations, K paths of each, T steps, C channels, \*grid lattice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, elapsed, in_dtype
from physgen.diffusion.inference.path_weights import Readout
from physgen.diffusion.inference.reverse_kernels import Move, Noise, PathKernel, SpinMixture, log_normal
from physgen.diffusion.levels import check_levels
from physgen.diffusion.noise import Stream
from physgen.diffusion.sampling.tiles import check_condition, tile_of

FEWEST_VALUES = 2**14  # in one call of the denoiser: small configurations are many


@dataclass(frozen=True)
class ChainBounds:
    r"""Bounds of ln p of N configurations from K paths each, in nats.

    Attributes:
        log_weight: ln w of each path, (K, N) float64.
        terms: means over the paths of what the VLB pays at each level, (T + 1, N): the prior, the steps, and last the
            reconstruction; their sum is minus the VLB.
        levels: the levels at which they are paid, (T + 1,), descending.
        squared_error: mean square by cell of what is not yet known of x at each level, (T, N): x less what the
            denoiser makes of y there. NaN where the chain guesses no x.
        evaluations: of the denoiser, for one configuration.
    """

    log_weight: Tensor
    terms: Tensor
    levels: Tensor
    squared_error: Tensor
    evaluations: int

    @property
    def variational(self) -> Tensor:
        r"""VLB (N,), the mean of ln w."""
        return self.log_weight.mean(0)

    @property
    def variational_error(self) -> Tensor:
        """Its standard error over the paths, (N,)."""
        return self.log_weight.std(0) / math.sqrt(len(self.log_weight))

    @property
    def rate(self) -> Tensor:
        """What the VLB pays down to the last level but one, (N,)."""
        return self.terms[:-1].sum(0)

    @property
    def distortion(self) -> Tensor:
        """What it pays for the last step, (N,)."""
        return self.terms[-1]

    def importance(self, paths: int | None = None) -> Tensor:
        r""":math:`\ln \frac1k \sum_j w_j` of the first k paths and of every further k of them, averaged, (N,).

        Args:
            paths: k, 1 to K; None for K. At 1 it is the VLB.
        """
        return self._groups(paths).mean(0)

    def importance_error(self, paths: int | None = None) -> Tensor:
        """Standard error (N,) over the groups; of a single group the jackknife's over its paths."""
        groups = self._groups(paths)
        if len(groups) > 1:
            return groups.std(0) / math.sqrt(len(groups))
        size = len(self.log_weight)
        weights = torch.exp(self.log_weight - self.log_weight.amax(0))
        without = torch.log((weights.sum(0) - weights).clamp(min=torch.finfo(torch.float64).tiny) / (size - 1))
        return ((size - 1) / size * (without - without.mean(0)).square().sum(0)).sqrt()

    def _groups(self, paths: int | None) -> Tensor:
        """Log-mean-exp (G, N) of groups of k paths."""
        size = len(self.log_weight) if paths is None else paths
        if not 1 <= size <= len(self.log_weight):
            raise ValueError(f"there are {len(self.log_weight)} paths, got paths = {size}: ask for 1 to that many")
        whole = self.log_weight[: len(self.log_weight) // size * size]
        return whole.reshape(-1, size, whole.shape[1]).logsumexp(1) - math.log(size)


@torch.no_grad()
def chain_bounds(
    denoiser: Denoiser,
    kernel: PathKernel,
    levels: Tensor,
    x: Tensor,
    paths: int,
    seed: int,
    *,
    readout: Readout = "gaussian",
    condition: Condition = None,
    streams: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
) -> ChainBounds:
    r"""Bounds of ln p(x) of the chain that draws with a kernel down the levels.

    Args:
        denoiser: D(y, s, condition), learned or exact.
        kernel: of :mod:`physgen.diffusion.inference.reverse_kernels`, without multistep and corrector.
        levels: noise levels, descending; the last one is that of x, 0 for x without noise.
        x: (N, C, \*grid) at the last level, spins +-1 for "bernoulli", kinds for "categorical".
        paths: K, at least 2, for their error. Path j is the same whatever K is.
        seed: of the paths.
        readout: at level 0, as in :func:`physgen.diffusion.inference.path_weights.weighted_sample`.
        condition: tensors that lead with N.
        streams: N numbers of the noise of each; the position where None.
        dtype: what the denoiser sees; paths are float64.
        progress: called as progress(done, total) with configurations.

    Raises:
        ValueError: fewer than two paths, levels that do not descend or are fewer than two, a condition whose length is
            not N, a discrete read-out of levels that do not end at 0.

    Example:
        >>> law = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.1]))
        >>> found = chain_bounds(law, Ancestral(), log_uniform(20, 0.1, 33)[:-1], y, paths=16, seed=0)
        >>> found.variational, found.importance()  # (N,) each, the second at least the first
    """
    values = check_levels(levels)
    if len(values) < 2 or paths < 2:
        raise ValueError(f"bounds need two levels and two paths, got {len(values)} and {paths}: give more")
    if readout != "gaussian" and values[-1] != 0:
        raise ValueError(f"a {readout} read-out is at level 0, got levels that end at {values[-1]}: append 0")
    check_condition(condition, len(x))
    numbers = torch.arange(len(x)) if streams is None else torch.as_tensor(list(streams))
    size = max(tile_of(tuple(x.shape[1:]), x.device.type), FEWEST_VALUES // x[0].numel())
    parts = []
    for first in range(0, len(x), size):
        rows = slice(first, first + size)
        given = condition and {name: value[rows] for name, value in condition.items()}
        block = _Block(denoiser, kernel, (x[rows].double(), given), values, (readout, dtype))
        draws = [block.upwards(_noise(seed, j, len(values), numbers[rows], x)) for j in range(paths)]
        parts.append([torch.stack(found) for found in zip(*draws, strict=True)])
        if progress is not None:
            progress(min(first + size, len(x)), len(x))
    terms, errors = (torch.cat(found, dim=-1) for found in zip(*parts, strict=True))  # (K, T + 1, N), (K, T, N)
    told = torch.tensor(values, dtype=torch.float64)
    return ChainBounds(-terms.sum(1), terms.mean(0), told, errors.mean(0), paths * (len(values) - 1))


def _noise(seed: int, path: int, levels: int, numbers: Tensor, x: Tensor) -> Noise:
    stream = Stream(seed, "reversed path", device=x.device)
    return Noise(stream, numbers.to(x.device), tuple(x.shape[1:]), count(path * levels))


class _Block:
    """Configurations that are computed together."""

    def __init__(
        self,
        denoiser: Denoiser,
        kernel: PathKernel,
        data: tuple[Tensor, Condition],
        levels: list[float],
        settings: tuple[Readout, torch.dtype],
    ) -> None:
        self.denoiser, self.levels = denoiser, levels
        self.x, condition = data
        self.readout, self.dtype = settings
        self.condition = in_dtype(condition, self.dtype)
        self.kernel = kernel.given(condition).started(self.denoise, levels[0])

    def denoise(self, y: Tensor, s: float) -> Tensor:
        """D(y, s), float64."""
        level = torch.full((len(y),), s, dtype=self.dtype, device=y.device)
        return self.denoiser(y.to(self.dtype), level, self.condition).double()

    def upwards(self, noise: Noise) -> tuple[Tensor, Tensor]:
        """The terms (T + 1, b) along one path, in the order of the levels, and the squared errors (T, b)."""
        y, end, terms, errors = self.x, self.levels[-1], [], []
        for s_next, s in pairwise(reversed(self.levels)):
            above = y + math.sqrt(elapsed(s, s_next)) * noise.normal()
            move = Move(above, self.denoise(above, s), s, s_next)
            paid = -self._kernel_to(s_next).log_density(move, y)
            if s_next > end:
                paid = paid + self._log_bridge(above, y, s, s_next)
            guess = above + elapsed(s, end) / s**2 * (move.denoised - above)  # the mean of x given y at s
            errors.append((self.x - guess).flatten(1).square().mean(1))
            terms.append(paid)
            y = above
        spread = torch.full_like(y, elapsed(self.levels[0], end))
        prior = log_normal((y - self.x) / spread.sqrt(), spread) - self.kernel.log_start(y, self.levels[0])
        return torch.stack([prior, *reversed(terms)]), torch.stack(errors[::-1])

    def _kernel_to(self, s_next: float) -> PathKernel:
        spins = s_next == 0 and self.readout == "bernoulli" and not self.kernel.reads_out
        return SpinMixture() if spins else self.kernel

    def _log_bridge(self, above: Tensor, y: Tensor, s: float, s_next: float) -> Tensor:
        r""":math:`\ln q(y|y_{above}, x)`, (b,), of the bridge in the clock s^2 from level s to x at the last level."""
        end = self.levels[-1]
        kept = elapsed(s_next, end) / elapsed(s, end)
        variance = torch.full_like(y, kept * elapsed(s, s_next))
        return log_normal((y - self.x - kept * (above - self.x)) / variance.sqrt(), variance)
