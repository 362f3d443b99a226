"""Identities of spins: exact samples pass, each kind of wrong sample fails the row that is there for it."""

import numpy as np
import pytest

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import Domain
from physgen.domains.spins.averages import pair_mean, thermal_mean
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.equilibrium_tests import exchange_terms
from physgen.domains.spins.layout import Disorder, disorder_of, with_spins
from physgen.domains.spins.nishimori import controlled, gaussian_obstacle, line_obstacle
from physgen.domains.spins.planted import gauged
from physgen.domains.spins.sweeps import heat_bath
from physgen.stages.certification import certify_ensemble


@pytest.fixture(scope="module")
def exact():
    """Exact samples, 2-D EA 8 x 8."""
    return Domain(instances=40, replicas=60).simulate(1)


@pytest.fixture(scope="module")
def planted():
    """Exact samples on the Nishimori line, +-J, 5 x 5."""
    return Domain(
        couplings="planted_bimodal", length=5, temperatures=(1.5,), instances=150, replicas=24
    ).simulate(3)  # fmt: skip


def verdicts(ensemble, name, **words):
    return [row.verdict for row in certify_ensemble(ensemble, **words).rows if row.name == name]


def relabelled(ensemble, factor):
    moved = ("temperature", ensemble["temperature"].values * factor, ensemble["temperature"].attrs)
    return ensemble.assign_coords(temperature=moved)


def test_exact_samples_break_nothing(exact):
    found = certify_ensemble(exact)
    assert {row.name for row in found.rows} == {
        "callen", "callen_spins", "callen_bonds", "flip_balance", "drift_1", "drift_8", "energy_ratio",
        "katzgraber_young",
    }  # fmt: skip
    assert found.verdict != "fail" and sum(row.verdict == "pass" for row in found.rows) >= 19
    assert [one.name for one in found.absent] == ["nishimori"]


def test_a_label_of_the_temperature_that_is_off_by_3_percent_is_found(exact):
    wrong = certify_ensemble(relabelled(exact, 1.03))
    failed = {row.name for row in wrong.rows if row.verdict == "fail"}
    assert wrong.verdict == "fail" and {"callen", "drift_8"} <= failed
    assert all(row.z > 0 for row in wrong.rows if row.name in failed)  # too cold for the label: energies rise


def test_one_state_of_the_global_flip_is_found(exact):
    up = np.where(exact["field"].values.mean(axis=(3, 4), keepdims=True) < 0, -1, 1)
    half = exact.isel(replica=slice(0, 30))
    sided = with_spins(half, (half["field"].values * up[:, :, :30]).astype(np.int8))
    assert verdicts(sided, "flip_balance") == ["fail"] * 3
    assert "fail" not in verdicts(sided, "callen") + verdicts(sided, "callen_bonds") + verdicts(sided, "drift_1")


def test_a_quench_is_found_by_drift_and_callen(exact):
    """Three sweeps from a random start at T = 1 are too few."""
    cold = exact.isel(temperature=[0], replica=slice(0, 20))
    start = np.random.default_rng(1).choice(np.array([-1, 1], dtype=np.int8), cold["field"].shape)
    made = with_spins(cold, heat_bath(start, disorder_of(cold), np.array([1.0]), 3, 5))
    assert verdicts(made, "drift_1") == verdicts(made, "drift_8") == ["fail"]


def test_a_law_of_wrong_bonds_with_the_right_energy_is_found_bond_by_bond():
    """Spins of couplings whose moduli are exchanged for their mean, at the temperature that mends Callen's sum."""
    made = Domain(length=6, temperatures=(1.0,), instances=24, replicas=40, boundary="cylinder")
    true = made.simulate(1)
    bonds = true["couplings"].values
    blind = true.assign(couplings=(true["couplings"].dims, (np.sign(bonds) * 0.8).astype(np.float32)))
    drawn = made.simulate_given(blind.drop_vars(("field", "energy")), 2)["field"].values
    wrong = with_spins(true, drawn)
    assert verdicts(wrong, "callen_bonds") == ["fail"]


