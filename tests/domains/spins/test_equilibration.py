"""Runs that must be refused."""

import numpy as np
import pytest

from physgen.domains.spins import Domain, equilibration
from physgen.domains.spins.exact import log_partition
from physgen.errors import InputError


def figures(drift=0.0, imbalance=0.0, seed=0):
    """Made-up runs of 12 instances, 4 ladders, 3 temperatures, with a drift of the energy or a broken identity."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(12):
        bins = -1.5 + 0.01 * rng.normal(size=(3, 4, 3)) + drift * np.array([2.0, 1.0, 0.0]).reshape(3, 1, 1)
        runs.append(
            equilibration.Figures(bins, imbalance + 0.02 * rng.normal(size=3), np.full(3, 5.0), np.full(3, 400.0))
        )
    return runs


def test_a_good_run_passes_and_reports_its_figures():
    verdict = equilibration.judge(figures(), np.arange(3), gaussian=True)
    assert verdict.equilibrated and not verdict.reasons
    assert verdict.figures["equilibration_independent_min"] == 400
    assert verdict.figures["equilibration_tau_max_sweeps"] == 5


def test_false_alarms_are_as_rare_as_stated():
    refused = sum(not equilibration.judge(figures(seed=s), np.arange(3), True).equilibrated for s in range(400))
    assert refused <= 5  # expected at most 2 x 400 x 1e-3 = 0.8; P(more than 5) = 2e-4


@pytest.mark.parametrize(("fault", "reason"), [({"drift": 0.02}, "drifts"), ({"imbalance": 0.1}, "Katzgraber-Young")])
def test_a_drift_and_a_broken_identity_are_refused(fault, reason):
    verdict = equilibration.judge(figures(**fault), np.arange(3), gaussian=True)
    assert not verdict.equilibrated and reason in verdict.reasons[0]


def test_katzgraber_young_holds_in_exact_equilibrium():
    """[e] + (M/N)(1 - [q_l])/T = 0 for Gaussian couplings: exact energies, link overlaps of exact samples."""
    from physgen.domains.spins.overlap import link_overlap_distribution

    domain = Domain(length=6, temperatures=(0.7, 1.5), instances=250, replicas=60)
    made = domain.simulate(seed=4)
    law = link_overlap_distribution(made)
    link = (law.per_unit * law.width * law.q_link).sum("q_link").values  # (D, T)
    bonds_per_spin = (2 * 36 - 6) / 36
    delta = made.exact_energy.values + bonds_per_spin * (1 - link) / made.temperature.values
    z = delta.mean(axis=0) / (delta.std(axis=0, ddof=1) / np.sqrt(250))
    assert np.all(np.abs(z) < 4), z


def glass(**changes):
    fields = {
        "length": 6, "boundary": "periodic", "method": "parallel_tempering", "instances": 8, "replicas": 24,
        "temperatures": (0.6, 1.2), "sweeps": 8000,
    }  # fmt: skip
    return Domain(**(fields | changes))


def test_equilibrated_runs_agree_with_the_exact_energies_of_their_couplings():
    made = glass().simulate(seed=5)
    assert made.attrs["equilibration"] == "passed" and made.attrs["swap_acceptance_min"] > 0.2
    assert made.attrs["equilibration_independent_min"] > 24 and made.attrs["round_trips_min"] > 10
    exact = np.array([[log_partition(bonds, t)[1] for t in (0.6, 1.2)] for bonds in made.couplings.values])
    off = made.energy.mean("replica").values - exact
    error = made.energy.std("replica", ddof=1).values / np.sqrt(24)
    assert np.all(np.abs(off.sum(axis=0)) < 4 * np.sqrt((error**2).sum(axis=0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweeps": 128}, "set sweeps to"),
        ({"dimension": 3, "length": 6, "temperatures": (0.2,), "sweeps": 600, "replicas": 4}, "set sweeps to"),
        ({"replicas": 1000, "sweeps": 400}, "set sweeps to"),
        ({"length": 5, "order": "checkerboard"}, "even length, got 5"),
        ({"model": "sherrington_kirkpatrick", "order": "checkerboard"}, "needs a lattice"),
    ],
)
def test_runs_without_equilibrium_are_refused_with_a_remedy(changes, message):
    with pytest.raises(InputError, match=message):
        glass(**changes).simulate(seed=5)
