"""Training reaches a known optimum, resumes bit for bit, is blind to the world size, survives non-finite numbers."""

import copy
import io
import math
from dataclasses import replace

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from physgen.diffusion.learning.batches import Batches, SampleOrder
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogUniform
from physgen.diffusion.learning.ema import PowerEMA, ema_decay
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.learning.validation import validation_loss
from physgen.lattice import wavenumber
from physgen.networks.unet import UNet

GRID = (16,)
RECIPE = Recipe(steps=6, batch_size=8, learning_rate=1e-2, warmup=2, level_distribution=LogUniform(0.1, 10.0))


def gaussian_chain(n, seed=0):
    """(n, 1, 16) Gaussian chains of unit variance with the spectrum of :func:`power`."""
    white = torch.randn(n, 1, *GRID, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.fft.irfft(torch.fft.rfft(white) * power().sqrt(), n=16).float()


def power():
    raw = 1 / (0.05 + torch.from_numpy(wavenumber(GRID)) / (2 * math.pi)) ** 2
    return raw / ((2 * raw.sum() - raw[0] - raw[-1]) / 16)


def new_state(recipe=RECIPE, dropout=0.0, wrap=None):
    torch.manual_seed(0)  # initial weights
    return TrainingState(FieldDenoiser(UNet(1, width=8, multipliers=(1, 2), dropout=dropout)), recipe, wrap)


def parameters(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_a_small_network_learns_the_exact_score_of_a_gaussian():
    """The ratio to the exact denoiser's loss at equal noise falls from above 1.1 to 1, and never below it by more
    than its error.
    """
    recipe = replace(RECIPE, steps=250, batch_size=32, warmup=20)
    state = new_state(recipe)
    held_out, levels = gaussian_chain(256, seed=1), torch.tensor([0.3, 1.0, 3.0])
    exact = FieldDenoiser(torch.nn.Identity(), Spectrum(power().log()[None, None], GRID)).baseline
    before = validation_loss(state.model, held_out, None, levels, 0, exact)
    steps = list(train(state, gaussian_chain(2048)))
    after = validation_loss(state.ema, held_out, None, levels, 0, exact)
    assert (before.ratio > 1.15).all()
    assert (after.ratio - 1 < 0.15 * (before.ratio - 1) + 4 * after.ratio_error).all()
    assert (after.ratio > 1 - 4 * after.ratio_error).all()
    assert steps[-1].step == 250 and steps[-1].skipped == 0 and len(steps) == 250


def test_the_exact_denoiser_has_ratio_one_and_the_ratio_has_an_error():
    exact = FieldDenoiser(torch.nn.Identity(), Spectrum(power().log()[None, None], GRID)).baseline
    x, levels = gaussian_chain(64), torch.tensor([0.5, 2.0])
    same = validation_loss(exact, x, None, levels, 0, exact)
    assert (same.ratio == 1).all() and (same.ratio_error == 0).all()
    prior = validation_loss(lambda y, s, condition=None: torch.zeros_like(y), x, None, levels, 0, exact)
    assert (prior.ratio > 1 + 4 * prior.ratio_error).all() and (prior.ratio_error > 0).all()
    halves = validation_loss(exact, x, None, levels, 0, exact, batch_size=7)
    torch.testing.assert_close(halves.loss, same.loss, rtol=1e-6, atol=0)


def test_k_steps_and_resume_and_k_steps_equal_2k_steps_bit_for_bit():
    x = gaussian_chain(20)
    straight = new_state(dropout=0.2)
    losses = [step.loss.hex() for step in train(straight, x)]
    first, file = new_state(dropout=0.2), io.BytesIO()
    run = train(first, x)
    resumed = [next(run).loss.hex() for _ in range(3)]
    torch.save(first.state_dict(), file)
    torch.manual_seed(99)  # the global generator must not matter
    second = TrainingState(FieldDenoiser(UNet(1, width=8, multipliers=(1, 2), dropout=0.2)), RECIPE)
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue())))
    resumed += [step.loss.hex() for step in train(second, x)]
    assert resumed == losses
    assert torch.equal(parameters(second.model), parameters(straight.model))
    assert torch.equal(parameters(second.ema), parameters(straight.ema))


