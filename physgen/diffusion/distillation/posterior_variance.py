r"""Few stochastic steps with a posterior covariance in the modes: what stands between DDPM and a student.

DDPM's step from s to s' draws as if :math:`x_0 = D` were known and loses the variance that D leaves. With a covariance
C of :math:`x_0` given y, diagonal in the modes, the first two moments of a step are right:

.. math:: y'_k = (1 - \rho)\,y_k + \rho\,D_k + \sqrt{s'^2 \rho + \rho^2 C_k}\;z_k, \qquad \rho = 1 - s'^2/s^2 .

:math:`C_k = v_k(s)\,\frac{P s^2}{P + s^2}`: v = 1 is the Gaussian field, exact at one step, under each label; v = 0 is
DDPM. The v of a network is the mean square of what it leaves of data over that of the Wiener filter
(:func:`measured_variance`): what improved DDPM learns as a second output (Nichol and Dhariwal, arXiv:2102.09672) has
this as its optimum where the law of :math:`x_0` given y is stationary (Bao et al., arXiv:2201.06503).

Shapes: B batch, C channels, \*grid lattice, \*modes of the frame; L levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, bridge_mean, bridge_variance, rho
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.levels import check_levels
from physgen.diffusion.sampling.flow_map import BoundMapSteps
from physgen.lattice import shells


@torch.no_grad()
def measured_variance(
    denoiser: Denoiser, spectrum: Spectrum, x0: Tensor, levels: Tensor, noise: Callable[[int], Tensor],
    condition: Mapping[str, Tensor] | None = None,
) -> Tensor:  # fmt: skip
    r""":math:`v_k(s) = \langle |x_k - D_k|^2 \rangle / \frac{P s^2}{P + s^2}`, by shells of \|k\|, of vectors by modes.

    Args:
        denoiser: D(y, s, condition). spectrum: that of the data.
        x0: (B, C, \*grid) data. levels: (L,), positive; (L + 1,) with a last one of 0, which is left out.
        noise: i -> standard normal like x0. condition: leads with B.

    Returns:
        (L, C, \*modes), one row for each positive level.
    """
    power, found = spectrum(condition), []
    grid = spectrum.grid
    for i, level in enumerate(value for value in levels.tolist() if value > 0):
        s = torch.full((len(x0),), level, dtype=x0.dtype, device=x0.device)
        left = spectrum.modes(x0 - denoiser(x0 + level * noise(i), s, condition)).abs().square() / math.prod(grid)
        v = (left * (power + level**2) / (power * level**2)).mean(0)
        if grid:
            shell = torch.from_numpy(shells(grid, [1.0] * len(grid))).unique(return_inverse=True)[1].to(x0.device)
            weight = spectrum.multiplicity.expand(shell.shape).flatten()
            total = torch.zeros(len(v), int(shell.max()) + 1, device=v.device).index_add_(
                1, shell.flatten(), v.flatten(1) * weight
            )
            counted = torch.zeros(total.shape[1], device=v.device).index_add_(0, shell.flatten(), weight)
            v = (total / counted)[:, shell]
        found.append(v)
    return torch.stack(found)


@dataclass(frozen=True)
class CovarianceSteps:
    r"""The sampler of these steps, with the signature of :class:`physgen.diffusion.sampling.solver.Sampler`.

    One evaluation a step, stochastic; starts from :math:`\sqrt{P + s^2} z_k`. No error at all for Gaussian fields of
    the spectrum with v = 1, the last step and the start included.

    Args:
        spectrum: modes and power. variance: v (L, C, \*modes) at the levels above 0; a number for all.
    """

    spectrum: Spectrum
    variance: Tensor | float = 1.0

    def start(self, white: Tensor, s: float, condition: Condition = None) -> Tensor:
        """y at the first level from white noise of unit variance."""
        return BoundMapSteps(self.spectrum, False).start(white, s, condition)

    def __call__(
        self,
        denoiser: Denoiser,
        levels: Tensor,
        y: Tensor,
        condition: Condition = None,
        noise: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        if noise is None:
            raise ValueError("a stochastic sampler needs noise, got None; pass a function: step index -> tensor like y")
        power = self.spectrum(condition).to(y)
        for i, (s, s_next) in enumerate(pairwise(check_levels(levels))):
            denoised = denoiser(y, torch.full((len(y),), s, dtype=y.dtype, device=y.device), condition)
            v = self.variance[i].to(y) if isinstance(self.variance, Tensor) else self.variance
            spread = bridge_variance(s, s_next) + rho(s, s_next) ** 2 * v * power * s**2 / (power + s**2)
            drawn = self.spectrum.field(spread.sqrt() * self.spectrum.modes(noise(i)))
            y = bridge_mean(y, denoised, s, s_next) + drawn
        return y
