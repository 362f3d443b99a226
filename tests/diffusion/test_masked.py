"""Any-order unmasking of spins held to enumeration: laws, log-probabilities, importance weights, training."""

import math

import pytest
import torch
from torch import nn

from physgen.diffusion.exact import EnumeratedIsing
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.inference.weight_statistics import reweighted_mean, summarise_weights
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.masked import (
    MaskedDenoiser,
    MaskedLoss,
    from_denoiser,
    log_probability,
    sample_masked,
    uniform_fraction,
)

GRID = (2, 3)
STATES = enumerate_spins(6).double()


def couplings(seed=0):
    """Gaussian couplings of all pairs of six spins, and a field, so that no symmetry hides an error."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(6, 6, generator=generator, dtype=torch.float64).triu(1)
    return matrix + matrix.T, 0.3 * torch.randn(6, generator=generator, dtype=torch.float64)


J, H = couplings()
MINUS_ENERGY = 0.5 * ((STATES @ J) * STATES).sum(1) + STATES @ H  # beta = 1
LOG_Z = float(torch.logsumexp(MINUS_ENERGY, 0))
BOLTZMANN = torch.exp(MINUS_ENERGY - LOG_Z)
EXACT = from_denoiser(EnumeratedIsing(MINUS_ENERGY, (1, *GRID)))


class Tiny(nn.Module):
    """F(x, u, condition) of six spins."""

    def __init__(self, scale=1.0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(7, 32), nn.SiLU(), nn.Linear(32, 6))
        self.scale = scale

    def forward(self, x, u, condition):
        return self.scale * self.layers(torch.cat([x.flatten(1), u[:, None]], 1)).reshape(x.shape)


RANDOM = MaskedDenoiser(Tiny(3.0))


def log_weight(drawn):
    spins = drawn.x.flatten(1)
    return 0.5 * ((spins @ J) * spins).sum(1) + spins @ H - drawn.log_probability


@pytest.mark.parametrize("steps", [None, 4, 1])
@pytest.mark.parametrize("seed", [0, 1])
def test_probabilities_of_all_states_sum_to_one_along_an_order(steps, seed):
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        total = torch.logsumexp(log_probability(RANDOM, STATES.reshape(-1, 1, *GRID), order, steps=steps), 0)
    assert abs(float(total)) < 1e-12


def test_the_exact_model_has_the_boltzmann_probability_along_every_order():
    for seed in range(5):
        order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
        found = log_probability(EXACT, STATES.reshape(-1, 1, *GRID), order)
        assert torch.allclose(found, MINUS_ENERGY - LOG_Z, atol=1e-9)


def test_drawn_magnetisation_and_energy_are_those_of_enumeration():
    drawn = sample_masked(EXACT, (4000, 1, *GRID), seed=1, tile=4000)
    spins = drawn.x.flatten(1)
    for values, law in ((spins, STATES), (-log_weight(drawn) - drawn.log_probability, -MINUS_ENERGY)):
        exact = BOLTZMANN @ law
        error = ((BOLTZMANN @ law.square() - exact**2) / len(spins)).sqrt()
        assert ((values.mean(0) - exact).abs() < 4 * error).all()
    assert (spins.abs() == 1).all()


def test_drawn_frequencies_are_the_probabilities_of_the_model():
    """Chi-square over the 64 states of a random network, a fixed order, three groups of two sites."""
    order, count = torch.tensor([4, 0, 5, 2, 1, 3]), 8000
    drawn = sample_masked(RANDOM, (count, 1, *GRID), seed=2, steps=3, order=order, tile=count)
    with torch.no_grad():
        expected = count * log_probability(RANDOM, STATES.reshape(-1, 1, *GRID), order, steps=3).exp()
    number = ((drawn.x.flatten(1) > 0) * 2 ** torch.arange(6)).sum(1)
    observed = torch.bincount(number, minlength=64)
    full = expected > 5
    chi2 = ((observed - expected) ** 2 / expected)[full].sum()
    freedom = int(full.sum()) - 1
    assert freedom > 15 and chi2 < freedom + 4 * math.sqrt(2 * freedom)
    replayed = log_probability(RANDOM, drawn.x, drawn.order, steps=3)
    assert torch.allclose(replayed, drawn.log_probability, atol=1e-6)  # a float32 network at another batch


@pytest.mark.parametrize("steps", [None, 3])
def test_weights_are_unbiased_for_any_model_and_number_of_steps(steps):
    drawn = sample_masked(MaskedDenoiser(Tiny()), (6000, 1, *GRID), seed=3, steps=steps, tile=6000)
    statistics = summarise_weights(log_weight(drawn))
    assert abs(statistics.log_Z - LOG_Z) < 4 * statistics.log_Z_error < 0.5
    assert 0.01 < statistics.effective_fraction < 0.5  # an untrained model: the weights have work to do
    mean, error = reweighted_mean(drawn.x.flatten(1), log_weight(drawn))
    assert ((mean - BOLTZMANN @ STATES).abs() < 4.5 * error).all()


def test_the_weights_of_the_exact_model_are_all_z():
    drawn = sample_masked(EXACT, (50, 1, *GRID), seed=4)
    assert torch.allclose(log_weight(drawn), torch.tensor(LOG_Z).double(), atol=1e-9)


def test_one_group_of_all_sites_draws_free_spins():
    drawn = sample_masked(EXACT, (6000, 1, *GRID), seed=5, steps=1, tile=6000)
    spins, m = drawn.x.flatten(1), BOLTZMANN @ STATES
    moments = spins.T @ spins / len(spins) - torch.outer(m, m)
    assert (moments - moments.diagonal().diag()).abs().max() < 4.5 / math.sqrt(len(spins))


def test_the_loss_is_the_mean_surprise_over_all_orders():
    """Of the exact model: the entropy per spin, with the number of masked sites uniform in 1...6."""
    count = 30000
    generator = torch.Generator().manual_seed(6)
    x0 = EnumeratedIsing(MINUS_ENERGY, (1, *GRID)).sample(count, generator)
    u = torch.rand(count, generator=generator, dtype=torch.float64)

    class Module(nn.Module):
        def forward(self, x, u, condition=None):
            return EXACT(x, u, condition)

    loss = MaskedLoss(Module())(x0, u, torch.randn(x0.shape, generator=generator), None)
    entropy = -float(BOLTZMANN @ (MINUS_ENERGY - LOG_Z)) / 6
    assert abs(float(loss.mean()) - entropy) < 4 * float(loss.std()) / math.sqrt(count)


def test_the_trainer_of_the_continuous_core_trains_it():
    """Loss within 10 % of the entropy per spin, effective fraction above .5 from below .2, ln Z right."""
    x = EnumeratedIsing(MINUS_ENERGY, (1, *GRID)).sample(4096, torch.Generator().manual_seed(7)).float()
    recipe = Recipe(steps=300, batch_size=64, learning_rate=2e-2, warmup=5, level_distribution=uniform_fraction)
    state = TrainingState(MaskedDenoiser(Tiny()), recipe, loss=MaskedLoss)
    before = summarise_weights(log_weight(sample_masked(state.model, (2000, 1, *GRID), seed=8, tile=2000)))
    losses = [step.loss for step in train(state, x)]
    after = summarise_weights(log_weight(sample_masked(state.ema, (2000, 1, *GRID), seed=8, tile=2000)))
    entropy = -float(BOLTZMANN @ (MINUS_ENERGY - LOG_Z)) / 6
    assert sum(losses[-100:]) / 100 < 1.1 * entropy
    assert before.effective_fraction < 0.2 and after.effective_fraction > 0.5
    assert abs(after.log_Z - LOG_Z) < 4 * after.log_Z_error


def test_known_sites_are_kept_and_the_others_drawn_from_the_law_given_them():
    """Sites 1 and 4 known: the sixteen states of the other four, by frequency and by probability."""
    count = 4000
    known = torch.zeros(count, 6)
    known[:, 1], known[:, 4] = 1, -1
    drawn = sample_masked(EXACT, (count, 1, *GRID), seed=12, known=known.reshape(-1, 1, *GRID), tile=count)
    spins = drawn.x.flatten(1)
    assert (spins[:, 1] == 1).all() and (spins[:, 4] == -1).all()
    given = (STATES[:, 1] == 1) & (STATES[:, 4] == -1)
    law = torch.where(given, BOLTZMANN, torch.zeros_like(BOLTZMANN))
    law = law / law.sum()
    place = (((1 - spins) / 2).long() * 2 ** torch.arange(6)).sum(1)
    of_states = (((1 - STATES) / 2).long() * 2 ** torch.arange(6)).sum(1)
    seen = torch.bincount(place, minlength=64)[of_states].double()
    expected, often = count * law, given & (count * law > 5)
    chi2 = float(((seen - expected).square() / expected)[often].sum())
    assert chi2 < int(often.sum()) + 4 * math.sqrt(2 * int(often.sum()))
    exact = torch.log(law[torch.argsort(of_states)][place])
    assert torch.allclose(drawn.log_probability, exact, atol=1e-9)
    with pytest.raises(ValueError, match="known sites hold"):
        sample_masked(EXACT, (1, 1, *GRID), seed=0, known=torch.full((1, 1, *GRID), 0.5))


def test_an_antisymmetric_model_is_symmetric_under_the_flip_of_all_spins():
    model = MaskedDenoiser(Tiny(), antisymmetric=True)
    order, x = torch.arange(6), STATES.reshape(-1, 1, *GRID)
    with torch.no_grad():
        assert torch.equal(log_probability(model, x, order), log_probability(model, -x, order))


def test_a_draw_depends_on_seed_and_number_alone():
    whole, part = sample_masked(EXACT, (10, 1, *GRID), seed=9), sample_masked(EXACT, (4, 1, *GRID), seed=9, tile=3)
    assert torch.equal(whole.x[:4], part.x) and torch.equal(whole.order[:4], part.order)
    assert torch.equal(whole.x[6:], sample_masked(EXACT, (4, 1, *GRID), seed=9, start_index=6).x)


def test_wrong_requests_say_what_is_right():
    with pytest.raises(ValueError, match="takes 1 to 6 steps, got 7"):
        sample_masked(EXACT, (2, 1, *GRID), seed=0, steps=7)
    with pytest.raises(ValueError, match="each of the 6 sites once"):
        sample_masked(EXACT, (2, 1, *GRID), seed=0, order=torch.zeros(6).long())
