"""The scale of the loss of q kinds: the error of the best linear denoiser of sites that are all alike."""

import pytest
import torch

from physgen.diffusion.learning.categorical import CategoricalDenoiser, linear_error
from physgen.diffusion.learning.denoisers import denoising_loss
from physgen.diffusion.values import Categorical
from physgen.domains.potts.domain import Potts


@pytest.mark.parametrize("kinds", [2, 3, 5, 20])
@pytest.mark.parametrize("s", [0.1, 0.5, 3.0])
def test_it_is_what_the_best_linear_denoiser_leaves(kinds, s):
    """Of 20000 draws, fitted by the covariance of e_a, (1 - 11^T/q)/q: nothing linear does better."""
    generator = torch.Generator().manual_seed(1)
    x = torch.eye(kinds, dtype=torch.float64)[torch.randint(kinds, (20000,), generator=generator)]
    y = x + s * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    covariance = (torch.eye(kinds) - 1 / kinds).double() / kinds
    gain = covariance @ torch.linalg.inv(covariance + s * s * torch.eye(kinds))
    error = ((y - 1 / kinds) @ gain.T + 1 / kinds - x).square().mean(1)
    expected = float(linear_error(torch.tensor(s, dtype=torch.float64), kinds))
    assert abs(float(error.mean()) - expected) < 4 * float(error.std()) / 20000**0.5
    assert expected < (kinds - 1) / kinds**2  # less than the variance of a component


def test_the_loss_of_no_network_is_of_order_one_for_any_number_of_kinds():
    """It is that of the exact denoiser of independent sites, which is a little better than the best linear one."""
    generator = torch.Generator().manual_seed(2)
    for kinds in (2, 3, 10):
        x = torch.eye(kinds)[torch.randint(kinds, (4000, 16), generator=generator)].transpose(1, 2)
        s = torch.full((4000,), 1.0)
        noise = torch.randn(x.shape, generator=generator)
        denoiser = CategoricalDenoiser(lambda y, c_noise, condition: torch.zeros_like(y), kinds)
        loss = float(denoising_loss(denoiser, x, s, noise).mean())
        own = (denoiser(x + noise, s) - x).square().flatten(1).mean(1) / denoiser.error_scale(s)
        assert loss == pytest.approx(float(own.mean()), rel=1e-5) and 0.8 < loss < 1.01


def test_the_number_of_kinds_is_told_by_the_domain():
    assert Potts(states=5).values.denoiser(torch.nn.Identity()).kinds == 5
    with pytest.raises(ValueError, match="number of kinds"):
        Categorical().denoiser(torch.nn.Identity()).error_scale(torch.ones(1))
