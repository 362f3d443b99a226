"""Spin laws by recursion and quadrature against the sum over all states, and against closed forms at large N."""

import math

import pytest
import torch
from scipy.stats import chi2

from physgen.diffusion.exact import (
    CurieWeiss,
    EnumeratedIsing,
    IsingRing,
    IsingStrip,
    IsingTree,
    from_interactions,
    p_spin,
    tree_chain,
)
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.exact.strip import Layers
from physgen.diffusion.noise import generator_for, noise_like
from physgen.errors import InputError


def normal(*shape, seed=0):
    return noise_like(seed, "exact spins", [0], shape, dtype=torch.float64)[0]


def enumerated(sites, bonds, beta, field=None, shape=None):
    """The law of the bonds {(i, j): J}, all states summed."""
    couplings = torch.zeros(sites, sites, dtype=torch.float64)
    for (i, j), value in bonds.items():
        couplings[i, j] += value
        couplings[j, i] += value
    return EnumeratedIsing.from_couplings(couplings, beta, shape or (1, sites), field)


def chain_pair():
    couplings, field = normal(8, seed=1), normal(8, seed=2)
    bonds = {(i - 1, i): float(couplings[i]) for i in range(1, 8)}
    return IsingTree(tree_chain(8), couplings, 0.9, (1, 8), field), enumerated(8, bonds, 0.9, field)


def tree_pair():
    """Two trees whose parents do not stand in order."""
    parents = torch.tensor([3, 0, 3, -1, 0, 7, 7, -1, 4])
    couplings = 1.5 * normal(9, seed=3)
    bonds = {(int(p), i): float(couplings[i]) for i, p in enumerate(parents) if p >= 0}
    return IsingTree(parents, couplings, 1.2, (1, 3, 3)), enumerated(9, bonds, 1.2, shape=(1, 3, 3))


def ring_pair():
    couplings, field = normal(7, seed=4), normal(7, seed=5)
    bonds = {(i, (i + 1) % 7): float(couplings[i]) for i in range(7)}
    return IsingRing(couplings, 0.8, (1, 7), field), enumerated(7, bonds, 0.8, field)


def strip_pair(periodic=True):
    couplings, field = normal(2, 4, 3, seed=6), normal(4, 3, seed=7)
    couplings[0, -1] = 0
    if not periodic:
        couplings[1, :, -1] = 0
    bonds = {}
    for i in range(4):
        for j in range(3):
            if i < 3:
                bonds[3 * i + j, 3 * i + 3 + j] = float(couplings[0, i, j])
            bonds[3 * i + j, 3 * i + (j + 1) % 3] = float(couplings[1, i, j])
    return IsingStrip(couplings, 0.7, field), enumerated(12, bonds, 0.7, field.flatten(), (1, 4, 3))


def curie_weiss_pair(beta=1.3):
    field = 0.3 * normal(9, seed=8)
    bonds = {(i, j): 1 / 9 for i in range(9) for j in range(i)}
    return CurieWeiss(beta, (1, 9), field), enumerated(9, bonds, beta, field)


PAIRS = {
    "chain": chain_pair(),
    "tree": tree_pair(),
    "ring": ring_pair(),
    "strip": strip_pair(),
    "free strip": strip_pair(periodic=False),
    "curie-weiss": curie_weiss_pair(),
    "curie-weiss, cold": curie_weiss_pair(8.0),
}
every_law = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
LEVELS = torch.tensor([0.05, 0.4, 0.9, 3.0], dtype=torch.float64)


def noisy(law, seed=9):
    x = law.sample(len(LEVELS), generator_for(seed, "draw", 0)).double()
    return x + LEVELS.reshape(-1, *[1] * (x.ndim - 1)) * normal(*x.shape, seed=seed)


