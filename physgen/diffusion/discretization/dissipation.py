r"""Noise levels of paths with weights: least dissipation, by the thermodynamic length of the denoiser.

A kernel that draws each site from its own posterior given y misses what the sites have in common; one that knows
pairs misses the rest. With :math:`\hat C` for what it knows, the divergence of the drawn step from the true one,
between levels s and s' close to each other, is

.. math:: KL = \tfrac14 \Bigl(\frac1{s'^2} - \frac1{s^2}\Bigr)^2 \sum_{ij} (C_{ij} - \hat C_{ij})^2, \qquad
          C = \mathrm{cov}(x_0|y) = s^2\, \partial D/\partial y,

the divergence of two Gaussians of covariances :math:`s'^2\rho + \rho^2 C` and with :math:`\hat C`, to lowest order.
With :math:`\gamma = 1/s^2` it is :math:`\tfrac14 g(\gamma)\,(\Delta\gamma)^2`, so that the sum over a number of steps
is least where all take an equal share of the length :math:`\int \sqrt{g}\,d\gamma`. The first share is that of the
start, from :math:`\gamma = 0`, whose noise knows nothing of C; the last one that of the read-out.

Source: thermodynamic length, Crooks, arXiv:0706.0559; the second-order Tweedie formula, Efron, JASA 106 (2011), 1602.
The metric was derived here; tests hold it to enumeration. Shapes: B batch, C channels, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import generator_for

POINTS = 32  # of the metric between the ends
PROBE = 0.02  # of s: half the distance over which D is differenced


def independent(mean: Tensor, v: Tensor) -> Tensor:
    """(1 - m^2) v: the covariance of values +-1 of means m that are independent given y, times v."""
    return (1 - mean.square()) * v


def shared_covariance(
    denoiser: Denoiser, y: Tensor, s: float, known: Tensor, condition: Condition, probe: Tensor
) -> Tensor:
    r""":math:`\sum_{ij} (C_{ij} - \hat C_{ij})^2` of the posterior at each y, (B,), unbiased over random signs.

    Args:
        denoiser: D(y, s, condition). y: (B, C, \*grid). s: the level. condition: of the rows of y.
        known: :math:`\hat C v`, shape of y.
        probe: v of +-1, shape of y; :math:`\langle |(C - \hat C) v|^2\rangle_v = \sum_{ij} (C_{ij} - \hat C_{ij})^2`.
    """
    level = torch.full((len(y),), s, dtype=y.dtype, device=y.device)
    step = PROBE * s
    with torch.no_grad():
        ahead, behind = (denoiser(y + sign * step * probe, level, condition) for sign in (1, -1))
    moved = s**2 * (ahead - behind) / (2 * step)
    return (moved - known).double().square().flatten(1).sum(1)


def least_dissipation(
    denoiser: Denoiser,
    x: Tensor,
    steps: int,
    ends: tuple[float, float],
    condition: Condition = None,
    seed: int = 0,
    known: Callable[[Tensor, Tensor], Tensor] = independent,
) -> Tensor:
    r"""Levels (steps + 1,), the last one 0, of equal thermodynamic length for values +-1.

    Args:
        denoiser: D(y, s, condition).
        x: (B, C, \*grid) configurations of the law, about as a path reaches them: the metric is averaged over them.
        steps: K. ends: (s_max, s_min); the first level is at most s_max, and none lies below s_min.
        condition: of the rows of x. seed: of noise and probes.
        known: (D, v) -> :math:`\hat C v` of the kernel; without it that of independent values, :math:`1 - D_i^2`.
    """
    s_max, s_min = ends
    levels = log_uniform(s_max, s_min, POINTS)[:-1]
    generator = generator_for(seed, "dissipation", 0)
    rate = []
    for s in levels.tolist():
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
        probe = (2 * torch.randint(2, x.shape, generator=generator) - 1).to(x)
        y = x + s * noise
        with torch.no_grad():
            mean = denoiser(y, torch.full((len(y),), s, dtype=y.dtype, device=y.device), condition)
        found = shared_covariance(denoiser, y, s, known(mean, probe), condition, probe)
        rate.append(float(found.mean().sqrt()))
    gamma, rates = (levels**-2.0).numpy(), np.array(rate)
    lengths = np.concatenate([[0.0], np.cumsum(np.diff(gamma) * (rates[1:] + rates[:-1]) / 2)])
    gamma, lengths = np.concatenate([[0.0], gamma]), np.concatenate([[0.0], lengths + gamma[0] * rates[0]])
    shares = np.linspace(0, lengths[-1], steps + 2)[1:-1]
    if shares[0] < lengths[1]:  # it would begin above s_max, more than once where steps are many: begin there
        shares = np.linspace(lengths[1], lengths[-1], steps + 1)[:-1]
    chosen = np.minimum(np.interp(shares, lengths, gamma) ** -0.5, s_max)
    if not lengths[-1] > 0 or (np.diff(chosen) >= 0).any():  # nothing is shared
        return log_uniform(s_max, s_min, steps)
    return torch.cat([torch.from_numpy(chosen), torch.zeros(1, dtype=torch.float64)])
