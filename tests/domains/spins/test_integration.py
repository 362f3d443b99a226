"""Thermodynamic integration along tempering, beside the transfer matrix and enumeration."""

import numpy as np
import pytest

from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.exact import log_partition
from physgen.domains.spins.integration import integrated_log_partition
from physgen.errors import InputError


def test_ln_Z_and_energy_of_lattices_are_those_of_the_transfer_matrix():
    pulls = []
    for number, (grid, temperature) in enumerate((((6, 6), 0.7), ((6, 6), 1.5), ((4, 3, 3), 1.1), ((5, 4), 0.5))):
        couplings = lattice_couplings(grid, "gaussian", "cylinder", 31, np.array([number]))[0]
        found = integrated_log_partition(
            lattice_edges(grid), couplings.reshape(-1), int(np.prod(grid)), temperature, number, sweeps=1500
        )
        log_z, energy = log_partition(couplings, temperature)
        assert found.error < 0.05
        pulls += [(found.log_partition - log_z) / found.error, (found.energy - energy) / found.energy_error]
    assert max(map(abs, pulls)) < 4.5  # Student's t of 15 degrees: one in 300 of eight
    assert np.mean(np.square(pulls)) < 3.5


def test_on_a_graph_in_a_field_it_is_that_of_all_states():
    rng = np.random.default_rng(4)
    edges = np.array([(i, j) for i in range(9) for j in range(i) if (i * j + i) % 3])
    couplings, field = rng.normal(size=len(edges)), rng.normal(size=9)
    exact = enumerate_graph(9, edges, couplings, 0.8, field).log_partition
    found = integrated_log_partition(edges, couplings, 9, 0.8, 2, external_field=field, sweeps=1500)
    assert found.error < 0.05 and abs(found.log_partition - exact) < 4.5 * found.error


def test_what_it_refuses():
    edges, couplings = np.array([[0, 1]]), np.ones(1)
    with pytest.raises(InputError, match="above 0, 4 ladders and 20 sweeps at least, got 0, 16 and 4000"):
        integrated_log_partition(edges, couplings, 2, 0.0, 1)
    with pytest.raises(InputError, match="got 1, 2 and 4000"):
        integrated_log_partition(edges, couplings, 2, 1.0, 1, ladders=2)
