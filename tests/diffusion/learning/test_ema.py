"""Averages of weights held to the direct average of a recorded trajectory, and to another code."""

import math
from importlib import import_module

import pytest
import torch
from torch import nn

from physgen.diffusion.learning.ema import (
    PowerEMA,
    Snapshot,
    blend,
    ema_decay,
    ema_gain,
    exponent_of,
    synthesize,
    width_of,
)

STEPS, EVERY = 2000, 100


def recorded():
    """A wandering parameter, as a trajectory (STEPS, 5): noise on a slow trend."""
    noise = torch.randn(STEPS, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    trend = torch.log1p(torch.arange(STEPS, dtype=torch.float64))[:, None]
    return torch.cumsum(noise, 0) / math.sqrt(STEPS) + noise + trend


def run(trajectory, widths=(0.05, 0.10), every=EVERY):
    """Snapshots taken along the trajectory, and the averages at its end."""
    model = nn.Linear(5, 1, bias=False).double()
    averages, stored = PowerEMA(model, widths), []
    for step, weights in enumerate(trajectory, start=1):
        model.weight.data = weights[None]
        averages.update(model)
        if step % every == 0:
            stored += averages.snapshots()
    return averages, stored


def direct(trajectory, width):
    """The average by its definition, with the profile integrated over every update."""
    time = torch.arange(len(trajectory) + 1, dtype=torch.float64) / len(trajectory)
    shares = torch.diff(time ** (exponent_of(width) + 1))
    return shares @ trajectory


@pytest.mark.parametrize(("width", "exponent"), [(0.05, 16.97), (0.10, 6.94), (1 / math.sqrt(12), 0.0)])
def test_widths_and_exponents_are_those_of_the_paper(width, exponent):
    assert exponent_of(width) == pytest.approx(exponent, abs=0.005)
    assert width_of(exponent_of(width)) == pytest.approx(width, rel=1e-12)


def test_the_width_is_the_standard_deviation_of_the_profile():
    gamma = 4.3
    tau = (torch.arange(10**6, dtype=torch.float64) + 0.5) / 10**6
    profile = (gamma + 1) * tau**gamma / 10**6
    mean = (profile * tau).sum()
    assert float((profile * (tau - mean) ** 2).sum().sqrt()) == pytest.approx(width_of(gamma), rel=1e-6)


def test_running_averages_are_the_direct_average():
    trajectory = recorded()
    averages, _ = run(trajectory)
    for width, average in zip((0.05, 0.10), averages.emas, strict=True):
        assert torch.allclose(average["weight"][0], direct(trajectory, width), atol=1e-12)


@pytest.mark.parametrize("width", [0.04, 0.06, 0.08, 0.12, 0.15, 0.20])
def test_any_width_comes_out_of_two_stored_profiles(width):
    """Error within the residual of the profile: by Cauchy-Schwarz |p| r times the root of the sum of squares."""
    trajectory = recorded()
    _, stored = run(trajectory)
    found, residual = synthesize(stored, width)
    exact = direct(trajectory, width)
    shares = torch.diff((torch.arange(STEPS + 1).double() / STEPS) ** (exponent_of(width) + 1))
    spread = (trajectory - exact).square().sum(0).sqrt() * shares.square().sum().sqrt()
    assert residual < 0.05
    assert ((found["weight"][0] - exact).abs() < residual * spread + 1e-2 / STEPS * trajectory.abs().max()).all()


def test_an_earlier_average_comes_out_too():
    trajectory = recorded()
    _, stored = run(trajectory)
    found, residual = synthesize(stored, 0.08, update=1500)
    exact, late = direct(trajectory[:1500], 0.08), direct(trajectory, 0.08)
    assert residual < 0.05
    assert (found["weight"][0] - exact).abs().max() < 0.05 * (late - exact).abs().max()


def test_a_stored_profile_is_given_back():
    averages, stored = run(recorded())
    found, residual = synthesize(stored, 0.10)
    assert residual < 1e-6
    assert torch.allclose(found["weight"], averages.emas[1]["weight"], atol=1e-8)


def test_few_snapshots_say_that_they_miss_the_profile():
    _, stored = run(recorded(), every=1000)
    assert synthesize(stored, 0.2)[1] > 0.05 > synthesize(run(recorded())[1], 0.2)[1]


def test_ema_pytorch_finds_the_same_average(tmp_path):
    """Its post-hoc synthesis from its own checkpoints of the same trajectory, and the direct average, agree."""
    theirs = import_module("ema_pytorch")
    trajectory = recorded()
    _, stored = run(trajectory)
    model = nn.Linear(5, 1, bias=False).double()
    other = theirs.PostHocEMA(
        model,
        sigma_rels=(0.05, 0.10),
        update_every=1,
        checkpoint_every_num_steps=EVERY,
        checkpoint_folder=str(tmp_path),
        checkpoint_dtype=torch.float64,
    )
    for weights in trajectory:
        model.weight.data = weights[None]
        other.update()
    ours = synthesize(stored, 0.15)[0]["weight"][0]
    foreign = other.synthesize_ema_model(sigma_rel=0.15).ema_model.weight[0].detach()
    exact = direct(trajectory, 0.15)
    # the same least squares; it checkpoints in the same places and starts from the weights of update 0
    assert (ours - foreign).abs().max() < 2e-4
    assert (ours - exact).abs().max() < 2 / STEPS * trajectory.abs().max()


def test_averages_continue_from_their_state():
    trajectory = recorded()[:60]
    whole, _ = run(trajectory)
    first, _ = run(trajectory[:40])
    model = nn.Linear(5, 1, bias=False).double()
    second = PowerEMA(model)
    second.load_state_dict(first.state_dict())
    for weights in trajectory[40:]:
        model.weight.data = weights[None]
        second.update(model)
    assert torch.equal(second.emas[0]["weight"], whole.emas[0]["weight"])
    with pytest.raises(ValueError, match="exponents"):
        PowerEMA(model, (0.2,)).load_state_dict(first.state_dict())


def test_wrong_requests_say_what_is_right():
    with pytest.raises(ValueError, match="lies in"):
        exponent_of(0.5)
    with pytest.raises(ValueError, match="at least one snapshot"):
        synthesize([], 0.1)
    with pytest.raises(ValueError, match="updates 1 to 10, got 11"):
        synthesize([Snapshot(10, 6.94, {"weight": torch.zeros(1)})], 0.1, update=11)


def test_the_gain_of_the_device_is_that_of_the_closed_form():
    one = torch.tensor(1.0)
    for update in (1, 2, 17, 10**6):
        assert float(ema_gain(torch.tensor(update), one, 6.94)) == pytest.approx(1 - ema_decay(update, 6.94), rel=1e-9)
    assert float(ema_gain(torch.tensor(0), 0 * one, 6.94)) == 0 == float(ema_gain(torch.tensor(5), 0 * one, 6.94))


def test_both_ways_of_blending_agree():
    """The launches for a GPU, and a tensor each on the CPU: equal up to a rounding, and exact for a gain of 0."""
    random = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=random) for shape in ((3,), (2, 5), ())]
    start = [torch.randn(value.shape, generator=random) for value in weights]
    for gain in (0.0, 0.3, 1.0):
        found = []
        for at_once in (False, True):
            averages = [value.clone() for value in start]
            blend(averages, weights, torch.tensor(gain, dtype=torch.float64), at_once)
            found.append(averages)
        for one, other, old, new in zip(*found, start, weights, strict=True):
            torch.testing.assert_close(one, other, rtol=3e-7, atol=3e-7)
            torch.testing.assert_close(one, old + gain * (new - old), rtol=3e-7, atol=3e-7)
            assert gain or (torch.equal(one, old) and torch.equal(other, old))
