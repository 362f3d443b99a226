"""Words of 64 instances against exact laws, against the general kernel, and against each other."""

import numpy as np
import pytest
import torch
from numba import njit
from scipy import stats

from physgen.domains.spins import Domain, monte_carlo, multispin, multispin_device, multispin_kernels, words
from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph, kaufman
from physgen.domains.spins.simulate import given_couplings
from physgen.domains.spins.tempering import choose_kernel
from physgen.errors import InputError


def glass(shape, boundary="periodic", law="bimodal", instances=64, seed=2, size=1.0):
    couplings = size * lattice_couplings(shape, law, boundary, seed, np.arange(instances)).reshape(instances, -1)
    return lattice_edges(shape), couplings, int(np.prod(shape))


def run(edges, couplings, spins, temperatures, ladders, seed=0, warm_up=300, order=None):
    """State and what :func:`multispin.advance` needs, after a warm-up."""
    bonds = multispin.make_bonds(edges, couplings, spins, order)
    walkers = multispin.start(bonds, temperatures, ladders, np.random.default_rng(seed))
    tables = multispin.tables(bonds, multispin.strength(couplings), temperatures, ladders)
    multispin.advance(walkers, bonds, tables, warm_up)
    return walkers, bonds, tables


# --- words and single updates ------------------------------------------------------------------------


@njit
def _every_operation(a, b, number, out):
    x, y = words.load(a, 3), words.load(b, 0)
    words.store(out, 0, (x & y) | ~(x ^ y))
    words.store(out, 8, x * y + x)
    words.store(out, 16, (x << np.uint64(7)) ^ (y >> np.uint64(9)))
    words.store(out, 24, (x + number) ^ words.spread(number))
    return words.any_bit(x), words.any_bit(x ^ x)


def test_eight_words_follow_the_arithmetic_of_one():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2**64, (2, 11), dtype=np.uint64)
    out, number = np.zeros(32, dtype=np.uint64), np.uint64(2**63 + 12345)
    assert _every_operation(a, b, number, out) == (True, False)
    x, y = a[3:], b[:8]
    expected = [(x & y) | ~(x ^ y), x * y + x, (x << np.uint64(7)) ^ (y >> np.uint64(9)), (x + number) ^ number]
    assert np.array_equal(out.reshape(4, 8), np.stack(expected))