def test_identities_of_the_nishimori_line(planted):
    found = {row.name: row for row in certify_ensemble(planted).rows}
    assert {"nishimori_energy", "nishimori_q2", "nishimori_q4"} <= set(found)
    assert all(row.verdict != "fail" for row in found.values())
    known = -np.abs(planted["couplings"].values).sum((1, 2, 3)).mean() / 25 * np.tanh(1 / 1.5)
    assert found["nishimori_energy"].expected == pytest.approx(known, rel=1e-6)
    plain = planted["energy"].mean(("replica", "temperature")).values.std(ddof=1) / np.sqrt(150)
    assert found["nishimori_energy"].error < 0.9 * plain
    natural = gauged(disorder_of(planted), planted["planted"].values)
    spins = planted["field"].values * planted["planted"].values[:, None, None]
    other = planted.drop_vars("planted")
    other = with_spins(other.assign(couplings=(other["couplings"].dims, natural.couplings)), spins)
    for row in certify_ensemble(other).rows:  # the same in the gauge in which such couplings are usually drawn
        if row.name.startswith("nishimori"):
            assert row.value == pytest.approx(found[row.name].value, rel=1e-6)


def test_a_sampler_of_one_replica_and_wrong_energy_fails_on_the_line():
    made = Domain(
        couplings="planted_bimodal", dimension=3, length=8, boundary="periodic", temperatures=(2.0,), instances=16,
        replicas=1,
    ).simulate(4)  # fmt: skip
    assert verdicts(made, "nishimori_energy") != ["fail"] and verdicts(made, "callen") != ["fail"]
    spoilt = made["field"].values.copy()
    spoilt[np.random.default_rng(1).uniform(size=spoilt.shape) < 0.02] *= -1
    assert verdicts(with_spins(made, spoilt), "nishimori_energy") == ["fail"]


def test_which_couplings_lie_on_a_line():
    rng = np.random.default_rng(2)
    bonds = np.where(rng.uniform(size=(20, 500)) < 1 / (1 + np.exp(-2 / 1.5)), 1.0, -1.0)
    assert line_obstacle(bonds, 1.5) == "" and line_obstacle(0.7 * bonds, 0.7 * 1.5) == ""
    assert "at T = 1.5" in line_obstacle(bonds, 1.7) or "at T = 1.4" in line_obstacle(bonds, 1.7)
    assert "ferromagnet" in line_obstacle(np.ones((20, 500)), 0.1)
    assert "not biased" in line_obstacle(rng.choice([-1.0, 1.0], (20, 500)), 1.5)
    gaussian = rng.normal(1 / 1.5, 1, (20, 500))
    assert line_obstacle(gaussian, 1.5) == "" and gaussian_obstacle(gaussian - 1 / 1.5) == ""
    assert line_obstacle(rng.uniform(-1, 2, (20, 500)), 0.9) != ""
    for wrong in (bonds, gaussian, rng.uniform(-1, 1, (20, 500))):
        assert gaussian_obstacle(wrong) != ""


def test_a_control_leaves_the_mean_and_takes_the_scatter():
    rng = np.random.default_rng(3)
    control, noise = rng.normal(size=(4000, 12)), 0.3 * rng.normal(size=(4000, 12))
    found = np.array([controlled(c + e, c) for c, e in zip(control, noise, strict=True)])
    assert abs(found.mean()) < 4 * found.mean(axis=1).std() / np.sqrt(4000)
    assert found.std() < 0.4
    assert np.array_equal(controlled(control[0], control[0]), control[0])


# --- weights ------------------------------------------------------------------------------------


def enumerated(temperature, target, instances, replicas, rng):
    """Samples of all 2^9 states at one temperature with the log-weights of another: (ensemble)."""
    bonds = rng.normal(size=(instances, 2, 3, 3)).astype(np.float32)
    every, spins, weights = enumerate_spins(9).numpy(), [], []
    for one in bonds:
        law = enumerate_graph(9, lattice_edges((3, 3)), one.reshape(-1), temperature)
        chosen = rng.choice(512, replicas, p=law.probabilities)
        spins.append(every[chosen].reshape(replicas, 3, 3))
        weights.append(law.energies[chosen] * (1 / temperature - 1 / target))
    made = Domain(length=3, temperatures=(target,), instances=instances, replicas=replicas, boundary="periodic")
    made = made.simulate(1).assign(couplings=(("disorder", "direction", "y", "x"), bonds))
    made = with_spins(made, np.array(spins)[:, None].astype(np.int8))
    return made.assign(log_weight=(("disorder", "temperature", "replica"), np.array(weights)[:, None]))


