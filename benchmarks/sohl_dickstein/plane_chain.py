r"""The Gaussian chain of the paper for points in the plane, with the covariance of each reverse step learned too.

The step from s to s' < s is :math:`N((1 - \rho) y + \rho D,\; s'^2 \rho + \rho^2 C)`, :math:`\rho = 1 - s'^2/s^2`, with
mean D and covariance C (2 x 2, the paper: its diagonal) of :math:`x_0` given y; the step to s' = 0 is N(D, C). Both
come from one network, trained by the terms of K themselves,

.. math:: K = \langle \ln p(x_0|y_1) \rangle - \sum_k \langle KL(q(y_{k-1}|y_k, x_0)\,\|\,p(y_{k-1}|y_k)) \rangle
              - KL(q(y_T|x_0)\,\|\,N(0, s_T^2 + 1)) .

The moments of the exact posterior give the best Gaussian steps, and so the ceiling of K for these levels.
Shapes: B rows, y (B, 2), s (B,), C (B, 2, 2), K nodes of the law.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from physgen.diffusion.convention import bridge_mean, rho
from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.inference.reverse_kernels import PathKernel
from physgen.networks.mlp import MLP

OCTAVES = 6  # of waves that the network sees of y besides y


class PlaneMoments(nn.Module):
    r"""D and C of a network: an MLP of y and of its waves at octaves, in the numbers of a denoiser of unit variance.

    :math:`D = y/(1 + s^2) + s F/\sqrt{1 + s^2}`, and :math:`C = L L^T s^2/(1 + s^2)` with L lower triangular.
    """

    def __init__(self, width=64, blocks=3):
        super().__init__()
        self.network = MLP(2 + 4 * OCTAVES, width=width, blocks=blocks)

    def moments(self, y, s):
        """D (B, 2) and C (B, 2, 2), float64."""
        variance = (1 + s.square())[:, None]
        x = (y / variance.sqrt()).float()
        waves = torch.cat([2.0**k * x for k in range(OCTAVES)], dim=1)
        found = self.network(torch.cat([x, waves.sin(), waves.cos()], 1), (s.log() / 4).float(), None).double()
        scale = s[:, None].double() / variance.double().sqrt()
        mean = y.double() / variance.double() + scale * found[:, :2]
        first, second = (scale[:, 0] * found[:, 2 + i].clamp(-12, 4).exp() for i in range(2))
        shear = found[:, 4] * first
        cross = first * shear
        covariance = torch.stack([first**2, cross, cross, shear**2 + second**2], dim=1).reshape(-1, 2, 2)
        return mean, covariance

    def forward(self, y, s, condition=None):
        """The denoiser D."""
        return self.moments(y, s.expand(len(y)))[0].to(y.dtype)


@dataclass(frozen=True, eq=False)
class ExactMoments:
    """The same of a mixture of isotropic Gaussians: points (K, 2), weights (K,), width sigma."""

    points: torch.Tensor
    weights: torch.Tensor
    sigma: float

    def moments(self, y, s):
        """D (B, 2) and C (B, 2, 2)."""
        found = [self._block(part, level) for part, level in zip(y.split(512), s.split(512), strict=True)]
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    def _block(self, y, s):
        total = self.sigma**2 + s.double().square()
        apart = torch.cdist(y.double(), self.points).square()
        posterior = torch.softmax(self.weights.log() - apart / 2 / total[:, None], dim=1)
        mean, shrunk = posterior @ self.points, (s.square() / total)[:, None]
        square = posterior @ (self.points[:, :, None] * self.points[:, None]).flatten(1)
        spread = square.reshape(-1, 2, 2) - mean[:, :, None] * mean[:, None]
        own = (self.sigma**2 * shrunk)[:, :, None] * torch.eye(2, dtype=torch.float64)
        return y * (1 - shrunk) + shrunk * mean, own + shrunk[:, :, None] ** 2 * spread


def log_normal_2d(apart, covariance):
    """ln N(apart; 0, covariance), (B,)."""
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    det = a * c - b * b
    square = (c * apart[:, 0] ** 2 - 2 * b * apart[:, 0] * apart[:, 1] + a * apart[:, 1] ** 2) / det
    return -0.5 * (square + det.log()) - LOG_2PI


def step_covariance(covariance, s, s_next):
    """s'^2 rho + rho^2 C, (B, 2, 2); levels (B,)."""
    fraction = rho(s, s_next)
    white = (s_next.square() * fraction)[:, None, None] * torch.eye(2, dtype=torch.float64)
    return white + (fraction**2)[:, None, None] * covariance


def step_terms(model, levels, k, x0, noise):
    r"""The term of K of step k (B,), of levels (T + 1,) that descend to 0, in nats (B,): minus a KL, or ln p(x0|y)."""
    x0, s, s_next = x0.double(), levels[k], levels[k + 1]
    y = x0 + s[:, None] * noise.double()
    mean, covariance = model.moments(y, s)
    total, fraction = step_covariance(covariance, s, s_next), rho(s, s_next)
    apart = fraction[:, None] * (x0 - mean)
    white = s_next.square() * fraction
    det = total[:, 0, 0] * total[:, 1, 1] - total[:, 0, 1] ** 2
    entropy = torch.where(white > 0, LOG_2PI + 1 + white.clamp(min=1e-300).log(), 0.0)
    trace = white * (total[:, 0, 0] + total[:, 1, 1]) / det
    return log_normal_2d(apart, total) - 0.5 * trace + entropy


class PlaneLoss(nn.Module):
    """Minus T times the term of a random step, with the call of the other losses: s is u, uniform in (0, 1)."""

    def __init__(self, model, levels):
        super().__init__()
        self.model, self.levels = model, levels

    def forward(self, x0, s, noise, condition):
        """Loss (B,)."""
        steps = len(self.levels) - 1
        k = (s * steps).long().clamp(0, steps - 1)
        return -steps * step_terms(self.model, self.levels, k, x0, noise)


@torch.no_grad()
def bound(model, levels, x, seed):
    """K in nats of each row of x (n, 2), from one noise for each row and step; their mean is that of the law."""
    generator, total = torch.Generator().manual_seed(seed), torch.zeros(len(x), dtype=torch.float64)
    for step in range(len(levels) - 1):
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        total += step_terms(model, levels, torch.full((len(x),), step), x, noise)
    variance, square = float(levels[0]) ** 2, x.double().square().sum(1)
    total -= square / 2 / (variance + 1) + variance / (variance + 1) - 1 - math.log(variance / (variance + 1))
    return total


@dataclass(frozen=True, eq=False)
class PlaneKernel(PathKernel):
    """The reverse steps as a kernel of the core's path weights; the denoiser there is not asked."""

    model: object

    def _law(self, move):
        level = move.y.new_full((len(move.y),), move.s)
        mean, covariance = self.model.moments(move.y, level)
        total = step_covariance(covariance, level, torch.full_like(level, move.s_next))
        return bridge_mean(move.y, mean, move.s, move.s_next), total

    def draw(self, move, noise):
        mean, total = self._law(move)
        return mean + (torch.linalg.cholesky(total) @ noise.normal()[:, :, None])[:, :, 0]

    def log_density(self, move, y_next):
        mean, total = self._law(move)
        return log_normal_2d(y_next - mean, total)

    def start(self, noise, s):
        return noise.normal() * math.sqrt(s**2 + 1)

    def log_start(self, y, s):
        return -0.5 * y.square().sum(1) / (s**2 + 1) - math.log(s**2 + 1) - LOG_2PI
