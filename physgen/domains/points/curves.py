r"""Vectors scattered about curves in the plane: :math:`x = c(u) + \sigma z`, z normal, u uniform on pieces of curves.

The law is a mixture of Gaussians along the curve, and Gauss-Legendre panels as short as the noise is wide turn its
integral over u into a sum that is exact to the rounding of float64:

.. math:: p_s(y) = \sum_p w_p \int_0^1 N\big(y; c_p(u), \sigma^2 + s^2\big)\,du
                 = \sum_k w_k N\big(y; c(u_k), \sigma^2 + s^2\big).

So density, denoiser and score are those of :class:`physgen.diffusion.exact.GaussianMixture` at the nodes. (The mixture
at the nodes has their density, but is sampled at u itself.) Curves are in units of their root mean square component,
about the mean of the law, so that s and :math:`\sigma` are in units of the data:

===============  ====================================================================================================
``swiss_roll``   :math:`t\,(\cos t, \sin t), t = \tfrac{3\pi}{2} (1 + 2u)`: one turn and a half, uniform in the angle
``two_moons``    half circles :math:`(\cos \pi u, \sin \pi u)` and :math:`(1 - \cos \pi u, \tfrac12 - \sin \pi u)`
``rings``        circles of radius 1 and 1/2
===============  ====================================================================================================

The roll is that of Marsland (Machine Learning: An Algorithmic Perspective, 2009, chapter 10) without its width.
Shapes: n samples, K nodes, P pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from physgen.diffusion.exact import GaussianMixture

Curve = Callable[[Tensor], Tensor]  # u (n,) in [0, 1] -> (n, 2)

ORDER, PANEL = 8, 2.0  # nodes of a panel, and its length in units of the noise
FINEST = 1e-3  # smallest noise, in units of the data: some fifty thousand nodes
HERMITE = 16  # nodes of the noise along each axis, for the entropy; the outermost at 6.6
MIDDLE, END, REACH = 24, 4, 12.0  # panels of the entropy: between the ends of a piece, at each, which reaches so far
NEAR = 16.0  # widths of the noise beyond which a node adds less than e^-40 to the density of those within 6.6


def _roll(u: Tensor) -> Tensor:
    t = 1.5 * math.pi * (1 + 2 * u)
    return torch.stack([t * torch.cos(t), t * torch.sin(t)], dim=1)


def _moon(u: Tensor) -> Tensor:
    return torch.stack([torch.cos(math.pi * u), torch.sin(math.pi * u)], dim=1)


def _other_moon(u: Tensor) -> Tensor:
    return torch.stack([1 - torch.cos(math.pi * u), 0.5 - torch.sin(math.pi * u)], dim=1)


def _ring(u: Tensor) -> Tensor:
    return torch.stack([torch.cos(2 * math.pi * u), torch.sin(2 * math.pi * u)], dim=1)


CURVES: dict[str, tuple[Curve, ...]] = {
    "swiss_roll": (_roll,),
    "two_moons": (_moon, _other_moon),
    "rings": (_ring, lambda u: 0.5 * _ring(u)),
}


@dataclass(frozen=True, eq=False)
class CurveLaw:
    """The law of this module.

    Args:
        curves: the pieces c_p, smooth.
        sigma: width of the noise, in units of the root mean square component of the curves, >= 0.001.
        weights: (P,), > 0; they are normalised.
    """

    curves: Sequence[Curve]
    sigma: float
    weights: tuple[float, ...]

    @cached_property
    def _frame(self) -> tuple[Tensor, float]:
        """Mean (2,) of the curves as they are written, and the root mean square component about it."""
        u, weight = _panels(64)
        points = torch.stack([curve(u) for curve in self.curves])  # (P, K, 2)
        both = self.prior[:, None] * weight
        mean = torch.einsum("pk,pkd->d", both, points)
        square = torch.einsum("pk,pkd->", both, (points - mean).square())
        return mean, math.sqrt(float(square) / 2)

    @property
    def prior(self) -> Tensor:
        """Normalised weights (P,), float64."""
        weights = torch.tensor(self.weights, dtype=torch.float64)
        return weights / weights.sum()

    def on_piece(self, piece: int, u: Tensor) -> Tensor:
        """Points (n, 2) of one piece at u (n,), in units of the data."""
        mean, scale = self._frame
        return (self.curves[piece](u) - mean) / scale

    @cached_property
    def nodes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Points (K, 2), their weights (K,), of sum 1, and the piece (K,) that each lies on."""
        found = []
        for piece, part in enumerate(self.prior):
            u, weight = _panels(max(4, math.ceil(self._speed(piece) / (PANEL * self.sigma))))
            found.append((self.on_piece(piece, u), part * weight, torch.full(u.shape, piece)))
        points, weights, pieces = (torch.cat(parts) for parts in zip(*found, strict=True))
        return points, weights, pieces

    def _speed(self, piece: int) -> float:
        """The largest length of a piece per u, in units of the data."""
        steps = 2048
        points = self.on_piece(piece, torch.linspace(0, 1, steps + 1, dtype=torch.float64))
        return steps * float((points[1:] - points[:-1]).norm(dim=1).max())

    @cached_property
    def exact(self) -> GaussianMixture:
        """Denoiser and density."""
        points, weights, _ = self.nodes
        return GaussianMixture(points, torch.full((len(points),), self.sigma**2, dtype=torch.float64), weights)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent draws (n, 2), float64."""
        piece = torch.multinomial(self.prior, n, replacement=True, generator=generator)
        u = torch.rand(n, generator=generator, dtype=torch.float64)
        all_pieces = torch.stack([self.on_piece(p, u) for p in range(len(self.curves))])
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return all_pieces[piece, torch.arange(n)] + self.sigma * noise

    def classes(self, x: Tensor) -> Tensor:
        """Posterior (B, P) of the piece that x (B, 2) comes from."""
        joint, pieces = self.exact.responsibilities(x.double(), torch.tensor(1e-3)), self.nodes[2]
        return torch.stack([joint[:, pieces == p].sum(1) for p in range(len(self.curves))], dim=1)

    def entropy(self) -> float:
        r"""Differential entropy :math:`-\int p \ln p` in nats, by quadrature over u and the noise."""
        position, weight = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(HERMITE))
        both = torch.outer(weight, weight).flatten() / weight.sum() ** 2
        shifts = self.sigma * torch.cartesian_prod(position, position)  # (H^2, 2)
        total = 0.0
        for piece, part in enumerate(self.prior):
            end = min(0.25, REACH * self.sigma / self._speed(piece))
            for low, high, count in ((0, end, END), (end, 1 - end, MIDDLE), (1 - end, 1, END)):
                u, weight = _panels(count)
                points = self.on_piece(piece, low + (high - low) * u)
                shares = (high - low) * weight
                for some, share in zip(points.split(ORDER), shares.split(ORDER), strict=True):
                    y = (some[:, None] + shifts).reshape(-1, 2)
                    log_p = self._local_log_density(y, some).reshape(len(some), -1)
                    total -= float(part * share @ (log_p @ both))
        return total

    def _local_log_density(self, y: Tensor, centres: Tensor) -> Tensor:
        """ln p of y (B, 2) that lie within 10 widths of some of the centres, from the nodes around these."""
        points, weights, _ = self.nodes
        near = torch.cdist(points, centres).min(1).values < NEAR * self.sigma
        variance = torch.full((int(near.sum()),), self.sigma**2, dtype=torch.float64)
        law = GaussianMixture(points[near], variance, weights[near])
        return law.log_density(y, torch.tensor(0.0)) + torch.log(weights[near].sum())


def curve_law(name: str, sigma: float, weights: tuple[float, ...]) -> CurveLaw:
    """The law about the curves of this name; a law of one piece has no use for weights."""
    curves = CURVES[name]
    return CurveLaw(curves, sigma, weights if len(curves) > 1 else (1.0,))


def _panels(count: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, 1], (count * ORDER,), in so many equal panels."""
    node, weight = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(ORDER))
    u = (torch.arange(count, dtype=torch.float64)[:, None] + (node + 1) / 2) / count
    return u.flatten(), (weight / 2 / count).expand(count, -1).flatten()