@pytest.mark.parametrize("degree", range(7))
def test_a_spin_follows_its_local_field_with_the_probability_of_heat_bath(degree):
    """One update of the centre of a star, whose leaves keep: detailed balance of every class of local field."""
    leaves = max(degree, 1)
    edges = np.stack([np.zeros(leaves, dtype=int), np.arange(1, leaves + 1)], axis=1)
    temperatures = np.array([0.8, 1.5, 3.0, 10.0])
    couplings = np.random.default_rng(degree).choice([-1.0, 1.0], (64, leaves))
    bonds = multispin.make_bonds(edges, couplings, leaves + 1, order=np.array([0]))
    if degree == 0:  # a spin that nothing holds: all places are fillers
        bonds = multispin.make_bonds(edges, couplings, 3, order=np.array([2]))
    tables = multispin.tables(bonds, 1.0, temperatures, 64)
    seen = np.zeros((4, 7, 2))
    for seed in range(40):
        walkers = multispin.start(bonds, temperatures, 64, np.random.default_rng(seed))
        multispin_kernels.sweep(walkers.spins, walkers.generators, bonds, tables.digits)
        spins = multispin.configurations(walkers, np.arange(4))  # (64, T, ladders, N)
        centre = spins[..., 0 if degree else 2]
        field = np.einsum("ktln,kn->ktl", spins[..., 1:].astype(int), couplings) if degree else 0 * centre
        for t in range(4):
            np.add.at(seen[t], (((field[:, t] + degree) // 2).astype(int), (centre[:, t] > 0).astype(int)), 1)
    up = np.arange(degree + 1)
    expected = 1 / (1 + np.exp(-2 * (2 * up - degree) / temperatures[:, None]))
    total = seen[:, : degree + 1].sum(-1)
    z = (seen[:, : degree + 1, 1] - total * expected) / np.sqrt(total * expected * (1 - expected) + 1e-12)
    assert total.min() > 1000 and np.abs(z).max() < 4.5, z  # 28 classes at most
    assert np.all(seen[:, degree + 1 :] == 0)


def test_a_probability_is_resolved_to_2_to_the_minus_49():
    digits = multispin.heat_bath_digits(1.0, np.geomspace(0.2, 5, 8))  # (1, 2, DIGITS, 4, 8)
    weights = 2.0 ** -np.arange(1, multispin_kernels.DIGITS + 1)
    found = np.einsum("pkmr,k->pmr", digits[0] != 0, weights)
    field = np.array([[0, 2, 4, 6], [1, 3, 5, 7]])[..., None]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(2 * field / np.geomspace(0.2, 5, 8))), rtol=0, atol=2.0**-48.9)


# --- exact laws --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "boundary", "law", "size", "order"),
    [
        ((3, 3), "periodic", "bimodal", 1.0, None),  # odd torus, four neighbours
        ((4, 2), "periodic", "bimodal", 1.0, "checkerboard"),  # two bonds between the same spins
        ((2, 2, 2), "cylinder", "bimodal", 1.0, None),  # five neighbours
        ((2, 2, 3), "free", "bimodal", 0.5, None),  # three and four, another J
        ((3, 3), "cylinder", "ferromagnet", 1.0, None),  # equal couplings in all bits
    ],
)
def test_every_state_has_its_boltzmann_probability(shape, boundary, law, size, order):
    """Chi-square of each of 64 instances at three temperatures, and all of them pooled."""
    edges, couplings, spins = glass(shape, boundary, law, size=size)
    temperatures = size * np.array([0.9, 1.4, 2.2])
    order = monte_carlo.checkerboard_order(shape, (True, True)) if order else None
    walkers, bonds, tables = run(edges, couplings, spins, temperatures, 16, order=order)
    counts = np.zeros((64, 3, 2**spins))
    for _ in range(400):
        multispin.advance(walkers, bonds, tables, 30)
        states = (multispin.configurations(walkers, np.arange(3)) > 0) @ (1 << np.arange(spins))
        np.add.at(counts, (np.arange(64)[:, None, None], np.arange(3)[:, None], states), 1)
    statistic, freedom = 0.0, 0
    for k in range(64):
        for t, temperature in enumerate(temperatures):
            expected = enumerate_graph(spins, edges, couplings[k], temperature).probabilities * 6400
            rare = expected < 10
            pooled = np.append(expected[~rare], expected[rare].sum())
            observed = np.append(counts[k, t, ~rare], counts[k, t, rare].sum())
            kept = pooled > 0
            one = stats.chisquare(observed[kept], pooled[kept])
            assert one.pvalue > 1e-6, (k, t)  # 192 of them
            statistic, freedom = statistic + one.statistic, freedom + kept.sum() - 1
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom)


def test_energies_of_the_ferromagnet_on_the_torus_are_kaufmans():
    """64 bits and 2 ladders are 128 independent runs: the standard error comes from them."""
    edges, couplings, spins = glass((16, 16), law="ferromagnet")
    critical = 2 / np.log(1 + np.sqrt(2))
    temperatures = np.array([1.8, 1.95, 2.1, critical, 2.5, 2.9, 1 / 0.28])
    walkers, bonds, tables = run(edges, couplings, spins, temperatures, 2, warm_up=3000)
    energies = []
    for _ in range(300):
        multispin.advance(walkers, bonds, tables, 5)
        energies.append(multispin.measurement(multispin.counts(walkers, bonds), spins, 512, 1.0).energy)
    means = np.mean(energies, axis=0).transpose(1, 0, 2).reshape(len(temperatures), -1)  # (T, 128)
    z = (means.mean(axis=1) - [kaufman(16, 1 / t)[1] for t in temperatures]) / (
        means.std(axis=1, ddof=1) / np.sqrt(128)
    )
    assert np.all(np.abs(z) < 4), z


