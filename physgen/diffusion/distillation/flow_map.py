r"""Flow maps X(y, s -> r) of fields whose spectrum is known: exact for the Gaussian part at one step.

In the coordinates of the modes,

.. math:: y_k = \sqrt{P + s^2}\,u_k, \qquad \tan\theta_k(s) = s/\sqrt P, \qquad \frac{du_k}{d\theta_k} = -F_k,

the probability flow of a Gaussian field stands still (:mod:`physgen.diffusion.sampling.modal`): from s to r exactly
:math:`y_r = \sqrt{(P + r^2)/(P + s^2)}\,y_s`, the way that the Fourier-covariance kernel takes. F is
what a denoiser :math:`D_k = \frac{P}{P + s^2} y_k + \frac{s\sqrt P}{\sqrt{P + s^2}} F_k` adds to the Wiener filter. So

.. math:: X_k(y, s \to r) = \sqrt{P + r^2}\,\big(u_k + (\theta_k(s) - \theta_k(r))\,G_k\big), \qquad
          G = \mathrm{network}(u, \ln(s)/4, r, c),

is the identity at r = s and exact for the Gaussian field with G = 0; G is the *mean* of F along the way (mean flow,
Geng et al., arXiv:2505.13447, here in an angle of its own for each mode). With the weights of a trained denoiser,
G = F(y, s): one step of Euler's in the angles. X(y, s -> 0) is a consistency function (Song et al., arXiv:2303.01469).
Only what is not Gaussian is left to be distilled.

Shapes: B batch, C channels, \*grid lattice, \*modes what the frame calls its modes (half-spectrum, axes of vectors).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition, Denoiser, in_dtype, like
from physgen.diffusion.learning.denoisers import FieldDenoiser, working_dtype
from physgen.diffusion.sampling.modal import Modes
from physgen.networks.layers import NEXT_LEVEL, NextLevel, NoiseEmbedding
from physgen.networks.mlp import AddedNoise


class Flat:
    """The frame of data without a spectrum: every value has the variance sigma_data^2."""

    def __init__(self, sigma_data: float = 1.0) -> None:
        self.sigma_data = sigma_data

    def __call__(self, condition: Condition = None) -> Tensor:
        return torch.full((), self.sigma_data**2)

    def modes(self, x: Tensor) -> Tensor:
        return x

    def field(self, modes: Tensor) -> Tensor:
        return modes


def angle(s: Tensor, r: Tensor, power: Tensor, u: Tensor) -> Tensor:
    r""":math:`\theta(s) - \theta(r)` without cancellation, :math:`\arctan\frac{(s - r)\sqrt P}{P + s r}`.

    Args:
        s, r: (B,). power: P (B, C, \*modes), or what broadcasts. u: (B, C, \*modes), for its shape.
    """
    s, r = like(s, u), like(r, u)
    return torch.atan2((s - r) * power.sqrt(), power + s * r)


def rest(denoiser: Denoiser, frame: Modes, u: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
    r"""F of a denoiser at the modes u, :math:`(D_k - \frac{\sqrt{P}^2}{P + s^2} y_k) \sqrt{P + s^2}/(s \sqrt P)`.

    Args:
        denoiser: D(y, s, condition), a network or an exact law. frame: its modes.
        u: (B, C, \*modes). s: (B,), positive.

    Returns:
        (B, C, \*modes).
    """
    power = frame(condition).to(s)
    level = like(s, u)
    root = (power + level.square()).sqrt()
    denoised = frame.modes(denoiser(frame.field(root * u), s, condition))
    return (denoised - power / root * u) * (root / (level * power.sqrt()))


def midpoint(denoiser: Denoiser, frame: Modes, u: Tensor, s: Tensor, r: Tensor, condition: Condition = None) -> Tensor:
    r"""u at the level r from u at s by one step of the midpoint rule in the angles: two evaluations, order 2.

    The middle is :math:`\sqrt{s r}`, s/2 where r = 0: in the middle of the angle where the mode is as large as the
    levels, and of the step where it is larger. Exact where F = 0. Arguments as in :func:`rest`.
    """
    power = frame(condition).to(s)
    middle = torch.where(r > 0, (s * r).sqrt(), s / 2)
    there = u + angle(s, middle, power, u) * rest(denoiser, frame, u, s, condition)
    return u + angle(s, r, power, u) * rest(denoiser, frame, there, middle, condition)


class FlowMap(nn.Module):
    r"""X(y, s -> r) around a network that takes the second level; the module gives the equation.

    Called as a denoiser, D(y, s, condition) with ``condition["next_level"]`` = r (B,), it gives X(y, s -> r); without
    it X(y, s -> 0). The levels at which it draws lie at equal distances along the way that the teacher moves u,
    :meth:`levels`.

    Args:
        network: module F(x, c_noise, condition) that was made to take r (:func:`with_next_level`).
        spectrum: that of the data, or None. sigma_data: used without a spectrum.
        sites: of the table of the way: so many noise levels.
    """

    maps_between_levels = True
    ln_s: Tensor
    way: Tensor

    def __init__(
        self, network: nn.Module, spectrum: nn.Module | None = None, sigma_data: float = 1.0, sites: int = 17
    ) -> None:
        super().__init__()
        self.network, self.spectrum, self.sigma_data = network, spectrum, sigma_data
        self.register_buffer("ln_s", torch.linspace(-1.0, 1.0, sites, dtype=torch.float64))
        self.register_buffer("way", torch.linspace(0.0, 1.0, sites, dtype=torch.float64))

    @classmethod
    def of(cls, denoiser: nn.Module, seed: int = 0) -> FlowMap:
        """The student that starts as one trained denoiser: its weights, G(u, s, r) = F(u, s) for every r.

        ``seed`` is that of the weights by which the second level enters, once they are trained.

        Raises ValueError for a denoiser whose data are not real numbers, or whose linear part was calibrated.
        """
        if not isinstance(denoiser, FieldDenoiser):
            raise ValueError(
                f"a flow map is exact for the Gaussian part of real values: {type(denoiser).__name__} has none"
            )
        if denoiser.calibration is not None:
            raise ValueError("its linear part was calibrated after training, which no weights hold")
        network = with_next_level(copy.deepcopy(denoiser.network), seed)
        return cls(network, copy.deepcopy(denoiser.spectrum), denoiser.sigma_data)

    @property
    def frame(self) -> Modes:
        """Modes and power of the data."""
        return Flat(self.sigma_data) if self.spectrum is None else cast(Modes, self.spectrum)

    @property
    def fixed_operations(self) -> bool:
        """Whether calls of one shape are one sequence of operations: see :mod:`physgen.diffusion.recording`."""
        return bool(getattr(self.network, "fixed_operations", False))

    def mean_rest(self, u: Tensor, s: Tensor, r: Tensor, condition: Condition = None) -> Tensor:
        r"""G at the modes u, the mean of F from s to r; shape of u."""
        return self.frame.modes(
            self.network(self.frame.field(u), s.log() / 4, {**(condition or {}), NEXT_LEVEL: r}).to(s.dtype)
        )

    def moved(self, u: Tensor, s: Tensor, r: Tensor, condition: Condition = None) -> Tensor:
        r"""The map in u: :math:`u + (\theta(s) - \theta(r)) G`; shape of u."""
        return u + angle(s, r, self.frame(condition).to(s), u) * self.mean_rest(u, s, r, condition)

    def forward(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        r"""X(y, s -> r), shape of y (B, C, \*grid)."""
        dtype = working_dtype(self.network)
        y, s, given = y.to(dtype), s.to(dtype), dict(in_dtype(condition, dtype) or {})
        r = given.pop(NEXT_LEVEL, torch.zeros_like(s))
        return self._end(self.moved(self.coordinates(y, s, given), s, r, given), r, given)

    def baseline(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """The map of the Gaussian field of the spectrum: G = 0; shape of y."""
        given = dict(condition or {})
        r = given.pop(NEXT_LEVEL, torch.zeros_like(s))
        return self._end(self.coordinates(y, s, given), r, given)

    def coordinates(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        r"""u of y at the level s: modes over :math:`\sqrt{P + s^2}`."""
        modes = self.frame.modes(y)
        return modes / (self.frame(condition).to(y) + like(s, modes).square()).sqrt()

    def _end(self, u: Tensor, r: Tensor, condition: Condition) -> Tensor:
        return self.frame.field((self.frame(condition).to(r) + like(r, u).square()).sqrt() * u)

    # --- levels -----------------------------------------------------------------------------------

    def lay_out(self, ln_s: Tensor, way: Tensor) -> None:
        """Set the table: ln s ascending (sites,), and the way from the lowest level to each (:func:`teachers_way`)."""
        self.ln_s.copy_(ln_s)
        self.way.copy_(way)

    def level_at(self, share: Tensor) -> Tensor:
        r"""The level s that has a share in [0, 1] of the way below it; float64, shape of ``share``."""
        aim = share.to(self.way) * self.way[-1]
        right = torch.searchsorted(self.way, aim.contiguous()).clamp(1, len(self.way) - 1)
        low, high = self.way[right - 1], self.way[right]
        part = (aim - low) / (high - low)
        return torch.exp(self.ln_s[right - 1] + part * (self.ln_s[right] - self.ln_s[right - 1]))

    def share_of(self, s: Tensor) -> Tensor:
        """The share in [0, 1] of the way that lies below the levels s; float64, the inverse of :meth:`level_at`."""
        ln_s = s.to(self.ln_s).log()
        right = torch.searchsorted(self.ln_s, ln_s.contiguous()).clamp(1, len(self.ln_s) - 1)
        low, high = self.ln_s[right - 1], self.ln_s[right]
        part = ((ln_s - low) / (high - low)).clamp(0, 1)
        return (self.way[right - 1] + part * (self.way[right] - self.way[right - 1])) / self.way[-1]

    def levels(self, evaluations: int) -> Tensor:
        """Levels (evaluations + 1,), descending to 0, at equal distances along the way; float64 on the CPU."""
        share = torch.linspace(1, 0, evaluations + 1, dtype=torch.float64)[:-1]
        return torch.cat([self.level_at(share.to(self.way.device)).cpu(), torch.zeros(1, dtype=torch.float64)])


def with_next_level(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network, made to take ``condition["next_level"]``: it gives what it gave until that is trained.

    ``seed`` is that of the new weights.

    Raises ValueError for a network without an embedding of the noise level.
    """
    found = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            if isinstance(module, NoiseEmbedding):
                module.next_level, found = NextLevel(module.noise.out_features), True
            elif isinstance(module, AddedNoise):
                module.next_level, found = NextLevel(2 * len(module.frequencies)), True
    if not found:
        raise ValueError(f"{type(network).__name__} embeds no noise level that a second one could join")
    first = next(network.parameters())
    return network.to(first.device)