def test_weights_make_samples_of_another_temperature_pass_and_tails_open_rows():
    made = enumerated(1.8, 1.4, 60, 100, np.random.default_rng(4))
    assert certify_ensemble(made).verdict != "fail"
    plain = made.drop_vars("log_weight")
    assert verdicts(plain, "callen") == verdicts(plain, "drift_8") == ["fail"]
    heavy = certify_ensemble(made.assign(tail=(("disorder", "temperature"), np.r_[0.9, np.zeros(59)][:, None])))
    assert {row.verdict for row in heavy.rows} == {"open"}
    assert "1 of 60 instances have too heavy a tail" in heavy.table and "log_weight" in heavy.table


def test_means_with_weights_have_no_bias_of_the_first_order():
    """x of two values, drawn from q and weighted to p, 24 at a time, beside the plain ratio of sums."""
    rng = np.random.default_rng(5)
    x = rng.choice([-1.0, 1.0], (8000, 24), p=[0.7, 0.3])
    w = np.where(x > 0, 0.6 / 0.3, 0.4 / 0.7)
    wx = w * x
    pairs = pair_mean(x[:, :, None] * x[:, None, :], w)
    plain = (wx.sum(1) / w.sum(1), (wx.sum(1) ** 2 - (wx**2).sum(1)) / (w.sum(1) ** 2 - (w**2).sum(1)))
    for found, biased, known in ((thermal_mean(x, w), plain[0], 0.2), (pairs, plain[1], 0.04)):
        error = found.std() / np.sqrt(len(found))
        assert abs(biased.mean() - known) > 8 * error > 0  # O(1/24)
        assert abs(found.mean() - known) < 0.35 * abs(biased.mean() - known) + 4 * error  # O(1/24^2)
    uniform = np.ones_like(w)
    assert np.allclose(thermal_mean(x, uniform), x.mean(1)) and np.allclose(thermal_mean(x), x.mean(1))
    both = x[:5, :, None] * x[:5, None, :]
    assert np.allclose(pair_mean(both, uniform[:5]), pair_mean(both))
    assert np.allclose(exchange_terms(x, x + 1, 0.3, (uniform, uniform)), exchange_terms(x, x + 1, 0.3))


def test_pairs_within_a_chain_do_not_count(exact):
    """Every configuration twice: as copies they break the identities of pairs, as chains of two they do not."""
    few = exact.isel(replica=slice(0, 20))
    twice = few.isel(replica=np.repeat(np.arange(20), 2)).assign_coords(replica=np.arange(40))
    assert verdicts(twice, "callen_bonds") == ["fail"] * 3
    chains = twice.assign_coords(chain=("replica", np.repeat(np.arange(20), 2)))
    assert "fail" not in verdicts(chains, "callen_bonds") + verdicts(chains, "callen_spins")


def test_few_or_equal_instances_decide_nothing(exact):
    few = certify_ensemble(exact.isel(disorder=slice(0, 5)))
    assert {row.verdict for row in few.rows} == {"open"} and "5 independent units" in few.table
    same = exact.isel(disorder=[0] * 12)
    assert {row.verdict for row in certify_ensemble(same).rows} == {"open"}


def test_an_external_field_has_no_flip_balance():
    rng = np.random.default_rng(6)
    domain = Domain(length=3, temperatures=(1.2,), instances=30, replicas=40, method="enumeration")
    template = domain.simulate(1)
    outer = rng.normal(size=(30, 3, 3)).astype(np.float32)
    given = template.drop_vars(("field", "energy")).assign(external_field=(("disorder", "y", "x"), outer))
    found = certify_ensemble(domain.simulate_given(given, 2))
    assert found.verdict != "fail" and "flip_balance" in {one.name for one in found.absent}
    assert disorder_of(given).external_field is not None and isinstance(disorder_of(given), Disorder)
