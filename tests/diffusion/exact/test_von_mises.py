"""Von Mises's law against quadrature: means, their inverse, covariance, quantile."""

import numpy as np
import pytest
import torch
from scipy import integrate, special

from physgen.diffusion.circle import Circle
from physgen.diffusion.exact import von_mises
from physgen.diffusion.inference.circle_kernel import CircleMixture
from physgen.diffusion.inference.circle_pairs import CirclePairs
from physgen.diffusion.noise import Stream
from physgen.errors import InputError

WIDE = {"dtype": torch.float64}
ANGLES = torch.arange(256, **WIDE) * (2 * np.pi / 256)
CIRCLE = torch.stack([ANGLES.cos(), ANGLES.sin()])  # the mean over it is the integral, to the last digit


def test_the_mean_and_the_covariance_are_those_of_the_density():
    a = torch.tensor([[0.0, 0.0], [0.3, -0.2], [-2.0, 1.0], [10.0, 20.0]], **WIDE)
    p = (a @ CIRCLE).softmax(1)
    mean = p @ CIRCLE.T
    torch.testing.assert_close(von_mises.mean_of(a[:, :, None])[:, :, 0], mean, rtol=0, atol=1e-13)
    log_norm = (a @ CIRCLE).logsumexp(1) - np.log(256)
    torch.testing.assert_close(von_mises.log_bessel(a[:, :, None])[:, 0, 0], log_norm, rtol=0, atol=1e-12)
    v = torch.tensor([0.7, -1.1], **WIDE).expand(4, 2)
    second = torch.einsum("bt,it,jt->bij", p, CIRCLE, CIRCLE) - mean[:, :, None] * mean[:, None]
    found = von_mises.covariance_times(a[:, :, None], v[:, :, None])[:, :, 0]
    torch.testing.assert_close(found, (second @ v[:, :, None])[:, :, 0], rtol=0, atol=1e-8)
    assert von_mises.mean_length(torch.tensor(-2.0)) == -von_mises.mean_length(torch.tensor(2.0))


def test_means_are_turned_back_into_vectors():
    kappa = torch.logspace(-6, 5, 60, **WIDE)
    found = von_mises.concentration_of(von_mises.mean_length(kappa))
    error = (found / kappa - 1).abs()
    assert error[kappa < 900].max() < 1e-9
    assert (error * kappa)[kappa >= 900].max() < 1.6
    length = von_mises.algebraic_length(kappa)
    torch.testing.assert_close(
        von_mises.algebraic_concentration(length)[kappa < 1e3], kappa[kappa < 1e3], rtol=1e-8, atol=0
    )
    assert (length / von_mises.mean_length(kappa) - 1).abs().max() < 0.05
    outside = torch.tensor([3.0, 4.0], **WIDE).reshape(1, 2, 1)
    assert torch.isfinite(von_mises.vector_of(outside)).all()


def test_the_quantile_is_the_inverse_of_the_integral_of_the_density():
    kappa = torch.tensor([1e-9, 0.3, 2.0, 30.0, 4000.0], **WIDE)[:, None]
    u = torch.tensor([1e-12, 1e-4, 0.2, 0.5, 0.73, 0.999, 1 - 1e-9], **WIDE)[None]
    found = von_mises.quantile(u.expand(5, -1), kappa.expand(-1, 7))
    for i, k in enumerate(kappa[:, 0].tolist()):
        norm = 2 * np.pi * special.i0e(k)
        for j, share in enumerate(u[0].tolist()):
            part, _ = integrate.quad(lambda t, k=k: np.exp(-2 * k * np.sin(t / 2) ** 2), 0, found[i, j], epsabs=1e-14)
            assert part / norm == pytest.approx(share - 0.5, abs=1e-11), (k, share)
    assert found[0, 0] > -np.pi and (found.diff(dim=1) > 0).all()


def test_draws_have_the_law_and_depend_on_their_own_number_alone():
    """Chi-square of 20 000 angles in 24 bins of equal probability under each law; rows alone are the same rows."""
    a = torch.tensor([[0.0, 0.0], [0.8, -0.5], [-3.0, 30.0]], **WIDE)
    uniform = Stream(3, "test").uniform(range(20000), (1,), torch.float64)
    for vector in a:
        rows = vector.reshape(1, 2, 1).expand(20000, -1, -1)
        drawn = von_mises.drawn(rows, uniform[:, None])
        assert torch.equal(von_mises.drawn(rows[7:9], uniform[7:9, None]), drawn[7:9])
        torch.testing.assert_close(drawn.square().sum(1), torch.ones(20000, 1, **WIDE))
        grid = np.linspace(-np.pi, np.pi, 100_001)
        centre = float(torch.atan2(vector[1], vector[0]))
        density = np.exp(float(vector.norm()) * (np.cos(grid) - 1))
        cumulated = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
        turned = np.angle(np.exp(1j * (torch.atan2(drawn[:, 1, 0], drawn[:, 0, 0]).numpy() - centre)))
        share = np.interp(turned, grid, cumulated / cumulated[-1])
        counts = np.bincount((share * 24).astype(int).clip(0, 23), minlength=24)
        chi_square = ((counts - 20000 / 24) ** 2 / (20000 / 24)).sum()
        assert abs(chi_square - 23) < 4.5 * np.sqrt(46)


def test_the_kind_of_value_names_its_parts():
    values = Circle()
    kernel, readout = values.path_kernel()
    assert isinstance(kernel, CircleMixture) and readout == "angle"
    assert isinstance(Circle(bonds="channels").path_kernel()[0], CirclePairs)
    assert isinstance(CirclePairs().given(None), CircleMixture)
    snapped = values.to_allowed(np.array([3.0, -4.0]).reshape(1, 2, 1))
    np.testing.assert_allclose(snapped.reshape(-1), [0.6, -0.8])
    with pytest.raises(InputError, match="too large for angles"):
        values.check_smallest_level(0.2)
    with pytest.raises(ValueError, match="head preconditioned alone"):
        values.denoiser(torch.nn.Identity(), head="eps")
    assert values.moments(iter([np.zeros((3, 2, 4))])) == ([0.0, 0.0], [1.0, 1.0])