def test_a_state_without_its_strides_continues_bit_for_bit():
    """A checkpoint file holds numbers in C order; weights of convolutions lie channels last."""
    x = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = (TrainingState(FieldDenoiser(UNet(2, width=8, multipliers=(1, 2))), RECIPE) for _ in range(2))
    steps = train(first, x)
    for _ in range(3):
        next(steps)
    stored = torch.utils._pytree.tree_map_only(torch.Tensor, lambda t: t.clone().contiguous(), first.state_dict())
    second.load_state_dict(stored)
    list(steps)
    list(train(second, x))
    assert any(not p.is_contiguous() for p in first.parameters)
    assert torch.equal(parameters(second.model), parameters(first.model))
    assert torch.equal(parameters(second.ema), parameters(first.ema))


def test_training_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    state = TrainingState(new_state(dropout=0.5).model, RECIPE)
    torch.random.set_rng_state(before)
    next(train(state, gaussian_chain(8)))
    assert torch.equal(before, torch.random.get_rng_state())


def _one_rank(rank, folder, results):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    state = new_state(replace(RECIPE, batch_size=9), wrap=DistributedDataParallel)
    x = gaussian_chain(20)
    x[3] = math.nan
    steps = list(train(state, x, rank=rank, world_size=2))
    torch.save({"steps": steps, "parameters": parameters(state.ema)}, f"{results}-{rank}")
    torch.distributed.destroy_process_group()


def test_two_processes_give_the_numbers_of_one(tmp_path):
    """Odd batch (slices of 5 and 4) and a sample that is NaN on one rank only: both ranks agree with one process,
    skips included.
    """
    torch.multiprocessing.spawn(_one_rank, (str(tmp_path), str(tmp_path / "rank")), nprocs=2)
    ranks = [torch.load(tmp_path / f"rank-{rank}", weights_only=False) for rank in (0, 1)]
    state = new_state(replace(RECIPE, batch_size=9))
    x = gaussian_chain(20)
    x[3] = math.nan
    alone = list(train(state, x))
    assert 0 < alone[-1].skipped < 6
    for other in ranks:
        assert [step.accepted for step in other["steps"]] == [step.accepted for step in alone]
        for mine, theirs in zip(alone, other["steps"], strict=True):
            assert not mine.accepted or math.isclose(
                mine.loss, theirs.loss, rel_tol=1e-5
            )  # order of float32 sums, amplified by Adam
        torch.testing.assert_close(other["parameters"], parameters(state.ema), rtol=0, atol=1e-5)
    assert torch.equal(ranks[0]["parameters"], ranks[1]["parameters"])


def test_a_step_that_is_not_finite_changes_counters_only():
    x = gaussian_chain(16)
    x[5, 0, 3] = math.inf
    state = new_state(replace(RECIPE, steps=4))  # 2 steps an epoch: exactly one of them holds the bad sample
    weights = parameters(state.model)
    for step in train(state, x):
        held = 5 in SampleOrder(16, state.recipe.seed).indices(8 * (step.step - 1), 8)
        assert step.accepted != held
        assert torch.equal(weights, parameters(state.model)) == held
        weights = parameters(state.model)
    assert state.skipped == 2 and torch.isfinite(parameters(state.ema)).all()


def test_a_rejected_step_keeps_every_bit_of_the_state_and_is_counted_once():
    """A sample that is not finite in every batch, from the first step on: weights, moments, averages as they were."""
    state = new_state(replace(RECIPE, steps=3))
    averages = PowerEMA(state.model)
    before = copy.deepcopy((state.state_dict(), averages.emas))
    for step in train(state, torch.full((8, 1, *GRID), math.nan)):
        averages.update(state.model, step.report[2])
        assert not step.accepted and step.skipped == step.step and step.lr == state.recipe.rate(step.step - 1)
    assert state.skipped == 3 and averages.count == 0
    after = state.state_dict()
    for name in ("model", "ema"):
        assert all(torch.equal(after[name][key], value) for key, value in before[0][name].items())
    assert all(torch.equal(a[k], v) for a, b in zip(averages.emas, before[1], strict=True) for k, v in b.items())
    for moments in after["optimizer"]["state"].values():
        assert not any(value.any() for value in moments.values())
    for step in train(continued(state, steps=5), gaussian_chain(8)):  # then it trains as if nothing had been
        assert step.accepted and step.skipped == 3
    assert torch.isfinite(parameters(state.ema)).all()


