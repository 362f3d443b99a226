"""Sparse graphs by their edges: the numbers of the matrix, with the same weights, symmetries included."""

import pytest
import torch

from physgen.networks.bonds import EdgeBonds, MatrixBonds, bonds_of
from physgen.networks.graph_passing import GraphPassing

SPINS = 7
EDGES = torch.tensor([[0, 1], [4, 2], [0, 2], [1, 2], [5, 3], [0, 4]])  # spin 6 is alone, a loop 0-1-2


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def graphs(seed=3):
    """Two samples: the second one has fewer edges, padded with (0, 0); as lists, and as the matrix."""
    edges, bonds = EDGES.repeat(2, 1, 1).int(), draw(2, len(EDGES), seed=seed)
    edges[1, 4:], bonds[1, 4:] = 0, 0
    matrix = torch.zeros(2, SPINS, SPINS, dtype=torch.float64)
    for sample in range(2):
        for (i, j), value in zip(edges[sample].tolist(), bonds[sample], strict=True):
            if i != j:
                matrix[sample, i, j] = matrix[sample, j, i] = value
    return {"edges": edges, "bonds": bonds}, {"matrix": matrix}


def network(theory, **options):
    made, generator = GraphPassing(width=8, depth=2, theory=theory, **options), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made.double()


def test_every_move_along_edges_is_that_along_the_matrix():
    listed, dense = (bonds_of(given, SPINS) for given in graphs())
    assert isinstance(listed, EdgeBonds) and isinstance(dense, MatrixBonds)
    values, field = draw(2, SPINS, 3, seed=5), draw(2, SPINS, seed=6)
    for move in ("moved", "spread"):
        torch.testing.assert_close(getattr(listed, move)(values), getattr(dense, move)(values), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(listed.degree(), dense.degree(), rtol=1e-12, atol=1e-12)
    said = [bonds.silence() for bonds in (listed, dense)]
    for _ in range(3):
        said = [bonds.believed(field, one) for bonds, one in zip((listed, dense), said, strict=True)]
        told = [bonds.told(one) for bonds, one in zip((listed, dense), said, strict=True)]
        torch.testing.assert_close(*told, rtol=1e-12, atol=1e-12)
    assert said[0].numel() == 2 * 2 * len(EDGES)  # a number for each directed edge, not for each pair


@pytest.mark.parametrize("field", [False, True], ids=["free", "field"])
@pytest.mark.parametrize("theory", ["tap", "bethe"])
def test_the_same_weights_give_the_same_logits_and_gradients(theory, field):
    one, x, c_noise = network(theory), draw(2, 1, SPINS), draw(2) / 4
    found = []
    for given in graphs():
        given |= {"field": draw(2, 1, SPINS, seed=8)} if field else {}
        output = one(x, c_noise, given)
        slopes = torch.autograd.grad(output.square().sum(), list(one.parameters()), allow_unused=True)
        found.append([output, *[slope for slope in slopes if slope is not None]])
    for listed, dense in zip(*found, strict=True):
        torch.testing.assert_close(listed, dense, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("form", [0, 1], ids=["edges", "matrix"])
@pytest.mark.parametrize("theory", ["tap", "bethe"])
def test_gauge_transformations_turn_fields_too(theory, form):
    """F(eps x; eps K eps, eps h) = eps F(x; K, h); with all signs -1: sigma -> -sigma, h -> -h. K alone does not do."""
    one, given, x, c_noise = network(theory), graphs()[form], draw(2, 1, SPINS), draw(2) / 4
    field, signs = draw(2, 1, SPINS, seed=8), draw(2, SPINS, seed=9).sign()
    output = one(x, c_noise, {**given, "field": field})
    for turn in (signs, -torch.ones_like(signs)):
        if form == 0:
            ends = [turn.gather(1, end.long()) for end in given["edges"].unbind(-1)]
            turned = {**given, "bonds": given["bonds"] * ends[0] * ends[1]}
        else:
            turned = {"matrix": given["matrix"] * turn[:, None] * turn[:, :, None]}
        gauged = one(x * turn[:, None], c_noise, {**turned, "field": field * turn[:, None]})
        torch.testing.assert_close(gauged, output * turn[:, None], rtol=1e-12, atol=1e-12)
    assert (one(x, c_noise, {**given, "field": -field}) - output).abs().max() > 1e-2


@pytest.mark.parametrize("theory", ["tap", "bethe"])
def test_no_field_is_the_field_zero_and_a_field_acts_as_data_do(theory):
    """The law knows h and y as y/s^2 + beta h alone: moving s^2 beta h into y leaves the logit where it was."""
    one, (given, _), s = network(theory), graphs(), torch.tensor([0.7, 1.9], dtype=torch.float64)
    y, field, c_noise, scale = (
        draw(2, 1, SPINS),
        draw(2, 1, SPINS, seed=8),
        s.log() / 4,
        (1 + s * s).sqrt()[:, None, None],
    )
    bare = one(y / scale, c_noise, given)
    torch.testing.assert_close(one(y / scale, c_noise, {**given, "field": 0 * field}), bare, rtol=1e-12, atol=1e-12)
    head = GraphPassing(width=8, depth=2, theory=theory).double()  # untrained: mean-field theory, no learned scale
    inside = head((y + field * s[:, None, None] ** 2) / scale, c_noise, given)
    outside = head(y / scale, c_noise, {**given, "field": field})
    torch.testing.assert_close(outside, inside, rtol=1e-6, atol=1e-6)  # s goes through float32


def test_edges_that_do_not_fit_their_bonds_are_refused():
    with pytest.raises(ValueError, match="two ends of each of the bonds"):
        bonds_of({"edges": torch.zeros(2, 3, 2), "bonds": torch.zeros(2, 4)}, SPINS)
