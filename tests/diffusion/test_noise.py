"""Noise streams: they belong to a sample, have the law that they name, and are independent."""

import math

import pytest
import torch
from scipy.stats import chisquare, kstest, norm

from physgen.diffusion.noise import Stream, generator_for, noise_like, uniform_like

SHAPE = (1, 4, 5)


def test_noise_of_a_sample_does_not_depend_on_the_batch():
    whole = noise_like(7, "start", range(10), SHAPE)
    assert torch.equal(noise_like(7, "start", [8, 3], SHAPE), whole[[8, 3]])
    assert torch.equal(noise_like(7, "start", torch.tensor([5]), SHAPE), whole[[5]])


def test_float32_noise_is_the_float64_noise_up_to_rounding():
    wide = noise_like(7, "start", range(200), (500,), dtype=torch.float64)
    narrow = noise_like(7, "start", range(200), (500,))
    assert float(((narrow - wide) / wide).abs().max()) < 8 * 2**-24  # as test_philox finds it at every word


def test_uniform_and_whole_numbers_of_a_sample_do_not_depend_on_the_batch():
    for draw in (
        lambda index: uniform_like(7, "start", index, SHAPE),
        lambda index: uniform_like(7, "start", index, SHAPE, dtype=torch.float64),
        lambda index: Stream(7, "start").integers(48, index, SHAPE),
    ):
        assert torch.equal(draw([8, 3]), draw(range(10))[[8, 3]])


def test_seed_stream_index_and_step_each_change_the_noise():
    keys = [(0, "a", 0, 0), (1, "a", 0, 0), (0, "b", 0, 0), (0, "a", 1, 0), (0, "a", 0, 1)]
    draws = [noise_like(seed, stream, [index], (64,), step) for seed, stream, index, step in keys]
    # 64 values: the correlation of independent rows has standard deviation 1/8
    correlation = torch.corrcoef(torch.cat(draws)) - torch.eye(5)
    assert float(correlation.abs().max()) < 4 / 8


COUNT, PLACES = 1000, 1000  # a million numbers


@pytest.fixture(scope="module")
def noise():
    return noise_like(3, "start", range(COUNT), (PLACES,)).double()


@pytest.mark.parametrize(
    ("power", "mean", "variance"), [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]
)  # of z^power, z standard normal
def test_moments_to_the_fourth_are_normal(noise, power, mean, variance):
    assert abs(float((noise**power).mean()) - mean) < 4 * math.sqrt(variance / noise.numel())


def correlation(a, b):
    """In units of its standard deviation, both being standard normal and independent."""
    return abs(float((a * b).mean())) * math.sqrt(a.numel())


def test_neighbouring_samples_and_places_are_uncorrelated(noise):
    squares = (noise**2 - 1) / math.sqrt(2)
    for field in (noise, squares):  # squares see a common radius
        assert correlation(field[1:], field[:-1]) < 4
        for shift in (1, 2, 3, 4, 1024 - PLACES % 1024, 512):
            assert correlation(field[:, shift:], field[:, :-shift]) < 4


def test_seeds_streams_steps_and_kinds_are_uncorrelated(noise):
    others = [
        noise_like(4, "start", range(COUNT), (PLACES,)),
        noise_like(3, "stara", range(COUNT), (PLACES,)),
        noise_like(3, "start", range(COUNT), (PLACES,), step=1),
        noise_like(3, "start", range(2**32, 2**32 + COUNT), (PLACES,)),
        math.sqrt(12) * (uniform_like(3, "start", range(COUNT), (PLACES,)) - 0.5),
    ]
    for other in others:
        assert correlation(noise, other.double()) < 4


