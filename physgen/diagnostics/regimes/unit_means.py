"""Averages over samples that are independent only between units, with their errors; and the noise of the regimes.

Legend: n samples, U independent units, \\*shape of one number, C channels, \\*grid lattice.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physgen.diagnostics.resampling import jackknife_variance
from physgen.errors import InputError


def unit_index(unit: ArrayLike | None, n: int) -> np.ndarray:
    """Numbers 0 ... U - 1 (n,) of the independent unit of each sample; every sample is its own where None is given."""
    if unit is None:
        return np.arange(n)
    given = np.asarray(unit)
    if given.shape != (n,):
        raise InputError(f"unit names the independent unit of each of the {n} samples, got shape {given.shape}")
    return np.unique(given, return_inverse=True)[1]


def unit_sums(per_sample: ArrayLike, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Sums (U, \*shape) of (n, \*shape) over the samples of each unit, and the number (U,) of these."""
    values = np.asarray(per_sample, dtype=float)
    sums = np.zeros((int(index.max()) + 1, *values.shape[1:]))
    np.add.at(sums, index, values)
    return sums, np.bincount(index).astype(float)


def without_each(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    r"""Means (U, \*shape) over all samples but those of one unit; nan for a single unit."""
    with np.errstate(invalid="ignore"):
        return (sums.sum(0) - sums) / (counts.sum() - counts).reshape(-1, *[1] * (sums.ndim - 1))


def mean_and_error(per_sample: ArrayLike, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean over samples (\*shape), and its jackknife error over units; nan for a single unit."""
    sums, counts = unit_sums(per_sample, index)
    error = np.sqrt(jackknife_variance(without_each(sums, counts)))
    return sums.sum(0) / counts.sum(), error


def frequency_and_error(hits: ArrayLike, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Frequency of hits (n, \*shape) in [0, 1] with its error, which is never 0.

    The jackknife over units; where all units agree that would be 0, and the error is then the standard deviation of the
    posterior Beta(1/2, U + 1/2) of a frequency that was never seen in U independent trials (Jeffreys' prior).
    """
    value, error = mean_and_error(hits, index)
    units = int(index.max()) + 1
    unseen = math.sqrt(0.5 * (units + 0.5) / ((units + 1) ** 2 * (units + 2)))
    return value, np.where(error > 1e-12, error, unseen) if units > 1 else error


def level_of(t: float) -> float:
    r"""Noise level :math:`s = \sqrt{e^{2t} - 1}` of the Ornstein-Uhlenbeck time t > 0."""
    if not (t > 0 and math.isfinite(t)):
        raise InputError(f"times of the regimes are finite and above 0, got t = {t:g}")
    return math.sqrt(math.expm1(2 * t))


def times_of(times: ArrayLike) -> np.ndarray:
    """The times as a float array (T,), checked."""
    found = np.atleast_1d(np.asarray(times, dtype=float))
    if found.ndim != 1 or len(found) == 0:
        raise InputError(f"times are a list of numbers, got shape {found.shape}")
    for t in found:
        level_of(float(t))
    return found


def white_noise(like: Tensor, seed: int, *stream: int) -> Tensor:
    """Standard normal numbers like a tensor (n, ...); row j is the same for any n, and depends on seed and stream."""
    words = [int(word) % 2**64 for word in (seed, *stream)]
    numbers = np.random.default_rng(words).standard_normal(tuple(like.shape))
    return torch.from_numpy(numbers).to(like)


def uniform_noise(like: Tensor, seed: int, *stream: int) -> Tensor:
    """Uniform numbers in [0, 1), float64, otherwise as :func:`white_noise`."""
    words = [int(word) % 2**64 for word in (seed, *stream)]
    return torch.from_numpy(np.random.default_rng(words).random(tuple(like.shape))).to(like.device)


def seed_of(seed: int, *stream: int) -> int:
    """A seed below 2^63 for another generator, of which no two (seed, stream) share one but by accident."""
    words = np.random.SeedSequence([int(word) % 2**64 for word in (seed, *stream)]).generate_state(2, np.uint64)
    return int(words[0] >> np.uint64(1))
