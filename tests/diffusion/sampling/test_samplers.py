"""Samplers held to their stated orders by laws whose answer is known, and to other codes.

For a Gaussian field every sampler is linear mode by mode: its response to impulses gives the exact law of the output,
with no Monte Carlo.
"""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from physgen.diffusion.exact import EmpiricalMeasure, EnumeratedIsing, GaussianField, GaussianMixture
from physgen.diffusion.levels import karras, log_uniform
from physgen.diffusion.names import OF_STUDENTS
from physgen.diffusion.noise import noise_like
from physgen.diffusion.sampling.samplers import SAMPLERS, evaluations, sample

ORDERS = {
    "euler": 1, "ancestral": 1, "euler_maruyama": 1, "predictor_corrector": 1, "heun": 2, "dpmpp_2m": 2,
    "dpmpp_2m_sde": 2, "heun_churn": 2, "dpmpp_3m": 3, "exponential_4m": 4,
}  # fmt: skip
WALKERS = [*ORDERS, "annealed_langevin"]  # on a given grid; the last one has no order


def uneven(s_max, s_min, steps):
    """Steps of log s that alternate 1 : 3."""
    ramp = torch.cumsum(torch.tensor([0.0] + [1.0, 3.0] * steps, dtype=torch.float64), 0)[:steps]
    return torch.cat([s_max * torch.exp(ramp / ramp[-1] * math.log(s_min / s_max)), torch.zeros(1)])


def power_of_output(field, name, levels):
    """Exact variance of every mode of x0 (C, *grid): the squares of the responses to each independent noise, summed."""
    shape = field.spectrum.shape
    impulse = torch.zeros(shape, dtype=torch.float64)
    impulse[(slice(None), *(0,) * (len(shape) - 1))] = math.sqrt(shape[1:].numel())  # every mode 1
    noises = SAMPLERS[name].draws * (len(levels) - 1)
    start = torch.zeros(1 + noises, *shape, dtype=torch.float64)
    start[0] = impulse * levels[0]

    def noise(i):
        kicked = torch.zeros_like(start)
        kicked[i + 1] = impulse
        return kicked

    response = SAMPLERS[name](field, levels, start, None, noise)
    return torch.fft.fftn(response, dim=tuple(range(2, start.ndim)), norm="ortho").abs().square().sum(0)


def field_between(least, largest, grid):
    """Gaussian field whose spectrum falls with |k| as a power law from the largest to the least value."""
    axes = torch.meshgrid(*[torch.fft.fftfreq(n, dtype=torch.float64) for n in grid], indexing="ij")
    k = torch.stack([a**2 for a in axes]).sum(0).sqrt().clamp(min=1 / max(grid))
    ramp = torch.log(k / k.min()) / torch.log(k.max() / k.min())
    return GaussianField((largest * (least / largest) ** ramp)[None])


@pytest.mark.parametrize("grid", [log_uniform, karras, uneven])
@pytest.mark.parametrize("name", ORDERS)
def test_variance_bias_has_at_least_the_stated_order(name, grid):
    """On even grids between far ends odd orders gain one: the leading error is a total derivative in log s."""
    field = field_between(0.1, 10.0, (12,))
    # far ends: their own errors, -P/s_max^2 and -s_min^2/P, stay below 1e-8
    bias = [
        float((power_of_output(field, name, grid(1e5, 1e-5, steps)) / field.spectrum - 1).abs().max())
        for steps in (FINE if SAMPLERS[name].draws == 0 else FINE_ENOUGH)[grid]
    ]
    assert -0.15 < math.log2(bias[0] / bias[1]) - ORDERS[name] < 1.1


FINE = {log_uniform: (320, 640), karras: (640, 1280), uneven: (480, 960)}
FINE_ENOUGH = {log_uniform: (200, 400), karras: (320, 640), uneven: (320, 640)}  # a row of noise for each step


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m", "dpmpp_3m", "exponential_4m"])
def test_flow_through_a_mixture_has_the_stated_order(name):
    means = torch.tensor([-1.0, 0.6], dtype=torch.float64)[:, None, None]
    law = GaussianMixture(means, torch.tensor([0.15, 0.3], dtype=torch.float64) ** 2, torch.tensor([0.3, 0.7]))
    order = ORDERS[name]
    # the first steps of the order 4 have a shorter past, an error of order 2 with the factor P/s_max^2
    s_max, steps = (80.0, 256) if order < 4 else (1e4, 512)
    y = s_max * torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None, None]
    ends = {n: SAMPLERS[name](law, log_uniform(s_max, 0.002, n), y) for n in (steps, 2 * steps, 4096)}
    coarse, fine = (float((ends[n] - ends[4096]).abs().mean()) for n in (steps, 2 * steps))
    # the reference itself has 4096 steps: its own error is missing in both
    missing = [(n / 4096) ** order for n in (steps, 2 * steps)]
    exponent = math.log2(coarse / (1 - missing[0])) - math.log2(fine / (1 - missing[1]))
    assert abs(exponent - order) < 0.15


