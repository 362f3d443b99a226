"""Lines of mean-field glasses: a second formulation, published values, and what the jump along the noise costs."""

import numpy as np
import pytest
import torch
from scipy.optimize import root
from scipy.special import roots_hermitenorm

from physgen.domains.spins.couplings import complete_graph, complete_graph_couplings
from physgen.domains.spins.enumeration import enumerate_graph, overlap_law
from physgen.domains.spins.mean_field import (
    PSpin,
    annealed_glass,
    can_sample,
    critical_lines,
    denoising_jump,
    random_energy_figures,
    random_energy_levels,
    random_energy_states,
    random_energy_theory,
)
from physgen.errors import InputError

PUBLISHED = {  # arXiv:2308.14085 and its notebook; p = 4: measured before
    (3, False): (0.65139, 0.68160, 0.74100),
    (3, True): (0.58605, np.sqrt(3 / 8), 2 / 3),
    (4, False): (0.616883, 0.678411, 0.773357),
}
STARTS = {(3, False): (0.8, 0.65, 0.4), (3, True): (0.6, 0.5, 0.35), (4, False): (0.95, 0.8, 0.5)}  # overlaps
NODES, WEIGHTS = (torch.from_numpy(a) for a in roots_hermitenorm(300))


def replica_potential(q, temperature, gamma_squared, p, spherical):
    """Free entropy of one planted replica, by another quadrature and differentiated by torch."""
    ratio = p / 2 * q ** (p - 1) / temperature**2 + gamma_squared
    if spherical:
        psi = (ratio - torch.log1p(ratio)) / 2
    else:
        h = ratio + torch.sqrt(ratio) * NODES
        cosh = torch.logaddexp(h, -h) - np.log(2)
        psi = (WEIGHTS * cosh).sum() / np.sqrt(2 * np.pi) - ratio / 2
    return psi - (p - 1) / 4 * q**p / temperature**2


def conditions(values, orders, p, spherical):
    """Derivatives of these orders by the overlap; the unknowns are the overlap, T and, if there is a third, gamma^2."""
    q = torch.tensor(float(values[0]), dtype=torch.float64, requires_grad=True)
    gamma_squared = float(values[2]) if len(values) > 2 else 0.0
    current = replica_potential(q, float(values[1]), gamma_squared, p, spherical)
    found = [current]
    for _ in range(max(orders)):
        (current,) = torch.autograd.grad(current, q, create_graph=True)
        found.append(current)
    return [found[order].item() for order in orders]


@pytest.mark.parametrize(("p", "spherical"), PUBLISHED)
def test_lines_are_those_of_the_replica_potential(p, spherical):
    """Where its first state appears, where it is worth the paramagnet, where three derivatives vanish at once."""
    lines = critical_lines(p, spherical)
    np.testing.assert_allclose(lines, PUBLISHED[p, spherical], rtol=2e-5, atol=2e-5)
    orders = {"kauzmann": (0, 1), "dynamical": (1, 2), "tricritical": (1, 2, 3)}
    for name, overlap in zip(orders, STARTS[p, spherical], strict=True):
        wanted = getattr(lines, name)
        start = [overlap, wanted * 1.002, 0.15][: len(orders[name])]
        solved = root(conditions, start, args=(orders[name], p, spherical), tol=1e-13)
        assert abs(solved.x[1] - wanted) < 1e-8, (name, solved)


def test_sherrington_kirkpatrick_has_one_line_and_no_jump():
    assert critical_lines(2) == (1.0, 1.0, 1.0)
    assert denoising_jump(1.01, 2) is None
    model = PSpin(2)
    for temperature, states in ((1.05, 1), (0.95, 2)):  # below T = 1 the paramagnet is a fixed point beside the glass
        assert len(model.fixed_points(temperature, 0.0)) == states
        assert len(model.fixed_points(temperature, 0.1)) == 1


def test_overlap_is_twice_the_slope_of_the_information():
    x = np.array([0.01, 0.3, 1.7, 6.0])
    for model in (PSpin(3), PSpin(3, spherical=True)):
        step = 1e-4
        slope = (model.information(x + step) - model.information(x - step)) / (2 * step)
        np.testing.assert_allclose(2 * slope, model.overlap(x), atol=1e-8)
        slope = (model.overlap(x + step) - model.overlap(x - step)) / (2 * step)
        np.testing.assert_allclose(slope, model.slope(x), atol=1e-8)


def test_a_jump_lies_between_two_folds_and_costs_the_area_between_the_states():
    """The divergence against half the integral of the difference of overlaps over gamma^2, point by point."""
    temperature, model = 0.70, PSpin(3)
    jump = denoising_jump(temperature)
    assert jump.begins < jump.equal < jump.ends
    middle = (jump.begins + jump.ends) / 2
    counts = [len(model.fixed_points(temperature, g)) for g in (0.9 * jump.begins, middle, 1.1 * jump.ends)]
    assert counts == [1, 3, 1]
    low, _, high = model.fixed_points(temperature, jump.equal)
    np.testing.assert_allclose((low, high), jump.overlaps, atol=1e-9)
    entropies = model.free_entropy(np.array([low, high]), temperature, jump.equal)
    assert abs(np.diff(entropies)[0]) < 1e-10
    # the lower branch ends as a square root: integrate in the root of the distance to its end
    u, w = np.polynomial.legendre.leggauss(10)
    width = np.sqrt(jump.ends - jump.equal)
    u, w = width * (1 + u) / 2, width * w / 2
    gaps = [np.ptp(model.fixed_points(temperature, jump.ends - d**2)) for d in u]
    np.testing.assert_allclose(jump.divergence, 0.5 * np.sum(2 * u * w * gaps), rtol=1e-5)


