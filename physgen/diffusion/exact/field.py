"""Gaussian fields: the Wiener filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, like
from physgen.diffusion.exact.law import LOG_2PI, ExactLaw


@dataclass(frozen=True, eq=False)
class GaussianField(ExactLaw):
    r"""Periodic Gaussian field in 1 to 3 dimensions: :math:`D = \mu + \frac{P}{P + s^2}(y - \mu)`.

    Args:
        spectrum: P (C, \*grid), the variance :math:`E|\hat x_k|^2` of the modes of the orthonormal FFT
            (``norm="ortho"``; white noise of unit variance has P = 1), all modes in ``fftn`` order, >= 0 and even,
            P(k) = P(-k). Channels are independent.
        mean: (C,) or one number for all channels.

    Raises:
        ValueError: spectrum negative, not even, or not of shape (C, \*grid) in 1 to 3 dimensions.
    """

    spectrum: Tensor
    mean: Tensor | float = 0.0

    def __post_init__(self) -> None:
        spectrum = self.spectrum
        if not 2 <= spectrum.ndim <= 4:
            raise ValueError(f"spectrum must be (C, *grid) with 1 to 3 grid axes, got shape {tuple(spectrum.shape)}")
        if not bool((spectrum >= 0).all()):
            raise ValueError(f"spectrum must be >= 0 everywhere, got a least value of {float(spectrum.min())}")
        odd = float((spectrum - _reflect(spectrum, _axes(spectrum))).abs().max())
        if odd > 1e-5 * float(spectrum.max()):
            raise ValueError(f"a real field has P(k) = P(-k) in fftn order, this spectrum differs by up to {odd}")

    @classmethod
    def fit(cls, x: Tensor, isotropic: bool = False) -> GaussianField:
        r"""The Gaussian field with the mean and the spectrum of the samples x (n, C, \*grid).

        Args:
            x: samples, float; the mean is taken per channel over samples and lattice.
            isotropic: average P over the lattice's reflections, and over the exchange of axes of equal length (equal
                spacing assumed).
        """
        wide = x.double()
        mean = wide.mean(dim=(0, *range(2, x.ndim)))
        modes = torch.fft.fftn(wide - like(mean, wide[0]), dim=tuple(range(2, x.ndim)), norm="ortho")
        spectrum = modes.abs().square().mean(0)
        return cls(_symmetrized(spectrum) if isotropic else spectrum, mean)

    @classmethod
    def from_half_spectrum(cls, half: Tensor, grid: Sequence[int], mean: Tensor | float = 0.0) -> GaussianField:
        r"""The same from the modes (C, \*grid[:-1], grid[-1]//2 + 1) in ``rfftn`` order."""
        missing = [grid[-1] - k for k in range(grid[-1] // 2 + 1, grid[-1])]
        mirrored = _reflect(half, _axes(half)[:-1])[..., missing]
        return cls(torch.cat([half, mirrored], dim=-1), mean)

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        spectrum = self.spectrum.to(y)
        return self._mean(y) + _filter(y - self._mean(y), spectrum / (spectrum + like(s, y) ** 2))

    def prior_covariance(self, y: Tensor, s: Tensor, condition: Condition = None) -> Callable[[Tensor], Tensor]:
        """Covariance of x0 given y, P s^2/(P + s^2) by modes, as a function of x like y."""
        spectrum, variance = self.spectrum.to(y), like(s, y) ** 2
        kept = spectrum * variance / (spectrum + variance)
        return lambda x: _filter(x, kept)

    def score(self, y: Tensor, s: Tensor) -> Tensor:
        return _filter(self._mean(y) - y, 1 / (self.spectrum.to(y) + like(s, y) ** 2))

    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        variance = self.spectrum.to(y) + like(s, y) ** 2
        modes = torch.fft.fftn(y - self._mean(y), dim=_axes(self.spectrum), norm="ortho")
        return -0.5 * (modes.abs() ** 2 / variance + torch.log(variance) + LOG_2PI).flatten(1).sum(1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        shape, device = (n, *self.spectrum.shape), generator.device
        white = torch.randn(shape, generator=generator, device=device, dtype=torch.float64).to(self.spectrum)
        return self._mean(white) + _filter(white, self.spectrum.sqrt().expand_as(white))

    def _mean(self, y: Tensor) -> Tensor:
        return like(torch.as_tensor(self.mean).to(y).expand(y.shape[1]), y[0])


def _axes(spectrum: Tensor) -> tuple[int, ...]:
    """Grid axes counted from the end, the same for (C, *grid) and (B, C, *grid)."""
    return tuple(range(1 - spectrum.ndim, 0))


def _reflect(spectrum: Tensor, axes: Sequence[int]) -> Tensor:
    """k -> -k along the axes, in fftn order."""
    for axis in axes:
        spectrum = spectrum.flip(axis).roll(1, axis)
    return spectrum


def _symmetrized(spectrum: Tensor) -> Tensor:
    axes = _axes(spectrum)
    for axis in axes:
        spectrum = 0.5 * (spectrum + _reflect(spectrum, [axis]))
    for a in axes:  # the mean over all permutations of equal axes is a product of coset means, built up axis by axis
        earlier = [b for b in axes if b < a and spectrum.shape[b] == spectrum.shape[a]]
        spectrum = torch.stack([spectrum, *(spectrum.transpose(a, b) for b in earlier)]).mean(0)
    return spectrum


def _filter(y: Tensor, transfer: Tensor) -> Tensor:
    """y with its Fourier modes multiplied by an even real transfer function (B, C, *grid) in fftn order."""
    axes = tuple(range(2, y.ndim))
    modes = torch.fft.rfftn(y, dim=axes, norm="ortho")
    return torch.fft.irfftn(modes * transfer[..., : modes.shape[-1]], s=y.shape[2:], dim=axes, norm="ortho")
