"""Exact laws against independent calculations: dense linear algebra, quadrature, brute force, the heat equation."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import chi2
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from physgen.diffusion.exact import EmpiricalMeasure, EnumeratedIsing, GaussianField, GaussianMixture, atoms
from physgen.diffusion.noise import generator_for, noise_like


def normal(*shape, seed=0):
    return noise_like(seed, "exact", [0], shape, dtype=torch.float64)[0]


def even_spectrum(channels, grid, seed=0):
    power = normal(channels, *grid, seed=seed).exp()
    axes = list(range(1, len(grid) + 1))
    return 0.5 * (power + power.flip(axes).roll([1] * len(grid), axes))


def covariances(count, size):
    factors = normal(count, size, size, seed=5)
    return factors @ factors.mT / size + 0.05 * torch.eye(size, dtype=torch.float64)


def square_couplings():
    couplings = torch.triu(normal(4, 4, seed=2), 1)
    return couplings + couplings.T


MEANS = normal(3, 1, 4, seed=1)
LAWS = {
    "field": GaussianField(even_spectrum(1, (4,)), torch.tensor([0.3])),
    "isotropic": GaussianMixture(MEANS, torch.tensor([0.1, 0.3, 0.2]), torch.tensor([0.2, 0.5, 0.3])),
    "full": GaussianMixture(MEANS, covariances(3, 4), torch.tensor([2.0, 5.0, 3.0])),
    "empirical": EmpiricalMeasure(normal(6, 1, 4, seed=3)),
    "weighted": EmpiricalMeasure(normal(6, 1, 4, seed=3), normal(6, seed=4)),
    "ising": EnumeratedIsing.from_couplings(square_couplings(), 0.8, (1, 4), normal(4, seed=6)),
}
LEVELS = torch.tensor([0.4, 0.9, 3.0], dtype=torch.float64)
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


@every_law
def test_score_is_the_gradient_of_log_density_and_denoiser_is_tweedies(law):
    y, step = 1.5 * normal(3, 1, 4, seed=7), 1e-5
    gradient = torch.zeros_like(y)
    for site, shift in enumerate(step * torch.eye(4, dtype=torch.float64)):
        rise = law.log_density(y + shift, LEVELS) - law.log_density(y - shift, LEVELS)
        gradient[:, 0, site] = rise / (2 * step)
    # central differences: step^2 times the third derivative, and rounding 1e-16/step times log p
    torch.testing.assert_close(law.score(y, LEVELS), gradient, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(law(y, LEVELS), y + LEVELS[:, None, None] ** 2 * gradient, rtol=1e-7, atol=1e-7)


@every_law
def test_density_obeys_the_heat_equation_in_s_squared(law):
    """d log p / d(s^2/2) = laplacian log p + |grad log p|^2 ties the dependence on s, norm included, to that on y."""
    y, step = normal(1, 1, 4, seed=8), 1e-5
    s = torch.tensor([0.7], dtype=torch.float64)
    hessian = torch.autograd.functional.jacobian(lambda y: law.score(y, s).flatten(), y).reshape(4, 4)
    expected = torch.trace(hessian) + law.score(y, s).square().sum()
    found = (law.log_density(y, s + step) - law.log_density(y, s - step)) / (2 * step * s)
    torch.testing.assert_close(found[0], expected, rtol=1e-7, atol=1e-7)


@every_law
def test_each_sample_has_its_own_level_and_a_shared_level_is_allowed(law):
    y = normal(3, 1, 4, seed=9)
    for row, s in enumerate(LEVELS):
        one = slice(row, row + 1)
        torch.testing.assert_close(law(y, LEVELS)[one], law(y[one], s), rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(law.log_density(y, LEVELS)[one], law.log_density(y[one], s), rtol=1e-12, atol=1e-13)


@every_law
def test_float32_in_float32_out_and_close_to_float64(law):
    y, s = normal(3, 1, 4, seed=9), LEVELS
    for method in (law, law.score, law.log_density):
        narrow = method(y.float(), s.float())
        assert narrow.dtype == torch.float32
        torch.testing.assert_close(narrow.double(), method(y, s), rtol=2e-5, atol=2e-5)


@every_law
def test_denoised_is_the_regression_of_x0_on_y(law):
    """E[(x0 - D) g(y)] = 0 for any g: joint draws of x0 and y, tested with g = y and g = y^3."""
    n, s = 20000, 0.8
    x0 = law.sample(n, generator_for(0, "samples", 0)).double()
    assert x0.shape == (n, 1, 4)
    y = x0 + s * normal(n, 1, 4, seed=10)
    residual = x0 - law(y, torch.tensor(s, dtype=torch.float64))
    for moment in (residual, residual * y, residual * y**3):
        z = moment.mean(0) / (moment.std(0) / math.sqrt(n))
        assert float(z.abs().max()) < 4


@pytest.mark.parametrize("grid", [(6,), (7,), (4, 3), (5, 4), (3, 2, 4), (2, 3, 3)])
def test_field_equals_dense_linear_algebra(grid):
    """Covariance matrix from explicit exponentials; denoiser and log density from its inverse and determinant."""
    spectrum, mean = even_spectrum(2, grid), torch.tensor([0.7, -0.4], dtype=torch.float64)
    law, sites = GaussianField(spectrum, mean), math.prod(grid)
    positions = torch.tensor(list(itertools.product(*map(range, grid))), dtype=torch.float64)
    phases = torch.exp(2j * math.pi * ((positions / torch.tensor(grid)) @ positions.T)) / math.sqrt(sites)
    y = normal(3, 2, *grid, seed=11)
    denoised, score, log_density = torch.zeros(3, 2, sites), torch.zeros(3, 2, sites), torch.zeros(3)
    denoised, score, log_density = denoised.double(), score.double(), log_density.double()
    for channel in range(2):
        covariance = (phases @ torch.diag(spectrum[channel].flatten().to(phases)) @ phases.conj().T).real
        for row, s in enumerate(LEVELS):
            noisy = covariance + s**2 * torch.eye(sites, dtype=torch.float64)
            offset = y[row, channel].flatten() - mean[channel]
            denoised[row, channel] = mean[channel] + covariance @ torch.linalg.solve(noisy, offset)
            score[row, channel] = -torch.linalg.solve(noisy, offset)
            log_density[row] += MultivariateNormal(torch.zeros(sites).double(), noisy).log_prob(offset)
    torch.testing.assert_close(law(y, LEVELS), denoised.reshape(y.shape))
    torch.testing.assert_close(law.score(y, LEVELS), score.reshape(y.shape))
    torch.testing.assert_close(law.log_density(y, LEVELS), log_density)


@pytest.mark.parametrize("grid", [(16,), (7, 6), (4, 5, 6)])
def test_field_samples_have_its_spectrum_and_fit_recovers_it(grid):
    """The mean power of a real mode over n samples is a chi-square of n degrees: it scatters by sqrt(2/n)."""
    n, law = 2000, GaussianField(even_spectrum(2, grid), torch.tensor([0.5, -1.0]))
    x = law.sample(n, generator_for(1, "samples", 0))
    fitted = GaussianField.fit(x)
    assert float((fitted.spectrum / law.spectrum - 1).abs().max()) < 4.5 * math.sqrt(2 / n)
    standard_error = (law.spectrum.flatten(1)[:, 0] / (n * math.prod(grid))).sqrt()
    assert float(((fitted.mean - law.mean) / standard_error).abs().max()) < 4
    y, s = normal(2, 2, *grid, seed=12), torch.tensor(0.5)
    assert fitted(y, s).shape == y.shape


def test_isotropic_fit_averages_over_the_point_group_of_the_lattice():
    x = normal(5, 1, 6, 6, 4, seed=13)
    plain, fitted = GaussianField.fit(x).spectrum, GaussianField.fit(x, isotropic=True).spectrum
    images = [x, x.flip(2), x.flip(3), x.flip(2, 3)]
    images += [image.transpose(2, 3) for image in images]
    images += [image.flip(4) for image in images]
    average = GaussianField.fit(torch.cat(images)).spectrum
    torch.testing.assert_close(fitted, average)
    assert float((plain - average).abs().max()) > 0.1
    cube = GaussianField.fit(normal(3, 1, 4, 4, 4, seed=14), isotropic=True).spectrum
    for permutation in itertools.permutations((1, 2, 3)):
        torch.testing.assert_close(cube.permute(0, *permutation), cube)


@pytest.mark.parametrize("grid", [(6,), (7,), (4, 5), (3, 4, 6)])
def test_half_spectrum_is_completed_to_the_full_one(grid):
    spectrum = even_spectrum(2, grid)
    half = spectrum[..., : grid[-1] // 2 + 1]
    torch.testing.assert_close(GaussianField.from_half_spectrum(half, grid).spectrum, spectrum, rtol=0, atol=1e-15)


def test_mixture_equals_torch_distributions():
    y = normal(3, 1, 4, seed=15)
    for name, make in (
        ("isotropic", lambda law, s: torch.diag_embed((law.covariance.double()[:, None] + s**2).expand(3, 4))),
        ("full", lambda law, s: law.covariance + s**2 * torch.eye(4)),
    ):
        law = LAWS[name]
        for row, s in enumerate(LEVELS):
            parts = MultivariateNormal(law.means.flatten(1), make(law, s))
            expected = MixtureSameFamily(Categorical(law.weights.double()), parts).log_prob(y[row].flatten())
            torch.testing.assert_close(law.log_density(y[row : row + 1], s)[0], expected)


def test_mixture_denoiser_equals_quadrature_of_the_posterior():
    means, variances, weights = torch.tensor([[-1.0, 0.6], [0.0225, 0.09], [0.3, 0.7]], dtype=torch.float64)
    law = GaussianMixture(means[:, None, None], variances, weights)

    def weight(x0, y, s):
        prior = sum(
            w * math.exp(-((x0 - m) ** 2) / (2 * v)) / math.sqrt(v)
            for w, m, v in zip((0.3, 0.7), means.tolist(), variances.tolist(), strict=True)
        )
        return prior * math.exp(-((y - x0) ** 2) / (2 * s * s))

    for y, s in [(-0.3, 0.2), (0.0, 1.0), (2.5, 3.0)]:
        bounds = {"limit": 200, "points": [-1.0, 0.6], "epsabs": 1e-13}
        norm = quad(weight, -4, 4, args=(y, s), **bounds)[0]
        expected = quad(lambda x0, y=y, s=s: x0 * weight(x0, y, s), -4, 4, **bounds)[0] / norm
        found = law(torch.tensor([[[y]]], dtype=torch.float64), torch.tensor([s], dtype=torch.float64))
        assert float(found) == pytest.approx(expected, rel=1e-9)


def test_mixture_of_one_full_covariance_is_the_gaussian_field_in_site_space():
    """The same law written in Fourier modes and as a covariance matrix."""
    field = GaussianField(even_spectrum(1, (3, 4)))
    unit = torch.eye(12, dtype=torch.float64).reshape(12, 1, 3, 4)
    response = field(unit, torch.tensor(1.0)).flatten(1)  # C / (C + 1)
    covariance = response @ torch.linalg.inv(torch.eye(12, dtype=torch.float64) - response)
    mixture = GaussianMixture(torch.zeros(1, 1, 3, 4).double(), 0.5 * (covariance + covariance.T)[None])
    y = normal(3, 1, 3, 4, seed=16)
    torch.testing.assert_close(mixture(y, LEVELS), field(y, LEVELS))
    torch.testing.assert_close(mixture.log_density(y, LEVELS), field.log_density(y, LEVELS))


def test_empirical_measure_equals_brute_force():
    law, y = LAWS["weighted"], normal(3, 1, 4, seed=17)
    weights = torch.softmax(law.log_weights, 0)
    for row, s in enumerate(LEVELS):
        parts = Independent(Normal(law.data.flatten(1), s), 1)
        joint = torch.log(weights) + parts.log_prob(y[row].flatten())
        torch.testing.assert_close(law.log_density(y[row : row + 1], s)[0], torch.logsumexp(joint, 0))
        posterior = torch.softmax(joint, 0)
        torch.testing.assert_close(law.posterior(y[row : row + 1], s)[0], posterior)
        torch.testing.assert_close(law(y[row : row + 1], s)[0, 0], posterior @ law.data.flatten(1))


def test_blocks_change_nothing_and_bound_the_work_arrays(monkeypatch):
    law = EmpiricalMeasure(normal(50, 2, 3, 3, seed=18))
    y, s = normal(7, 2, 3, 3, seed=19), torch.full((7,), 1.3, dtype=torch.float64)
    whole = law(y, s), law.log_density(y, s), law.posterior(y, s)
    monkeypatch.setattr(atoms, "BLOCK", 110)  # 6 points of 18 values, 2 samples of 50 points
    assert max(len(points) for points in law._points(y.device)) == 6
    assert max(len(joint) for joint in law._log_joint(y, s)) == 2
    for expected, found in zip(whole, (law(y, s), law.log_density(y, s), law.posterior(y, s)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_memorizer_returns_its_nearest_point_in_float32_at_small_noise():
    """4096 values at s = 0.01: the squares are of order 4e3 and the exponent needs their differences to 1e-4."""
    data = normal(20, 1, 64, 64, seed=20).float()
    y = data[[3, 11]] + 0.01 * normal(2, 1, 64, 64, seed=21).float()
    assert torch.equal(EmpiricalMeasure(data)(y, torch.tensor([0.01, 0.01])), data[[3, 11]])


def test_ising_equals_a_sum_over_all_states_written_out():
    couplings, external_field, beta = square_couplings(), normal(4, seed=6), 0.8
    y, law = normal(3, 1, 4, seed=22), LAWS["ising"]
    for row, s in enumerate(LEVELS.tolist()):
        total, moment = 0.0, np.zeros(4)
        for spins in itertools.product((1.0, -1.0), repeat=4):
            energy = -sum(float(couplings[i, j]) * spins[i] * spins[j] for i in range(4) for j in range(i))
            energy -= sum(float(h) * spin for h, spin in zip(external_field, spins, strict=True))
            distance = sum((float(v) - spin) ** 2 for v, spin in zip(y[row, 0], spins, strict=True))
            weight = math.exp(-beta * energy - distance / (2 * s * s))
            total += weight
            moment += weight * np.array(spins)
        np.testing.assert_allclose(law(y, LEVELS)[row, 0], moment / total, rtol=1e-12)


def test_free_spins_have_the_tanh_of_the_field():
    beta, external_field = 0.6, normal(6, seed=23)
    law = EnumeratedIsing.from_couplings(torch.zeros(6, 6), beta, (1, 2, 3), external_field)
    y = normal(3, 1, 2, 3, seed=24)
    expected = torch.tanh(y / LEVELS[:, None, None, None] ** 2 + beta * external_field.reshape(2, 3))
    torch.testing.assert_close(law(y, LEVELS), expected)


def test_sixteen_spins_keep_their_digits_at_small_noise_and_their_samples_the_boltzmann_energy():
    ring = torch.zeros(16, 16)
    for i in range(16):
        ring[i, (i + 1) % 16] = ring[(i + 1) % 16, i] = 1.0
    beta, n = 0.5, 4000
    law = EnumeratedIsing.from_couplings(ring, beta, (1, 4, 4))
    spins = law.sample(n, generator_for(2, "samples", 0))
    assert torch.equal(law(spins[:32].double(), torch.tensor(0.02)), spins[:32].double())
    # ring of N bonds: Z = (2 cosh b)^N (1 + t^N), E = -N (t + t^(N-1)) / (1 + t^N), t = tanh b
    t = math.tanh(beta)
    exact = -16 * (t + t**15) / (1 + t**16)
    energy = -(spins.flatten(1) * spins.flatten(1).roll(1, 1)).sum(1).double()
    assert abs(float(energy.mean()) - exact) / float(energy.std() / math.sqrt(n)) < 4


def test_sample_frequencies_follow_the_weights():
    law, n = LAWS["weighted"], 5000
    drawn = law.sample(n, generator_for(4, "samples", 0))
    counts = (drawn[:, None] == law.data[None]).flatten(2).all(2).sum(0).double()
    expected = n * torch.softmax(law.log_weights, 0)
    assert chi2.sf(float(((counts - expected) ** 2 / expected).sum()), 5) > 1e-3


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianField(torch.tensor([[1.0, -1.0, 1.0, 1.0]])),
        lambda: GaussianField(torch.tensor([[1.0, 2.0, 3.0, 4.0]])),
        lambda: GaussianField(torch.ones(4)),
        lambda: GaussianMixture(MEANS, torch.ones(2)),
        lambda: GaussianMixture(MEANS, torch.ones(3), torch.tensor([1.0, 0.0, 1.0])),
        lambda: GaussianMixture(MEANS, torch.tensor([1.0, 1.0, -0.5])),
        lambda: EmpiricalMeasure(torch.zeros(0, 1, 4)),
        lambda: EmpiricalMeasure(torch.zeros(3, 1, 4), torch.zeros(2)),
        lambda: EnumeratedIsing.from_couplings(torch.zeros(21, 21), 1.0, (1, 21)),
        lambda: EnumeratedIsing(torch.zeros(15), (1, 4)),
    ],
)
def test_impossible_laws_are_refused_with_the_value(make):
    with pytest.raises(ValueError, match="got|differs|of 21 spins"):
        make()


def test_couplings_that_count_bonds_once_only_are_refused():
    with pytest.raises(ValueError, match="symmetric matrix with zero diagonal"):
        EnumeratedIsing.from_couplings(torch.triu(torch.ones(3, 3), 1), 1.0, (1, 3))
