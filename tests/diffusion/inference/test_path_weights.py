"""Path weights against exact partition functions and moments; their statistics against closed forms."""

import math

import pytest
import torch

from physgen.diffusion.discretization.gaussian import sampled_power
from physgen.diffusion.exact import EnumeratedIsing, GaussianField, GaussianMixture, IsingRing, phi4_site
from physgen.diffusion.inference.path_weights import Chain, noising_log_weight, weighted_sample
from physgen.diffusion.inference.reverse_kernels import (
    Ancestral,
    EulerMaruyama,
    FourierCovariance,
    LocalCovariance,
    SpinMixture,
)
from physgen.diffusion.inference.weight_statistics import (
    independence_metropolis,
    resample,
    reweighted_mean,
    summarise_weights,
)
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import generator_for, noise_like

WIDE = {"dtype": torch.float64, "tile": 2000}
KERNELS = {
    "ancestral": Ancestral(),
    "euler-maruyama": EulerMaruyama(),
    "local": LocalCovariance(),
    "averaged": LocalCovariance(averaged=True),
    "mixture": SpinMixture(),
}
BETA = 0.7
COUPLINGS = noise_like(0, "weights", [0], (32,), dtype=torch.float64)[0].sign()
RING = IsingRing(COUPLINGS, BETA, (1, 32))


def normal(*shape, seed=0):
    return noise_like(seed, "weights", [0], shape, dtype=torch.float64)[0]


def minus_energy(x):
    return (COUPLINGS * x[:, 0] * x[:, 0].roll(-1, 1)).sum(1)


def ring_weights(kernel, steps, seed=1, n=2000):
    levels, target = log_uniform(6, 0.45, steps), lambda x: BETA * minus_energy(x)
    return weighted_sample(RING, kernel, levels, (n, 1, 32), seed, target, readout="bernoulli", **WIDE)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_ln_Z_of_a_ring_is_unbiased_with_every_kernel_at_ten_steps(kernel):
    """Six spins, for so few steps, so that the weights have no heavy tail that a standard error would not see."""
    ring = IsingRing(COUPLINGS[:6], BETA, (1, 6))

    def target(x):
        return BETA * (COUPLINGS[:6] * x[:, 0] * x[:, 0].roll(-1, 1)).sum(1)

    drawn = weighted_sample(ring, kernel, log_uniform(5, 0.6, 10), (8000, 1, 6), 2, target, readout="bernoulli", **WIDE)
    found = summarise_weights(drawn.log_weight)
    assert found.log_Z_error < 0.07
    assert abs(found.log_Z - ring.log_Z) < 3 * found.log_Z_error
    assert found.path_KL > 0.05


@pytest.mark.parametrize(
    ("kernel", "steps", "least"),
    [(LocalCovariance(), 20, 0.08), (LocalCovariance(), 50, 0.35), (SpinMixture(), 20, 0.4)],
)
def test_ring_reaches_the_stated_sample_size_with_ln_Z_and_repairs_the_energy(kernel, steps, least):
    """ln Z within 2 errors of 29.4534; the plain mean energy is wrong, the reweighted one is not."""
    drawn = ring_weights(kernel, steps)
    found = summarise_weights(drawn.log_weight)
    assert RING.log_Z == pytest.approx(29.4534, abs=1e-4)
    assert found.effective_fraction > least
    assert abs(found.log_Z - RING.log_Z) < 2 * found.log_Z_error
    energy, exact = -minus_energy(drawn.x), -32 * math.tanh(BETA)
    if steps == 20:
        assert (float(energy.mean()) - exact) / (float(energy.std()) / math.sqrt(len(energy))) > 4
    mean, error = reweighted_mean(energy, drawn.log_weight)
    assert abs(float(mean) - exact) < 3 * float(error)