def test_counts_are_those_of_the_configurations():
    edges, couplings, spins = glass((4, 3, 3), "cylinder")
    walkers, bonds, tables = run(edges, couplings, spins, np.array([0.9, 1.4, 2.0]), 3, warm_up=41)
    found = multispin.configurations(walkers, np.arange(3)).astype(float)  # (64, T, ladders, N)
    joined = np.flatnonzero(couplings[0])
    products = found[..., edges[joined, 0]] * found[..., edges[joined, 1]]
    measured = multispin.measurement(multispin.counts(walkers, bonds), spins, len(joined), 1.0)
    energy = -np.einsum("ktlm,km->ltk", products, couplings[:, joined]) / spins
    np.testing.assert_allclose(measured.energy, energy, atol=1e-12)
    one, other = np.triu_indices(3, 1)
    np.testing.assert_allclose(
        measured.overlap, (found[:, :, one] * found[:, :, other]).mean(-1).transpose(2, 1, 0), atol=1e-12
    )
    np.testing.assert_allclose(
        measured.link_overlap, (products[:, :, one] * products[:, :, other]).mean(-1).transpose(2, 1, 0), atol=1e-12
    )
    assert walkers.trips.min() >= 0 and np.all(walkers.accepted <= walkers.attempts[:, None])
    assert walkers.trips.sum() > 0 and walkers.accepted.min() > 0


# --- the instances of a word -------------------------------------------------------------------------


def test_a_bit_does_not_depend_on_the_others_nor_on_where_a_run_was_stopped():
    edges, couplings, spins = glass((4, 4), "cylinder")
    temperatures = np.array([0.5, 1.0, 2.0])
    whole = run(edges, couplings, spins, temperatures, 4, warm_up=200)[0]
    few, bonds, tables = run(edges, couplings[:5], spins, temperatures, 4, warm_up=77)
    multispin.advance(few, bonds, tables, 123)
    levels = np.arange(3)
    assert np.array_equal(multispin.configurations(few, levels, 5), multispin.configurations(whole, levels, 5))
    assert np.array_equal(few.accepted[:, :5], whole.accepted[:, :5])
    assert np.array_equal(few.trips[:, :5], whole.trips[:, :5])


def inflation(values):
    """Variance of the means of words, over that expected of 64 independent instances: values (words, T, 64) -> (T,)."""
    return values.mean(-1).var(axis=0, ddof=1) * 64 / values.var(axis=-1, ddof=1).mean(axis=0)


def test_the_error_of_a_disorder_mean_is_that_of_independent_instances():
    """For one configuration of each instance, where shared random numbers do most harm; 200 words show 10 percent."""
    edges, _, spins = glass((4, 4))
    temperatures = np.array([1.0, 2.0, 20.0])
    energy, squared = [], []
    for word in range(200):
        couplings = lattice_couplings((4, 4), "bimodal", "periodic", 3, 64 * word + np.arange(64)).reshape(64, -1)
        walkers, bonds, _ = run(edges, couplings, spins, temperatures, 2, seed=word, warm_up=100)
        measured = multispin.measurement(multispin.counts(walkers, bonds), spins, len(edges), 1.0)
        energy.append(measured.energy[0])
        squared.append(measured.overlap[0] ** 2)
    for values in (np.array(energy), np.array(squared)):
        assert np.all(np.abs(inflation(values) - 1) < 4 * np.sqrt(2 / 199)), inflation(values)