@every_law
def test_denoiser_and_density_equal_the_sum_over_all_states(pair):
    """At s = 0.05 the fields are of order 400: the recursions keep their digits."""
    law, exact = pair
    y = noisy(exact)
    torch.testing.assert_close(law(y, LEVELS), exact(y, LEVELS), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(law.log_density(y, LEVELS), exact.log_density(y, LEVELS), rtol=1e-12, atol=1e-10)


@every_law
def test_partition_function_equals_the_sum_over_all_states(pair):
    law, exact = pair
    expected = float(torch.logsumexp(exact.log_weights, 0))
    if isinstance(law, CurieWeiss):
        expected += law.beta / 2  # M^2/2N holds the N diagonal terms, each 1/2N
    assert law.log_Z == pytest.approx(expected, abs=1e-11)


@every_law
def test_samples_have_the_frequencies_of_the_law(pair):
    law, exact = pair
    n, sites = 4000, exact.log_weights.shape[0].bit_length() - 1
    spins = law.sample(n, generator_for(10, "draw", 0))
    assert spins.shape == (n, *exact.shape)
    number = ((1 + spins.flatten(1).long()) // 2 * 2 ** torch.arange(sites)).sum(1)
    expected = n * torch.softmax(exact.log_weights, 0)
    order = expected.argsort(descending=True)
    common = order[expected[order] > 8]
    rare = order[expected[order] <= 8]
    counts = torch.bincount(number, minlength=2**sites).double()
    found, wanted = (torch.cat([v[common], v[rare].sum()[None] + 1e-9]) for v in (counts, expected))
    assert chi2.sf(float(((found - wanted) ** 2 / wanted).sum()), len(wanted) - 1) > 1e-4


@every_law
def test_score_is_the_gradient_of_the_log_density(pair):
    law, _ = pair
    y = noisy(law)[1:].requires_grad_()
    (gradient,) = torch.autograd.grad(law.log_density(y, LEVELS[1:]).sum(), y)
    torch.testing.assert_close(law.score(y.detach(), LEVELS[1:]), gradient, rtol=1e-9, atol=1e-10)


@every_law
def test_denoiser_has_a_symmetric_jacobian(pair):
    """ds D = the posterior covariance / s^2: symmetric, and its diagonal (1 - m^2)/s^2; the likelihood needs it."""
    law, exact = pair
    y, s = noisy(law)[2:3], LEVELS[2:3]
    matrix = torch.autograd.functional.jacobian(lambda y: law(y, s).flatten(), y).flatten(1)
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(matrix.diagonal(), (1 - exact(y, s).flatten() ** 2) / s**2, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["chain", "strip"])
def test_float32_in_float32_out_and_gradients_off(name):
    law = PAIRS[name][0]
    y = noisy(law)
    with torch.no_grad():
        narrow = law(y.float(), LEVELS.float())
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), law(y, LEVELS), rtol=2e-4, atol=2e-4)  # h = y/s^2 is of order 400


def test_ring_of_hundreds_of_spins_has_its_closed_form_whatever_the_disorder():
    """+-J ring: Z = (2 cosh b)^N (1 +- tanh(b)^N), the sign that of the product of all bonds."""
    for seed in range(3):
        couplings = normal(32, seed=20 + seed).sign()
        sign = float(couplings.prod())
        exact = 32 * math.log(2 * math.cosh(0.7)) + math.log1p(sign * math.tanh(0.7) ** 32)
        assert IsingRing(couplings, 0.7, (1, 32)).log_Z == pytest.approx(exact, abs=1e-11)
    wide = IsingRing(normal(400, seed=23).sign(), 0.7, (1, 20, 20))
    assert wide.log_Z == pytest.approx(400 * math.log(2 * math.cosh(0.7)), abs=1e-9)
    assert 32 * math.log(2 * math.cosh(0.7)) == pytest.approx(29.4534, abs=1e-4)


def test_ring_samples_have_the_energy_of_the_closed_form():
    couplings, n = normal(200, seed=24).sign(), 2000
    spins = IsingRing(couplings, 0.7, (1, 200)).sample(n, generator_for(11, "draw", 0))[:, 0].double()
    energy = -(couplings * spins * spins.roll(-1, 1)).sum(1)
    assert abs(float(energy.mean()) + 200 * math.tanh(0.7)) < 4 * float(energy.std()) / math.sqrt(n)