def test_mixture_kernel_is_exact_for_free_spins_at_any_number_of_steps():
    """What is left is the start: the law of the first y is a mixture, not a Gaussian, by (1/s)^4."""
    field = torch.tensor([0.8, -0.3, 0.1, 1.5], dtype=torch.float64)

    def free(y, s, condition=None):
        return torch.tanh(y / s[:, None, None] ** 2 + field)

    exact = float(torch.log(2 * torch.cosh(field)).sum())
    for steps in (2, 9):
        levels, target = log_uniform(300, 0.3, steps), lambda x: (x[:, 0] * field).sum(1)
        drawn = weighted_sample(free, SpinMixture(), levels, (500, 1, 4), 3, target, **WIDE)
        # start: the mean tanh(field) of a spin is missed, sum tanh^2 / s^2 of order 1e-5, its fluctuation the root
        assert float((drawn.log_weight - exact).abs().max()) < 5 * math.sqrt(4) / 300


def test_more_steps_dissipate_less():
    """Path KL falls as the inverse of the steps for DDPM's kernel and faster for those with the covariance."""
    local = [summarise_weights(ring_weights(LocalCovariance(), steps, n=400).log_weight) for steps in (20, 40)]
    assert local[0].path_KL > 2.2 * local[1].path_KL
    plain = [summarise_weights(ring_weights(Ancestral(), steps, n=400).log_weight) for steps in (20, 40)]
    assert 1.5 < plain[0].path_KL / plain[1].path_KL < 3
    assert plain[1].path_KL > 2 * local[1].path_KL


def test_weights_repair_a_wrong_denoiser():
    """Free spins in place of the ring: no network is too bad for the identity, only for its sample size."""
    law = EnumeratedIsing.from_couplings(
        torch.triu(normal(4, 4, seed=3), 1) + torch.triu(normal(4, 4, seed=3), 1).T, 0.5, (1, 4)
    )

    def wrong(y, s, condition=None):
        return torch.tanh(y / s[:, None, None] ** 2)

    couplings = torch.triu(normal(4, 4, seed=3), 1)

    def target(x):
        return 0.5 * torch.einsum("bi,ij,bj->b", x[:, 0], couplings, x[:, 0])

    drawn = weighted_sample(
        wrong, LocalCovariance(), log_uniform(4, 0.5, 8), (6000, 1, 4), 4, target, readout="bernoulli", **WIDE
    )
    found = summarise_weights(drawn.log_weight)
    exact = float(torch.logsumexp(law.log_weights, 0))
    assert abs(found.log_Z - exact) < 3 * found.log_Z_error
    correlation, error = reweighted_mean(drawn.x[:, 0, 0] * drawn.x[:, 0, 1], drawn.log_weight)
    probability, states = torch.softmax(law.log_weights, 0), law._measure.data[:, 0].double()
    assert abs(float(correlation) - float((probability * states[:, 0] * states[:, 1]).sum())) < 3 * float(error)


def test_forward_paths_from_exact_samples_give_the_same_ln_Z():
    """E[1/w] = 1/Z on noised exact samples, and E_q[-log w] <= -log Z <= E_p[-log w]: the two bounds enclose."""
    levels, target = log_uniform(6, 0.4, 20), lambda x: BETA * minus_energy(x)
    x = RING.sample(3000, generator_for(5, "draw", 0))
    upward = noising_log_weight(RING, LocalCovariance(), levels, x, 5, target, readout="bernoulli", **WIDE)
    backward = summarise_weights(-upward)
    assert abs(-backward.log_Z - RING.log_Z) < 3 * backward.log_Z_error
    downward = weighted_sample(
        RING, LocalCovariance(), levels, (2000, 1, 32), 5, target, readout="bernoulli", **WIDE
    ).log_weight
    assert float(downward.mean()) < RING.log_Z < float(upward.mean())


def stationary(*grid, seed=6):
    power = (1.5 * normal(1, *grid, seed=seed)).exp()
    axes = list(range(1, len(grid) + 1))
    return GaussianField(0.5 * (power + power.flip(axes).roll([1] * len(grid), axes)), torch.tensor([0.4]).double())


