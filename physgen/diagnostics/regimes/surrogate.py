r"""The Gaussian law with the variances of given data: an upper bound of what noisy data tell.

Variances along any orthonormal basis serve: of all laws that have them, the Gaussian one with independent modes has the
largest entropy. With the exact variances :math:`I_G(t) = \frac12\sum_k \ln(1 + P_k/s^2) \ge I(t)`; those of n data
scatter, which lowers :math:`I_G` in the mean. To first order in 1/n that is made good: with :math:`g = P/(P + s^2)` by
:math:`\sum_k g_k^2/4n` in Fourier modes and by :math:`[(\sum_k g_k)^2 + \sum_k g_k^2]/4n` along principal axes, which
are fitted too; twice the former of data without a grid, whose values are modes (n counts independent units).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen.diagnostics.regimes.closed_forms import gaussian_information, noise_variance
from physgen.diagnostics.regimes.left_out import Groups

LARGEST = 1024  # dimension up to which principal axes are computed
PLENTY = 4  # data for each dimension above which they are


@dataclass(frozen=True, eq=False)
class ModePower:
    """Sums of squared mode amplitudes about the mean, group by group."""

    sums: np.ndarray  # (U, d)
    sizes: np.ndarray  # (U,) data
    units: int  # independent ones
    scatter: tuple[float, float]  # factors of (sum g)^2 and sum g^2 in what the scatter of the variances takes

    @classmethod
    def of(cls, x: Tensor, groups: Groups, stationary: bool, even: bool = False) -> ModePower:
        r"""Modes: principal axes where data are plenty for their dimension, else Fourier modes of each channel.

        Args:
            x: (n, C, \*grid).
            groups: that the errors leave out.
            stationary: whether the law is the same everywhere: the mean is one number for each channel, and the modes
                are those of Fourier.
            even: whether x and -x are equally likely: the mean is 0.
        """
        wide = x.double()
        axes = tuple(range(2, x.ndim))
        mean = wide.mean(dim=(0, *axes) if stationary else 0, keepdim=True)
        mean = torch.zeros_like(mean) if even else mean
        d, n = x[0].numel(), len(x)
        turn = None
        if not stationary and d <= LARGEST and len(groups.unit_sizes) >= PLENTY * d:
            flat = (wide - mean).flatten(1)
            turn = torch.linalg.eigh(flat.T @ flat).eigenvectors
        sums = np.zeros((groups.count, d))
        for u, place in enumerate(groups.place):
            part = wide[place[place < n]] - mean
            if turn is not None:
                amplitude = part.flatten(1) @ turn
            else:
                amplitude = torch.fft.fftn(part, dim=axes, norm="ortho").abs().flatten(1) if axes else part.flatten(1)
            sums[u] = amplitude.square().sum(0).numpy()
        freedom = 1.0 if stationary or even else n / (n - 1)  # the mean took one of n data
        # of principal axes, of complex modes, of single values
        scatter = (1.0, 1.0) if turn is not None else (0.0, 1.0 if axes else 2.0)
        return cls(sums * freedom, groups.sizes.numpy(), len(groups.unit_sizes), scatter)

    @property
    def spectrum(self) -> np.ndarray:
        """Variance of each mode, (d,)."""
        return np.asarray(self.sums.sum(0) / self.sizes.sum())

    def information(self, times: np.ndarray, corrected: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Information in nats at each time (T,), and without each group (U, T)."""
        rest = self.sizes.sum() - self.sizes
        without = [
            gaussian_information((self.sums.sum(0) - self.sums[u]) / rest[u], times)
            if rest[u] > 0
            else np.full(len(times), np.nan)
            for u in range(len(rest))
        ]
        lost = self._lost(times) if corrected else 0.0  # the same without each group: errors are those of the variances
        return gaussian_information(self.spectrum, times) + lost, np.stack(without) + lost

    def _lost(self, times: np.ndarray) -> np.ndarray:
        """What the scatter of the variances takes from the information in the mean, to first order in 1/n, (T,)."""
        kept = self.spectrum / (self.spectrum + noise_variance(times)[:, None])
        joint, single = self.scatter
        return np.asarray((joint * np.square(kept.sum(1)) + single * np.square(kept).sum(1)) / (4 * self.units))
