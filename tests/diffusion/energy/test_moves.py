"""Langevin chains against quadrature and closed forms; the unadjusted ones must fail where the adjusted ones pass."""

import math

import pytest
import torch

from physgen.diffusion.energy import (
    GaussianStart,
    Langevin,
    TorchDraws,
    annealed_log_Z,
    autocorrelation_time,
    run_chains,
)

GRID = torch.linspace(-4, 4, 4001, dtype=torch.float64)
STEP = 0.25  # acceptance about 0.6 in the double well


def double_well(x):
    """Two wells at +-1 of unequal depth."""
    return (2 * (x.square() - 1).square() + 0.4 * x).flatten(1).sum(1)


def probability():
    weight = torch.exp(-double_well(GRID[:, None, None]))
    return weight / weight.sum()


def exact_draws(count, seed):
    draws = torch.Generator().manual_seed(seed)
    return GRID[torch.multinomial(probability(), count, replacement=True, generator=draws)].reshape(-1, 1, 1)


def step(move, x, seed=1):
    return move(double_well, move.start(double_well, x), STEP, TorchDraws(torch.Generator().manual_seed(seed)))


TESTS = {
    "mean square": torch.square,
    "right well": lambda x: (x > 0).double(),
    "barrier": lambda x: (x.abs() < 0.5) * 1.0,
}


def defects(move):
    """Of stationarity and of detailed balance, in standard errors: one step from exact draws of the law.

    E[f(x')] = E[f(x)] and E[f(x) g(x')] = E[g(x) f(x')] for any f and g.
    """
    x = exact_draws(200_000, 2)
    moved = step(move, x)[0].x
    found = [function(moved) - function(x) for function in TESTS.values()]
    pairs = [(f, g) for f in TESTS.values() for g in TESTS.values() if f is not g] + [(torch.Tensor.tanh, torch.square)]
    found += [f(x) * g(moved) - g(x) * f(moved) for f, g in pairs]
    return [abs(float(one.mean() / (one.std() / math.sqrt(one.numel())))) for one in found]


def test_the_adjusted_step_obeys_detailed_balance_in_a_double_well():
    assert max(defects(Langevin())) < 4
    acceptance = float(step(Langevin(), exact_draws(5000, 3))[1].mean())
    assert 0.3 < acceptance < 0.9  # the test sees rejections


def test_the_unadjusted_step_fails_the_same_test():
    assert max(defects(Langevin(adjusted=False))) > 20


def test_a_step_whose_size_depends_on_the_place_fails_it_too():
    """Adapting the size within the run of a chain is no exact kernel: the test would see it."""

    class Adapting(Langevin):
        def __call__(self, energy, state, size, draws):
            return super().__call__(energy, state, 0.1 + 0.2 * (state.x.flatten() > 0), draws)

    assert max(defects(Adapting())) > 10


def test_chains_draw_the_double_well():
    """Means over chains against quadrature, with the autocorrelation time in the error."""
    p = probability()
    names = {"x": lambda x: x.flatten(), "square": lambda x: x.square().flatten()}
    run = run_chains(
        double_well, Langevin(), torch.ones(400, 1, 1), steps=300, burn_in=150, seed=4, size=0.05, observables=names
    )
    assert run.acceptance == pytest.approx(0.574, abs=0.03)
    for name, function in names.items():
        exact = float(p @ function(GRID[:, None, None]))
        scatter = math.sqrt(float(p @ function(GRID[:, None, None]).square()) - exact**2)
        error = scatter * math.sqrt(run.tau[name] / run.energy.numel())
        assert abs(float(function(run.draws).mean()) - exact) < 4 * error < 0.2


def test_chains_draw_a_gaussian_of_unequal_variances():
    variance = torch.tensor([0.5, 1.0, 2.0])
    run = run_chains(
        lambda x: 0.5 * (x.square() / variance).flatten(1).sum(1), Langevin(), torch.zeros(300, 1, 3),
        steps=400, burn_in=200, seed=1, observables={f"{i}": lambda x, i=i: x[:, 0, i].square() for i in range(3)},
    )  # fmt: skip
    for i in range(3):
        error = math.sqrt(2 * run.tau[f"{i}"] / run.energy.numel())  # relative, of a chi-squared mean
        assert abs(float(run.draws[:, 0, i].square().mean() / variance[i]) - 1) < 4 * error
    assert run.independent == pytest.approx(run.energy.numel() / max(run.tau.values()))
    assert run.tau["2"] > run.tau["0"]


def test_the_autocorrelation_time_of_an_autoregressive_series():
    """tau = (1 + r)/(1 - r), within four of its errors sqrt(2 (2 W + 1)/T B)."""
    r, draws = 0.8, torch.Generator().manual_seed(0)
    series = [torch.randn(20, generator=draws)]
    for _ in range(4000):
        series.append(r * series[-1] + math.sqrt(1 - r * r) * torch.randn(20, generator=draws))
    exact = (1 + r) / (1 - r)
    error = exact * math.sqrt(2 * (2 * 3 * exact + 1) / (20 * 4001))
    assert abs(autocorrelation_time(torch.stack(series)) - exact) < 4 * error
    assert autocorrelation_time(torch.ones(50, 2)) == 1
    with pytest.raises(ValueError, match="at least 8"):
        autocorrelation_time(torch.ones(5))


def test_a_chain_belongs_to_its_number():
    """The first chains are the same, whatever runs beside them, once the size is fixed."""
    many, few = (
        run_chains(double_well, Langevin(target=None), torch.ones(n, 1, 1), steps=20, burn_in=5, seed=7) for n in (5, 2)
    )
    assert torch.equal(many.x[:, :2], few.x)


def test_annealing_finds_the_integral_of_the_double_well():
    exact = math.log(float(torch.exp(-double_well(GRID[:, None, None])).sum()) * float(GRID[1] - GRID[0]))
    found = annealed_log_Z(
        double_well, GaussianStart((1, 1)), Langevin(), torch.linspace(0, 1, 21).tolist(), 2000, 3, exact_draws(2000, 5)
    )
    assert found.both.is_closed
    assert abs(found.log_Z - exact) < 4 * found.log_Z_error < 0.2
    assert abs(found.forward.log_Z - exact) < 4 * found.forward.log_Z_error