@pytest.mark.parametrize("grid", [(9,), (6, 4), (3, 4, 4)])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_fourier_covariance_is_exact_for_gaussian_fields_at_any_number_of_steps(grid, steps):
    """Every weight equals Z, the last digits of float64 apart, and so do those of noised samples."""
    law = stationary(*grid)
    levels = torch.tensor([3.0, 0.0]) if steps == 1 else log_uniform(3.0, 0.3, steps)
    noise = torch.tensor(0.2, dtype=torch.float64)

    def target(x):  # the field with a known factor for Z
        return law.log_density(x, 0 * noise) + 1.25

    kernel, shape = FourierCovariance(law), (50, 1, *grid)
    drawn = weighted_sample(law, kernel, levels, shape, 7, target, **WIDE)
    assert float((drawn.log_weight - 1.25).abs().max()) < 1e-9
    upward = noising_log_weight(law, kernel, levels, law.sample(50, generator_for(7, "draw", 0)), 7, target, **WIDE)
    assert float((upward - 1.25).abs().max()) < 1e-9


@pytest.mark.parametrize("kernel", [Ancestral(), EulerMaruyama()], ids=["ancestral", "euler-maruyama"])
def test_mixture_has_its_norm_and_its_moments_with_few_steps(kernel):
    means, weights = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1).double(), torch.tensor([0.3, 0.7]).double()
    law = GaussianMixture(means, torch.tensor([0.05, 0.05]).double(), weights)
    zero = torch.tensor(0.0, dtype=torch.float64)
    drawn = weighted_sample(
        law, kernel, log_uniform(8, 0.15, 12), (8000, 1, 1), 8, lambda x: law.log_density(x, zero), **WIDE
    )
    found = summarise_weights(drawn.log_weight)
    assert abs(found.log_Z) < 3 * found.log_Z_error
    for power, exact in ((1, 0.4), (2, 1.05), (4, 1 + 6 * 0.05 + 3 * 0.05**2)):
        mean, error = reweighted_mean(drawn.x[:, 0, 0] ** power, drawn.log_weight)
        assert abs(float(mean) - exact) < 3.5 * float(error)


def test_partition_function_of_phi4_sites_comes_out():
    """Two wells, two sites, a target of unknown norm: Z_1^2 by quadrature."""
    law = phi4_site(1.0, -3.0, (1, 2))
    drawn = weighted_sample(
        law,
        Ancestral(),
        log_uniform(6, 0.15, 30),
        (1500, 1, 2),
        9,
        lambda x: -law.action(x).flatten(1).sum(1),
        **WIDE,
    )
    found = summarise_weights(drawn.log_weight)
    assert abs(found.log_Z - 2 * law.log_Z) < 3 * found.log_Z_error


def test_a_float32_denoiser_keeps_the_weights_exact():
    """The path is float64 whatever the denoiser's precision: single precision only makes another denoiser."""
    law, zero = stationary(8), torch.tensor(0.0, dtype=torch.float64)
    drawn = weighted_sample(
        law, FourierCovariance(law), log_uniform(3, 0.3, 5), (64, 1, 8), 10, lambda x: law.log_density(x, zero)
    )
    assert drawn.x.dtype == torch.float32
    assert 0 < float(drawn.log_weight.abs().max()) < 1e-3


def test_paths_do_not_depend_on_the_batch_or_the_number_and_follow_their_condition():
    def denoiser(y, s, condition):
        return torch.tanh(y + condition["labels"][:, :, None])

    labels = normal(10, 1, seed=11)
    settings = {"readout": "bernoulli", "dtype": torch.float64}
    levels, target = log_uniform(3, 0.4, 4), lambda x: x.flatten(1).sum(1)
    whole = weighted_sample(
        denoiser, LocalCovariance(), levels, (10, 1, 3), 12, target, condition={"labels": labels}, tile=4, **settings
    )
    for first, count, batch in ((0, 3, 4), (3, 7, 10), (6, 2, 1)):
        given = {"labels": labels[first : first + count]}
        part = weighted_sample(
            denoiser,
            LocalCovariance(),
            levels,
            (count, 1, 3),
            12,
            target,
            condition=given,
            tile=batch,
            start_index=first,
            **settings,
        )
        assert torch.equal(part.x, whole.x[first : first + count])
        torch.testing.assert_close(part.log_weight, whole.log_weight[first : first + count], rtol=1e-12, atol=1e-12)


