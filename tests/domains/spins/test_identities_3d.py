"""Parallel tempering in three dimensions against what equilibrium fixes there: no other exact value is known."""

import numpy as np
import pytest

from physgen.domains.spins import Domain
from physgen.stages.certification import certify_ensemble

CUBE = {
    "dimension": 3, "length": 4, "boundary": "periodic", "method": "parallel_tempering", "ladders": 2, "hottest": 3.0
}  # fmt: skip


def rows(ensemble, name):
    return [row for row in certify_ensemble(ensemble).rows if row.name.startswith(name)]


def test_katzgraber_young_holds_for_gaussian_couplings():
    made = Domain(**CUBE, temperatures=(1.5, 2.0), instances=48, replicas=16, sweeps=1024).simulate(3)
    found = rows(made, "katzgraber_young")
    assert len(found) == 2 and all(abs(row.z) < 3 for row in found), found
    hotter = made.assign_coords(temperature=made["temperature"] * 1.15)
    assert [row.verdict for row in rows(hotter, "katzgraber_young")] == ["fail"] * 2


@pytest.mark.parametrize("temperature", [1.5, 2.0])
def test_energy_and_moments_on_the_nishimori_line(temperature):
    """Both sides of its transition, T = 1.67: ordered in the gauge of the planted configuration, and not."""
    words = CUBE | {"temperatures": (temperature,), "instances": 64, "replicas": 16, "sweeps": 2048}
    made = Domain(couplings="planted_bimodal", **words).simulate(4)
    found = {row.name: row for row in rows(made, "nishimori")}
    assert set(found) == {"nishimori_energy", "nishimori_q2", "nishimori_q4"}
    assert all(abs(row.z) < 3 for row in found.values()), found
    energy = found["nishimori_energy"]
    assert energy.expected == pytest.approx(-3 * np.tanh(1 / temperature), rel=1e-6)
    assert energy.error < 0.01 * abs(energy.expected)
    colder = Domain(couplings="planted_bimodal", **words | {"temperatures": (0.9 * temperature,)})
    wrong = colder.simulate_given(made.drop_vars(("field", "energy")).assign_coords(temperature=[0.9 * temperature]), 4)
    wrong = wrong.assign_coords(temperature=made["temperature"]).assign(planted=made["planted"])
    assert rows(wrong, "nishimori_energy")[0].verdict == "fail"