@pytest.mark.parametrize("grid", [(256,), (24, 18), (10, 8, 6)])
def test_40_evaluations_of_2m_bring_every_mode_within_one_percent(grid):
    """Spectra between 1e-4 and 1e2; the range of levels is 7.5 and 0.13 standard deviations of the extreme modes."""
    field = field_between(1e-4, 1e2, grid)
    levels = log_uniform(75.0, 1.3e-3, 40)
    assert evaluations("dpmpp_2m", levels) == 40
    ratio = power_of_output(field, "dpmpp_2m", levels) / field.spectrum
    assert float(field.spectrum.max() / field.spectrum.min()) == pytest.approx(1e6)
    assert float((ratio - 1).abs().max()) < 0.01


# the one takes noise in before it denoises, the other steps to zero as to any level (test_modal.py)
@pytest.mark.parametrize(
    "name", [name for name in SAMPLERS if name not in ("heun_churn", "modal_2m", "modal_4m", *OF_STUDENTS)]
)
def test_the_step_to_zero_is_the_denoised(name):
    law = field_between(0.1, 10.0, (16,))
    y = noise_like(0, "test", range(3), (1, 16), dtype=torch.float64)
    s = torch.full((3,), 0.3, dtype=torch.float64)
    assert torch.equal(SAMPLERS[name](law, torch.tensor([0.3, 0.0], dtype=torch.float64), y), law(y, s))


@pytest.mark.parametrize("name", ORDERS)
def test_variance_above_zero_has_the_stated_order(name):
    """Stopped at s the field has variance P + s^2: there the error falls with the stated order, with no floor."""
    assert SAMPLERS[name].order == ORDERS[name]
    field = field_between(0.1, 10.0, (16,))
    bias = []
    for count in (240, 479):  # 479 levels halve the steps of 240
        power = power_of_output(field, name, log_uniform(1e5, 0.5, count)[:-1])
        bias.append(float((power / (field.spectrum + 0.25) - 1).abs().max()))
    assert abs(math.log2(bias[0] / bias[1]) - ORDERS[name]) < 0.15


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("modal_2m", "modal_4m", *OF_STUDENTS)])
def test_a_point_mass_is_reached_from_anywhere(name):
    point = torch.tensor([[0.5, -2.0, 3.0]])
    found = sample(EmpiricalMeasure(point[None]), log_uniform(10.0, 0.1, 6), (4, 1, 3), seed=0, sampler=name)
    torch.testing.assert_close(found, point.expand(4, 1, 3))


@pytest.mark.parametrize("name", [*ORDERS, "dopri5"])
def test_states_of_an_enumerated_ising_system_have_their_boltzmann_weights(name):
    """Chi-square of 1000 samples over the 16 states of a frustrated square at beta = 0.7."""
    couplings = torch.zeros(4, 4)
    for i, bond in enumerate([1.0, 0.7, -0.9, 0.4]):
        couplings[i, (i + 1) % 4] = couplings[(i + 1) % 4, i] = bond
    law = EnumeratedIsing.from_couplings(couplings, 0.7, (1, 2, 2), torch.tensor([0.3, 0.0, -0.2, 0.1]))
    steps = 40 if ORDERS.get(name, 2) >= 2 else 120
    x = sample(law, log_uniform(50.0, 0.05, steps), (1000, 1, 2, 2), seed=3, sampler=name, tile=1000)
    state = ((x.flatten(1) > 0).long() * torch.tensor([1, 2, 4, 8])).sum(1)
    counts = torch.bincount(state, minlength=16).double()
    expected = 1000 * torch.softmax(law.log_weights, 0)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert chi2.sf(statistic, 15) > 1e-3


