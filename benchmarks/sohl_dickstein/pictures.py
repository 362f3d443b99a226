r"""Small pictures: a network of the core, trained for seconds, and the bound K of its chain with continuous time.

.. math:: K = B + \tfrac d2 \ln(s_{min}^2/v) + \tfrac d2 - \tfrac{1}{2v} \langle |x - D(y, s_{min})|^2 \rangle ,

B the right-hand side of :mod:`physgen.diffusion.inference.bound` and v the variance of the last step, to
:math:`N(D, v)`, from training data: a lower bound of ln p of the dequantised pictures. In units of the standard
deviation of a value, as the paper has it, the independent Gaussian of the data has :math:`-\tfrac12 \log_2 2\pi e =
-2.047` bits for each. Shapes: N pictures, d values of each.
"""

import math
from dataclasses import dataclass

import torch

from benchmarks.sohl_dickstein.row import Clock
from physgen.diffusion.inference.bound import BoundSettings, denoising_bound
from physgen.diffusion.learning.denoisers import LogUniform
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.noise import noise_like
from physgen.ensemble import split
from physgen.runs.encoding import encode_part, fit_encoding
from physgen.runs.model import build_denoiser

NULL = -0.5 * math.log2(2 * math.pi * math.e)  # bits for each value of unit variance


@dataclass
class Trained:
    """What a training left: the denoiser, its encoding, the data in encoded units, and the CPU seconds."""

    denoiser: torch.nn.Module
    domain: object
    encoding: object
    x: torch.Tensor
    test: torch.Tensor
    parts: dict
    cost: float


def train_pictures(domain, network, steps, batch, shares, s_min, seed=1):
    """Train on the first share of the domain's pictures; ``shares`` of train and test."""
    torch.set_num_threads(1)
    parts = split(domain.simulate(seed), domain.split_by, {"train": shares[0], "test": shares[1]}, seed=0)
    clock = Clock()
    encoding, x, _ = fit_encoding(domain, parts["train"], s_min=s_min)
    spectrum = domain.values.prior_spectrum(x)
    denoiser = build_denoiser(domain, network, seed, encoding, spectrum)
    recipe = Recipe(
        steps, batch, learning_rate=2e-3, seed=seed, level_distribution=LogUniform(encoding.s_min, encoding.s_max)
    )  # fmt: skip
    state = TrainingState(denoiser, recipe)
    for _ in train(state, x, augment=(lambda x, c, draws: domain.augment(x, c, draws)) if domain.flip else None):
        pass
    test = encode_part(domain, parts["test"], encoding.domain).x
    return Trained(state.ema, domain, encoding, x, test, parts, clock.read())


@torch.no_grad()
def bound_bits(made, count, draws=4, strata=16):
    """K of each of ``count`` test pictures in bits for each value, in units of the standard deviation, (count,)."""
    x, s = made.test[:count], made.encoding.s_min
    found = denoising_bound(
        made.denoiser, (s, made.encoding.s_max), x, settings=BoundSettings(draws=draws, strata=strata, seed=3)
    ).mean(0)  # fmt: skip
    v = float(last_errors(made, made.x[:256], 4).mean())
    d = x[0].numel()
    last = 0.5 * d * (math.log(s * s / v) + 1) - last_errors(made, x, 5) * d / (2 * v)
    return (found + last) / (d * math.log(2))


def last_errors(made, x, seed):
    """Mean square error of D at the smallest level for each picture, (N,)."""
    z = noise_like(seed, "last step", range(len(x)), tuple(x.shape[1:]))
    level = torch.full((len(x),), made.encoding.s_min)
    return (made.denoiser(x + made.encoding.s_min * z, level) - x).double().square().flatten(1).mean(1)


def gaussian_bits(covariance, apart):
    """log2 of a Gaussian of this covariance (d, d) at deviations (N, d), for each value, (N,)."""
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, apart.T, upper=False)
    logs = -0.5 * white.square().sum(0) - factor.diagonal().log().sum()
    d = len(covariance)
    return (logs / d - 0.5 * math.log(2 * math.pi)) / math.log(2)
