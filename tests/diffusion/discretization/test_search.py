"""Grids that are chosen on the Gaussian surrogate: the error they promise is the error that the sampler makes."""

import math

import pytest
import torch

from physgen.diffusion.discretization.check import _compare, candidate_levels, convergence, most_converged
from physgen.diffusion.discretization.gaussian import largest_error, representative, sampled_power
from physgen.diffusion.discretization.hedge import hedge_errors
from physgen.diffusion.discretization.search import adapted_levels, best_log_uniform, optimal_levels, steps_for
from physgen.diffusion.exact import GaussianField, GaussianMixture, phi4_site
from physgen.diffusion.levels import check_levels, log_uniform
from physgen.diffusion.sampling.samplers import SAMPLERS, sample
from physgen.diffusion.sampling.solver import Solver

BROAD = torch.logspace(-4, 2, 500, dtype=torch.float64)
WALKERS = [name for name, sampler in SAMPLERS.items() if isinstance(sampler, Solver)]


@pytest.mark.parametrize("name", WALKERS)
def test_power_of_the_surrogate_is_that_of_the_field_sampler(name):
    """The scalar recursion, many grids at once, against the sampler on a lattice, one impulse for each noise."""
    field, walker = GaussianField(torch.tensor([[0.3, 5.0, 1.0, 5.0]], dtype=torch.float64)), SAMPLERS[name]
    grids = torch.stack([log_uniform(30.0, 0.1, 7), log_uniform(12.0, 0.03, 7)])
    expected = []
    for levels in grids:
        start = torch.zeros(1 + walker.draws * 7, 1, 4, dtype=torch.float64)
        start[0, 0, 0] = 2 * float(levels[0])  # every mode 1

        def noise(i, shape=start.shape):
            kick = torch.zeros(shape, dtype=torch.float64)
            kick[1 + i, 0, 0] = 2
            return kick

        response = walker(field, levels, start, None, noise)
        expected.append(torch.fft.fft(response, norm="ortho").abs().square().sum((0, 1)))
    found = sampled_power(name, grids, field.spectrum[0])
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-10, atol=0)
    torch.testing.assert_close(sampled_power(name, grids[1], field.spectrum[0]), found[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize(("steps", "bound"), [(10, 0.0036), (16, 0.0004)])
def test_optimal_levels_reach_the_reference_figures(steps, bound):
    """Spectra from 1e-4 to 1e2, DPM-Solver++(2M): 0.36 % at 10 and 0.04 % at 16, log-uniform grids 8 % and 4 %."""
    levels, promised = optimal_levels(BROAD, steps, neighbours=math.inf, hedge=0)
    assert promised < bound
    assert best_log_uniform(BROAD, steps)[1] > 0.04
    careful, promised = optimal_levels(BROAD, steps, hedge=0)
    assert promised < 2 * bound
    spacing = careful[:-1].log().diff()
    ratio = spacing[1:] / spacing[:-1]
    assert float(ratio.max()) < 1.25 + 1e-6 and float(ratio.min()) > 0.8 - 1e-6


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun", "ancestral"])
def test_the_promised_error_is_found_in_samples_of_a_field(sampler):
    """On modes between the representative ones too; the samples themselves are judged by their standard errors."""
    power = torch.logspace(-1, 1, 33, dtype=torch.float64)
    levels, promised = optimal_levels(power, 12, sampler)
    between = torch.logspace(-1, 1, 1001, dtype=torch.float64)
    assert float(largest_error(sampler, levels, between)) == pytest.approx(promised, rel=0.05)
    half = torch.cat([power.flip(0), power[1:-1]])
    field = GaussianField(half[None])
    x = sample(field, levels, (4000, 1, 64), 2, sampler=sampler, tile=1000, dtype=torch.float64)
    found = torch.fft.fft(x, norm="ortho").abs().square().mean((0, 1))
    expected = sampled_power(sampler, levels, half)
    # a complex mode has one squared modulus a sample with variance P^2, a real one 2 P^2
    z = (found / expected - 1)[:33] * math.sqrt(4000 / 2)
    z[1:-1] *= math.sqrt(2)
    assert float(z.abs().max()) < 4


def test_the_missing_signal_of_the_start_is_part_of_the_error():
    """With an exact end and fine steps the error is -P/s_max^2, within the square of itself."""
    power = torch.tensor([1.0], dtype=torch.float64)
    _, promised = optimal_levels(power, 40, "heun", s_max=10.0, s_min=1e-4, hedge=0)
    fine = float(largest_error("heun", log_uniform(10.0, 1e-4, 4000), power))
    assert fine == pytest.approx(0.01, abs=2e-4)
    assert promised < fine  # the levels may undo a part of it, on this law


def test_given_ends_are_kept():
    levels, _ = optimal_levels(BROAD, 9, s_max=200.0, s_min=2e-3)
    assert float(levels[0]) == pytest.approx(200.0) and float(levels[-2]) == pytest.approx(2e-3) and levels[-1] == 0


def test_ends_within_bounds_are_free_inside_them():
    """Bounds that hold the free optimum change nothing; others are kept, and cost some error."""
    free, least = optimal_levels(BROAD, 9)
    wide, same = optimal_levels(BROAD, 9, s_max=(1.0, 1e6), s_min=(1e-6, 1.0))
    assert torch.equal(wide, free) and same == least
    bounds = 0.5 * float(free[0]), 1.2 * float(free[-2])
    narrow, more = optimal_levels(BROAD, 9, s_max=(1.0, bounds[0]), s_min=(bounds[1], 1.0))
    assert float(narrow[0]) <= bounds[0] * (1 + 1e-12) and float(narrow[-2]) >= bounds[1] * (1 - 1e-12)
    assert more > least


def test_levels_adapted_to_another_hedge_are_those_of_a_search():
    """The same error within 10 %, from the optimum of the default hedge on; ends that are too far out are moved in."""
    levels, _ = optimal_levels(BROAD, 12)
    adapted, _ = adapted_levels(levels, BROAD, hedge=0.2)
    searched, _ = optimal_levels(BROAD, 12, hedge=0.2)

    def worst(grid):
        hedged = 0.2 * float(hedge_errors(SAMPLERS["dpmpp_2m"], grid, representative(BROAD)).abs().max())
        return max(float(largest_error("dpmpp_2m", grid, BROAD)), hedged)

    assert worst(adapted) < 1.1 * worst(searched) < worst(levels)
    moved, _ = adapted_levels(levels, BROAD, s_min=0.5 * float(levels[-2]))
    assert float(moved[-2]) == pytest.approx(0.5 * float(levels[-2])) and check_levels(moved)


def test_shells_of_few_modes_do_not_speak_by_their_noise():
    """Two errors: 2 % in the many modes for sure, and a mean that is off by its own size in one sample of eight."""
    generator = torch.Generator().manual_seed(0)
    fine = torch.randn(8, 1, 64, generator=generator, dtype=torch.float64)
    fine = fine - fine.mean(-1, keepdim=True) + 0.3
    x = fine.mean(-1, keepdim=True) + 1.01 * (fine - fine.mean(-1, keepdim=True))
    x[0] += 0.1
    found = _compare(x, fine)
    assert found.power == pytest.approx(1.01**2 - 1, rel=1e-4) and found.power_error < 1e-4


def test_steps_for_a_tolerance_are_few_and_suffice():
    """1 % in every mode from 1e-4 to 1e2: at most 10 evaluations, where log-uniform grids need 36."""
    levels, error = steps_for(BROAD, 0.01)
    assert len(levels) - 1 <= 10 and error <= 0.01
    assert float(largest_error("dpmpp_2m", levels, BROAD)) <= 0.01
    assert optimal_levels(BROAD, len(levels) - 2)[1] > 0.01
    assert best_log_uniform(BROAD, 36)[1] > 0.01


@pytest.mark.parametrize("steps", [10, 16])
def test_the_hedge_costs_little_and_holds_on_laws_that_are_not_gaussian(steps):
    """The default is better than the best log-uniform grid on both laws of the hedge and on the Gaussian."""
    walker = SAMPLERS["dpmpp_2m"]
    levels, promised = optimal_levels(BROAD, steps)
    bare, _ = optimal_levels(BROAD, steps, hedge=0)
    plain, _ = best_log_uniform(BROAD, steps)
    assert promised < 0.0105
    hedged, unhedged, even = (float(hedge_errors(walker, grid, BROAD).abs().max()) for grid in (levels, bare, plain))
    assert hedged < unhedged and hedged < even


def mixture_of_tilts(size=32):
    """Two Gaussian fields of spectra tilted against each other, equally likely; their mean spectrum."""
    k = torch.fft.fftfreq(size, dtype=torch.float64).abs().clamp(min=1 / size) * size
    fourier = torch.fft.fft(torch.eye(size, dtype=torch.complex128), norm="ortho")
    spectra = [(100 * k**-4) * (k / 6) ** tilt for tilt in (-1, 1)]
    covariances = torch.stack([(fourier.conj().T @ (p[:, None] * fourier)).real for p in spectra])
    means = torch.zeros(2, 1, size, dtype=torch.float64)
    return GaussianMixture(means, 0.5 * (covariances + covariances.mT)), sum(spectra) / 2


def test_the_gain_survives_on_a_mixture_of_fields_that_the_search_has_not_seen():
    law, power = mixture_of_tilts()
    grids = {"chosen": optimal_levels(power, 16)[0], "log-uniform": best_log_uniform(power, 16)[0]}
    ends = 1e3 * float(power.max().sqrt()), 1e-3 * float(power.min().sqrt())
    found = convergence(law, grids, (24, 1, 32), 0, ends=ends, dtype=torch.float64, tile=24)
    assert most_converged(found) == "chosen"
    assert found["chosen"].power < 0.8 * found["log-uniform"].power
    assert found["chosen"].distance < 0.8 * found["log-uniform"].distance


def test_convergence_on_a_gaussian_field_is_the_known_error_of_the_steps():
    """With ends far out and a refinement that converges, the measured error is that of the surrogate."""
    power = torch.logspace(1, -1, 9, dtype=torch.float64)
    field = GaussianField(torch.cat([power, power[1:-1].flip(0)])[None])
    levels = log_uniform(1e3, 1e-3, 16)
    grids = {"grid": levels}
    found = convergence(field, grids, (8, 1, 16), 0, finer=16, dtype=torch.float64)["grid"]
    assert found.power == pytest.approx(float(largest_error("dpmpp_2m", levels, power)), rel=0.02)
    grids = {"grid": levels, "same": levels}
    one, other = convergence(field, grids, (8, 1, 16), 1, finer=1, sampler="dpmpp_3m").values()
    assert one == other and one.power == one.distance == 0
    with pytest.raises(ValueError, match="each ending at 0"):
        convergence(field, {"grid": levels[:-1]}, (8, 1, 16), 1)


def test_levels_that_end_early_are_seen_by_the_distance_and_not_by_the_power():
    """Two wells: P is right to 1 %, the fourth moment is not; the safeguard takes other levels."""
    law = phi4_site(1.0, -3.0, (1, 32))
    power = torch.tensor([law.moment(2)], dtype=torch.float64)
    grids = candidate_levels(power, 16)
    found = convergence(law, grids, (64, 1, 32), 0, ends=(1e3, 1e-3), dtype=torch.float64)
    best = most_converged(found)
    assert best == "log-uniform"
    assert found["chosen"].power < 0.5 * found["chosen"].worst
    assert found[best].worst < 0.25 * found["chosen"].worst
    fourth = {}
    for name, levels in grids.items():
        x = sample(law, levels, (500, 1, 32), 1, dtype=torch.float64)
        fourth[name] = float((x**4).mean()) / law.moment(4) - 1
    # 16000 sites; the relative spread of phi^4 is about 1
    assert abs(fourth[best]) < 0.015 + 3 / math.sqrt(16000)
    assert fourth["chosen"] < -0.067 + 3 / math.sqrt(16000)


def test_errors_of_the_figures_are_those_of_repetitions():
    """The scatter of the figures over seeds against their stated standard errors."""
    law, power = mixture_of_tilts()
    grids = {"even": best_log_uniform(power, 12)[0]}
    runs = [convergence(law, grids, (24, 1, 32), seed, finer=4, dtype=torch.float64)["even"] for seed in range(24)]
    for key in ("distance", "power"):
        values, errors = (torch.tensor([getattr(r, name) for r in runs]) for name in (key, f"{key}_error"))
        # the largest of the shells is another one in each run, which its own error does not know: a wide bound
        assert 0.5 < float(values.std() / errors.square().mean().sqrt()) < 2


def test_representative_values_span_the_spectrum():
    values = representative(torch.tensor([[3.0, 1e-3], [50.0, 0.2]]))
    assert len(values) == 64 and float(values[0]) == pytest.approx(1e-3) and float(values[-1]) == pytest.approx(50.0)
    assert representative(torch.ones(5)).tolist() == [1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.tensor([1.0, 0.0]), 8), "positive"),
        ((torch.ones(3), 1), "at least 2 steps, got 1"),
        ((torch.ones(3), 8, "dpmpp_2m", 1.0, 2.0), "s_min = 2, s_max = 1"),
        ((torch.ones(3), 8, lambda *_: None), "none to optimise"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimal_levels(*arguments)
    with pytest.raises(ValueError, match="2 steps leave an error"):
        steps_for(BROAD, 1e-9, most=2)