def lognormal(n, spread, seed):
    return spread * normal(n, seed=seed) + 3.0


def test_statistics_of_lognormal_weights_follow_the_closed_forms():
    """log w ~ N(3, v): ln Z = 3 + v/2, path KL = v/2, effective fraction e^-v."""
    found = summarise_weights(lognormal(200000, 0.5, 13))
    assert abs(found.log_Z - 3.125) < 4 * found.log_Z_error
    assert found.log_Z_error == pytest.approx(math.sqrt(math.expm1(0.25) / 200000), rel=0.05)
    assert abs(found.path_KL - 0.125) < 4 * found.path_KL_error
    assert found.effective_fraction == pytest.approx(math.exp(-0.25), rel=0.02)
    assert found.effective_sample_size == pytest.approx(found.effective_fraction * 200000)


def test_the_interval_of_ln_Z_covers_at_its_level():
    covered = 0
    for seed in range(200):
        low, high = summarise_weights(lognormal(400, 0.5, 100 + seed), seed).log_Z_interval
        covered += low < 3.125 < high
    # binomial of 200 at 0.95: standard deviation 3.1; the bootstrap falls a little short at n = 400
    assert 176 <= covered <= 200


def test_a_constant_factor_moves_ln_Z_alone_and_nothing_overflows():
    logs = lognormal(1000, 1.0, 14)
    here, there = summarise_weights(logs), summarise_weights(logs - 1e4)
    assert there.log_Z == pytest.approx(here.log_Z - 1e4, abs=1e-8)
    assert there.path_KL == pytest.approx(here.path_KL, abs=1e-8)
    assert there.effective_fraction == pytest.approx(here.effective_fraction, rel=1e-9)
    values = normal(1000, 2, seed=15)
    for one, other in zip(reweighted_mean(values, logs), reweighted_mean(values, logs - 1e4), strict=True):
        torch.testing.assert_close(one, other)


def exponential_tilt(n, seed):
    """x standard normal with weight e^x: the target is N(1, 1)."""
    x = normal(n, seed=seed)
    return x, x.clone()


def test_metropolis_chain_has_the_law_of_the_target():
    x, log_weight = exponential_tilt(100000, 16)
    states, accepted = independence_metropolis(log_weight, 17)
    chain = x[states]
    blocks = chain.reshape(100, 1000).mean(1)
    assert abs(float(blocks.mean()) - 1) < 4 * float(blocks.std()) / 10
    assert abs(float(chain.var()) - 1) < 0.1
    # x' - x ~ N(-1, 2) in equilibrium: E min(1, e^(x' - x)) = 2 Phi(-1/sqrt 2)
    assert accepted == pytest.approx(math.erfc(0.5), abs=0.01)


def test_systematic_resampling_gives_each_sample_its_share_rounded_up_or_down():
    _, log_weight = exponential_tilt(500, 18)
    share = 2000 * torch.softmax(log_weight, 0)
    counts = torch.bincount(resample(log_weight, 2000, 19), minlength=500)
    assert int(counts.sum()) == 2000
    assert float((counts - share).abs().max()) < 1
    average = sum(torch.bincount(resample(log_weight, 50, seed), minlength=500) for seed in range(400)) / 400
    # each count is share or its neighbour whole number: variance at most 1/4
    assert float((average - share / 40).abs().max()) < 5 * 0.5 / 20


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: weighted_sample(RING, LocalCovariance(), torch.tensor([3.0, 1.0]), (2, 1, 32), 0, minus_energy),
        lambda: weighted_sample(
            RING, LocalCovariance(), log_uniform(3, 1, 3), (2, 1, 32), 0, minus_energy, readout="round"
        ),
        lambda: weighted_sample(
            RING, LocalCovariance(), log_uniform(3, 1, 3), (2, 1, 32), 0, minus_energy, condition={"a": torch.ones(3)}
        ),
        lambda: summarise_weights(torch.ones(1)),
        lambda: summarise_weights(torch.tensor([1.0, math.nan])),
        lambda: resample(torch.ones(3), 0, 1),
    ],
)
def test_impossible_requests_are_refused_with_the_value(wrong):
    with pytest.raises(ValueError, match="got"):
        wrong()


