"""Tests of equilibrium: exact identities, responses without bias, honest errors, and what they see."""

import numpy as np
import pytest

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import Domain, equilibrium_tests, exact
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.diagnostics import DIAGNOSTICS
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import Disorder, with_spins
from physgen.domains.spins.measurement import linear_response, pair_response
from physgen.domains.spins.sweeps import heat_bath
from physgen.errors import InputError

BONDS = np.random.default_rng(1).normal(size=(2, 3, 4))
EDGES = lattice_edges((3, 4))


def law_at(temperature):
    return enumerate_graph(12, EDGES, BONDS.reshape(-1), temperature)


def test_exchange_of_two_temperatures_is_exact_and_its_response_a_derivative():
    """Sum over all pairs of states: zero at the right temperatures; 0.1 % in both of them shifts it by the response."""
    found = []
    for factor in (1.0, 0.999):
        cold, hot = (
            enumerate_graph(9, lattice_edges((3, 3)), BONDS[:, :, :3].reshape(-1), t * factor) for t in (0.8, 1.3)
        )
        slope = 1 / 0.8 - 1 / 1.3
        x = hot.energies[None, :] - cold.energies[:, None]
        weight = cold.probabilities[:, None] * hot.probabilities[None, :]
        turned = np.tanh(slope * x / 2)
        found.append([(weight * x * (1 - turned)).sum(), (weight * slope * x**2 / 2 * (1 - turned**2)).sum()])
    assert abs(found[0][0]) < 1e-11
    assert found[1][0] / 0.001 == pytest.approx(found[0][1], rel=0.01)
    deviation, response = equilibrium_tests.exchange_terms(np.array([-3.0, -2.0]), np.array([-2.5]), 0.5)
    x = np.array([0.5, -0.5])
    assert deviation == pytest.approx(np.mean(x - x * np.tanh(x / 4)), rel=1e-12)
    assert response == pytest.approx(np.mean(0.25 * x**2 / np.cosh(x / 4) ** 2), rel=1e-12)


@pytest.mark.parametrize("replicas", [2, 3, 8])
def test_responses_have_no_bias_with_few_replicas(replicas):
    """d<A>/d ln T of the energy and of the link overlap against differences of exact laws; 20000 sets of replicas."""
    every = enumerate_spins(12).numpy()
    links = (every[:, EDGES[:, 0]] * every[:, EDGES[:, 1]]).astype(float)
    law = law_at(0.9)
    low, high = law_at(0.9 * 0.999), law_at(0.9 * 1.001)
    change = 0.002
    slopes = [12 * (high.energy - low.energy) / change]
    slopes.append((np.mean((high.probabilities @ links) ** 2) - np.mean((low.probabilities @ links) ** 2)) / change)
    drawn = np.random.default_rng(2).choice(len(law.probabilities), (20_000, replicas), p=law.probabilities)
    energies = law.energies[drawn]
    levels = np.full(len(energies), 0.9)  # every set as a temperature of its own: no mean over sets is taken
    found = [linear_response(energies[None], energies[None], levels)]
    if replicas > 2:
        pairs = links[drawn] @ np.swapaxes(links[drawn], 1, 2) / len(EDGES)
        found.append(pair_response(pairs[None], energies[None], levels))
    for values, wanted in zip(found, slopes, strict=False):
        error = values.std() / np.sqrt(len(values))
        assert error < 0.1 * abs(wanted) and abs(values.mean() - wanted) < 4 * error


def test_heat_bath_leads_to_the_exact_law_from_anywhere():
    """4000 replicas of one instance from all spins up: energies of both temperatures are exact after 60 sweeps."""
    temperatures = np.array([0.9, 2.0])
    start = np.ones((1, 2, 4000, 3, 4), dtype=np.int8)
    end = heat_bath(start, Disorder(BONDS[None], None, None), temperatures, 60, 0)
    for level, temperature in enumerate(temperatures):
        law = law_at(temperature)
        place = (end[0, level].reshape(4000, 12) > 0) @ (1 << np.arange(12))
        spread = law.energies @ (law.probabilities * law.energies) - (12 * law.energy) ** 2
        assert abs(law.energies[place].mean() - 12 * law.energy) < 4 * np.sqrt(spread / 4000)
    again = heat_bath(start, Disorder(BONDS[None], None, None), temperatures, 60, 0)
    np.testing.assert_array_equal(end, again)


def drawn(ensemble, temperatures, seed, replicas=None):
    """An ensemble of the same couplings, drawn exactly at other temperatures but labelled with its own."""
    rng, bonds = np.random.default_rng(seed), ensemble.couplings.values
    n = replicas or ensemble.sizes["replica"]
    spins = [[exact.sample(b, t, n, rng).spins for t in temperatures] for b in bonds]
    bare = ensemble.drop_vars(["field", "energy", "log_partition", "exact_energy"]).drop_dims(
        "replica", errors="ignore"
    )
    return with_spins(bare.assign_coords(replica=np.arange(n)), np.array(spins))


