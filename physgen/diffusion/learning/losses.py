r"""Losses beside plain denoising: other weights of the noise levels, and score matching without the clean field.

Each is a module with the call of :class:`physgen.diffusion.learning.training.DenoisingLoss`, (x0, s, noise,
condition) -> (B,), and takes its place as the ``loss`` of :class:`physgen.diffusion.learning.training.TrainingState`:
``loss=ImplicitScoreMatching``. All are means over the C x grid values of a sample of

.. math:: \lambda(s)\, \ell, \qquad E[\ell] = E (D(y, s) - x_0)^2,

so all have the same minimiser, D = E[x0|y], whatever lambda > 0.

Shapes: B batch, C channels, \*grid lattice, d = C x grid values; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition, like

Weight = Callable[[Tensor], Tensor]
Target = Callable[[Tensor, Tensor, Tensor, Condition], Tensor]


def likelihood_weight(s: Tensor) -> Tensor:
    r""":math:`\lambda = 1/s^2`: with levels uniform in log s the loss is a bound on the likelihood.

    :math:`KL(p_{s_{min}} \| p_\theta) \le \int \frac{ds}{s} \frac{1}{s^2} E|D_\theta - D|^2 + KL` at
    :math:`s_{max}`, in nats: the excess of the loss times :math:`d \ln(s_{max}/s_{min})`; an equality where
    :math:`D_\theta` is the denoiser of a law. Source: Song et al., arXiv:2101.09258, theorem 1, in (y, s).
    """
    return s.square().reciprocal()


def unit_weight(s: Tensor) -> Tensor:
    r""":math:`\lambda = (1 + s^2)/s^2`: one over the error of the linear denoiser of unit-variance data.

    Source: Karras et al., arXiv:2206.00364, table 1.
    """
    return 1 + s.square().reciprocal()


def min_snr_weight(gamma: float = 5.0) -> Weight:
    r""":math:`\lambda = \min(1/s^2, \gamma)`. Source: Hang et al., arXiv:2303.09556, section 3.4, for a denoiser."""
    if not gamma > 0:
        raise ValueError(f"min-SNR needs gamma > 0, got {gamma}; 5 is the paper's choice")
    return lambda s: s.square().reciprocal().clamp(max=gamma)


class WeightedDenoising(nn.Module):
    r"""Denoising score matching, :math:`\ell = (D - x_0)^2`.

    Args:
        denoiser: module D(y, s, condition).
        weight: :math:`\lambda(s)`; None for one over the denoiser's ``error_scale(s, condition)``, the error of the
            linear denoiser of its data, which for unit variance is :func:`unit_weight`.
    """

    def __init__(self, denoiser: nn.Module, weight: Weight | None = None) -> None:
        super().__init__()
        self.denoiser, self.weight = denoiser, weight

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        r""":math:`\lambda(s)\,\ell`, shape (B,)."""
        return self.weight_of(s, condition) * self.error(x0, s, noise, condition)

    def weight_of(self, s: Tensor, condition: Condition) -> Tensor:
        r""":math:`\lambda`, shape (B,)."""
        if self.weight is not None:
            return self.weight(s)
        scale = getattr(self.denoiser, "error_scale", None)
        return unit_weight(s) if scale is None else scale(s, condition).reciprocal()

    def error(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        r""":math:`\ell` per value, shape (B,)."""
        return (self.denoiser(x0 + like(s, x0) * noise, s, condition) - x0).square().flatten(1).mean(1)


class ConditionalMeanLoss(nn.Module):
    r"""Denoising towards a conditional mean :math:`\tau = E[x_0 | y, \ldots]` in the place of :math:`x_0`.

    :math:`E[\tau | y] = E[x_0 | y]` whatever else the mean is conditioned on (the tower rule), so that the minimiser
    is the same, and the target scatters less (Rao-Blackwell); with :math:`\tau = E[x_0 | y]` it does not scatter at
    all, and the loss is the excess over that of the exact denoiser. The weight is one over the denoiser's
    ``error_scale(s, condition)``, as in :func:`physgen.diffusion.learning.denoisers.denoising_loss`.

    Args:
        denoiser: module D(y, s, condition) with ``error_scale``.
        target: :math:`\tau(x_0, y, s, condition)`, shape of x0; nothing is differentiated through it.
    """

    def __init__(self, denoiser: nn.Module, target: Target) -> None:
        super().__init__()
        self.denoiser, self.target = denoiser, target
        if not hasattr(denoiser, "error_scale"):
            raise ValueError(
                f"a conditional mean is the target of denoisers with error_scale, {type(denoiser)} has none"
            )

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        r""":math:`|D - \tau|^2/d` over ``error_scale``, shape (B,)."""
        y = x0 + like(s, x0) * noise
        with torch.no_grad(), torch.autocast(y.device.type, enabled=False):
            aim = self.target(x0, y, s, condition)
        error = (self.denoiser(y, s, condition) - aim).float().square().flatten(1).mean(1)
        scale = cast("Callable[[Tensor, Condition], Tensor]", self.denoiser.error_scale)
        return error / scale(s.float(), condition)


class ImplicitScoreMatching(WeightedDenoising):
    r"""Hyvarinen's loss, with the exact trace: :math:`\ell = (D - y)^2 + 2 s^2 \nabla\cdot D/d - s^2`.

    By Stein's identity its mean is the denoising error itself. It sees y alone, never the pair (x0, noise); the price
    is d backward passes. A sample scatters less than in denoising at small s, where the pair does, and more at large s,
    where :math:`(D - y)^2` does: take a weight that falls there, as :func:`likelihood_weight`. Source: Hyvarinen, JMLR
    6, 695 (2005), eq. 4, for the score :math:`(D - y)/s^2` of the noisy law, times :math:`2 s^4/d`.
    """

    def error(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            y = (x0 + like(s, x0) * noise).detach().requires_grad_()
            denoised = self.denoiser(y, s, condition)
            trace = self._trace(denoised, y, keep)
        return (denoised - y).square().flatten(1).mean(1) + s.square() * (2 * trace - 1)

    def _trace(self, denoised: Tensor, y: Tensor, keep: bool) -> Tensor:
        r""":math:`\nabla\cdot D/d`, shape (B,)."""
        total = y.new_zeros(len(y))
        values = denoised.flatten(1)
        for i in range(values.shape[1]):
            (slope,) = torch.autograd.grad(values[:, i].sum(), y, create_graph=keep, retain_graph=True)
            total = total + slope.flatten(1)[:, i]
        return total / values.shape[1]


class SlicedScoreMatching(ImplicitScoreMatching):
    r"""The same with Hutchinson's estimate of the trace, :math:`\nabla\cdot D \approx v^T (dD/dy) v`, unbiased.

    v has independent entries +-1. Source: Song et al., arXiv:1905.07088, eq. 8 (the variance-reduced form).

    Args:
        projections: vectors v per sample, one backward pass each.
        generator: of v, on the device of y. None takes torch's own, which the training loop seeds for every step.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        weight: Weight | None = None,
        projections: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(denoiser, weight)
        if projections < 1:
            raise ValueError(f"sliced score matching needs projections >= 1, got {projections}")
        self.projections, self.generator = projections, generator

    def _trace(self, denoised: Tensor, y: Tensor, keep: bool) -> Tensor:
        total = y.new_zeros(len(y))
        for _ in range(self.projections):
            v = torch.randint(2, y.shape, generator=self.generator, device=y.device).to(y) * 2 - 1
            (slope,) = torch.autograd.grad((denoised * v).sum(), y, create_graph=keep, retain_graph=True)
            total = total + (slope * v).flatten(1).mean(1)
        return total / self.projections


