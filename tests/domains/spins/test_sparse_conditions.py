"""Graphs as conditions: their edges where they are sparse, a matrix where not, in memory once for all replicas."""

import numpy as np
import pytest
import torch

from physgen.diffusion.inference.path_weights import weighted_sample
from physgen.diffusion.inference.reverse_kernels import SpinMixture
from physgen.diffusion.learning.denoisers import SpinDenoiser
from physgen.diffusion.levels import log_uniform
from physgen.domains.repeated import Repeated
from physgen.domains.spins.couplings import bonds_of_instances, coupling_matrix
from physgen.domains.spins.encoding import conditions, encoding_constants
from physgen.domains.spins.layout import Disorder, spin_template
from physgen.domains.spins.symmetry import random_symmetry
from physgen.domains.spins.target import conditional_mean
from physgen.lattice import Draws
from physgen.networks.graph_passing import GraphPassing

EDGES = np.array([[1, 0], [2, 5], [0, 1], [3, 3], [2, 9], [4, 8], [9, 0]])  # 0-1 twice, once each way; 3 to itself
COUPLINGS = np.array([[0.5, -1.0, 0.25, 7.0, 0.0, 2.0, 0.3], [0.5, 0.0, -0.5, 1.0, 1.5, -1.0, 0.0]], dtype=np.float32)


def template(spins=10, replicas=3, edges=EDGES, couplings=COUPLINGS):
    outer = np.random.default_rng(1).normal(size=(len(couplings), spins)).astype(np.float32)
    disorder = Disorder(couplings, edges, outer)
    return spin_template(disorder, (spins,), np.array([0.5, 2.0]), np.arange(len(couplings)), replicas)


def dense(given, spins=10):
    """The matrix that the edges of a condition say."""
    matrix = torch.zeros(len(given["bonds"]), spins, spins)
    for row, edges, bonds in zip(matrix, given["edges"][:], given["bonds"][:], strict=True):
        for (i, j), value in zip(edges.tolist(), bonds, strict=True):
            row[i, j] += value
            row[j, i] += value
    return matrix


def test_bonds_that_are_there_are_listed_once():
    edges, bonds = bonds_of_instances(EDGES, COUPLINGS, 10)
    assert edges.shape == (2, 4, 2) and edges.dtype == np.int32
    assert edges[0].tolist() == [[0, 1], [0, 9], [2, 5], [4, 8]]
    np.testing.assert_allclose(bonds[0], [0.75, 0.3, -1.0, 2.0], rtol=1e-6)
    assert edges[1, :2].tolist() == [[2, 9], [4, 8]] and bonds[1].tolist() == [1.5, -1.0, 0, 0]


def test_sparse_graphs_go_by_their_edges_and_dense_ones_by_their_matrix():
    made = template()
    given = conditions(made)
    assert set(given) == {"labels", "edges", "bonds", "field"}
    beta = torch.tensor([2.0, 0.5]).repeat_interleave(3).repeat(2)
    keep = np.array([0, 1, 2, 4, 5, 6])  # without the spin that is joined to itself
    for row, matrix in enumerate(dense(given)):
        expected = coupling_matrix(EDGES[keep], COUPLINGS[row // 6, keep], 10)
        torch.testing.assert_close(matrix, torch.from_numpy(expected).float() * beta[row])
    few = conditions(template(spins=4, edges=EDGES[:1], couplings=np.ones((1, 1), dtype=np.float32)))
    assert "edges" in few  # 16 pairs for a bond
    ends = np.stack(np.triu_indices(10, 1), 1)
    assert "matrix" in conditions(template(edges=ends, couplings=np.ones((1, len(ends)), dtype=np.float32)))


def test_parts_of_an_ensemble_have_conditions_of_one_shape():
    """Training encodes its data in blocks, whose instances have other numbers of bonds."""
    made = template(spins=40)
    constants = encoding_constants(made)
    assert constants["bonds"] == 13  # 4 and 2 bonds: 4.4 and 8 more
    whole = conditions(made)["bonds"][:].sum(1)
    for one in range(2):
        part = conditions(made.isel(disorder=[one]), constants)
        assert part["edges"].shape == (6, 13, 2) and part["bonds"].shape == (6, 13)
        torch.testing.assert_close(part["bonds"][:].sum(1), whole[6 * one : 6 * one + 6])
    alike = template(couplings=np.ones((3, len(EDGES)), dtype=np.float32))
    assert encoding_constants(alike)["bonds"] == 5


def test_replicas_cost_no_memory():
    given = conditions(template(replicas=10**6))
    for name in ("edges", "bonds", "field"):
        assert isinstance(given[name], Repeated) and given[name].shape[0] == 4 * 10**6
        assert given[name].table.numel() <= 4 * 10


def spins_and_noise(rows, sites=10):
    generator = torch.Generator().manual_seed(3)
    x = 2.0 * torch.randint(2, (rows, 1, sites), generator=generator) - 1
    return x, x + torch.randn(x.shape, generator=generator), torch.ones(rows)


def test_means_given_the_others_are_those_of_the_matrix():
    given = {name: value[:] for name, value in conditions(template()).items()}
    x, y, s = spins_and_noise(12)
    matrix = {"matrix": dense(given), "field": given["field"]}
    torch.testing.assert_close(conditional_mean(x, y, s, given), conditional_mean(x, y, s, matrix))


@pytest.mark.parametrize("gauged", [True, False])
def test_a_random_gauge_leaves_the_energy_of_bonds_and_fields(gauged):
    given = {name: value[:] for name, value in conditions(template()).items()}
    x, _, _ = spins_and_noise(12)

    def energy(x, given):
        pairs = [x[:, 0].gather(1, ends.long()) for ends in given["edges"].unbind(-1)]
        return (given["bonds"] * pairs[0] * pairs[1]).sum(1) + (given["field"] * x).flatten(1).sum(1)

    class Seeded(Draws):
        def integers(self, below, shape=()):
            return torch.randint(below, (12, *shape), generator=torch.Generator().manual_seed(5))

        def normal(self, shape=()):
            raise AssertionError("no normal numbers are needed")

    turned, other = random_symmetry(x, given, Seeded(), gauged=gauged, boundary="free")
    assert (turned != x).any() and not torch.equal(other["bonds"], given["bonds"])
    torch.testing.assert_close(energy(turned, other), energy(x, given))


def test_paths_of_free_spins_on_a_graph_in_a_field_dissipate_nothing():
    """The start knows their means and the steps are exact: every weight is Z, at three steps."""
    field = torch.randn(1, 1, 9, generator=torch.Generator().manual_seed(1)).expand(64, 1, 9)
    given = {"edges": torch.zeros(64, 1, 2, dtype=torch.int32), "bonds": torch.zeros(64, 1), "field": field}
    found = weighted_sample(
        SpinDenoiser(GraphPassing(width=8, depth=1, theory="bethe")).double(), SpinMixture(), log_uniform(3.0, 0.5, 3),
        (64, 1, 9), 1, lambda x: (x * field[:1].double()).flatten(1).sum(1), readout="bernoulli", condition=given,
        tile=64, dtype=torch.float64,
    )  # fmt: skip
    log_z = torch.log(2 * torch.cosh(field[0].double())).sum()
    torch.testing.assert_close(found.log_weight, log_z.expand(64), rtol=0, atol=1e-7)