def test_random_numbers_shared_by_the_instances_of_a_word_would_be_seen():
    """The control of the test above: plain heat bath with one number for all 64 instances, which is the usual saving.

    Measured: the variance of the disorder mean of q^2 is 2, 3 and 100 times that of independent instances at T = 1, 2
    and 20, that of the energy 5, 10 and 5 times.
    """
    rng = np.random.default_rng(0)
    graph = monte_carlo.make_graph(lattice_edges((4, 4)), np.ones(32), 16)
    temperatures = np.array([1.0, 2.0, 20.0])[:, None]
    couplings = rng.choice([-1, 1], (100, 1, 64, 32))
    of_edge = {tuple(edge): m for m, edge in enumerate(graph.edges)}
    spins = rng.choice([-1, 1], (2, 100, 3, 64, 16))  # replicas, words, T, instances, N
    for replica in spins:
        for _ in range(60):
            for site in range(16):
                field = sum(
                    couplings[..., of_edge.get((site, other), of_edge.get((other, site)))] * replica[..., other]
                    for other in graph.neighbours[site]
                )
                drawn = rng.random((100, 3, 1))  # shared by 64 instances
                replica[..., site] = np.where(drawn * (1 + np.exp(-2 * field / temperatures)) < 1, 1, -1)
    squared = (spins[0] * spins[1]).mean(-1) ** 2
    products = spins[0][..., graph.edges[:, 0]] * spins[0][..., graph.edges[:, 1]]
    energy = -(couplings * products).sum(-1) / 16
    assert np.all(inflation(squared) > 1.5) and inflation(squared)[2] > 30 and np.all(inflation(energy) > 2)


def test_energies_of_64_instances_agree_with_runs_of_their_own():
    """Mean energies of the same couplings by both kernels, with errors from 8 ladders of each."""
    edges, couplings, spins = glass((4, 4, 4))
    temperatures = np.array([1.0, 1.3, 1.7, 2.2])
    walkers, bonds, tables = run(edges, couplings, spins, temperatures, 8, warm_up=500)
    mine = np.zeros((8, 4, 64))
    for _ in range(200):
        multispin.advance(walkers, bonds, tables, 5)
        mine += multispin.measurement(multispin.counts(walkers, bonds), spins, len(edges), 1.0).energy / 200
    z = []
    for k in range(0, 64, 4):
        graph = monte_carlo.make_graph(edges, couplings[k], spins)
        alone = monte_carlo.start(graph, temperatures, 8, np.random.default_rng(k))
        monte_carlo.advance(alone, graph, temperatures, 500)
        other = np.zeros((8, 4))
        for _ in range(200):
            monte_carlo.advance(alone, graph, temperatures, 5)
            other += monte_carlo.measure(alone, graph).energy / 200
        error = np.sqrt((mine[..., k].var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / 8)
        z.append((mine[..., k].mean(axis=0) - other.mean(axis=0)) / error)
    p = 2 * stats.t.sf(np.abs(z), 14)  # 16 instances, 4 temperatures
    assert p.min() > 1e-6 and np.abs(np.mean(z)) < 4 * np.sqrt(14 / 12 / 16), z  # temperatures of a run go together


# --- the ensemble ------------------------------------------------------------------------------------


def domain(**changes):
    fields = {
        "couplings": "bimodal", "length": 4, "boundary": "periodic", "method": "parallel_tempering", "instances": 5,
        "replicas": 8, "temperatures": (1.0, 2.0), "sweeps": 2000,
    }  # fmt: skip
    return Domain(**(fields | changes))


def test_instance_4_of_5_is_instance_4_of_70_for_any_number_of_processes():
    few, many, two = (
        domain().simulate(3),
        domain(instances=70).simulate(3),
        domain(instances=70).simulate(3, processes=2),
    )
    assert few.attrs["kernel"] == "multispin" and few.attrs["equilibration"] == "passed"
    for name in ("field", "couplings", "energy", "autocorrelation_time", "independent_samples"):
        assert np.array_equal(few[name].values, many[name].values[:5]), name
        assert np.array_equal(many[name].values, two[name].values), name
    assert np.any(many.field.values[:6] != many.field.values[64:])  # the next word has other numbers


def test_both_kernels_make_the_same_kind_of_file():
    words_, general = domain().simulate(3), domain(kernel="general").simulate(3)
    assert set(words_.attrs) == set(general.attrs) and set(words_.variables) == set(general.variables)
    assert general.attrs["kernel"] == "general"
    for name in words_.variables:
        assert words_[name].dims == general[name].dims and words_[name].dtype == general[name].dtype
    assert np.array_equal(words_.couplings.values, general.couplings.values)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"couplings": "gaussian"}, "needs couplings .-J of one size"),
        ({"model": "sherrington_kirkpatrick", "length": 10}, "at most 6 neighbours"),
    ],
)
def test_couplings_that_words_cannot_hold_take_the_general_kernel_or_are_refused(changes, reason):
    assert domain(**changes, instances=2).simulate(3).attrs["kernel"] == "general"
    with pytest.raises(InputError, match=reason):
        domain(**changes, kernel="multispin").simulate(3)