def test_strip_is_invariant_under_a_gauge_and_its_denoiser_covariant():
    couplings, gauge = normal(2, 30, 5, seed=25), normal(30, 5, seed=26).sign()
    couplings[0, -1] = 0
    turned = torch.stack([couplings[0] * gauge * gauge.roll(-1, 0), couplings[1] * gauge * gauge.roll(-1, 1)])
    law, image = IsingStrip(couplings, 0.8), IsingStrip(turned, 0.8)
    assert image.log_Z == pytest.approx(law.log_Z, rel=1e-12)
    y, s = normal(2, 1, 30, 5, seed=27), torch.tensor([0.3, 1.0], dtype=torch.float64)
    torch.testing.assert_close(image(gauge * y, s), gauge * law(y, s), rtol=1e-9, atol=1e-10)


def test_strip_without_cross_bonds_is_a_bundle_of_chains():
    couplings = normal(2, 40, 4, seed=28)
    couplings[0, -1], couplings[1] = 0, 0
    strip, y, s = IsingStrip(couplings, 1.1), normal(2, 1, 40, 4, seed=29), torch.tensor(0.7, dtype=torch.float64)
    for column in range(4):
        bonds = torch.cat([torch.zeros(1).double(), couplings[0, :-1, column]])
        chain = IsingTree(tree_chain(40), bonds, 1.1, (1, 40))
        torch.testing.assert_close(strip(y, s)[..., column], chain(y[..., column], s), rtol=1e-9, atol=1e-10)


def test_layers_hold_couplings_of_their_own_for_each_sample():
    """ln Z, means and draws of a batch are those of its samples one by one; so many that several blocks are needed."""
    batch, ends = 700, torch.tensor([[0, 1], [1, 2], [0, 9], [3, 7]])
    inside, links = normal(batch, 6, 4, seed=33), normal(batch, 5, 10, seed=34)
    field = normal(batch, 6, 10, seed=35)
    layers = Layers(inside, ends, links)
    log_z, means = layers.log_partition(field), layers.magnetisation(field)
    gradient = torch.func.grad(lambda h: layers.log_partition(h).sum())(field)
    torch.testing.assert_close(means, gradient, rtol=1e-11, atol=1e-12)
    for b in (0, 341, 699):
        alone = Layers(inside[b : b + 1], ends, links[b : b + 1])
        torch.testing.assert_close(alone.log_partition(field[b : b + 1])[0], log_z[b], rtol=1e-13, atol=0)
        drawn = alone.sample(field[b : b + 1].expand(4000, -1, -1), generator_for(16, "draw", b))
        off = (drawn.mean(0) - means[b]) / ((1 - means[b] ** 2) / 4000).sqrt()
        assert float((off**2).sum()) < 60 + 6 * math.sqrt(120)  # 60 spins that depend on each other: a wide band


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5])
def test_curie_weiss_of_a_thousand_spins_equals_the_sum_over_magnetizations(beta):
    sites = 1000
    up = torch.arange(sites + 1, dtype=torch.float64)
    total = torch.tensor(float(sites), dtype=torch.float64)
    entropy = torch.lgamma(total + 1) - torch.lgamma(up + 1) - torch.lgamma(total - up + 1)
    logs = entropy + beta * (2 * up - sites) ** 2 / (2 * sites)
    law = CurieWeiss(beta, (1, 1000))
    assert law.log_Z == pytest.approx(float(torch.logsumexp(logs, 0)), rel=1e-12)
    n = 1500
    square = law.sample(n, generator_for(12, "draw", 0)).double().mean((1, 2)) ** 2
    exact = float((torch.softmax(logs, 0) * (2 * up / sites - 1) ** 2).sum())
    assert abs(float(square.mean()) - exact) < 4 * float(square.std()) / math.sqrt(n)