def students(reference, other):
    """Student's t of the paired differences of all points that are not constant."""
    change = (other.per_unit - reference.per_unit).values.reshape(reference.sizes["unit"], -1)
    spread = change.std(axis=0, ddof=1)
    moving = spread > 1e-12
    return change.mean(axis=0)[moving] / (spread[moving] / np.sqrt(len(change)))


@pytest.mark.parametrize(("instances", "replicas"), [(12, 2), (12, 8), (1, 24)])
def test_errors_are_honest_in_small_data_sets(instances, replicas):
    """24 pairs of exact sets of the same couplings: t has unit size; blocks of one instance never claim too little.

    Statistics that are rare events in such sets (tails of histograms, moments of fourth order) have skewed units and
    stand aside; 12 units have a Student factor sqrt(11/9) in the root mean square, and the jackknife of pairs of
    replicas about a mean of zero says up to twice the error (the overlap of a single instance).
    """
    domain = Domain(length=6, instances=instances, replicas=replicas, temperatures=(1.0, 1.6))
    found = {}
    for seed in range(24):
        made = domain.simulate(seed)
        other = drawn(made, domain.temperatures, 1000 + seed)
        for name in ("energy", "callen", "energy_ratio", "drift", "heat_capacity", "satisfaction", "mean_overlap",
                     "susceptibility", "link_overlap_drift"):  # fmt: skip
            if name == "link_overlap_drift" and replicas < 3:
                continue
            pair = [DIAGNOSTICS[name](one) for one in (made, other)]
            if instances > 1:
                found.setdefault(name, []).append(students(*pair))
            else:
                error = np.sqrt(pair[0].error ** 2 + pair[1].error ** 2)
                found.setdefault(name, []).append(((pair[1].value - pair[0].value) / error).values.ravel())
    assert len(found) >= 8
    for name, values in found.items():
        size = np.sqrt(np.mean(np.concatenate(values) ** 2))
        assert (0.45 if instances == 1 else 0.6) < size < 1.45, (name, size)


@pytest.fixture(scope="module")
def glass():
    return Domain(instances=27, replicas=32).simulate(7)


def test_yardsticks_read_in_temperature(glass):
    """5 % too hot: each deviation that is said to be one of temperature reads 0.05 within its error."""
    domain = Domain()
    hot = drawn(glass, [1.05 * t for t in domain.temperatures], 1, replicas=300)
    cold = drawn(glass, domain.temperatures, 2, replicas=300)
    signs = {"energy": 1, "callen": -1, "energy_ratio": -1, "drift": -1, "link_overlap_drift": 1}
    for name, sign in signs.items():
        reference, other = DIAGNOSTICS[name](cold), DIAGNOSTICS[name](hot)
        assert reference.attrs["tolerance_of"] == "temperature"
        change = (other.per_unit - reference.per_unit) / reference.yardstick
        read, error = change.mean("unit"), change.std("unit", ddof=1) / np.sqrt(27)
        if name in ("drift", "link_overlap_drift"):  # sweeps take back a part of it: more, the more sweeps
            assert np.all(sign * read > 3 * error) and np.all(sign * read < 0.05 + 4 * error), name
        else:
            assert np.all(abs(sign * read - 0.05) < 4 * error + 0.004), (name, read.values)  # second order in 5 %


def mixture(glass, seed):
    """Two temperatures, 0.8 T and 1.25 T, in each instance mixed so that the mean energy is the exact one."""
    temperatures = glass.temperature.values
    cold, hot = 0.8 * temperatures, 1.25 * temperatures
    mean = np.array([
        [[exact.log_partition(b, t)[1] for t in level] for level in (temperatures, cold, hot)]
        for b in glass.couplings.values
    ])  # fmt: skip
    share = (mean[:, 0] - mean[:, 2]) / (mean[:, 1] - mean[:, 2])
    chosen = np.random.default_rng(seed).random(glass.field.shape[:3]) < share[:, :, None]
    spins = [drawn(glass, t, seed + k).field.values for k, t in enumerate((cold, hot), 1)]
    return with_spins(glass.drop_vars(["field", "energy"]), np.where(chosen[..., None, None], *spins))


