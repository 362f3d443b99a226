"""Callen's identity against enumeration, and the wrong conventions that it must see."""

import numpy as np
import pytest

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import Domain
from physgen.domains.spins.callen import callen_terms, callen_z, fitted_temperature, local_fields
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.energy import graph_energy
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import Disorder, spin_ensemble


def test_identity_holds_under_the_exact_law_of_a_graph_with_field():
    """Sum over all states: <d> = 0 to rounding; the response against a finite difference."""
    rng = np.random.default_rng(0)
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0], [0, 2], [0, 1]])  # one edge twice
    couplings, outer, temperature = rng.normal(size=7), rng.normal(size=5), 0.8
    disorder = Disorder(couplings[None], edges, outer[None])
    every = enumerate_spins(5).numpy()
    means = []
    for drawn_at in (temperature, temperature * 0.999):
        law = enumerate_graph(5, edges, couplings, drawn_at, outer).probabilities
        deviation, response = callen_terms(every[None, None], disorder, [temperature])
        means.append((law @ deviation[0, 0], law @ response[0, 0]))
    assert abs(means[0][0]) < 1e-14
    assert means[1][0] / 0.001 == pytest.approx(means[0][1], rel=0.01)


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3), (3, 4, 2)])
def test_local_fields_of_a_lattice_are_those_of_its_graph_and_of_its_energy(shape):
    rng = np.random.default_rng(1)
    spins, outer = rng.choice([-1, 1], (3, *shape)).astype(np.int8), rng.normal(size=(1, *shape))
    bonds = rng.normal(size=(1, len(shape), *shape))
    lattice = local_fields(spins, Disorder(bonds, None, outer), 0).reshape(3, -1)
    flat = Disorder(bonds.reshape(1, -1), lattice_edges(shape), outer.reshape(1, -1))
    np.testing.assert_allclose(lattice, local_fields(spins.reshape(3, -1), flat, 0), atol=1e-12)
    site = 1
    flipped = spins.reshape(3, -1).copy()
    flipped[:, site] *= -1
    before, after = (
        graph_energy(s, flat.edges, flat.couplings[0], outer.reshape(-1)) for s in (spins.reshape(3, -1), flipped)
    )
    gained = (after - before) * spins[0].size  # flipping s_i costs 2 s_i h_i; energies are formed in float32
    np.testing.assert_allclose(gained, 2 * spins.reshape(3, -1)[:, site] * lattice[:, site], atol=1e-5)


@pytest.fixture(scope="module")
def glass():
    return Domain(
        length=6, boundary="periodic", temperatures=(0.8, 1.5), instances=20, replicas=16, method="transfer_matrix"
    ).simulate(2)


def test_every_wrong_convention_is_seen(glass):
    spins, bonds, temperature = glass.field, glass.couplings, glass.temperature

    def couplings(values):
        return glass.assign(couplings=(bonds.dims, values))

    wrong = {
        "sign": couplings(-bonds.values),
        "pairs twice": couplings(2 * bonds.values),
        "beta for T": glass.assign_coords(temperature=1 / temperature),
        "T reversed": glass.assign_coords(temperature=temperature.values[::-1]),
        "axes of bonds swapped": couplings(bonds.values[:, ::-1]),
        "spins transposed": glass.assign(field=(spins.dims, spins.values.swapaxes(3, 4))),
        "instances shifted": couplings(np.roll(bonds.values, 1, 0)),
        "bonds point down": couplings(np.stack([np.roll(bonds.values[:, a], 1, 1 + a) for a in range(2)], 1)),
    }
    assert np.all(np.abs(callen_z(glass).z) < 4)
    for name, ensemble in wrong.items():
        assert np.all(np.abs(callen_z(ensemble).z) > 5), name
    np.testing.assert_allclose(callen_z(wrong["sign"]).fitted_temperature, [-0.8, -1.5], rtol=0.05)
    np.testing.assert_allclose(callen_z(wrong["pairs twice"]).fitted_temperature, [1.6, 3.0], rtol=0.05)


@pytest.mark.parametrize(("instances", "replicas"), [(1, 64), (1, 4), (1, 1), (3, 8), (20, 1)])
def test_z_is_of_order_one_for_right_data_and_large_for_wrong_ones(instances, replicas):
    """60 small data sets of exact samples: the root mean square of z is 1 within its own error."""
    domain = Domain(length=6, temperatures=(1.0, 2.0), instances=instances, replicas=replicas)
    sets = [domain.simulate(seed) for seed in range(60)]
    z = np.concatenate([callen_z(one).z.values for one in sets])
    assert 0.75 < np.sqrt(np.mean(z**2)) < 1.25  # 120 values: 1 +- 0.065, wider tails for the predicted variance
    if instances * replicas >= 24:
        reversed_sign = sets[0].assign(couplings=-sets[0].couplings)
        assert np.all(np.abs(callen_z(reversed_sign).z) > 5)


def test_fitted_temperature_of_a_free_spin_is_exact():
    """N free spins in a field h: <s> = tanh(h/T)."""
    spins = np.repeat([1.0, -1.0], [3, 1])  # mean 1/2
    assert fitted_temperature(spins, np.full(4, 0.7)) == pytest.approx(0.7 / np.arctanh(0.5), rel=1e-9)


def test_graphs_are_tested_too():
    made = Domain(model="sherrington_kirkpatrick", length=10, temperatures=(1.0,), instances=24, replicas=32).simulate(
        0
    )
    assert abs(float(callen_z(made).z[0])) < 4
    shuffled = np.roll(made.couplings.values, 1, axis=0)
    wrong = spin_ensemble(made.field.values, Disorder(shuffled, made.edges.values, None), [1.0], np.arange(24), {})
    assert float(callen_z(wrong).z[0]) < -5
