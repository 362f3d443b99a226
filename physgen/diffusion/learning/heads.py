r"""What a network may predict in place of the preconditioned correction of :class:`FieldDenoiser`: the other heads.

The network sees the variance-preserving :math:`x = \alpha x_0 + \sigma z = y/\sqrt{1 + s^2}, \alpha = 1/\sqrt{1 + s^2},
\sigma = s \alpha`. All predictions hold the same information; they differ in the levels at which an error of the
network matters most. The spectrum of the data, where one is given, is the baseline and the scale of the loss alone.

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,), condition a dict of tensors (B, ...) or None.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition, in_dtype, like
from physgen.diffusion.learning.denoisers import SpectralDenoiser, working_dtype
from physgen.diffusion.learning.prior_spectrum import Spectrum

PREDICTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {  # (F, y, s) -> D
    "x0": lambda output, y, s: output,
    "eps": lambda output, y, s: y - s * output,
    "v": lambda output, y, s: y / (1 + s**2) - s / (1 + s**2).sqrt() * output,
    "score": lambda output, y, s: y + s**2 / (1 + s**2).sqrt() * output,
}


class PredictionDenoiser(SpectralDenoiser):
    r"""D of a network F(x, c_noise, condition) that predicts

    ===========  ============================================  ==========================================
    prediction   F                                             D
    ===========  ============================================  ==========================================
    ``x0``       :math:`x_0`                                   :math:`F`
    ``eps``      :math:`z`                                     :math:`y - s F`
    ``v``        :math:`\alpha z - \sigma x_0`                 :math:`(y - s \sqrt{1 + s^2} F)/(1 + s^2)`
    ``score``    :math:`\nabla_x \log p_t(x) = -z/\sigma`      :math:`y + s^2 F/\sqrt{1 + s^2}`
    ===========  ============================================  ==========================================

    Source: Salimans and Ho, arXiv:2202.00512, section 4, for v.

    Args:
        network: module F. prediction: a name of the table. spectrum: of the data, for the baseline; None for 1.
    """

    def __init__(self, network: nn.Module, prediction: str, spectrum: Spectrum | None = None) -> None:
        super().__init__(network, spectrum)
        if prediction not in PREDICTIONS:
            raise ValueError(f"unknown prediction {prediction!r}; choose one of {', '.join(PREDICTIONS)}")
        self.prediction = prediction

    def forward(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """D(y, s), shape of y."""
        dtype = working_dtype(self.network)
        y, s, condition = y.to(dtype), s.to(dtype), in_dtype(condition, dtype)
        level = like(s, y)
        output = self.network(y / (1 + level.square()).sqrt(), s.log() / 4, condition)
        return PREDICTIONS[self.prediction](output.to(dtype), y, level)


class EnergyDenoiser(SpectralDenoiser):
    r"""A curl-free score: :math:`\nabla_y \log p_s = -\nabla_y E`, so D = y - s^2 grad E, with

    .. math:: E(y, s) = \frac{|x|^2}{2} - \alpha \sum_{i} F_i(x, \ln(s)/4, c).

    F = 0 is the exact denoiser of unit-variance white data. Knowing E = -log p_s up to a constant of s gives Metropolis
    tests, and ratios of densities at one level without an integral; the price is a second backward pass. Source:
    Salimans and Ho, "Should EBMs model the energy or the score?", EBM workshop of ICLR 2021.

    Args:
        network: module F(x, c_noise, condition), twice differentiable (no ReLU); all its outputs are summed.
        spectrum: of the data, for the baseline; None for 1.
    """

    @property
    def fixed_operations(self) -> bool:
        """Never: a gradient inside the call is not recorded."""
        return False

    def energy(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """E(y, s), shape (B,)."""
        dtype = working_dtype(self.network)
        y, s, condition = y.to(dtype), s.to(dtype), in_dtype(condition, dtype)
        scale = (1 + s.square()).rsqrt()
        x = y * like(scale, y)
        output = self.network(x, s.log() / 4, condition).to(dtype)
        return 0.5 * x.square().flatten(1).sum(1) - scale * output.flatten(1).sum(1)

    def forward(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """D(y, s), shape of y; with a graph where gradients are enabled."""
        keep, y = torch.is_grad_enabled(), y.to(working_dtype(self.network))
        with torch.enable_grad():  # samplers run without gradients
            point = y if y.requires_grad else y.detach().requires_grad_()
            energy = self.energy(point, s, condition).sum()
            (slope,) = torch.autograd.grad(energy, point, create_graph=keep)
        return y - like(s.to(y.dtype), y).square() * slope