@torch.no_grad()
def teachers_way(
    denoiser: Denoiser, frame: Modes, x0: Tensor, levels: Tensor, noise: Callable[[int], Tensor],
    condition: Mapping[str, Tensor] | None = None,
) -> Tensor:  # fmt: skip
    r"""How far the flow moves u from the lowest of some levels to each, by the trapezoidal rule, starting at 0:

    .. math:: \int \sqrt{\langle F^2 (d\theta/d\ln s)^2 \rangle}\,d\ln s, \quad \text{mean over samples and modes.}

    Args:
        denoiser: the teacher. frame: its modes.
        x0: (B, C, \*grid) training samples. levels: (L,), ascending. noise: i -> standard normal like x0.
        condition: leads with B.

    Returns:
        (L,) float64.
    """
    power, speed = frame(condition).to(x0), []
    for i, level in enumerate(levels.tolist()):
        s = torch.full((len(x0),), level, dtype=x0.dtype, device=x0.device)
        root = (power + level**2).sqrt()
        u = frame.modes(x0 + level * noise(i)) / root
        moved = rest(denoiser, frame, u, s, condition) * (level * power.sqrt() / root.square())
        unit = math.prod(x0.shape[2:]) if moved.is_complex() else 1  # of the modes: see prior_spectrum
        speed.append(float(moved.abs().square().mean()) / unit)
    root_speed, ln_s = torch.tensor(speed, dtype=torch.float64).sqrt(), levels.double().log().cpu()
    pieces = (root_speed[1:] + root_speed[:-1]) / 2 * ln_s.diff()
    return torch.cat([torch.zeros(1, dtype=torch.float64), pieces.cumsum(0)])