def test_the_answer_says_which_of_the_two_cannot():
    above, window, small = can_sample(0.8, 1000), can_sample(0.70, 1000), can_sample(0.70, 12)
    assert above.diffusion and above.monte_carlo and above.effective == 1
    assert not window.diffusion and window.monte_carlo and "T_tri = 0.7410" in window.reason
    assert small.diffusion and small.effective == pytest.approx(np.exp(-12 * window.divergence))
    glass = can_sample(0.66, 1000)
    assert not glass.diffusion and not glass.monte_carlo and "T_d = 0.6816" in glass.reason
    assert glass.effective < window.effective
    assert not can_sample(0.9, 100, p=2).diffusion and can_sample(1.1, 100, p=2).diffusion
    assert np.isnan(can_sample(0.5, 100).effective)


def test_impossible_requests_say_what_to_do():
    with pytest.raises(InputError, match="T_K = 0.65139"):
        denoising_jump(0.6)
    with pytest.raises(InputError, match="p >= 2"):
        PSpin(1)
    with pytest.raises(InputError, match="no glass"):
        critical_lines(2, spherical=True)
    with pytest.raises(InputError, match="positive"):
        can_sample(0.0, 5)


def test_random_energies_keep_their_identity_and_tend_to_their_limit():
    """[e] = -(1 - [Y_2])/(2T) at any N; above T_c the corrections to the limit are exponentially small in N."""
    temperatures, instances = np.array([0.2, 0.45, 0.9, 1.5]), 300
    found = [
        random_energy_figures(random_energy_levels(14, np.random.default_rng([3, i])), temperatures)
        for i in range(instances)
    ]
    energy, free, participation = (np.stack(column) for column in zip(*found, strict=True))
    broken = energy + (1 - participation) / (2 * temperatures)
    error = broken.std(axis=0, ddof=1) / np.sqrt(instances)
    assert (np.abs(broken.mean(axis=0)) < 4 * error).all() and (error < 0.06).all()
    limit = random_energy_theory(temperatures)
    warm = temperatures > 1.4
    spread = free.std(axis=0, ddof=1) / np.sqrt(instances)
    assert (np.abs(free.mean(axis=0) - limit.free_energy)[warm] < 4 * spread[warm] + 2e-4).all()
    # below T_c corrections are those of a handful of lowest levels: [Y_2] approaches 1 - T/T_c from above
    assert np.all(np.abs(participation.mean(axis=0) - limit.participation)[:2] < 0.15)
    np.testing.assert_allclose(limit.participation[:2], 1 - temperatures[:2] * 2 * np.sqrt(np.log(2)))


def test_replicas_of_random_energies_meet_with_probability_y2():
    """P(q) of exact samples: 1 with probability Y_2; any other pair at independent places, so [q] = 0."""
    levels, temperature, count = random_energy_levels(16, np.random.default_rng(5)), 0.3, 4000
    states = random_energy_states(levels, temperature, count, np.random.default_rng(6)).astype(np.float64)
    first, second = states[: count // 2], states[count // 2 :]
    q = (first * second).mean(axis=1)
    wanted = random_energy_figures(levels, np.array([temperature])).participation[0]
    assert abs((q == 1).mean() - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / len(q))
    number = ((states > 0) @ (1 << np.arange(16))).astype(int)  # energies of the states that were drawn
    exact = random_energy_figures(levels, np.array([temperature])).energy[0]
    drawn = levels[number] / 16
    assert abs(drawn.mean() - exact) < 4 * drawn.std() / np.sqrt(count)
    with pytest.raises(InputError, match="1 to 24"):
        random_energy_levels(25, np.random.default_rng(0))


def test_the_annealed_glass_is_that_of_enumeration():
    spins, temperature, instances = 12, 2.5, 400
    edges = complete_graph(spins)
    found = []
    for bonds in complete_graph_couplings(spins, "gaussian", 5, np.arange(instances)):
        law = enumerate_graph(spins, edges, bonds.astype(float), temperature)
        q = np.linspace(-1, 1, spins + 1)
        found.append((law.log_partition, law.energy, spins * overlap_law(law.probabilities) @ q**2))
    theory = annealed_glass(spins, temperature)
    wanted = theory.log_partition, theory.energy, theory.overlap_squared
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / instances**0.5
    # what is neglected is smaller by a few 1/N: a fifth of sigma^2 and of the part of e beside -beta/2, .3/N of q^2
    slack = np.array([0.2 * theory.scatter**2, 0.2 * abs(theory.energy + 1 / (2 * temperature)), 0.3 / spins])
    assert np.all(np.abs(mean - wanted) < 3 * error + slack)
    assert np.std(found, axis=0)[0] == pytest.approx(theory.scatter, rel=0.2)
    with pytest.raises(InputError, match="T > 1"):
        annealed_glass(64, 1.0)
