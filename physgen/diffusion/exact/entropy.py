r"""Entropy rate and entropy production of the forward Ornstein-Uhlenbeck process, :math:`x_t = e^{-t} x_0 + \sqrt D z`.

The entropy h of :math:`p_t` changes at :math:`dh/dt = E|\nabla\log p_t|^2 - d`, and entropy is produced at
:math:`\sigma = E|\nabla\log p_t + x|^2`, whose integral from t on is :math:`KL(p_t\,\|\,N(0, I))`. A mode of
variance P has :math:`V = P e^{-2t} + D, D = 1 - e^{-2t}`, entropy rate (1 - V)/V and production :math:`(1 - V)^2/V`.
Times are t_OU = ln(1 + s^2)/2. Unit: nats per unit of t_OU, all C x grid values together.
Source: de Bruijn's identity; the closed forms of a Gaussian follow from it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from physgen.diffusion.exact.field import GaussianField
from physgen.diffusion.exact.law import ExactLaw


def field_entropy_rate(law: GaussianField, t_OU: float) -> float:
    r""":math:`\sum_k (1 - V)/V`."""
    variance = _variance(law, t_OU)
    return float(((1 - variance) / variance).sum())


def field_entropy_production(law: GaussianField, t_OU: float) -> float:
    r""":math:`\sum_k (1 - V)^2/V + |\mu|^2 e^{-2t}`."""
    variance = _variance(law, t_OU)
    return float(((1 - variance) ** 2 / variance).sum()) + _square_mean(law) * math.exp(-2 * t_OU)


def field_KL(law: GaussianField, t_OU: float = 0.0) -> float:
    r""":math:`KL(p_t\,\|\,N(0, I)) = \tfrac12 \sum_k (V - 1 - \log V) + \tfrac12 |\mu|^2 e^{-2t}`."""
    variance = _variance(law, t_OU)
    modes = 0.5 * float((variance - 1 - torch.log(variance)).sum())
    return modes + 0.5 * _square_mean(law) * math.exp(-2 * t_OU)


def entropy_rates(law: ExactLaw, t_OU: float, n: int, generator: torch.Generator) -> dict[str, tuple[float, float]]:
    r"""Entropy rate and entropy production of any exact law from n of its samples, t_OU > 0.

    Returns:
        {"entropy_rate": (value, standard error), "entropy_production": (value, standard error)}.
    """
    if not t_OU > 0:
        raise ValueError(f"the score of a law of points needs noise: t_OU must be positive, got {t_OU}")
    scale, s = math.exp(-t_OU), math.sqrt(math.expm1(2 * t_OU))
    x0 = law.sample(n, generator).double()
    y = x0 + s * torch.randn(x0.shape, generator=generator, dtype=torch.float64).to(x0.device)
    score = law.score(y, torch.full((n,), s, dtype=torch.float64, device=y.device)) / scale
    rates = {
        "entropy_rate": score.square().flatten(1).sum(1) - y[0].numel(),
        "entropy_production": (score + scale * y).square().flatten(1).sum(1),
    }
    return {name: (float(rate.mean()), float(rate.std()) / math.sqrt(n)) for name, rate in rates.items()}


def _variance(law: GaussianField, t_OU: float) -> Tensor:
    if t_OU < 0:
        raise ValueError(f"t_OU must be >= 0, got {t_OU}")
    return 1 + (law.spectrum.double() - 1) * math.exp(-2 * t_OU)


def _square_mean(law: GaussianField) -> float:
    channels = torch.as_tensor(law.mean, dtype=torch.float64).expand(law.spectrum.shape[0])
    return float(channels.square().sum()) * law.spectrum[0].numel()