def test_azula_takes_the_same_steps():
    """Independent code on the same levels: Euler, Heun and DDPM of azula under its VE schedule."""
    from azula.denoise import Denoiser, DiracPosterior
    from azula.noise import VESchedule
    from azula.sample import DDPMSampler, EulerSampler, HeunSampler

    law, steps = _mixture(), 12
    levels = log_uniform(20.0, 0.05, steps + 1)[:-1]

    class Foreign(Denoiser):
        schedule = VESchedule(sigma_min=0.05, sigma_max=20.0)

        def forward(self, x_t, t, **kwargs):
            return DiracPosterior(mean=law(x_t, self.schedule.sigma(t)))

    y = 20 * noise_like(0, "test", range(8), (2, 3), dtype=torch.float64)
    for name, foreign in [("euler", EulerSampler), ("heun", HeunSampler), ("ancestral", DDPMSampler)]:
        torch.manual_seed(11)
        expected = foreign(Foreign(), steps=steps, silent=True, dtype=torch.float64)(y)
        generator = torch.Generator().manual_seed(11)

        def noise(_, generator=generator):
            return torch.randn(y.shape, dtype=y.dtype, generator=generator)

        torch.testing.assert_close(SAMPLERS[name](law, levels, y, None, noise), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("grid", [log_uniform, karras, uneven])
def test_diffusers_takes_the_same_dpmpp_2m_steps(grid):
    """Independent code on the same levels: the EDM scheduler of diffusers, the step to 0 included."""
    from diffusers import EDMDPMSolverMultistepScheduler

    law, steps = _mixture(), 20
    levels = grid(20.0, 0.05, steps)
    scheduler = EDMDPMSolverMultistepScheduler(sigma_data=1.0)
    scheduler.set_timesteps(steps)
    scheduler.sigmas = levels
    y = 20 * noise_like(0, "test", range(8), (2, 3), dtype=torch.float64)
    x = y
    for i, t in enumerate(scheduler.timesteps):
        s = levels[i]
        # the scheduler wants EDM's raw network output F: D = x / (1 + s^2) + s / sqrt(1 + s^2) F
        raw = (law(x, s) - x / (1 + s**2)) * torch.sqrt(1 + s**2) / s
        x = scheduler.step(raw, t, x).prev_sample
    torch.testing.assert_close(SAMPLERS["dpmpp_2m"](law, levels, y), x, rtol=1e-12, atol=1e-12)


def _mixture():
    means = noise_like(1, "means", range(3), (2, 3), dtype=torch.float64)
    return GaussianMixture(means, torch.tensor([0.1, 0.3, 0.2], dtype=torch.float64))


class Convolution(torch.nn.Module):
    """A small network with a condition, whose rounding depends on the shape of the batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        circular = {"padding": 1, "padding_mode": "circular"}
        inner, outer = torch.nn.Conv2d(2, 16, 3, **circular), torch.nn.Conv2d(16, 1, 3, **circular)
        self.layers = torch.nn.Sequential(inner, torch.nn.SiLU(), outer)

    def forward(self, y, s, condition):
        scale = (1 + s**2).sqrt()[:, None, None, None]
        x = torch.cat([y / scale, condition["labels"][:, :, None, None].expand_as(y)], dim=1)
        return self.layers(x) + y / scale**2


@pytest.mark.parametrize("name", ["dpmpp_2m", "ancestral"])
def test_samples_do_not_depend_on_their_number_their_start_or_the_splitting(name):
    network, levels = Convolution(), log_uniform(20.0, 0.05, 6)
    labels = noise_like(0, "labels", range(23), (1,))

    def draw(first, last):
        condition = {"labels": labels[first:last]}
        shape = (last - first, 1, 8, 8)
        return sample(network, levels, shape, 5, condition, name, tile=8, start_index=first)

    whole = draw(0, 23)
    assert whole.unique(dim=0).shape[0] == 23
    for splitting in [(0, 1, 23), (0, 8, 16, 23), (0, 5, 13, 14, 22, 23)]:
        parts = [draw(first, last) for first, last in zip(splitting, splitting[1:], strict=False)]
        assert torch.equal(torch.cat(parts), whole)


class Embedding(Convolution):
    """The labels go through matrix products first, whose rounding depends on the number of rows."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Sequential(torch.nn.Linear(24, 64), torch.nn.SiLU(), torch.nn.Linear(64, 1))

    def forward(self, y, s, condition):
        return super().forward(y, s, {"labels": self.embedding(condition["labels"])})


@pytest.mark.parametrize("name", WALKERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_have_the_same_bits_however_many_are_asked_for_at_once(name, dtype):
    """A network with matrix products, which round differently at other numbers of rows: whole, halves, one by one."""
    levels, count, site = log_uniform(20.0, 0.05, 5), 40, (1, 48, 48)  # tiles of 16
    labels = noise_like(0, "labels", range(count), (24,))
    network = Embedding().to(dtype)

    def draw(parts):
        pieces = [
            sample(network, levels, (b - a, *site), 5, {"labels": labels[a:b]}, name, start_index=a, dtype=dtype)
            for a, b in zip(parts[:-1], parts[1:], strict=True)
        ]
        return torch.cat(pieces)

    whole = draw([0, count])
    assert torch.equal(whole, draw([0, 13, 27, count]))
    assert torch.equal(whole[:8], draw([0, 5, 6, 7, 8]))


def test_another_tile_changes_rounding_alone():
    levels, labels = log_uniform(20.0, 0.05, 8), {"labels": noise_like(0, "labels", range(10), (1,))}
    for law in (field_between(0.1, 10.0, (8, 8)), Convolution().double()):
        settings = {"condition": labels, "dtype": torch.float64}
        draws = [sample(law, levels, (10, 1, 8, 8), 5, tile=tile, **settings) for tile in (1, 4, 64)]
        for other in draws[1:]:
            torch.testing.assert_close(other, draws[0], rtol=1e-10, atol=1e-12)


def test_float32_follows_float64_from_the_same_noise():
    field, levels = field_between(0.1, 10.0, (16, 16)), log_uniform(30.0, 0.01, 24)
    wide, narrow = (sample(field, levels, (4, 1, 16, 16), 9, dtype=kind) for kind in (torch.float64, torch.float32))
    assert narrow.dtype == torch.float32
    # rounding of y at s_max: 30 * 2^-24 for each of 24 steps, contracted on the way down
    assert float((wide - narrow).abs().max()) < 24 * 30 * 2**-24


COSTS = {"heun": 11, "heun_churn": 11, "predictor_corrector": 11, "annealed_langevin": 26}


@pytest.mark.parametrize("name", WALKERS)
def test_progress_counts_the_stated_evaluations(name):
    field, levels, seen = field_between(0.1, 10.0, (8,)), log_uniform(20.0, 0.05, 6), []
    sample(field, levels, (5, 1, 8), 0, sampler=name, tile=2, progress=lambda done, total: seen.append((done, total)))
    total = 3 * evaluations(name, levels)
    assert total == 3 * COSTS.get(name, 6)
    assert seen == [(i + 1, total) for i in range(total)]


def test_wrong_requests_are_refused_with_value_and_remedy():
    field, levels = field_between(0.1, 10.0, (8,)), log_uniform(20.0, 0.05, 6)
    with pytest.raises(ValueError, match=r"'rk45'.*dpmpp_2m"):
        sample(field, levels, (2, 1, 8), 0, sampler="rk45")
    with pytest.raises(ValueError, match=r"needs noise, got None"):
        SAMPLERS["ancestral"](field, levels, torch.zeros(1, 1, 8))
    with pytest.raises(ValueError, match=r"'labels' must lead with 2.*\(3, 1\)"):
        sample(field, levels, (2, 1, 8), 0, {"labels": torch.zeros(3, 1)})
    with pytest.raises(ValueError, match=r"bfloat16"):
        sample(field, levels, (2, 1, 8), 0, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"tile >= 1"):
        sample(field, levels, (2, 1, 8), 0, tile=0)


def test_two_seeds_give_uncorrelated_samples_of_the_right_variance():
    field = GaussianField(torch.full((1, 8, 8), 2.0))
    levels = log_uniform(40.0, 0.05, 40)
    a, b = (sample(field, levels, (200, 1, 8, 8), seed, tile=200).double() for seed in (0, 1))
    count = a.numel()
    assert abs(float((a * b).mean()) / 2) * math.sqrt(count) < 4
    bias = float(power_of_output(field, "dpmpp_2m", levels).mean()) / 2
    assert abs(float(a.var()) / (2 * bias) - 1) * math.sqrt(count / 2) < 4
    assert np.isfinite(a.numpy()).all()


def test_a_compiled_network_is_compiled_once_for_all_noise_levels():
    """Levels reach the denoiser as tensors: other levels, other samplers, no other graph."""
    network, graphs = Convolution(), []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(network, backend=backend)
    labels = {"labels": noise_like(0, "labels", range(8), (1,))}
    for name, levels in (("dpmpp_2m", log_uniform(20.0, 0.05, 6)), ("heun", log_uniform(7.0, 0.3, 4))):
        plain, fast = (sample(d, levels, (8, 1, 8, 8), 5, labels, name, tile=4) for d in (network, compiled))
        torch.testing.assert_close(fast, plain)
    assert len(graphs) == 1


@pytest.mark.parametrize("name", ["dpmpp_2m", "heun", "ancestral"])
def test_a_denoiser_in_bf16_autocast_keeps_the_state_in_float32(name):
    """The network's matrices are rounded to 8 bits, the arithmetic of the sampler is not."""
    network, levels = Convolution(), log_uniform(20.0, 0.05, 12)
    labels = {"labels": noise_like(0, "labels", range(4), (1,))}

    def rounded(y, s, condition):
        assert y.dtype == s.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            return network(y, s, condition).float()

    wide, narrow = (sample(d, levels, (4, 1, 8, 8), 5, labels, name, tile=4) for d in (network, rounded))
    assert narrow.dtype == torch.float32
    # a network of two layers loses a few of bf16's 2^-8 in each of 12 steps
    assert 0 < float((wide - narrow).abs().max()) < 12 * 4 * 2**-8 * float(wide.abs().max())
