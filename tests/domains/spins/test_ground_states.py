"""The lowest states of parallel tempering are those of minimum-weight matching, another code and another way."""

from importlib import import_module

import numpy as np
import pytest

from benchmarks.ground_states import EQUAL, LAWS, matching_energy, tempered_energy
from physgen.domains.spins import exact
from physgen.domains.spins.couplings import lattice_couplings
from physgen.domains.spins.energy import lattice_energy


@pytest.mark.parametrize("law", LAWS)
def test_tempering_finds_the_ground_state_of_twenty_of_twenty_planar_glasses(law):
    import_module("pymatching")
    couplings = lattice_couplings((8, 8), law, "free", 7, np.arange(20)).astype(float)
    wanted = [matching_energy(bonds) for bonds in couplings]
    assert len(set(np.round(wanted, 6))) > 3
    found = [tempered_energy(bonds, 1000, seed) for seed, bonds in enumerate(couplings)]
    np.testing.assert_allclose(found, wanted, rtol=EQUAL)


def test_coldest_samples_hold_the_ground_state_of_minimum_weight_matching():
    couplings = lattice_couplings((9, 9), "gaussian", "free", 5, np.arange(4)).astype(float)
    for bonds in couplings:
        drawn = exact.sample(bonds, 0.08, 300, np.random.default_rng(0))
        lowest = lattice_energy(drawn.spins, bonds, 2).min() * 81
        assert lowest == pytest.approx(matching_energy(bonds), rel=1e-9)
