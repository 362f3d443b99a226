"""Spectrum of the score's Jacobian on laws whose Jacobian is known."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes.jacobian import (
    bulk_distance,
    denoiser_jacobian,
    intrinsic_dimension,
    jacobian_spectrum,
    manifold_variances,
    marchenko_pastur,
)
from physgen.errors import InputError

D, M = 60, 15


@pytest.fixture(scope="module")
def factor():
    return torch.as_tensor(np.random.default_rng(4).standard_normal((D, M)) / math.sqrt(D))


@pytest.fixture(scope="module")
def manifold(factor):
    """The exact denoiser of x = F u."""
    covariance = factor @ factor.T

    def denoise(y, s, condition=None):
        gain = torch.linalg.solve(covariance + s[0] ** 2 * torch.eye(D, dtype=y.dtype), covariance)
        return (y.flatten(1) @ gain.T).reshape(y.shape)

    return denoise


def noisy(factor, s, count=3):
    g = torch.Generator().manual_seed(1)
    u, z = (torch.randn(count, k, generator=g, dtype=torch.float64) for k in (M, D))
    return (u @ factor.T + s * z).reshape(count, 1, D)


@pytest.mark.parametrize("s", [0.02, 0.2])
def test_dimension_and_bulk_of_a_linear_manifold_are_exact(manifold, factor, s):
    spectrum = jacobian_spectrum(manifold, noisy(factor, s), s)
    found = intrinsic_dimension(spectrum)
    assert found["dimension"].values.tolist() == [M] * 3
    assert (float(found["value"]), float(found["error"])) == (M, 0.0)
    assert float(found["gap"].min()) > 2 * float(found["second_gap"].max())
    variances = torch.linalg.eigvalsh(factor.T @ factor).flip(0)
    np.testing.assert_allclose(manifold_variances(spectrum, M), variances.expand(3, -1), rtol=1e-8)
    share = 1 - math.exp(-2 * spectrum.attrs["t"])
    np.testing.assert_allclose(spectrum["score"][:, M:], -1 / share, rtol=1e-8)
    expected = -1 / (share + math.exp(-2 * spectrum.attrs["t"]) * variances)
    np.testing.assert_allclose(spectrum["score"][0, :M], expected, rtol=1e-8)
    assert float(spectrum["asymmetry"].max()) < 1e-10


def test_large_noise_shows_no_dimension(manifold, factor):
    assert intrinsic_dimension(jacobian_spectrum(manifold, noisy(factor, 30.0), 30.0))["value"] == 0


def test_bulk_is_marchenko_pastur_and_another_law_is_not():
    rng = np.random.default_rng(0)
    f = rng.standard_normal((400, 100)) / 20
    right = bulk_distance(np.linalg.eigvalsh(f.T @ f), 400, draws=40, seed=1)
    assert right["distance"] < right["floor_95"] * 1.3
    assert bulk_distance(np.linalg.eigvalsh(1.1 * f.T @ f), 400, draws=40, seed=1)["p"] == pytest.approx(1 / 41)
    assert bulk_distance(np.linspace(0.3, 2.2, 100), 400, draws=40, seed=1)["p"] == pytest.approx(1 / 41)


def test_law_of_marchenko_and_pastur_has_its_moments():
    grid, cumulative = marchenko_pastur(0.25, 2.0)
    centres = 0.5 * (grid[1:] + grid[:-1])
    weights = np.diff(cumulative)
    assert (weights * centres).sum() == pytest.approx(2.0, rel=1e-5)
    assert (weights * centres**2).sum() == pytest.approx(4.0 * 1.25, rel=1e-5)


def test_jacobian_of_a_nonlinear_map_row_by_row_and_in_chunks():
    matrix = torch.as_tensor(np.random.default_rng(0).standard_normal((6, 6)))

    def denoise(y, s, condition):
        return condition * torch.tanh(y.flatten(1) @ matrix.T).reshape(y.shape)

    y = torch.as_tensor(np.random.default_rng(1).standard_normal((2, 1, 2, 3)))
    found = denoiser_jacobian(denoise, y, 1.0, condition=2.0, chunk=4)
    slope = 2 / torch.cosh(y.flatten(1) @ matrix.T).square()
    np.testing.assert_allclose(found, slope[:, :, None] * matrix, rtol=1e-10)
    assert float(jacobian_spectrum(denoise, y, 1.0, 2.0)["asymmetry"].min()) > 0.1


def test_denoisers_that_cannot_be_differentiated_are_named():
    y = torch.ones(1, 1, 4)
    with pytest.raises(InputError, match="no_grad"):
        denoiser_jacobian(lambda y, s, condition: y.detach(), y, 1.0)
    with pytest.raises(InputError, match="positive"):
        denoiser_jacobian(lambda y, s, condition: y, y, 0.0)
