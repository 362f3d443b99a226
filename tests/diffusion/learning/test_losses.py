"""Losses and heads recover the exact score.

Each model is linear in its parameters and holds the exact answer among others, so a loss is quadratic and its
minimiser is one linear solve: it must lie at (1, 0, 0) within the standard error over independent batches.
"""

import math

import pytest
import torch
from torch import nn

from physgen.diffusion.convention import like
from physgen.diffusion.exact import GaussianMixture
from physgen.diffusion.learning.denoisers import LogUniform, denoising_loss
from physgen.diffusion.learning.heads import PREDICTIONS, EnergyDenoiser, PredictionDenoiser
from physgen.diffusion.learning.losses import (
    ConditionalMeanLoss,
    ImplicitScoreMatching,
    LearnedWeight,
    SlicedScoreMatching,
    WeightedDenoising,
    likelihood_weight,
    min_snr_weight,
)
from physgen.diffusion.learning.training import Recipe, TrainingState, train

GAUSSIAN = GaussianMixture(torch.zeros(1, 1, 2).double(), torch.tensor([[[2.0, 0.9], [0.9, 0.6]]]).double())
MIXTURE = GaussianMixture(
    torch.tensor([[[1.0, 0.0]], [[-1.0, 0.8]]]).double(),
    torch.tensor([[[0.2, 0.1], [0.1, 0.3]], [[0.1, 0.0], [0.0, 0.4]]]).double(),
    torch.tensor([0.6, 0.4]).double(),
)
LAWS = pytest.mark.parametrize("law", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
LEARNED = "learned"


class Combination(nn.Module):
    """Sum of functions (y or x, level) -> field with coefficients to find."""

    def __init__(self, *functions):
        super().__init__()
        self.functions, self.coefficients = functions, nn.Parameter(torch.zeros(len(functions)).double())

    def forward(self, y, level, condition=None):
        return sum(c * function(y, level) for c, function in zip(self.coefficients, self.functions, strict=True))


def draw(law, count, seed):
    generator = torch.Generator().manual_seed(seed)
    x0 = law.sample(count, generator)
    s = 0.3 * 10 ** torch.rand(count, generator=generator, dtype=torch.float64)
    return x0, s, torch.randn(x0.shape, generator=generator, dtype=torch.float64)


def minimiser(loss, name, law, batches=12, count=3000):
    """Coefficients (K,) at the minimum of a quadratic loss and their standard errors over independent batches."""
    found = []
    for seed in range(batches):
        batch = draw(law, count, seed)

        def objective(coefficients, batch=batch):
            return torch.func.functional_call(loss, {name: coefficients}, (*batch, None)).mean()

        start = torch.zeros_like(dict(loss.named_parameters())[name]).requires_grad_()
        (slope,) = torch.autograd.grad(objective(start), start)
        found.append(-torch.linalg.solve(torch.autograd.functional.hessian(objective, start), slope).detach())
    found = torch.stack(found)
    return found.mean(0), found.std(0) / math.sqrt(batches)


def assert_found_the_first(value, error):
    truth = torch.zeros_like(value)
    truth[0] = 1
    assert ((value - truth).abs() < 4.5 * error).all(), (value, error)
    assert error[0] < 0.1, error


def learned(denoiser):
    """A weight already on its way: not constant, as it is in the midst of training."""
    loss = LearnedWeight(denoiser).double()
    loss.coefficients.data[:3] = torch.tensor([0.5, -0.4, 0.3])
    return loss


LOSSES = {
    "denoising": WeightedDenoising,
    "likelihood": lambda denoiser: WeightedDenoising(denoiser, likelihood_weight),
    "min-SNR": lambda denoiser: WeightedDenoising(denoiser, min_snr_weight(5.0)),
    "implicit": ImplicitScoreMatching,
    "sliced": lambda denoiser: SlicedScoreMatching(denoiser, generator=torch.Generator().manual_seed(0)),
    LEARNED: learned,
}


@LAWS
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_its_minimum_at_the_exact_denoiser(name, law):
    model = Combination(law, lambda y, s: y / (1 + like(s, y) ** 2), lambda y, s: torch.sin(2 * y))
    assert_found_the_first(*minimiser(LOSSES[name](model), "denoiser.coefficients", law))


def exact_prediction(law, head):
    """What the network of a head should say of x = y/sqrt(1 + s^2), from the score or the density of the law alone."""

    def predict(x, c_noise):
        s = torch.exp(4 * c_noise)
        alpha = (1 + s**2).rsqrt()
        if head == "energy":
            log_density = law.log_density(x / like(alpha, x), s)
            half_square = 0.5 * x.square().flatten(1).sum(1)
            return like((log_density + half_square) / alpha / x[0].numel(), x).expand_as(x)
        a, b = like(alpha, x), like(s * alpha, x)
        score = law.score(x / a, s) / a
        eps, x0 = -b * score, (x + b**2 * score) / a
        return {"x0": x0, "eps": eps, "v": a * eps - b * x0, "score": score}[head]

    return predict


@LAWS
@pytest.mark.parametrize("head", [*PREDICTIONS, "energy"])
def test_every_head_recovers_the_exact_score(head, law):
    network = Combination(exact_prediction(law, head), lambda x, c: x, lambda x, c: torch.cos(2 * x) * like(c, x))
    denoiser = EnergyDenoiser(network) if head == "energy" else PredictionDenoiser(network, head)
    assert_found_the_first(*minimiser(WeightedDenoising(denoiser), "denoiser.network.coefficients", law, count=1000))


@pytest.mark.parametrize("head", [*PREDICTIONS, "energy"])
def test_the_exact_prediction_is_the_exact_denoiser(head):
    network = Combination(exact_prediction(MIXTURE, head))
    network.coefficients.data.fill_(1)
    denoiser = EnergyDenoiser(network) if head == "energy" else PredictionDenoiser(network, head)
    x0, s, noise = draw(MIXTURE, 50, 0)
    y = x0 + like(s, x0) * noise
    assert torch.allclose(denoiser(y, s), MIXTURE(y, s), atol=1e-9)


def jacobian(denoiser, s=0.7):
    level = torch.tensor([s]).double()
    y = torch.tensor([0.3, -0.8]).double()
    return torch.autograd.functional.jacobian(lambda v: denoiser(v.reshape(1, 1, 2), level)[0, 0], y)


class Tiny(nn.Module):
    """F(x, c_noise, condition) of two values, random."""

    def __init__(self, width=48):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Linear(5, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
            )

    def forward(self, x, c_noise, condition):
        s = torch.exp(4 * c_noise)[:, None]
        level = torch.cat([(1 + s**2).rsqrt(), s * (1 + s**2).rsqrt(), c_noise[:, None]], 1)
        return self.layers(torch.cat([x.flatten(1), level], 1)).reshape(x.shape)


def test_the_score_of_an_energy_is_curl_free_and_that_of_other_heads_is_not():
    energy, plain = jacobian(EnergyDenoiser(Tiny().double())), jacobian(PredictionDenoiser(Tiny().double(), "v"))
    assert abs(energy[0, 1] - energy[1, 0]) < 1e-14 < abs(plain[0, 1] - plain[1, 0])


def test_energies_at_one_level_differ_as_the_log_density():
    network = Combination(exact_prediction(MIXTURE, "energy"))
    network.coefficients.data.fill_(1)
    y, s = torch.randn(20, 1, 2).double(), torch.full((20,), 0.5).double()
    total = EnergyDenoiser(network).energy(y, s) + MIXTURE.log_density(y, s)
    assert float(total.detach().std()) < 1e-12


@pytest.mark.parametrize("loss", [ImplicitScoreMatching, LOSSES["sliced"]], ids=["implicit", "sliced"])
def test_score_matching_without_the_clean_field_has_the_mean_of_denoising(loss):
    denoiser = PredictionDenoiser(Tiny().double(), "v")
    batch = draw(MIXTURE, 20000, 5)
    gap = loss(denoiser)(*batch, None) - WeightedDenoising(denoiser)(*batch, None)
    assert abs(gap.mean()) < 4 * gap.std() / math.sqrt(len(gap))


def test_many_slices_are_the_exact_trace():
    denoiser, batch = PredictionDenoiser(Tiny().double(), "v"), draw(MIXTURE, 10, 6)
    exact = ImplicitScoreMatching(denoiser)(*batch, None)
    sliced = torch.stack([LOSSES["sliced"](denoiser)(*batch, None)])
    many = SlicedScoreMatching(denoiser, projections=1000, generator=torch.Generator().manual_seed(1))(*batch, None)
    # off-diagonal terms of a 2 x 2 Jacobian, each of size below 1, average out
    assert (many - exact).abs().max() < 5 * 4 / math.sqrt(1000) < (sliced - exact).abs().max() * 10


def test_the_likelihood_weight_integrates_to_the_divergence_in_nats():
    """KL between two Gaussians of variances .5 and 1.5 under the noise s_min: excess loss times ln(s_max/s_min)."""
    true, model, s_min, s_max = 0.5, 1.5, 0.1, 100.0
    s = LogUniform(s_min, s_max)((torch.arange(200000) + 0.5).double() / 200000)
    gap = s**2 * (model - true) / (true + s**2) / (model + s**2)  # (D_model - D_true)/y
    excess = likelihood_weight(s) * gap**2 * (true + s**2)
    ratio = (true + s_min**2) / (model + s_min**2)
    assert float(excess.mean() * math.log(s_max / s_min)) == pytest.approx(
        0.5 * (ratio - 1 - math.log(ratio)), rel=1e-5
    )


def test_a_learned_weight_finds_the_loss_of_every_level():
    """The exact denoiser of variance 1/4 errs by s^2/(1 + 4 s^2): u is its logarithm plus that of the weight."""
    law = GaussianMixture(torch.zeros(1, 1, 1), torch.tensor([0.25]))

    class Exact(nn.Module):
        def forward(self, y, s, condition=None):
            return law(y, s)

    loss = LearnedWeight(Exact(), s_min=0.05, s_max=20.0)
    optimizer = torch.optim.LBFGS(loss.parameters(), max_iter=40, line_search_fn="strong_wolfe")
    count, generator = 100000, torch.Generator().manual_seed(0)
    x0 = law.sample(count, generator)
    s = LogUniform(0.05, 20.0)((torch.arange(count) + 0.5) / count)
    noise = torch.randn(x0.shape, generator=generator)

    def closure():
        optimizer.zero_grad()
        value = loss(x0, s, noise, None).mean()
        value.backward()
        return value

    optimizer.step(closure)
    levels = torch.tensor([0.1, 0.3, 1.0, 3.0, 10.0])
    truth = torch.log((1 + levels**2) / (1 + 4 * levels**2))
    # relative variance 2 of a squared error over the share of the samples that each of 9 cosines takes; 1 % truncation
    assert (loss.log_loss(levels) - truth).abs().max() < 4 * math.sqrt(2 * 9 / count) + 0.01


@pytest.mark.parametrize("name", ["implicit", "sliced", LEARNED])
def test_the_trainer_takes_every_loss(name):
    """Through the ``loss`` of TrainingState; the excess over the exact denoiser falls by half at least."""
    law = GaussianMixture(MIXTURE.means.float(), MIXTURE.covariance.float(), MIXTURE.weights.float())
    denoiser = PredictionDenoiser(Tiny(), "v")
    loss = {"implicit": ImplicitScoreMatching, "sliced": SlicedScoreMatching, LEARNED: LearnedWeight}[name]
    x0, s, noise = (part.float() for part in draw(MIXTURE, 4000, 9))
    y = x0 + like(s, x0) * noise

    def excess():
        with torch.no_grad():
            return float((denoiser(y, s) - law(y, s)).square().mean())

    before = excess()
    recipe = Recipe(steps=200, batch_size=64, learning_rate=1e-2, warmup=5, level_distribution=LogUniform(0.3, 3.0))
    state = TrainingState(denoiser, recipe, loss=loss)
    steps = list(train(state, law.sample(4096, torch.Generator().manual_seed(2))))
    assert all(step.accepted for step in steps) and excess() < before / 2


def test_wrong_requests_say_what_is_right():
    with pytest.raises(ValueError, match="choose one of x0, eps, v, score"):
        PredictionDenoiser(Tiny(), "noise")
    with pytest.raises(ValueError, match="gamma > 0"):
        min_snr_weight(0.0)
    with pytest.raises(ValueError, match="projections >= 1"):
        SlicedScoreMatching(Tiny(), projections=0)
    with pytest.raises(ValueError, match="0 < s_min < s_max"):
        LearnedWeight(Tiny(), s_min=2.0, s_max=1.0)


def test_towards_x0_itself_the_conditional_mean_is_denoising_and_towards_the_exact_one_nothing_is_left():
    class Wiener(nn.Module):
        def forward(self, y, s, condition=None):
            return GAUSSIAN(y, s)

        def error_scale(self, s, condition=None):
            return 1 + s

    x0, s, noise = draw(GAUSSIAN, 50, 1)
    plain = ConditionalMeanLoss(Wiener(), lambda x0, y, s, condition: x0)(x0, s, noise, None)
    assert torch.allclose(plain, denoising_loss(Wiener(), x0, s, noise), rtol=1e-6)
    exact = ConditionalMeanLoss(Wiener(), lambda x0, y, s, condition: GAUSSIAN(y, s))(x0, s, noise, None)
    assert float(exact.abs().max()) < 1e-12
    with pytest.raises(ValueError, match="denoisers with error_scale"):
        ConditionalMeanLoss(nn.Identity(), lambda x0, y, s, condition: x0)
