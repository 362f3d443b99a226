"""Digits of scikit-learn, 8 x 8 pixels of 17 levels, in place of MNIST, which needs a download: NOT the MNIST row.

Bits for each pixel, and the Parzen estimate of the paper's table beside its own floor: what training data, a perfect
model, get by the same estimate.
"""

import math

import torch

from benchmarks.sohl_dickstein.pictures import NULL, bound_bits, gaussian_bits, train_pictures
from benchmarks.sohl_dickstein.row import Clock, Row
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.domains.images import Images

DATA = Images(source="digits", class_condition=False)
NETWORK = {"kind": "unet", "width": 24, "multipliers": (1, 2)}
STEPS, BATCH, TESTED, DRAWN, LEVELS = 700, 64, 400, 4000, 17
WIDTHS = torch.logspace(-1.5, 0, 16, dtype=torch.float64)  # of the Parzen window, pixels in [0, 1]


def parzen(points, tested, width):
    """log2 of the mean of Gaussians of this width about the points, for each tested picture, (N,)."""
    d = points.shape[1]
    square = torch.cdist(tested, points, compute_mode="donot_use_mm_for_euclid_dist").square()
    logs = torch.logsumexp(-square / 2 / width**2, 1) - math.log(len(points))
    return (logs - 0.5 * d * torch.log(2 * math.pi * width**2)) / math.log(2)


def estimate(points, tested):
    """Mean and standard error of the Parzen estimate in bits on the second half, at the best width on the first."""
    half = len(tested) // 2
    best = max(WIDTHS, key=lambda w: float(parzen(points, tested[:half], w).mean()))
    found = parzen(points, tested[half:], best)
    return float(found.mean()), float(found.std()) / math.sqrt(len(found)), float(best)


def rows():
    """Bits for each pixel of the network and of a Gaussian; Parzen estimates of the network and of training data."""
    made, clock = train_pictures(DATA, NETWORK, STEPS, BATCH, (0.7, 0.3), s_min=0.02), Clock()
    values = bound_bits(made, TESTED)
    std = float(made.encoding.domain["std"][0])
    bits = -values + math.log2(std)  # of a level
    wide, mean = made.x.flatten(1).double(), made.x.flatten(1).double().mean(0)
    covariance = torch.cov(wide.T) + 1e-3 * torch.eye(wide.shape[1])
    gauss = -gaussian_bits(covariance, made.test[:TESTED].flatten(1).double() - mean) + math.log2(std)
    levels, spent = log_uniform(made.encoding.s_max, made.encoding.s_min, 20), made.cost + clock.read()
    drawn = sample(made.denoiser, levels, (DRAWN, 1, 8, 8), 7)
    points, train, test = (as_levels(x, made) for x in (drawn, made.x, made.test))
    own, floor, more = (estimate(p, test) for p in (points[: len(train)], train, points))
    kept = own[0] > floor[0] - 3 * math.hypot(own[1], floor[1])
    said = f"U-Net of width 24, {STEPS} steps of {BATCH} on {len(train)} digits"
    return [
        Row(
            "bits for each pixel of unseen digits (17 levels), at most", float(bits.mean()),
            float(bits.std()) / math.sqrt(TESTED), "", float(gauss.mean()), float(gauss.std()) / math.sqrt(TESTED),
            spent, float(bits.mean()) < float(gauss.mean()),
            f"{said}; {TESTED} test digits, uniform noise of a level; bound: a Gaussian law fitted to the training "
            f"digits, on the same; kept: below it. Equal levels have {math.log2(LEVELS):.3f}, independent Gaussian "
            f"pixels {-NULL + math.log2(std):.3f}",
        ),
        Row(
            f"Parzen estimate of {len(train)} drawn digits, bits", own[0], own[1],
            "317 (MNIST, 784 pixels, other data)", floor[0], floor[1], clock.read(), kept,
            f"pixels in [0, 1], width {own[2]:.3f}; bound: the {len(train)} training digits themselves, what a "
            "perfect model gets of so many draws; kept: not below it by 3 errors. Of a model it says little (Theis et "
            "al., arXiv:1511.01844)",
        ),
        Row(
            f"Parzen estimate of {DRAWN} drawn digits, bits", more[0], more[1], "", None, 0.0, None, None,
            f"width {more[2]:.3f}: more draws raise the estimate whatever the model",
        ),
    ]  # fmt: skip


def as_levels(x, made):
    """Encoded pictures as the nearest level over 16, (N, 64) float64."""
    mean, std = (float(made.encoding.domain[name][0]) for name in ("mean", "std"))
    return (x.flatten(1).double() * std + mean).round().clamp(0, LEVELS - 1) / (LEVELS - 1)
