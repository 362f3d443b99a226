"""A model's energy beside the true one over configurations: correlation and slope, bootstrap errors over chains."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BOOTSTRAPS = 400


@dataclass(frozen=True)
class Agreement:
    """Pearson's r of both energies, slope of the model's against the true one, rms of their difference (nats)."""

    correlation: float
    correlation_error: float
    slope: float
    slope_error: float
    rms: float
    spread: float


def agreement(model: Tensor, true: Tensor, unit: int = 1, seed: int = 0) -> Agreement:
    """Of energies (N,); errors by resampling units of so many consecutive configurations."""
    e, t = (values.double().numpy() - float(values.double().mean()) for values in (model, true))
    sums = np.stack([np.ones_like(e), e, t, e * e, e * t, t * t], 1).reshape(-1, unit, 6).sum(1)
    counts = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), BOOTSTRAPS)
    correlation, slope = _figures(sums.sum(0)[None])
    errors = [values.std(ddof=1) for values in _figures(counts @ sums)]
    return Agreement(
        float(correlation[0]), float(errors[0]), float(slope[0]), float(errors[1]), float((e - t).std()), float(t.std())
    )


def _figures(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, e, t, ee, et, tt = sums.T
    covariance, of_model, of_true = et / n - e * t / n**2, ee / n - (e / n) ** 2, tt / n - (t / n) ** 2
    return covariance / np.sqrt(of_model * of_true), covariance / of_true


def energies_of(model, x: Tensor, block: int = 512) -> Tensor:
    """E (N,) without a graph."""
    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(block)])