def test_what_is_seen_with_27_instances_of_32_replicas(glass):
    """Largest |t| over the points of each diagnostic, paired by instance; 26 degrees of freedom, p = 1e-6 at 6.3."""
    temperatures = glass.temperature.values
    rng = np.random.default_rng(3)
    shuffled = np.roll(drawn(glass, temperatures, 4).field.values, 1, axis=0)
    free = rng.choice([-1, 1], glass.field.shape).astype(np.int8)
    bare = glass.drop_vars(["field", "energy"])
    cases = {
        "10 % too hot": (
            drawn(glass, 1.1 * temperatures, 5),
            {"energy": 6.3, "callen": 5, "drift": 5, "correlation": 5},
        ),
        "5 % too hot": (drawn(glass, 1.05 * temperatures, 5), {"energy": 3.5}),
        "shuffled couplings": (
            with_spins(bare, shuffled),
            {"energy": 15, "callen": 15, "satisfaction": 10, "drift": 15},
        ),
        "free spins": (with_spins(bare, free), {"callen": 20, "link_overlap": 20, "susceptibility": 8, "binder": 4}),
        "two temperatures": (mixture(glass, 6), {"heat_capacity": 6.3, "energy_ratio": 5}),
    }
    names = {name for _, seen in cases.values() for name in seen}
    reference = {name: DIAGNOSTICS[name](glass) for name in names}
    for case, (other, seen) in cases.items():
        for name, least in seen.items():
            assert np.abs(students(reference[name], DIAGNOSTICS[name](other))).max() > least, (case, name)
    same = drawn(glass, temperatures, 8)
    for name in names:
        assert np.abs(students(reference[name], DIAGNOSTICS[name](same))).max() < 5, name


def test_satisfied_bonds_of_a_free_chain_are_tanh_of_their_strength():
    """Free chain: <s_i s_j> = tanh(J/T) on every bond; mean over the bonds of each bin of |J|."""
    made = Domain(dimension=1, length=24, boundary="free", temperatures=(0.7, 1.5), instances=30, replicas=50).simulate(
        1
    )
    found = equilibrium_tests.satisfaction(made)
    bonds = np.abs(made.couplings.values[:, 0, :-1].astype(float))
    bin_of = np.digitize(bonds / np.sqrt(np.mean(bonds**2)), equilibrium_tests.STRENGTHS) - 1
    for level, temperature in enumerate(made.temperature.values):
        for j in range(4):
            held = np.where(bin_of == j, np.tanh(bonds / temperature), 0)
            exact_means = held.sum(axis=1) / (bin_of == j).sum() * 30
            off = found.per_unit.values[:, level, j] - exact_means
            assert abs(off.mean()) < 4.5 * off.std(ddof=1) / np.sqrt(30)


def test_every_diagnostic_says_how_it_is_judged(glass):
    for name, diagnostic in DIAGNOSTICS.items():
        result = diagnostic(glass.isel(disorder=slice(3)))
        assert result.attrs["diagnostic"] == name and 0 < result.attrs["tolerance"] <= 0.25
        assert (
            result.attrs["tolerance_kind"] in ("ratio", "difference", "distribution") and result.attrs["tolerance_of"]
        )
        if "yardstick" in result:
            assert result.yardstick.dims == result.value.dims and np.all(result.yardstick > 0)
            assert {"long_name", "units"} <= set(result.yardstick.attrs)
        if result.attrs["tolerance_kind"] == "distribution":
            np.testing.assert_allclose((result.value * result.width).sum(result.value.dims[-1]), 1, rtol=1e-6)


def test_a_single_instance_is_measured_by_blocks_of_its_replicas(glass):
    one = glass.isel(disorder=[4])
    for name, diagnostic in DIAGNOSTICS.items():
        result = diagnostic(one)
        assert result.sizes["unit"] == 16 and result.attrs["unit"] == "sample", name
        assert np.isfinite(result.error).all(), name
    for name in ("energy", "susceptibility"):  # blocks of pairs weigh pairs within a block otherwise
        found = DIAGNOSTICS[name](one)
        assert np.all(abs(found.value - DIAGNOSTICS[name](glass).per_unit[4]) < 0.3 * found.error)


def test_whole_chains_are_the_units_of_a_single_instance(glass):
    """Chains that repeat one configuration 8 times: the error is that of the 4 chains, not of 32 replicas."""
    one = glass.isel(disorder=[4])
    stuck = one.isel(replica=np.repeat(np.arange(4), 8)).assign_coords(replica=np.arange(32))
    named = DIAGNOSTICS["energy"](stuck.assign_coords(chain=("replica", np.repeat(np.arange(4), 8))))
    assert named.sizes["unit"] == 4
    expected = one.energy.values[0, :, :4].std(axis=1, ddof=1) / 2
    np.testing.assert_allclose(named.error, expected, rtol=1e-6)


def test_what_cannot_be_measured_is_said(glass):
    with pytest.raises(InputError, match="one only: add another"):
        equilibrium_tests.energy_ratio(glass.isel(temperature=[0]))
    far = Domain(length=10, temperatures=(0.5, 3.0), instances=3, replicas=4).simulate(0)
    with pytest.raises(InputError, match="do not overlap"):
        equilibrium_tests.energy_ratio(far)
    single = glass.isel(replica=[0])
    for name in ("heat_capacity", "drift", "link_overlap_drift"):
        with pytest.raises(InputError, match="1 replica"):
            DIAGNOSTICS[name](single)
    assert np.isfinite(DIAGNOSTICS["callen"](single).value).all()
    assert np.isfinite(DIAGNOSTICS["satisfaction"](single).value).all()
    assert "yardstick" not in DIAGNOSTICS["energy"](single)
