"""The prior of vectors: all second moments, along principal axes, positive however few samples there are."""

import torch

from physgen.diffusion.exact import GaussianMixture
from physgen.diffusion.learning.denoisers import FieldDenoiser, denoising_loss
from physgen.diffusion.learning.prior_spectrum import PowerMeter, Spectrum, fit_spectrum, power_of_each


class Nothing(torch.nn.Module):
    def forward(self, x, c_noise, condition=None):
        return torch.zeros_like(x)


def correlated(count, d=5, seed=0):
    """Normal vectors of a known covariance (d, d)."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(count, d, generator=generator, dtype=torch.float64) @ mix.T, mix @ mix.T


def test_without_a_network_it_is_the_denoiser_of_the_gaussian_of_that_covariance():
    x, _ = correlated(300)
    spectrum = fit_spectrum(x).double()
    power, axes = spectrum.ln_power[0].exp(), spectrum.axes
    torch.testing.assert_close(axes.T @ axes, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-6)
    assert (power.diff() <= 0).all()
    covariance = axes @ torch.diag(power) @ axes.T
    exact = GaussianMixture(torch.zeros(1, 5, dtype=torch.float64), ((covariance + covariance.T) / 2)[None])
    y, s = 2 * x[:20], torch.linspace(0.1, 5, 20, dtype=torch.float64)
    denoiser = FieldDenoiser(Nothing(), spectrum)
    torch.testing.assert_close(denoiser(y, s).double(), exact(y, s), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(denoiser.baseline(y, s).double(), exact(y, s), rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_error_over_that_of_the_filter():
    x, _ = correlated(4000)
    denoiser = FieldDenoiser(Nothing(), fit_spectrum(x))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    s = torch.full((len(x),), 0.7)
    loss = denoising_loss(denoiser, x, s, noise)
    direct = (denoiser(x + 0.7 * noise, s) - x).square().mean(1) / denoiser.error_scale(s)
    torch.testing.assert_close(loss, direct.float(), rtol=2e-4, atol=1e-5)
    assert abs(float(loss.mean()) - 1) < 4 * float(loss.std()) / len(x) ** 0.5


def test_many_samples_give_the_covariance_and_few_a_positive_one():
    x, covariance = correlated(20_000)
    spectrum = fit_spectrum(x)
    found = (spectrum.axes @ torch.diag(spectrum.ln_power[0].exp()) @ spectrum.axes.T).double()
    scatter = ((covariance.diagonal()[:, None] * covariance.diagonal() + covariance**2) / 20_000).sqrt()
    assert ((found - covariance).abs() < 4.5 * scatter).all()
    few = torch.randn(20, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    power = fit_spectrum(few).ln_power[0].exp()  # true: 1; of the samples: 40 times 0, and up to 5
    assert power.min() > 0.6 and power.max() < 1.6
    flat = few[:, :5] @ torch.randn(5, 60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert (fit_spectrum(flat).ln_power[0].exp()[5:] < 1e-4).all()


def test_blocks_labels_and_a_stored_state():
    x, _ = correlated(200)
    meter = PowerMeter([])
    for block in x.float().split(60):
        meter.add(block)
    whole, parts = fit_spectrum(x.float()), fit_spectrum(meter.measured())
    assert torch.equal(whole.ln_power, parts.ln_power) and torch.equal(whole.axes, parts.axes)
    labels = torch.rand(200, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    slope = fit_spectrum(x * torch.exp(0.5 * labels.double()), labels)
    power = [slope({"labels": torch.tensor([[value]])})[0] for value in (-1.0, 1.0)]
    error = 2 * (2 / 200 / labels.var()) ** 0.5  # of twice the slope of ln x^2, whose variance is that of Whittle's law
    assert ((power[1] / power[0]).log() - 2).abs().max() < 4 * error
    state = whole.state_dict()
    again = Spectrum(state["ln_power"], (), state["axes"])
    again.load_state_dict(state)
    torch.testing.assert_close(again.field(again.modes(x.float())), x.float(), rtol=0, atol=1e-5)


def test_the_power_of_each_field_is_what_a_fit_of_it_alone_finds_and_the_mean_of_its_shells():
    x = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.4
    each = power_of_each(x)
    assert each.shape == (3, 2, 6, 4)
    for one, power in zip(x, each, strict=True):
        torch.testing.assert_close(fit_spectrum(one[None])()[0].double(), power, rtol=1e-6, atol=0)
    modes = torch.fft.fftn(x, dim=(2, 3)).abs().square() / 36
    torch.testing.assert_close(each[..., 0, 0], modes[..., 0, 0])
    # |k| of the first shell: four modes at 1 cycle, four at sqrt 2; that of 1 is below their mean, so it has its power
    first = sum(modes[..., i, j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j) / 8
    torch.testing.assert_close(each[..., 0, 1], first)
