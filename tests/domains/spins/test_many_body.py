"""Three spins at a time, and random energies: every state, every identity, the disorder averages; what is refused."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from physgen.domains.contract import get_domain
from physgen.domains.spins import Spins, monte_carlo
from physgen.domains.spins.callen import local_fields
from physgen.domains.spins.certificate import spin_identities
from physgen.domains.spins.diagnostics import DIAGNOSTICS
from physgen.domains.spins.energy import graph_energy
from physgen.domains.spins.enumeration import enumerate_graph, enumerate_levels, overlap_law, triple_energies
from physgen.domains.spins.layout import disorder_of, energy_of, instance_digests
from physgen.domains.spins.many_body import all_triples, level_energies, states_of, triple_couplings
from physgen.domains.spins.mean_field import (
    annealed_p_spin,
    random_energy_average,
    random_energy_figures,
    random_energy_theory,
)
from physgen.domains.spins.merge import merge_ensembles
from physgen.domains.spins.sweeps import heat_bath
from physgen.ensemble import load_ensemble, save_ensemble
from physgen.errors import InputError

TRIPLES = Spins(model="p_spin", length=8, temperatures=(0.8, 1.5), instances=24, replicas=60)
LEVELS = Spins(model="random_energy", length=6, temperatures=(0.5, 1.0), instances=40, replicas=60)
FALSE_ALARM = 1e-4


@pytest.fixture(scope="module")
def triples():
    return TRIPLES.simulate(3)


@pytest.fixture(scope="module")
def levels():
    return LEVELS.simulate(4)


def agrees(counts, law):
    """p-value of counts of all states under their law."""
    expected = law * counts.sum()
    rare = expected < 10
    if rare.any():
        counts, expected = (np.append(one[~rare], one[rare].sum()) for one in (counts, expected))
    return stats.chisquare(counts, expected).pvalue


def test_tempering_of_triples_draws_every_state_with_its_boltzmann_probability():
    rng, spins = np.random.default_rng(1), 7
    edges = all_triples(spins)[rng.random(35) < 0.7]
    couplings, field = rng.normal(size=len(edges)) / 2, rng.normal(size=spins) / 2
    temperatures = np.array([0.7, 1.2, 2.0])
    graph = monte_carlo.make_graph(edges, couplings, spins, field)
    walkers = monte_carlo.start(graph, temperatures, 16, rng)
    found = []
    for _ in range(400):
        monte_carlo.advance(walkers, graph, temperatures, 20)
        found.append(monte_carlo.configurations(walkers, np.arange(3)))
    states = np.stack(found, axis=1).reshape(3, -1, spins)
    measured = monte_carlo.measure(walkers, graph)
    last = found[-1]
    np.testing.assert_allclose(measured.energy.T, graph_energy(last, edges, couplings, field), atol=1e-5)
    products = [np.prod(last[:, 0][:, [i, j, k]] * last[:, 1][:, [i, j, k]], axis=1) for i, j, k in all_triples(spins)]
    np.testing.assert_allclose(measured.link_overlap[0], np.mean(products, axis=0), atol=1e-12)
    for level, temperature in enumerate(temperatures):
        law = enumerate_graph(spins, edges, couplings, temperature, field).probabilities
        counts = np.bincount((states[level] > 0) @ (1 << np.arange(spins)), minlength=1 << spins)
        assert agrees(counts, law) > FALSE_ALARM


def test_energies_of_all_states_and_local_fields_are_those_of_the_definition(triples, levels):
    edges, couplings = all_triples(6), triple_couplings(6, "gaussian", 2, [5])[0]
    every = states_of(np.arange(64), 6)
    direct = [-sum(J * s[i] * s[j] * s[k] for (i, j, k), J in zip(edges, couplings, strict=True)) for s in every]
    np.testing.assert_allclose(triple_energies(6, edges, couplings), direct, atol=1e-6)
    np.testing.assert_allclose(graph_energy(every, edges, couplings) * 6, direct, atol=1e-6)
    for made in (triples, levels):
        disorder, spins = disorder_of(made), made["field"].values
        own = local_fields(spins[1], disorder, 1)
        for site in (0, 5):
            up, down = spins.copy(), spins.copy()
            up[..., site], down[..., site] = 1, -1
            change = (energy_of(down, disorder) - energy_of(up, disorder))[1] * spins.shape[-1] / 2
            np.testing.assert_allclose(own[..., site], change, atol=1e-5)


def test_an_ensemble_by_tempering_has_the_exact_energies_and_overlaps(triples):
    made = replace(TRIPLES, method="parallel_tempering", sweeps=3000, replicas=200).simulate(3)
    assert made.attrs["equilibration"] == "passed" and "equilibration_katzgraber_young_p" in made.attrs
    disorder = disorder_of(made)
    energy, squared = [], []
    for i, couplings in enumerate(disorder.couplings):
        law = enumerate_graph(8, disorder.edges, couplings, 0.8)
        exact = overlap_law(law.probabilities) @ np.linspace(-1, 1, 9) ** 2
        spins = made["field"].values[i, 0].astype(float)
        overlaps = (spins @ spins.T / 8)[np.triu_indices(200, 1)] ** 2
        energy.append(made["energy"].values[i, 0].mean() - law.energy)
        squared.append(overlaps.mean() - exact)
    for deviation in (np.array(energy), np.array(squared)):
        assert abs(deviation.mean()) < 4 * deviation.std(ddof=1) / np.sqrt(len(deviation))


def test_heat_bath_keeps_the_law_of_random_energies():
    own = level_energies(3, 7, [0])
    law = enumerate_levels(own[0], 0.8).probabilities
    start = states_of(np.random.default_rng(0).choice(8, 40_000, p=law), 3)[None, None]
    disorder = disorder_of(LEVELS.simulate(1))._replace(levels=own)
    after = heat_bath(start, disorder, np.array([0.8]), 2, 5)[0, 0]
    assert np.mean(after != start[0, 0]) > 0.1
    assert agrees(np.bincount((after > 0) @ (1 << np.arange(3)), minlength=8), law) > FALSE_ALARM


def test_every_identity_holds_and_a_wrong_temperature_breaks_them(triples, levels):
    for made, names in ((triples, {"callen_bonds", "katzgraber_young"}), (levels, {"callen", "katzgraber_young"})):
        rows, absent = spin_identities(made)
        assert names <= {row.name for row in rows} and "flip_balance" in {one.name for one in absent}
        for row in rows:
            assert abs(row.deviations.mean()) <= 4.5 * row.deviations.std(ddof=1) / np.sqrt(len(row.deviations)), (
                row.name
            )
        wrong = spin_identities(made.assign_coords(temperature=made["temperature"] * 1.3))[0]
        callen = [row.deviations for row in wrong if row.name == "callen"][-1]
        assert abs(callen.mean()) > 5 * callen.std(ddof=1) / np.sqrt(len(callen))


def test_what_can_be_measured_is(triples, levels):
    on_levels = {"satisfaction", "link_overlap", "link_overlap_drift", "correlation"}
    for made, refused in ((triples, {"correlation_length"}), (levels, on_levels | {"correlation_length"})):
        for name, diagnostic in DIAGNOSTICS.items():
            if name in refused:
                with pytest.raises(InputError, match="waves|no bonds"):
                    diagnostic(made)
            else:
                assert np.isfinite(diagnostic(made)["value"].values).all(), name
        assert get_domain("spins")().orbit(made) == "none"


def test_disorder_means_of_triples_are_the_annealed_ones_with_their_corrections():
    spins, temperature, count = 12, 2.5, 300
    edges, couplings = all_triples(spins), triple_couplings(spins, "gaussian", 9, np.arange(count))
    laws = [enumerate_graph(spins, edges, one, temperature) for one in couplings]
    overlaps = np.linspace(-1, 1, spins + 1)
    measured = np.array([
        (law.log_partition, law.energy, spins * overlap_law(law.probabilities) @ overlaps**2) for law in laws
    ])  # fmt: skip
    theory = annealed_p_spin(spins, temperature)
    # by parts: what the drawn couplings contribute beyond their mean square is known, instance by instance
    squares = (couplings.astype(float) ** 2).sum(axis=1) - len(edges) * 3 / spins**2
    measured[:, 0] -= squares / temperature**2 / 2
    measured[:, 1] += squares / temperature / spins
    error = measured.std(axis=0, ddof=1) / np.sqrt(count)
    off = measured.mean(axis=0) - [theory.log_partition, theory.energy, theory.overlap_squared]
    assert np.all(np.abs(off) < 3 * error + np.array([0, 0, 0.1 * (theory.overlap_squared - 1)])), (off, error)
    assert abs(theory.overlap_squared - 1) > 5 * error[2]  # the correction is seen
    with pytest.raises(InputError, match="needs T > T_K"):
        annealed_p_spin(spins, 0.6)


def test_the_average_of_random_energies_is_exact_at_every_size():
    normal = np.arange(-8, 8.001, 0.05)
    weight = np.exp(-(normal**2) / 2) * 0.05 / np.sqrt(2 * np.pi)
    pair = np.logaddexp.outer(0.5**0.5 * normal, 0.5**0.5 * normal)  # N = 1: two levels, an integral of two dims
    assert random_energy_average(1, 1.0).free_energy[0] == pytest.approx(-weight @ pair @ weight, rel=1e-10)
    temperatures = np.array([0.3, 0.6, 1.0])
    one = [random_energy_figures(own, temperatures) for own in level_energies(9, 1, np.arange(300))]
    for found, exact in zip(zip(*one, strict=True), random_energy_average(9, temperatures), strict=True):
        values = np.array(found)
        assert np.all(np.abs(values.mean(axis=0) - exact) < 4 * values.std(axis=0, ddof=1) / np.sqrt(len(values)))
    cold = random_energy_average(60, 0.3)
    limit = random_energy_theory(0.3)
    assert limit.energy[0] < cold.energy[0] < random_energy_average(30, 0.3).energy[0]
    assert abs(cold.participation[0] - limit.participation[0]) < 0.03


def test_files_digests_and_joined_ensembles(triples, levels, tmp_path):
    for name, made in (("triples", triples), ("levels", levels)):
        path = save_ensemble(made, tmp_path / f"{name}.h5")
        again = load_ensemble(path)
        np.testing.assert_allclose(energy_of(again["field"].values, disorder_of(again)), made["energy"].values)
        assert len(set(instance_digests(again))) == made.sizes["disorder"]
        first, second = made.isel(disorder=slice(0, 5)), made.isel(disorder=slice(5, 9))
        joined, _ = merge_ensembles([first, second], ["a", "b"])
        np.testing.assert_allclose(joined["energy"].values, made["energy"].values[:9])
    pairs = Spins(model="sherrington_kirkpatrick", length=8, instances=2, replicas=2, temperatures=(0.8, 1.5)).simulate(
        1
    )
    with pytest.raises(InputError, match="triples of 8 spins"):
        get_domain("spins")().confront(pairs, triples.drop_attrs(deep=False), "another")


def test_no_network_takes_them(triples, levels):
    domain = Spins()
    for made, words in ((triples, "these join 3"), (levels, "no couplings between spins")):
        assert words in made.attrs["not_trainable"]
        with pytest.raises(InputError, match=f"{words}.*physgen evaluate"):
            domain.fit_encoding(made)
        with pytest.raises(InputError, match=words):
            domain.request(made, 2, {}, {"temperatures": [0.8, 1.5], "graph": True})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "p_spin", "length": 200}, "takes 3 to 128 spins"),
        ({"model": "random_energy", "length": 21}, "takes 2 to 20 spins"),
        ({"model": "random_energy", "method": "parallel_tempering"}, "cannot draw random energies"),
        ({"model": "random_energy", "couplings": "bimodal"}, "have no effect on model"),
        ({"model": "random_energy", "uniform_field": 0.1}, "leave uniform_field"),
        ({"model": "p_spin", "couplings": "planted_bimodal", "temperatures": (1.0,)}, "no effect on model"),
        ({"model": "p_spin", "bond_fraction": 0.5}, "dilutes a lattice"),
    ],
)
def test_settings_that_say_nothing_of_them_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        Spins(**settings)


def test_an_instance_depends_on_its_number_alone():
    few, many = (replace(TRIPLES, instances=n, replicas=4, method="enumeration").simulate(3) for n in (2, 4))
    assert np.array_equal(few["field"].values, many["field"].values[:2])
    assert all(len(set(edge)) == 3 for edge in itertools.islice(all_triples(9).tolist(), 20))
