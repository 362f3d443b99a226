r"""The Gaussian law with the variances of given data: an upper bound of what noisy data tell.

Variances along any orthonormal basis serve: of all laws that have them, the Gaussian one with independent modes has the
largest entropy. With the exact variances :math:`I_G(t) = \frac12\sum_k \ln(1 + P_k/s^2) \ge I(t)`; those of n data
scatter by :math:`P_k\sqrt{2/n}`, which lowers :math:`I_G` by O(1/n) of each mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen.diagnostics.regimes.closed_forms import gaussian_information
from physgen.diagnostics.regimes.left_out import Groups

LARGEST = 1024  # dimension up to which principal axes are computed
PLENTY = 2  # data for each dimension above which they are


@dataclass(frozen=True, eq=False)
class ModePower:
    """Sums of squared mode amplitudes about the mean, group by group."""

    sums: np.ndarray  # (U, d)
    sizes: np.ndarray  # (U,) data

    @classmethod
    def of(cls, x: Tensor, groups: Groups, stationary: bool) -> ModePower:
        r"""Modes: principal axes where data are plenty for their dimension, else Fourier modes of each channel.

        Args:
            x: (n, C, \*grid).
            groups: that the errors leave out.
            stationary: whether the law is the same everywhere: the mean is one number for each channel, and the modes
                are those of Fourier.
        """
        wide = x.double()
        axes = tuple(range(2, x.ndim))
        mean = wide.mean(dim=(0, *axes) if stationary else 0, keepdim=True)
        d, n = x[0].numel(), len(x)
        turn = None
        if not stationary and d <= LARGEST and n >= PLENTY * d:
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
        freedom = 1.0 if stationary else n / (n - 1)  # the mean took one of n data
        return cls(sums * freedom, groups.sizes.numpy())

    @property
    def spectrum(self) -> np.ndarray:
        """Variance of each mode, (d,)."""
        return np.asarray(self.sums.sum(0) / self.sizes.sum())

    def information(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Information in nats at each time (T,), and without each group (U, T)."""
        whole = gaussian_information(self.spectrum, times)
        rest = self.sizes.sum() - self.sizes
        without = [
            gaussian_information((self.sums.sum(0) - self.sums[u]) / rest[u], times)
            if rest[u] > 0
            else np.full(len(times), np.nan)
            for u in range(len(rest))
        ]
        return whole, np.stack(without)
