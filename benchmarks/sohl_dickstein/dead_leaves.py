"""Dead leaves: discs of radii r^-3 that occlude each other; K in bits for each pixel, beside the Gaussian bound.

Ours have 16 x 16 pixels, radii of 1 to 16 pixels, 256 grey values with uniform noise of one level; the paper states
neither size, radii nor grey values of its own, so that K of one cannot be set against K of the other.
"""

import math

import numpy as np
import torch

from benchmarks.sohl_dickstein.pictures import NULL, bound_bits, gaussian_bits, train_pictures
from benchmarks.sohl_dickstein.row import Clock, Row
from physgen.domains.images import Images
from physgen.domains.images.dead_leaves import same_leaf

CELLS, RADII, LEVELS, STEPS, BATCH, TESTED = 16, (1.0, 16.0), 256, 400, 48, 300
DATA = Images(
    source="dead_leaves", count=6000, cells=CELLS, smallest_radius=RADII[0], largest_radius=RADII[1], levels=LEVELS,
    flip=True,
)  # fmt: skip
NETWORK = {"kind": "unet", "width": 16, "multipliers": (1, 2)}


def exact_covariance():
    """Of the pixels of a dequantised picture, in units of the standard deviation of one, (d, d)."""
    place = np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS), indexing="ij"), -1).reshape(-1, 2).astype(float)
    together = same_leaf(np.linalg.norm(place[:, None] - place, axis=2), RADII)
    grey, noise = (LEVELS**2 - 1) / 12, 1 / 12
    return torch.from_numpy(together * grey + noise * np.eye(len(place))) / (grey + noise)


def rows():
    """K of the network, and what the covariance alone gives."""
    clock = Clock()
    covariance = exact_covariance()
    gauss = -0.5 * float(torch.linalg.slogdet(covariance).logabsdet) / len(covariance) / math.log(2) + NULL
    setting, paper = clock.read(), "1.489 (MCGSM 1.244)"
    made = train_pictures(DATA, NETWORK, STEPS, BATCH, (0.9, 0.1), s_min=0.004)
    values = bound_bits(made, TESTED)
    value, error = float(values.mean()), float(values.std()) / math.sqrt(TESTED)
    seen = gaussian_bits(covariance, made.test[:TESTED].flatten(1).double())
    said = f"U-Net of width 16, {STEPS} steps of {BATCH}, {TESTED} test pictures"
    return [
        Row(
            "K in bits for each pixel, in units of its standard deviation", value, error, paper, gauss, 0.0,
            made.cost + clock.read() + setting, value > gauss + 3 * error,
            f"{said}; bound: a Gaussian law of the exact covariance, whose −<log2 p> no law of these edges lies below, "
            "so a good model is above; kept: above it by 3 errors. Data differ (above): not comparable with the paper",
        ),
        Row(
            "K − L_null", value - NULL, error, "3.536", gauss - NULL, 0.0, None, None,
            "L_null = −log2(2 pi e)/2; bound as above, −log2 det(C)/2d; of a field of spectrum k^-3 on 256^2 pixels "
            "−<log2 P(k)>/2 = 3.364, so that most of the paper's 3.536 may be covariance",
        ),
        Row(
            "gain over the Gaussian law on the same test pictures", float((values - seen).mean()),
            float((values - seen).std()) / math.sqrt(TESTED), "0.245 (over MCGSM)", None, 0.0, None, None,
            "paired; what the network has learned beyond the spectrum",
        ),
    ]  # fmt: skip
