"""Gaussian mixtures."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, like
from physgen.diffusion.exact.law import LOG_2PI, ExactLaw


@dataclass(frozen=True, eq=False)
class GaussianMixture(ExactLaw):
    r"""Mixture :math:`p(x_0) = \sum_j w_j N(\mu_j, \Sigma_j)`; under noise the covariances are :math:`\Sigma_j + s^2`.

    Args:
        means: (J, C, \*grid).
        covariance: (J,) variances of isotropic components, or (J, d, d) full matrices with d = C x grid, in the C
            order of the values.
        weights: (J,), > 0; they are normalised. None is equal weights.

    Raises:
        ValueError: shapes that do not fit, weights not positive, covariances not symmetric or with a negative
            eigenvalue.
    """

    means: Tensor
    covariance: Tensor
    weights: Tensor | None = None
    _variances: Tensor = field(init=False, repr=False)  # (J, d) or (J, 1) eigenvalues
    _axes: Tensor | None = field(init=False, repr=False)  # (J, d, d) eigenvectors in columns, None if isotropic

    def __post_init__(self) -> None:
        count, dimension = self.means.shape[0], self.means[0].numel()
        if tuple(self.covariance.shape) not in ((count,), (count, dimension, dimension)):
            expected = f"({count},) or ({count}, {dimension}, {dimension})"
            raise ValueError(f"covariance must have shape {expected}, got {tuple(self.covariance.shape)}")
        if self.weights is not None and (self.weights.shape != (count,) or not bool((self.weights > 0).all())):
            raise ValueError(f"weights must be {count} positive numbers, got {self.weights.tolist()}")
        variances, axes = self.covariance[:, None], None
        if self.covariance.ndim == 3:
            if not torch.allclose(self.covariance, self.covariance.mT):
                raise ValueError("covariance matrices must be symmetric")
            variances, axes = torch.linalg.eigh(self.covariance)
        if float(variances.min()) < -1e-6 * float(variances.abs().max()):
            raise ValueError(f"covariances must not have negative eigenvalues, got {float(variances.min())}")
        object.__setattr__(self, "_variances", variances.clamp(min=0))
        object.__setattr__(self, "_axes", axes)

    def _log_weights(self, y: Tensor) -> Tensor:
        weights = torch.ones(len(self.means)) if self.weights is None else self.weights
        return torch.log(weights / weights.sum()).to(y)

    def _components(self, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log joint density (B, J) of y and component, offsets (B, J, d) and noisy variances (B, J, d) in eigenvector
        coordinates."""
        offset = y.flatten(1)[:, None] - self.means.to(y).flatten(1)
        if self._axes is not None:
            offset = torch.einsum("bjd,jde->bje", offset, self._axes.to(y))
        variance = (self._variances.to(y) + like(s, offset) ** 2).expand_as(offset)
        log_density = -0.5 * (offset**2 / variance + torch.log(variance) + LOG_2PI).sum(-1)
        return self._log_weights(y) + log_density, offset, variance

    def _isotropic(self, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Log joint density (B, J) and noisy variances (B, J) of isotropic components, by products of matrices.

        In float64: large squares are subtracted.
        """
        wide, means = y.flatten(1).double(), self.means.flatten(1).to(y.device, torch.float64)
        square = wide.square().sum(1, keepdim=True) - 2 * wide @ means.T + means.square().sum(1)
        variance = self._variances.T.to(wide) + like(s.double(), wide).square().expand(len(y), 1)
        log_density = -0.5 * (square.clamp(min=0) / variance + wide.shape[1] * (torch.log(variance) + LOG_2PI))
        return self._log_weights(wide) + log_density, variance

    def _log_joint(self, y: Tensor, s: Tensor) -> Tensor:
        return self._isotropic(y, s)[0] if self._axes is None else self._components(y, s)[0]

    def responsibilities(self, y: Tensor, s: Tensor) -> Tensor:
        """Posterior probability (B, J) of the components given y."""
        return torch.softmax(self._log_joint(y, s), dim=1).to(y.dtype)

    def _posterior_mean_of(self, log_joint: Tensor, value: Tensor) -> Tensor:
        """Mean over components of value (B, J, d), given in eigenvector coordinates; returns (B, d)."""
        if self._axes is not None:
            value = torch.einsum("bje,jde->bjd", value, self._axes.to(value))
        return torch.einsum("bj,bjd->bd", torch.softmax(log_joint, dim=1), value)

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        if self._axes is None:
            log_joint, variance = self._isotropic(y, s)
            posterior, shrinkage = torch.softmax(log_joint, dim=1), self._variances.T.to(variance) / variance
            centre = ((posterior * (1 - shrinkage)).to(y.dtype) @ self.means.to(y).flatten(1)).reshape(y.shape)
            return centre + like((posterior * shrinkage).sum(1).to(y.dtype), y) * y
        log_joint, offset, variance = self._components(y, s)
        inside = self._posterior_mean_of(log_joint, offset * (self._variances.to(y) / variance))
        return (torch.softmax(log_joint, dim=1) @ self.means.to(y).flatten(1) + inside).reshape(y.shape)

    def score(self, y: Tensor, s: Tensor) -> Tensor:
        log_joint, offset, variance = self._components(y, s)
        return self._posterior_mean_of(log_joint, -offset / variance).reshape(y.shape)

    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        return torch.logsumexp(self._log_joint(y, s), dim=1).to(y.dtype)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        weights = torch.exp(self._log_weights(torch.empty(0, dtype=torch.float64, device=device)))
        component = torch.multinomial(weights, n, replacement=True, generator=generator).to(self.means.device)
        shape = (n, self.means[0].numel())
        white = torch.randn(shape, generator=generator, device=device, dtype=torch.float64).to(self.means)
        coloured = self._variances.to(white).sqrt()[component] * white
        if self._axes is not None:
            coloured = torch.einsum("ne,nde->nd", coloured, self._axes.to(white)[component])
        return self.means[component] + coloured.reshape(n, *self.means.shape[1:])
