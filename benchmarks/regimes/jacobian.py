"""Spectrum of the score's Jacobian on linear manifolds (2410.05898): the dimension by the largest gap, and the bulk
beside the Marchenko-Pastur law."""

import functools
import math

import numpy as np
import torch

from benchmarks.regimes.drawing import Curve, draw_curves, save
from benchmarks.regimes.row import Row
from physgen.diagnostics.regimes.jacobian import (
    bulk_distance,
    intrinsic_dimension,
    jacobian_spectrum,
    manifold_variances,
    marchenko_pastur,
)

D, SEED, SAMPLES = 200, 3, 4
DIMENSIONS = (20, 50, 100)
LEVELS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)


@functools.cache
def manifold(m):
    """F (D, m) of entries of variance 1/D, and the exact denoiser of x = F u."""
    factor = torch.as_tensor(np.random.default_rng([SEED, m]).standard_normal((D, m)) / math.sqrt(D))

    def denoise(y, s, condition=None):
        inner = factor.T @ factor + s[0] ** 2 * torch.eye(m, dtype=y.dtype)
        return (torch.linalg.solve(inner, (y.flatten(1) @ factor).T).T @ factor.T).reshape(y.shape)

    return factor, denoise


@functools.cache
def spectrum(m, s):
    factor, denoise = manifold(m)
    rng = np.random.default_rng([SEED, m, 1])
    u, z = (torch.as_tensor(rng.standard_normal((SAMPLES, size))) for size in (m, D))
    return jacobian_spectrum(denoise, (u @ factor.T + s * z).reshape(SAMPLES, 1, D), s)


def rows():
    table = []
    for m in DIMENSIONS:
        for s in LEVELS[:3]:
            table.append(dimension_row(m, s))
        table.append(edge_row(m))
        table += bulk_rows(m)
    table.append(trivial_row())
    return table


def dimension_row(m, s):
    found = intrinsic_dimension(spectrum(m, s))
    lowest = (1 - math.sqrt(m / D)) ** 2
    return Row(
        f"intrinsic dimension, linear manifold m = {m} in d = {D}, s = {s:g}", float(found["value"]),
        float(found["error"]), float(m), "exact below the gap (2410.05898)", bool((found["dimension"] == m).all()),
        f"all {SAMPLES} samples; gap {float(found['gap'].min()):.3f}, second {float(found['second_gap'].max()):.3f}; "
        f"lower edge of the bulk {lowest:.3f} against s^2 = {s**2:g}",
    )  # fmt: skip


def edge_row(m):
    """The gap that theory has: from 0 to the g of the smallest eigenvalue (Tracy-Widom: mean 1.21, scatter 1.27)."""
    s, roots = 0.3, (math.sqrt(D) - math.sqrt(m))
    width = roots * (1 / math.sqrt(m) - 1 / math.sqrt(D)) ** (1 / 3) / D
    lowest = roots**2 / D + 1.21 * width
    gap = float(intrinsic_dimension(spectrum(m, s))["gap"].mean())
    theory, scatter = lowest / (lowest + s**2), 1.27 * width * s**2 / (lowest + s**2) ** 2
    return Row(
        f"gap of the spectrum, m = {m}, d = {D}, s = {s:g}", gap, scatter, theory, "", abs(gap - theory) < 3 * scatter,
        "smallest eigenvalue of Marchenko-Pastur at finite d; the error is its scatter from one F to another, 3 of it",
    )  # fmt: skip


def bulk_rows(m):
    """Variances read from the spectrum at s = .1, beside random matrices of the same size and beside a wrong law."""
    variances = manifold_variances(spectrum(m, 0.1), m)[0]
    right = bulk_distance(variances, D, seed=SEED)
    wrong = bulk_distance(1.1 * variances, D, seed=SEED)
    settings = f"bulk of m = {m}, d = {D}, s = 0.1"
    return [
        Row(
            f"KS distance to Marchenko-Pastur, {settings}", right["distance"], 0.0, right["floor"], "",
            right["p"] > 0.01, f"theory: mean of random F of the same size, 95 % below {right['floor_95']:.4f}; "
            f"p = {right['p']:.2f} of 200",
        ),
        Row(
            f"the same with variances 1.1 times too large, {settings}", wrong["distance"], 0.0, wrong["floor"], "",
            wrong["p"] < 0.05, f"must be seen; p = {wrong['p']:.3f}",
        ),
    ]  # fmt: skip


def trivial_row():
    found = intrinsic_dimension(spectrum(50, 10.0))
    return Row(
        f"intrinsic dimension, m = 50 in d = {D}, s = 10", float(found["value"]), float(found["error"]), 0.0,
        "trivial phase (2410.05898)", bool((found["dimension"] == 0).all()), "noise leaves no direction to be kept",
    )  # fmt: skip


def figures(folder):
    index = np.arange(1, D + 1)
    levels = [
        Curve(index, spectrum(50, s)["denoiser"][0], None, f"s = {s:g}", place, "-") for place, s in enumerate(LEVELS)
    ]
    bulks = []
    for place, m in enumerate(DIMENSIONS):
        variances = np.sort(manifold_variances(spectrum(m, 0.1), m)[0])
        bulks.append(Curve(variances, (np.arange(m) + 0.5) / m, None, f"m = {m}", place))
        bulks.append(Curve(*marchenko_pastur(m / D), None, "", place, "-"))
    drawn = {
        "jacobian-gap": draw_curves({f"m = 50 in d = {D}": levels}, "eigenvalue", "share of a displacement kept"),
        "jacobian-bulk": draw_curves({"variances of the manifold": bulks}, "variance", "fraction below"),
    }
    captions = {
        "jacobian-gap": "Eigenvalues of the denoiser's Jacobian on a linear manifold of dimension 50, by noise level.",
        "jacobian-bulk": "Variances read from the Jacobian at s = 0.1 (points) and the Marchenko-Pastur law (lines).",
    }
    return [(save(figure, folder, name), captions[name]) for name, figure in drawn.items()]