def test_the_spectrum_of_the_noise_is_flat():
    """|FFT|^2 of a mode over its mean is exponential: a bin of M complex modes has the relative error M^-1/2."""
    side, count = 64, 200
    field = noise_like(5, "start", range(count), (side, side)).double()
    power = torch.fft.rfft2(field).abs().square()[:, :, 1 : side // 2] / side**2  # each mode once
    of_modes = power.mean(0)  # (64, 31)
    assert float((of_modes.mean(1) - 1).abs().max()) * math.sqrt(count * 31) < 4.5  # the largest of 64 lines
    assert float((of_modes.mean(0) - 1).abs().max()) * math.sqrt(count * side) < 4.5
    assert abs(float(power.mean()) - 1) * math.sqrt(power.numel()) < 4
    # variance of the modes around 1: 1/count each, its own relative error sqrt(2/modes)
    assert abs(float(of_modes.var()) * count - 1) < 4 * math.sqrt(2 / of_modes.numel() + 9 / of_modes.numel() / count)


def test_the_law_is_normal_in_bulk_and_tails(noise):
    values = noise.flatten().numpy()
    assert kstest(values, "norm").pvalue > 1e-4
    for beyond in (3.0, 4.0):
        expected = math.erfc(beyond / math.sqrt(2)) * len(values)
        assert abs((abs(values) > beyond).sum() - expected) < 4 * math.sqrt(expected)
    tail = values[values > 2.5]
    assert kstest(tail, lambda z: 1 - norm.sf(z) / norm.sf(2.5)).pvalue > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_uniform_and_never_0_or_1(dtype):
    values = uniform_like(1, "levels", range(1000), (500,), dtype=dtype)
    assert float(values.min()) > 0
    assert float(values.max()) < 1
    assert kstest(values.flatten().numpy(), "uniform").pvalue > 1e-4


def test_float32_and_float64_uniform_numbers_lie_in_one_bin():
    narrow, wide = (uniform_like(1, "levels", range(100), (50,), dtype=d) for d in (torch.float32, torch.float64))
    assert float((narrow - wide).abs().max()) <= 2**-24


def test_whole_numbers_are_equally_frequent():
    found = torch.bincount(Stream(2, "moves").integers(48, range(1000), (480,)).flatten(), minlength=48).numpy()
    assert chisquare(found).pvalue > 1e-4


def test_shapes_and_indices_of_all_kinds():
    stream = Stream(2, "moves", step=5)
    assert stream.normal([], (3,)).shape == (0, 3)
    assert stream.uniform([4], ()).shape == (1,)
    assert stream.normal(range(2), (0, 4)).shape == (2, 0, 4)
    assert torch.equal(stream.normal(iter([7, -1]), (2, 3)), stream.normal(torch.tensor([7, -1]), (2, 3)))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: noise_like(0, "a", [0], (2**17, 2**18)), "2\\^34 numbers"),
        (lambda: noise_like(0, "a", [0], (2,), step=-1), "step of a stream"),
        (lambda: noise_like(0, "a", [0], (2,), step=2**31), "step of a stream"),
        (lambda: noise_like(0, "a", [0], (2,), dtype=torch.bfloat16), "float32 or float64"),
        (lambda: noise_like(0, "a", torch.zeros(3), (2,)), "whole numbers of shape"),
        (lambda: Stream(0, "a").integers(0, [0], (2,)), "1 <= high"),
        (lambda: Stream(0, "a").integers(2**31 + 1, [0], (2,)), "1 <= high"),
    ],
)
def test_what_the_counter_does_not_reach_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    noise_like(1, "start", range(4), SHAPE)
    assert torch.equal(torch.rand(3), expected)


def test_the_streams_are_pinned():
    """Ensembles drawn with a seed stay reproducible from version to version."""
    found = torch.randint(2**31, (2,), generator=generator_for(0, "start", 0))
    assert found.tolist() == [1002927910, 586940396]
    assert Stream(0, "start", step=1).integers(2**31, [2], (3,)).tolist() == [[903589837, 278469951, 652119159]]
    assert noise_like(0, "start", [2], (3,), step=1).tolist() == [
        [1.3370254039764404, 1.2459352016448975, -0.5555675029754639]
    ]