class LearnedWeight(WeightedDenoising):
    r"""Denoising, weight learned: :math:`\lambda \ell e^{-u(s)} + u(s)`, least where :math:`e^u = E[\lambda\ell]`.

    So every level ends up contributing 1, whatever the law. u is a cosine series in ln s; its coefficients are
    parameters of the loss, trained beside the denoiser and of no use after. Source: Karras et al., arXiv:2312.02696,
    eq. 21 (Kendall et al., arXiv:1705.07115).

    Args:
        denoiser: module D(y, s, condition). weight: as of :class:`WeightedDenoising`.
        s_min, s_max: levels between which u varies.
        terms: cosines. u is 0 before training.
    """

    def __init__(
        self, denoiser: nn.Module, weight: Weight | None = None, s_min: float = 1e-3, s_max: float = 1e3, terms: int = 8
    ) -> None:
        super().__init__(denoiser, weight)
        if not 0 < s_min < s_max or terms < 1:
            raise ValueError(f"need 0 < s_min < s_max and terms >= 1, got {s_min}, {s_max} and {terms}")
        self.s_min, self.s_max = s_min, s_max
        self.coefficients = nn.Parameter(torch.zeros(terms + 1))

    def forward(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """The loss (B,) with its learned weight."""
        u = self.log_loss(s)
        return super().forward(x0, s, noise, condition) * torch.exp(-u) + u

    def log_loss(self, s: Tensor) -> Tensor:
        """u(s), shape of s."""
        place = (s.log() - math.log(self.s_min)) / math.log(self.s_max / self.s_min)
        order = torch.arange(len(self.coefficients), device=s.device, dtype=place.dtype)
        cosines = torch.cos(math.pi * order * place.clamp(0, 1)[..., None])
        return cosines @ self.coefficients.to(place.dtype)
