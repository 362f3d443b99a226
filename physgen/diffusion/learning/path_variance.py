r"""Fine-tuning by the weights of a network's own paths: no configuration of the law is needed, its energy is.

Paths down the noise levels, drawn with kernels :math:`p_\theta(y_k | y_{k+1})`, have log-weights against the target
(:mod:`physgen.diffusion.inference.path_weights`) that would all be ln Z were the network exact. Their variance over n
paths of one condition,

.. math:: \ell = \frac{1}{2 N} \frac{1}{n - 1} \sum_j (\ln w_j - \overline{\ln w})^2 \approx KL/N,

estimates the path divergence for each of N sites where it is small. Its gradient at fixed paths, in expectation that of
the reverse divergence itself,

.. math:: \nabla_\theta \ell = -\frac{1}{N} \frac{1}{n - 1} \sum_j (\ln w_j - \overline{\ln w})
          \sum_k \nabla_\theta \ln p_\theta(y^j_k | y^j_{k+1}), \qquad
          \langle \nabla_\theta \ell \rangle = \nabla_\theta KL(p_\theta \| q)/N ,

needs no derivative of the energy nor of a draw, so that discrete values are as good as real ones. The sum over k is
taken over a few steps, one from each of as many strata, weighed up: unbiased, and one evaluation with gradients for all
of them. What it cannot see: states that the network never draws. Begin with a network that covers the law
(``training.start``), or at conditions where an untrained one does.
Source: Richter, Boustati, Nuesken, Ruiz and Akyildiz, arXiv:2010.10436 (log-variance, and its gradient on policy);
Wu, Wang and Zhang, Phys. Rev. Lett. 122, 080602 (2019) for the reverse divergence with a baseline.

Shapes: B paths, C channels, \*grid lattice, N = C x grid values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition
from physgen.diffusion.inference.path_weights import Chain, Readout, ReverseChain, downwards
from physgen.diffusion.inference.reverse_kernels import Move, Noise, PathKernel
from physgen.diffusion.levels import check_levels
from physgen.diffusion.noise import Stream

ConditionalTarget = Callable[[Tensor, Condition], Tensor]
PATHS = 8  # of each condition
TAKEN = 8  # steps of each path that a gradient is taken of


@dataclass(frozen=True)
class _Paths:
    """The chain, its steps with where they led, and ln w (B,)."""

    reverse: ReverseChain
    steps: list[tuple[Move, Tensor]]
    log_weight: Tensor


class PathVariance(nn.Module):
    r"""The loss of this module, (x0, s, noise, condition) -> (B,): its value is the variance, its gradient as above.

    Of a batch nothing is used but the conditions of its first B/n samples, each for n paths. Random numbers are torch's
    own, which the training loop seeds for every step.

    Args:
        denoiser: module D(y, s, condition).
        making: kernel and read-out of the paths, as ``path_kernel`` of :class:`physgen.diffusion.values.Values` says.
        levels: noise levels, descending, the last one 0.
        log_target: :math:`\ln\tilde p(x|c)` of x (B, C, \*grid) float64 and the condition, (B,).
        paths: n >= 2 of each condition. taken: steps of a path in the gradient.

    Raises:
        ValueError: levels that do not end at 0, fewer than two paths, more steps taken than there are.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        making: tuple[PathKernel, Readout],
        levels: Tensor,
        log_target: ConditionalTarget,
        paths: int = PATHS,
        taken: int = TAKEN,
    ) -> None:
        super().__init__()
        self.denoiser, self.kernel, self.readout = denoiser, *making
        self.levels, self.log_target, self.paths, self.taken = check_levels(levels), log_target, paths, taken
        if self.levels[-1] != 0 or paths < 2 or not 1 <= taken < len(self.levels):
            raise ValueError(
                f"path weights need levels that end at 0, got {self.levels[-1]}; two paths of a condition or more, got "
                f"{paths}; and 1 to {len(self.levels) - 1} steps of each in the gradient, got {taken}"
            )

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """The loss (B,). Raises ValueError where B is no multiple of the paths of a condition."""
        count, laws = len(x0), len(x0) // self.paths
        if laws * self.paths != count:
            raise ValueError(f"a batch of {count} is no multiple of {self.paths} paths of each condition")
        given = {name: value[:laws].repeat_interleave(self.paths, 0) for name, value in (condition or {}).items()}
        with torch.no_grad():
            drawn = self._drawn(x0, given)
            groups = drawn.log_weight.unflatten(0, (laws, self.paths))
            above = (groups - groups.mean(1, keepdim=True)) / (self.paths - 1)
        sites = x0[0].numel()
        value = (groups.var(1) / (2 * sites)).repeat_interleave(self.paths)
        # paths of a law share its 1/(n - 1); the mean over the batch divides by n once more, which n takes back
        slope = -self.paths * above.flatten() * self._log_density(drawn, given) / sites
        return (value + slope - slope.detach()).to(x0.dtype)

    def _denoise(self, y: Tensor, s: Tensor, given: Condition, like: Tensor) -> Tensor:
        denoised: Tensor = self.denoiser(y.to(like), s.to(like), given or None)
        return denoised.double()

    def _drawn(self, x0: Tensor, given: dict[str, Tensor]) -> _Paths:
        seed = int(torch.randint(2**31 - 1, ()))
        noise = Noise(Stream(seed, "paths of a loss", device=x0.device), range(len(x0)), tuple(x0.shape[1:]))

        def denoise(y: Tensor, s: float) -> Tensor:
            return self._denoise(y, torch.full((len(y),), s, device=y.device), given, x0)

        kernel = self.kernel.given(given).started(denoise, self.levels[0])
        reverse = ReverseChain(denoise, Chain(kernel), self.levels, self.readout)
        steps: list[tuple[Move, Tensor]] = []
        x, log_ratio = downwards(reverse, noise, lambda move, y_next: steps.append((move, y_next)))
        return _Paths(reverse, steps, log_ratio + self.log_target(x, given))

    def _log_density(self, drawn: _Paths, given: dict[str, Tensor]) -> Tensor:
        r""":math:`\sum_k \ln p_\theta(y_k|y_{k+1})` (B,), estimated from one step of each stratum."""
        total = len(drawn.steps)
        ends = [total * i // self.taken for i in range(self.taken + 1)]
        chosen = [int(torch.randint(low, high, ())) for low, high in pairwise(ends)]
        count = len(drawn.log_weight)
        moves = [drawn.steps[i] for i in chosen]
        y = torch.cat([move.y for move, _ in moves])
        s = torch.tensor([move.s for move, _ in moves], device=y.device).repeat_interleave(count)
        every = {name: value.repeat(len(chosen), *[1] * (value.ndim - 1)) for name, value in given.items()}
        parameter = next(self.denoiser.parameters())
        denoised = self._denoise(y, s, every, parameter.detach()).split(count)
        sums = torch.zeros(count, dtype=torch.float64, device=y.device)
        for (move, y_next), aim, (low, high) in zip(moves, denoised, pairwise(ends), strict=True):
            kernel = drawn.reverse.kernel_to(move.s_next)
            sums = sums + (high - low) * kernel.log_density(replace(move, denoised=aim), y_next)
        return sums