def test_a_uniform_field_on_curie_weiss_shifts_the_noise():
    """D at y in the field h is D at y + s^2 beta h without it."""
    field, s = torch.full((50,), 0.4, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
    y = normal(3, 1, 50, seed=30)
    torch.testing.assert_close(CurieWeiss(1.1, (1, 50), field)(y, s), CurieWeiss(1.1, (1, 50))(y + s**2 * 1.1 * 0.4, s))


def test_p_spin_interactions_equal_the_sum_written_out():
    groups, couplings = torch.tensor([[0, 1, 2], [1, 3, 4], [0, 2, 4]]), normal(3, seed=31)
    law = from_interactions(groups, couplings, 0.7, (1, 5))
    for state, spins in enumerate(enumerate_spins(5).tolist()):
        energy = -sum(
            float(J) * math.prod(spins[i] for i in g) for g, J in zip(groups.tolist(), couplings, strict=True)
        )
        assert float(law.log_weights[state]) == pytest.approx(-0.7 * energy, abs=1e-12)


def test_states_are_numbered_by_their_bits_everywhere():
    """Bit i of the number is 1 where spin i is up: in the list of states, and in the weights of a law."""
    states = enumerate_spins(4)
    assert states[0].tolist() == [-1, -1, -1, -1] and states[0b0110].tolist() == [-1, 1, 1, -1]
    assert ((states > 0).long() @ (1 << torch.arange(4))).tolist() == list(range(16))
    weights = torch.full((16,), -torch.inf)
    weights[0b0110] = 0.0
    law = EnumeratedIsing(weights, (1, 4))
    assert law.sample(3, generator_for(15, "draw", 0)).tolist() == 3 * [[[-1, 1, 1, -1]]]
    field = torch.tensor([0.1, -0.4, 0.9, 0.2], dtype=torch.float64)
    alone = EnumeratedIsing.from_couplings(torch.zeros(4, 4), 1.0, (1, 4), field)
    torch.testing.assert_close(alone.log_weights, states.double() @ field)
    with pytest.raises(InputError, match="enumeration of 21 spins"):
        enumerate_spins(21)


def test_two_spin_interactions_are_sherrington_kirkpatrick():
    law = p_spin(8, 2, 0.9, generator_for(13, "couplings", 0))
    couplings = torch.zeros(8, 8, dtype=torch.float64)
    drawn = torch.randn(28, generator=generator_for(13, "couplings", 0), dtype=torch.float64) / math.sqrt(8)
    rows, columns = torch.triu_indices(8, 8, 1)
    couplings[rows, columns] = couplings[columns, rows] = drawn
    expected = EnumeratedIsing.from_couplings(couplings, 0.9, (1, 8)).log_weights
    torch.testing.assert_close(law.log_weights, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", [2, 3])
def test_annealed_entropy_of_p_spin(p):
    """E Z = 2^N exp(beta^2 C(N, p) p!/(4 N^(p-1))) over the couplings."""
    beta, sites, draws = 0.4, 8, 400
    z = torch.stack(
        [
            torch.logsumexp(p_spin(sites, p, beta, generator_for(14, "couplings", i)).log_weights, 0).exp()
            for i in range(draws)
        ]
    )
    exponent = beta**2 * math.comb(sites, p) * math.factorial(p) / (4 * sites ** (p - 1))
    assert abs(float(z.mean()) - 2**sites * math.exp(exponent)) < 4 * float(z.std()) / math.sqrt(draws)


@pytest.mark.parametrize(
    "make",
    [
        lambda: IsingTree(torch.tensor([1, 0]), torch.ones(2), 1.0, (1, 2)),
        lambda: IsingTree(torch.tensor([-1, 5]), torch.ones(2), 1.0, (1, 2)),
        lambda: IsingTree(tree_chain(3), torch.ones(2), 1.0, (1, 3)),
        lambda: IsingRing(torch.ones(2), 1.0, (1, 2)),
        lambda: IsingStrip(torch.ones(2, 4, 3), 1.0),
        lambda: IsingStrip(torch.zeros(2, 4, 21), 1.0),
        lambda: CurieWeiss(0.0, (1, 4)),
        lambda: p_spin(4, 5, 1.0, generator_for(0, "couplings", 0)),
        lambda: from_interactions(torch.zeros(3, 2).long(), torch.ones(2), 1.0, (1, 4)),
    ],
)
def test_impossible_models_are_refused_with_the_value(make):
    with pytest.raises(ValueError, match="got|layer of 21 spins"):
        make()
