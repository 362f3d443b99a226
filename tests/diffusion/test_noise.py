"""Noise streams: they belong to a sample, are standard normal and independent."""

import math

import torch

from physgen.diffusion.noise import generator_for, noise_like

SHAPE = (1, 4, 5)


def test_noise_of_a_sample_does_not_depend_on_the_batch():
    whole = noise_like(7, "start", range(10), SHAPE)
    assert torch.equal(noise_like(7, "start", [8, 3], SHAPE), whole[[8, 3]])
    assert torch.equal(noise_like(7, "start", torch.tensor([5]), SHAPE), whole[[5]])


def test_float32_noise_is_the_float64_noise_up_to_rounding():
    wide = noise_like(7, "start", range(200), (500,), dtype=torch.float64)
    narrow = noise_like(7, "start", range(200), (500,))
    # radius, sine and their product round to 2^-24 relative each, the logarithm and the angle to a little more
    assert float(((narrow - wide) / wide).abs().max()) < 6 * 2**-24


def test_seed_stream_index_and_step_each_change_the_noise():
    keys = [(0, "a", 0, 0), (1, "a", 0, 0), (0, "b", 0, 0), (0, "a", 1, 0), (0, "a", 0, 1)]
    draws = [noise_like(seed, stream, [index], (64,), step) for seed, stream, index, step in keys]
    # 64 values: the correlation of independent rows has standard deviation 1/8
    correlation = torch.corrcoef(torch.cat(draws)) - torch.eye(5)
    assert float(correlation.abs().max()) < 4 / 8


def test_noise_is_standard_normal_and_uncorrelated_between_samples():
    noise = noise_like(3, "start", range(2000), (50,), dtype=torch.float64)
    count = noise.numel()
    assert abs(float(noise.mean())) * math.sqrt(count) < 4
    assert abs(float(noise.square().mean()) - 1) * math.sqrt(count / 2) < 4
    neighbours = float((noise[1:] * noise[:-1]).mean()) * math.sqrt(count)
    assert abs(neighbours) < 4


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    noise_like(1, "start", range(4), SHAPE)
    assert torch.equal(torch.rand(3), expected)


def test_the_stream_is_pinned():
    """Ensembles drawn with a seed stay reproducible from version to version."""
    found = torch.randint(2**31, (2,), generator=generator_for(0, "start", 0))
    assert found.tolist() == [1002927910, 586940396]