def test_bonds_that_only_some_instances_have_are_not_for_words():
    made = domain(method="auto", length=4, instances=2).simulate(1)
    template = made.drop_vars("field")
    assert choose_kernel(domain(), given_couplings(template)) == "multispin"
    template.couplings.values[1, 0, 1, 1] = 0
    assert choose_kernel(domain(), given_couplings(template)) == "general"
    with pytest.raises(InputError, match="zero in some instances alone"):
        choose_kernel(domain(kernel="multispin"), given_couplings(template))


# --- the same on a device ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("shape", "boundary"), [((4, 2), "periodic"), ((3, 3), "cylinder")])
def test_a_device_gives_every_state_its_boltzmann_probability(shape, boundary, device):
    """70 instances in two words, in torch on the CPU, in Triton on a GPU. Ladders and instances are independent."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    edges, couplings, spins = glass(shape, boundary, instances=70)
    temperatures = np.array([1.0, 2.0])
    bonds = multispin_device.make_bonds(edges, couplings, spins, device)
    walkers = multispin_device.start(bonds, temperatures, 64, seed=1)
    tables = multispin_device.tables(bonds, 1.0, temperatures)
    counts = np.zeros((70, 2, 2**spins))
    multispin_device.advance(walkers, bonds, tables, 50)
    for _ in range(10):
        multispin_device.advance(walkers, bonds, tables, 12)
        found = multispin_device.configurations(walkers, np.arange(2), 70).cpu()  # (70, T, ladders, N)
        states = (found.numpy() > 0) @ (1 << np.arange(spins))
        np.add.at(counts, (np.arange(70)[:, None, None], np.arange(2)[:, None], states), 1)
    energy = -(found[..., edges[:, 0]] * found[..., edges[:, 1]] * torch.tensor(couplings)[:, None, None]).sum(-1)
    kept = np.count_nonzero(couplings[0])
    unsatisfied = walkers.unsatisfied.cpu().permute(0, 3, 2, 1).flatten(0, 1)[:70]  # (70, T, ladders)
    assert torch.equal(energy, (2.0 * unsatisfied - kept).to(energy.dtype))
    statistic, freedom = 0.0, 0
    for k in range(70):
        for t, temperature in enumerate(temperatures):
            expected = enumerate_graph(spins, edges, couplings[k], temperature).probabilities * 640
            rare = expected < 10
            pooled = np.append(expected[~rare], expected[rare].sum())
            observed = np.append(counts[k, t, ~rare], counts[k, t, rare].sum())
            present = pooled > 0
            statistic += ((observed[present] - pooled[present]) ** 2 / pooled[present]).sum()
            freedom += present.sum() - 1
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom), (statistic, freedom)