def continued(state, steps):
    state.recipe = replace(state.recipe, steps=steps)
    return state


def test_the_update_is_adamw_with_clipped_gradients():
    """Against torch's plain AdamW and clipping, from the same gradients; a different order of float32 operations."""
    recipe = replace(RECIPE, clip_norm=1e-2, weight_decay=0.1)
    state, other = new_state(recipe), new_state(recipe)
    plain = torch.optim.AdamW(other.parameters, lr=1.0, betas=(0.9, 0.99), weight_decay=0.1, foreach=False, fused=False)
    steps = train(state, gaussian_chain(16))
    batches = Batches(gaussian_chain(16), None, recipe)
    for number in range(4):
        batch, step = batches.at(number), next(steps)
        plain.zero_grad()
        other.loss(batch.x0, batch.levels, batch.noise, {}).mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(other.parameters, recipe.clip_norm)
        plain.param_groups[0]["lr"] = step.lr
        plain.step()
        assert step.grad_norm == pytest.approx(float(norm), rel=1e-4) and step.grad_norm > 2 * recipe.clip_norm
    difference = parameters(state.model) - parameters(other.model)
    # Adam's step is of size lr; it doubles rounding where a gradient is next to zero
    assert float(difference.abs().mean()) < 1e-3 * recipe.learning_rate


def test_a_checkpoint_of_the_plain_optimizer_resumes_with_the_fused_one():
    state = new_state()
    next(train(state, gaussian_chain(8)))
    stored = copy.deepcopy(state.state_dict())
    for group in stored["optimizer"]["param_groups"]:
        group["fused"] = None
    other = new_state()
    other.load_state_dict(stored)
    weights = parameters(other.model)
    assert not next(train(other, torch.full((8, 1, *GRID), math.nan))).accepted
    assert torch.equal(weights, parameters(other.model))


def test_average_of_weights_is_the_closed_form():
    state = new_state(replace(RECIPE, steps=5))
    trail = []
    for _ in train(state, gaussian_chain(16)):
        trail.append(parameters(state.model).double())
    edges = torch.arange(6, dtype=torch.float64) ** (RECIPE.ema_exponent + 1) / 5 ** (RECIPE.ema_exponent + 1)
    expected = sum(weight * theta for weight, theta in zip(edges.diff(), trail, strict=True))
    torch.testing.assert_close(parameters(state.ema).double(), expected, rtol=0, atol=1e-6)  # float32
    assert ema_decay(1, 6.94) == 0


def test_augmentation_gets_numbers_that_belong_to_the_samples():
    calls = []

    def augment(x, condition, draws):
        calls.append((x.shape, *draws.uniform().tolist()))
        return -x, condition

    for _ in range(2):
        list(train(new_state(replace(RECIPE, steps=2)), gaussian_chain(16), {"labels": torch.zeros(16, 0)}, augment))
    assert calls[:2] == calls[2:] and calls[0] != calls[1] and calls[0][0] == (8, 1, 16)


def test_learning_rate_warms_up_and_decays_as_a_cosine():
    recipe = Recipe(steps=110, batch_size=1, learning_rate=2.0, warmup=10, final_fraction=0.1)
    rates = [recipe.rate(step) for step in (0, 9, 10, 60, 110)]
    assert rates == pytest.approx([0.2, 2.0, 2.0, 1.1, 0.2])


def test_bfloat16_trains():
    """The same course as in float32 but for 8 bits of mantissa, of which each step loses half a unit; master weights
    stay whole."""
    plain, short = new_state(), new_state(replace(RECIPE, precision="bfloat16"))
    losses = [[step.loss for step in train(state, gaussian_chain(16)) if step.accepted] for state in (plain, short)]
    assert len(losses[0]) == len(losses[1]) == RECIPE.steps and losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=RECIPE.steps * 2**-9)
    assert all(p.dtype == torch.float32 for p in short.model.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Recipe(steps=0, batch_size=1), "steps"),
        (lambda: Recipe(steps=1, batch_size=1, precision="float16"), "float16"),
        (lambda: next(train(new_state(), gaussian_chain(8), world_size=2)), "not initialised"),
        (lambda: next(train(new_state(), gaussian_chain(8), rank=1)), "rank < world_size"),
    ],
)
def test_bad_input_gets_one_clear_message(call, message):
    with pytest.raises(ValueError, match=message):
        call()
