"""Ensembles by parallel tempering with proposals: equilibrium, what became of the proposals, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from physgen.domains.spins import Spins
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.energy import graph_energy
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import disorder_of
from physgen.domains.spins.moved import simulate_with_moves
from physgen.domains.spins.simulate import drawn_couplings
from physgen.domains.spins.tempering import Between, tempering_ensemble
from physgen.errors import InputError

ASKED = Spins(length=3, instances=2, replicas=8, temperatures=(1.0, 2.0), sweeps=2000, boundary="periodic")


def coins(template, ladders):
    """Proposals of spins that are up or down by chance, with their exact ratio."""
    disorder, edges = disorder_of(template), lattice_edges((3, 3))
    beta = 1 / template["temperature"].values[:, None]

    def propose(here, number):
        assert here.shape == (2, ladders, 9)
        new = np.random.default_rng([number, 3]).integers(0, 2, here.shape).astype(np.int8) * 2 - 1
        energies = [9 * graph_energy(spins, edges, disorder.couplings[0].reshape(-1)) for spins in (here, new)]
        return new, beta * (energies[0] - energies[1])

    return propose


def test_energies_are_those_of_enumeration_and_proposals_are_counted():
    made = simulate_with_moves(replace(ASKED, replicas=400), 3, Between(coins, 20))
    assert made.attrs["proposals"] == 2 * 2 * 4 * 100 and 0 < made.attrs["proposals_accepted"] < 1600
    assert made.attrs["equilibration"] == "passed" and made.attrs["kernel"] == "general"
    for i, instance in enumerate(disorder_of(made).couplings):
        for level, temperature in enumerate(ASKED.temperatures):
            exact = enumerate_graph(9, lattice_edges((3, 3)), instance.reshape(-1), temperature).energy
            found = made["energy"].values[i, level]
            independent = min(float(made["independent_samples"][i, level]), len(found))
            assert abs(found.mean() - exact) < 4 * found.std(ddof=1) / np.sqrt(independent)


def test_without_proposals_nothing_is_said_of_them():
    made = tempering_ensemble(ASKED, drawn_couplings(ASKED, 5), 5)
    assert "proposals" not in made.attrs


def test_given_couplings_and_planted_ones():
    whole = simulate_with_moves(ASKED, 3, Between(coins, 100))
    again = simulate_with_moves(ASKED, 3, Between(coins, 100), given=whole)
    assert np.array_equal(whole["field"].values, again["field"].values)
    planted = Spins(couplings="planted_bimodal", temperatures=(1.5,), length=3)
    with pytest.raises(InputError, match="come with a configuration that is exact"):
        simulate_with_moves(planted, 0, Between(coins))
