"""Order of a glass: unbiased estimators against brute force, enumeration and closed forms."""

from itertools import permutations

import numpy as np
import pytest

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import Domain
from physgen.domains.spins import glass_statistics as glass
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import with_spins
from physgen.domains.spins.measurement import pair_mean
from physgen.errors import InputError


def test_averages_over_distinct_replicas_are_those_of_brute_force():
    spins = np.random.default_rng(0).choice([-1, 1], (6, 5)).astype(np.int8)
    q = glass.overlap_matrix(spins)
    np.testing.assert_allclose(q, spins.astype(int) @ spins.T.astype(int) / 5, rtol=1e-7)
    three = np.mean([q[a, b] * q[b, c] * q[c, a] for a, b, c in permutations(range(6), 3)])
    four = np.mean([q[a, b] * q[b, c] * q[c, d] * q[d, a] for a, b, c, d in permutations(range(6), 4)])
    product = np.mean([np.mean(spins[list(p)].prod(axis=0)) ** 2 for p in permutations(range(6), 4)])
    assert glass.three_cycle(q) == pytest.approx(three, rel=1e-12)
    assert glass.four_cycle(q) == pytest.approx(four, rel=1e-12)
    assert glass.four_replica_overlap(spins) == pytest.approx(product, rel=1e-12)


@pytest.mark.parametrize("replicas", [2, 3, 4, 8])
def test_moments_have_no_bias_with_few_replicas(replicas):
    """Traces of the exact correlation matrix of a 3x4 glass, against the mean of 20000 small sets of replicas."""
    bonds = np.random.default_rng(1).normal(size=(2, 3, 4))
    law = enumerate_graph(12, lattice_edges((3, 4)), bonds.reshape(-1), 0.9).probabilities
    every = enumerate_spins(12).numpy().astype(float)
    exact = (every.T * law) @ every / 12  # C/N
    drawn = enumerate_spins(12).numpy()[np.random.default_rng(2).choice(len(law), (20_000, replicas), p=law)]
    q = glass.overlap_matrix(drawn)
    cases = [(pair_mean(q**2), np.trace(exact @ exact))]
    if replicas > 2:
        cases.append((glass.three_cycle(q), np.trace(exact @ exact @ exact)))
    if replicas > 3:
        cases.append((glass.four_cycle(q), np.trace(np.linalg.matrix_power(exact, 4))))
        cases.append((np.array([glass.four_replica_overlap(s) for s in drawn]), np.mean((12 * exact) ** 4)))
    for found, wanted in cases:
        error = found.std() / np.sqrt(len(found))
        assert error < 0.05 * wanted and abs(found.mean() - wanted) < 4 * error


def test_lengths_and_susceptibility_of_a_ring_are_the_closed_form():
    """Ferromagnetic ring: <s_0 s_r> = (t^r + t^(L-r))/(1 + t^L), t = tanh(1/T)."""
    domain = Domain(
        model="ferromagnet", dimension=1, length=16, boundary="periodic", temperatures=(1.0, 2.0), instances=30,
        replicas=60,
    )  # fmt: skip
    made = domain.simulate(0)
    r = np.arange(16)
    chi, xi = [], []
    for temperature in domain.temperatures:
        t = np.tanh(1 / temperature)
        squared = ((t**r + t ** (16 - r)) / (1 + t**16)) ** 2
        chi.append(squared.sum())
        at_k = (squared * np.cos(2 * np.pi * r / 16)).sum()
        xi.append(np.sqrt(squared.sum() / at_k - 1) / (2 * np.sin(np.pi / 16)))
    for found, wanted in ((glass.susceptibility(made), chi), (glass.correlation_length(made), xi)):
        assert np.all(found.error < 0.1 * np.array(wanted)) and np.all(np.abs(found.value - wanted) < 4 * found.error)


def test_binder_ratio_of_free_spins_is_one_over_n():
    """N free spins: <q^2> = 1/N, <q^4> = 3/N^2 - 2/N^3, so g = 1/N; of two states, g = 1."""
    hot = Domain(length=4, temperatures=(1e3,), instances=40, replicas=40).simulate(0)
    found = glass.binder_ratio(hot)
    assert float(found.error[0]) < 0.02 and abs(float(found.value[0]) - 1 / 16) < 4 * float(found.error[0])
    signs = np.random.default_rng(0).choice([-1, 1], (40, 1, 40, 1, 1)).astype(np.int8)
    two = with_spins(hot.drop_vars(["field", "energy"]), np.broadcast_to(signs, hot.field.shape).copy())
    assert float(glass.binder_ratio(two).value[0]) == pytest.approx(1)


def test_only_periodic_axes_carry_the_wave():
    made = Domain(length=6, instances=3, replicas=4).simulate(0)
    assert glass.longest_periodic_axes(made.couplings.values) == ((1,), 6)  # a cylinder is free along the first
    free = Domain(length=4, instances=3, replicas=4, boundary="free").simulate(0)
    with pytest.raises(InputError, match="no axis of this lattice is periodic"):
        glass.correlation_length(free)


def test_a_half_of_the_states_is_missed_by_the_mean_overlap_alone():
    made = Domain(instances=20, replicas=16, temperatures=(1.0,)).simulate(3)
    field = made.field.values
    kept = field * np.where((field * field[:, :, :1]).sum((3, 4), keepdims=True) < 0, -1, 1).astype(np.int8)
    half = with_spins(made.drop_vars(["field", "energy"]), kept)
    balanced, missing = glass.mean_overlap(made), glass.mean_overlap(half)
    assert abs(float(balanced.value[0])) < 4 * float(balanced.error[0])
    assert float(missing.value[0]) > 6 * float(missing.error[0])
    np.testing.assert_allclose(glass.susceptibility(made).per_unit, glass.susceptibility(half).per_unit)


@pytest.mark.parametrize("name", ["susceptibility", "binder_ratio", "mean_overlap", "correlation_length"])
def test_too_few_replicas_are_refused_with_their_number(name):
    one = Domain(length=4, instances=2, replicas=1).simulate(0)
    with pytest.raises(InputError, match="1 replica .* at least 2"):
        getattr(glass, name)(one)
    with pytest.raises(InputError, match="3 replica .* at least 4"):
        glass.overlap_moments(Domain(length=4, instances=2, replicas=3).simulate(0))