WEIGHED = ["ancestral", "euler_maruyama", "dpmpp_2m_sde", "predictor_corrector"]
TWO = GaussianMixture(
    torch.tensor([-1.0, 1.0]).double().reshape(2, 1, 1), torch.tensor([0.3, 0.3]).double(), torch.tensor([0.3, 0.7])
)


@pytest.mark.parametrize("name", WEIGHED)
@pytest.mark.parametrize("scale", [1.0, 0.9])
def test_samplers_by_name_have_the_right_norm_and_moments_with_a_right_and_a_wrong_denoiser(name, scale):
    def denoiser(y, s, condition=None):
        return scale * TWO(y, s)

    def target(x):
        return TWO.log_density(x, torch.zeros((), dtype=torch.float64))

    drawn = weighted_sample(denoiser, name, log_uniform(8, 0.4, 12), (12000, 1, 1), 3, target, **WIDE)
    found = summarise_weights(drawn.log_weight)
    assert found.log_Z_error < 0.02 and found.path_KL > 0.1
    assert abs(found.log_Z) < 3 * found.log_Z_error
    mean, error = reweighted_mean(drawn.x[:, 0, 0] ** 2, drawn.log_weight)
    assert abs(float(mean) - 1.3) < 3 * float(error)


@pytest.mark.parametrize("name", ["dpmpp_2m_sde", "predictor_corrector"])
def test_ring_by_name_gives_ln_Z_with_the_bernoulli_read_out(name):
    ring = IsingRing(COUPLINGS[:6], BETA, (1, 6))

    def target(x):
        return BETA * (COUPLINGS[:6] * x[:, 0] * x[:, 0].roll(-1, 1)).sum(1)

    drawn = weighted_sample(ring, name, log_uniform(5, 0.6, 12), (8000, 1, 6), 2, target, readout="bernoulli", **WIDE)
    found = summarise_weights(drawn.log_weight)
    assert found.log_Z_error < 0.07
    assert abs(found.log_Z - ring.log_Z) < 3 * found.log_Z_error


@pytest.mark.parametrize("name", WEIGHED)
def test_what_is_weighed_is_what_the_sampler_of_that_name_draws(name):
    """Variance of a Gaussian mode; the read-out adds s^2 to the D of the sampler's last step."""
    power, levels, n = 2.0, log_uniform(10, 0.3, 9), 40000
    law = GaussianField(torch.tensor([[power]], dtype=torch.float64))

    def target(x):
        return torch.zeros(len(x), dtype=torch.float64)

    drawn = weighted_sample(law, name, levels, (n, 1, 1), 4, target, tile=n, dtype=torch.float64)
    last = float(levels[-2])
    # at s' = 0 Euler-Maruyama's kernel and DDPM's take the variance s^2
    expected = float(sampled_power(name, levels, torch.tensor([power]))[0]) + last**2
    assert abs(float(drawn.x.var()) / expected - 1) < 4 * math.sqrt(2 / n)


def test_samplers_without_a_density_are_refused():
    zero = lambda x: torch.zeros(len(x), dtype=torch.float64)  # noqa: E731
    for name in ("heun_churn", "annealed_langevin", "dpmpp_2m"):
        with pytest.raises(ValueError, match=f"{name}.*no path weights; choose one of ancestral"):
            weighted_sample(TWO, name, log_uniform(8, 0.15, 4), (4, 1, 1), 3, zero)
    with pytest.raises(ValueError, match="upward paths.*without multistep and corrector"):
        noising_log_weight(TWO, "dpmpp_2m_sde", log_uniform(8, 0.15, 4), torch.ones(4, 1, 1), 3, zero)
    with pytest.raises(ValueError, match="corrector must be >= 0, got -1"):
        Chain(Ancestral(), corrector=-1)
