"""The flow in the angles of the modes: exact for Gaussian fields in two steps, of its order for all others."""

import math

import pytest
import torch

from physgen.diffusion.exact import GaussianMixture
from physgen.diffusion.inference.inverse import Observation, PosteriorDenoiser
from physgen.diffusion.learning.denoisers import FieldDenoiser
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.modal import ModalFlow, extrapolate
from physgen.diffusion.sampling.samplers import sample
from physgen.lattice import wavenumber

GRID = (16, 16)


class Nothing(torch.nn.Module):
    """A network that has learned nothing: the denoiser is the Wiener filter."""

    def forward(self, x, c_noise, condition=None):
        return torch.zeros_like(x)


def red_field():
    """A denoiser of Gaussian fields with P between 1e-2 and 1e2, and that P."""
    k = torch.from_numpy(wavenumber(GRID))
    ln_power = torch.where(k > 0, -4 * torch.log(k.clamp(min=0.1) / 1.2), 3.0)[None, None].float()
    return FieldDenoiser(Nothing(), Spectrum(ln_power, GRID)), ln_power.exp()[0, 0]


@pytest.mark.parametrize(("name", "steps"), [("modal_2m", 2), ("modal_2m", 16), ("modal_4m", 6)])
def test_gaussian_fields_have_their_spectrum_at_any_number_of_steps(name, steps):
    denoiser, power = red_field()
    levels = log_uniform(3.0, 0.3, steps)  # far inside the range of sqrt(P): other solvers lose most of the power
    x = sample(denoiser, levels, (400, 1, *GRID), seed=1, sampler=name)
    ratio = torch.fft.rfftn(x[:, 0], dim=(1, 2)).abs().square().mean(0) / 256 / power
    # chi-squared of 2 x 400 degrees of freedom, of 400 at the modes that are real
    real = torch.zeros_like(ratio, dtype=torch.bool)
    real[[[0], [8]], [0, 8]] = True
    scatter = torch.where(real, math.sqrt(2 / 400), math.sqrt(1 / 400))
    pull = ((ratio - 1) / scatter).flatten()
    assert pull.abs().max() < 5 and abs(float(pull.mean())) < 4 / math.sqrt(len(pull))
    other = sample(denoiser, levels, (50, 1, *GRID), seed=1, sampler="dpmpp_2m")
    assert other.var() < 0.3 * x.var()


@pytest.mark.parametrize("name", ["modal_2m", "modal_4m"])
def test_what_is_drawn_is_the_noise_coloured_whatever_the_steps(name):
    denoiser, _ = red_field()
    few, many = (sample(denoiser, log_uniform(5.0, 0.1, n), (3, 1, *GRID), seed=2, sampler=name) for n in (2, 40))
    torch.testing.assert_close(few, many, atol=2e-4, rtol=0)


def test_a_start_that_is_given_is_taken_as_it_is():
    denoiser, power = red_field()
    y = torch.randn(2, 1, *GRID, generator=torch.Generator().manual_seed(0))
    found = sample(denoiser, log_uniform(3.0, 0.3, 4), y.shape, seed=0, sampler="modal_2m", start=y, from_level=2.0)
    modes = torch.fft.rfftn(y, dim=(2, 3)) * (power / (power + 4.0)).sqrt()
    torch.testing.assert_close(found, torch.fft.irfftn(modes, s=GRID, dim=(2, 3)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("order", "steps"), [(2, 128), (4, 96)])
def test_flow_through_a_mixture_has_the_stated_order(order, steps):
    """A law that has no prior spectrum: unit variance is the frame."""
    means = torch.tensor([-1.0, 0.6], dtype=torch.float64)[:, None, None]
    law = GaussianMixture(means, torch.tensor([0.15, 0.3], dtype=torch.float64) ** 2, torch.tensor([0.3, 0.7]))
    y = 80.0 * torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None, None]
    ends = {n: ModalFlow(order)(law, log_uniform(80.0, 0.002, n), y) for n in (steps, 2 * steps, 8 * steps)}
    coarse, fine = (float((ends[n] - ends[8 * steps]).abs().mean()) for n in (steps, 2 * steps))
    missing = [(n / (8 * steps)) ** order for n in (steps, 2 * steps)]
    assert abs(math.log2(coarse / (1 - missing[0])) - math.log2(fine / (1 - missing[1])) - order) < 0.15


def test_a_step_is_exact_for_polynomials():
    """Uneven steps: integral, end and correction of 1, t, t^2, t^3 from t = .7 on, from values at .7, .4, 0."""
    places, h = torch.tensor([0.7, 0.4, 0.0], dtype=torch.float64), torch.tensor(0.25, dtype=torch.float64)
    for power in range(4):
        now, *before = places**power
        past = [(before[0], places[0] - places[1]), (before[1], places[1] - places[2])]
        end, exact = 0.95**power, (0.95 ** (power + 1) - 0.7 ** (power + 1)) / (power + 1)
        for known in range(max(power - 1, 0), 3):
            step = extrapolate(now, h, past[:known])
            assert float(step.integral + step.gain * (end - step.expected)) == pytest.approx(exact, rel=1e-12)
            if known >= power:
                assert float(step.integral) == pytest.approx(exact, rel=1e-12)
                assert float(step.expected) == pytest.approx(end, rel=1e-12)


def test_no_other_order_is_to_be_had():
    with pytest.raises(ValueError, match="of order 2 or 4, got 3"):
        ModalFlow(3)


def test_given_an_observation_the_modes_are_those_of_the_prior():
    """A Gaussian field seen with noise outside a hole: mean and variance along the 20 widest axes of its posterior."""
    denoiser, power = red_field()
    eye = torch.eye(256, dtype=torch.float64).view(256, *GRID)
    prior = torch.fft.irfftn(power.double() * torch.fft.rfftn(eye, dim=(1, 2)), s=GRID, dim=(1, 2)).view(256, 256)
    seen = torch.ones(GRID, dtype=torch.bool)
    seen[4:12, 4:12] = False
    rows = prior[seen.flatten()]
    gain = torch.linalg.solve(rows[:, seen.flatten()] + 0.05 * torch.eye(len(rows)), rows).T
    generator = torch.Generator().manual_seed(0)
    truth = torch.linalg.cholesky(prior + 1e-9 * torch.eye(256)) @ torch.randn(256, generator=generator).double()
    value = truth[seen.flatten()] + 0.05**0.5 * torch.randn(len(rows), generator=generator)
    variance, axes = torch.linalg.eigh(prior - gain @ rows)
    shown = torch.full(GRID, torch.nan).masked_scatter(seen, value.float())[None, None]
    posterior = PosteriorDenoiser(denoiser, Observation(lambda x: x, shown, 0.05), "wiener", tolerance=1e-4)
    assert posterior.spectrum is denoiser.spectrum
    levels = log_uniform(100.0, 0.15, 16)
    x = sample(posterior, levels, (100, 1, *GRID), seed=3, sampler="modal_4m").view(100, 256).double()
    pull = ((x - gain @ value) @ axes / variance.sqrt())[:, -20:]
    # 100 draws of 20 axes: a mean square of means of 1/100, up to sqrt(2/20) of it, and an offset of a tenth at most
    assert float(pull.mean(0).square().mean()) < 0.01 * (1 + 4 * math.sqrt(2 / 20)) + 0.1**2
    assert abs(float(pull.var(0).mean()) - 1) < 4 * math.sqrt(2 / 2000)
