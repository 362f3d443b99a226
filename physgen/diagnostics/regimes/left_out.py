r"""Sums over atoms with groups of them left out, for errors that hold both the noise and the finite data set.

Each draw b starts from an atom of its own, and its statistic depends on all atoms through sums of exponentials. The
jackknife leaves out a group of atoms: from the sums of all draws, and the draws that started from it. So one error
holds what other noise and what other data would change.

Shapes: b draws, n atoms, U groups, m atoms of the largest group, K statistics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen.diagnostics.resampling import jackknife_variance

GROUPS = 64  # the error of an error from them is 9 per cent


@dataclass(frozen=True, eq=False)
class Groups:
    """Independent units of atoms, gathered into at most ``GROUPS`` groups that are left out in turn."""

    unit: Tensor  # (n,) number of the unit of each atom
    group: Tensor  # (n,) number of its group
    place: Tensor  # (U, m) atoms of each group, n where there is none
    sizes: Tensor  # (U,) atoms
    unit_sizes: Tensor  # (units,) atoms

    @classmethod
    def of(cls, n: int, unit: np.ndarray | None, seed: int) -> Groups:
        """Whole units are dealt to groups at random; ``unit`` None makes a unit of every atom."""
        labels = np.arange(n) if unit is None else np.unique(np.asarray(unit), return_inverse=True)[1]
        units = int(labels.max()) + 1
        count = min(units, GROUPS)
        dealt = np.random.default_rng([seed, 2]).permutation(units) % count
        group = dealt[labels]
        sizes = np.bincount(group, minlength=count)
        place = np.full((count, sizes.max()), n)
        for u in range(count):
            place[u, : sizes[u]] = np.flatnonzero(group == u)
        return cls(*(torch.as_tensor(v) for v in (labels, group, place, sizes, np.bincount(labels))))

    @property
    def count(self) -> int:
        """U"""
        return len(self.sizes)

    def log_sums(self, logs: Tensor) -> Tensor:
        """Logarithms of the sums of exponentials of each group, (b, n) -> (b, U)."""
        padded = torch.cat([logs, logs.new_full((len(logs), 1), -math.inf)], dim=1)
        return torch.logsumexp(padded[:, self.place.flatten()].unflatten(1, tuple(self.place.shape)), dim=2)

    def without_unit(self, logs: Tensor, sums: Tensor, own: Tensor) -> Tensor:
        """The sums (b, U) of :meth:`log_sums` without the unit that each draw's own atom (b,) belongs to."""
        here = self.place[self.group[own]]  # (b, m)
        padded = torch.cat([logs, logs.new_full((len(logs), 1), -math.inf)], dim=1)
        same = torch.cat([self.unit, -torch.ones(1, dtype=torch.long)])[here] == self.unit[own][:, None]
        rest = padded.gather(1, here).masked_fill(same, -math.inf)
        return sums.scatter(1, self.group[own][:, None], torch.logsumexp(rest, dim=1, keepdim=True))


def log_sum_without_each(log_sums: Tensor) -> Tensor:
    """Logarithm of the sum without each group, then without none: (b, U) -> (b, U + 1).

    The largest group is left out by summing the rest anew: a difference would lose all digits.
    """
    top, place = log_sums.max(dim=1, keepdim=True)
    top = torch.where(top.isfinite(), top, 0.0)
    weights = torch.exp(log_sums - top)
    total = weights.sum(1, keepdim=True)
    rest = torch.log((total - weights).clamp_min(0)) + top
    smaller = torch.logsumexp(log_sums.scatter(1, place, -math.inf), dim=1, keepdim=True)
    return torch.cat([rest.scatter(1, place, smaller), torch.log(total) + top], dim=1)


class DrawMeans:
    r"""Means over draws of K statistics without each group, less what a control variate of mean 0 explains.

    The control k is what is known of a draw beforehand; of each statistic :math:`c\,\bar k` is subtracted with the c
    of least squares over the draws (bias O(1/draws)).
    """

    def __init__(self, groups: int, statistics: int) -> None:
        self.sums = np.zeros((statistics, groups + 1))
        self.control, self.count = np.zeros(groups + 1), np.zeros(groups + 1)
        self.products = np.zeros((statistics, 3))  # of each: sum of g, of g^2, of g k
        self.squares = 0.0  # sum of k^2

    def add(self, values: Tensor, control: Tensor, own: Tensor) -> None:
        """Statistics (K, b, U + 1), or (K, b, 1) of what no group changes; control (b,); group of each draw (b,)."""
        kept = torch.ones(len(own), self.sums.shape[1], dtype=torch.float64)
        kept[torch.arange(len(own)), own] = 0
        # a draw does not count where its own group is left out, and may be infinite there
        self.sums += torch.where(kept.bool(), values, 0.0).sum(1).numpy()
        self.control += (control @ kept).numpy()
        self.count += kept.sum(0).numpy()
        whole = values[:, :, -1]
        self.products += torch.stack([whole.sum(1), whole.square().sum(1), whole @ control], dim=1).numpy()
        self.squares += float(control.square().sum())

    def means(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means without each group (K, U), means of all draws (K,), their variance from other noise alone (K,)."""
        n = self.count[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = self.squares / n - (self.control[-1] / n) ** 2
            joint = self.products[:, 2] / n - self.products[:, 0] / n * (self.control[-1] / n)
            slope = joint / spread if spread > 0 else np.zeros(len(joint))
            means = (self.sums - slope[:, None] * self.control) / self.count
            variance = self.products[:, 1] / n - (self.products[:, 0] / n) ** 2 - slope * joint
        return means[:, :-1], means[:, -1], np.maximum(variance, 0) / max(n - 2, 1)


def jackknife_error(without: np.ndarray) -> np.ndarray:
    """Standard error from a statistic without each group (U, ...); nan for fewer than two groups."""
    if len(without) < 2:
        return np.full(without.shape[1:], np.nan)
    return np.asarray(np.sqrt(jackknife_variance(without)))
