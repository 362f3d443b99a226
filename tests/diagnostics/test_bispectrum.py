"""Bispectrum: its definition summed by hand, independent cells, Gaussian fields, the local non-Gaussian field."""

import itertools

import numpy as np
import pytest

from physgen.diagnostics.bispectrum import (
    Triangles,
    all_triangles,
    bispectrum,
    bispectrum_array,
    configurations,
    permutations,
)
from physgen.errors import InputError

BOXES = [((64, 64), (1.0, 1.0)), ((48, 80), (0.7, 0.4)), ((24, 20, 28), (1.0, 1.2, 0.9))]


@pytest.mark.parametrize(("grid", "spacing"), [((12, 10), (1.0, 1.3)), ((6, 7, 8), (1.0, 0.9, 0.8))])
def test_it_is_the_mean_over_closed_triples_of_modes(grid, spacing):
    """Every triple of wavevectors that sum to zero, one by one, no FFT but numpy's of the field."""
    field = np.random.default_rng(1).exponential(size=grid)
    unit = 2 * np.pi / min(n * a for n, a in zip(grid, spacing, strict=True))
    top = 2 / 3 * np.pi / max(spacing) * (1 - 1e-9)
    edges = np.array([[0.6 * unit, 1.3 * unit], [1.1 * unit, top]])
    triangles = Triangles(edges, np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]]), (3,))
    found, power, triples, modes = bispectrum_array(field, spacing, triangles)
    delta = np.fft.fftn(field)
    index = np.array(list(itertools.product(*(np.rint(np.fft.fftfreq(n) * n).astype(int) for n in grid))))
    k = np.linalg.norm(index * 2 * np.pi / (np.array(grid) * spacing), axis=1)
    shells = [index[(k >= low) & (k < high)] for low, high in edges]
    volume, cells = np.prod(grid) * np.prod(spacing), np.prod(grid)
    value = delta.ravel()
    for t, (a, b, c) in enumerate(triangles.shells):
        members = {tuple(q) for q in shells[c]}
        pairs = [(p, q, tuple(-p - q)) for p in shells[a] for q in shells[b] if tuple(-p - q) in members]
        flat = [[np.ravel_multi_index(tuple(np.mod(q, grid)), grid) for q in triple] for triple in pairs]
        assert len(pairs) == triples[t]
        expected = np.mean([value[i] * value[j] * value[m] for i, j, m in flat]) * volume**2 / cells**3
        assert found[t] == pytest.approx(expected.real, rel=1e-6, abs=1e-6 * np.abs(found).max())
    assert [len(s) for s in shells] == modes.tolist()
    at = [tuple(np.mod(shells[0], grid).T), tuple(np.mod(shells[1], grid).T)]
    np.testing.assert_allclose(power, [(np.abs(delta[i]) ** 2).mean() * volume / cells**2 for i in at], rtol=1e-6)


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_poisson_counts_have_the_inverse_square_of_their_density(grid, spacing):
    r"""delta = counts / mean - 1: P = 1/n, B = 1/n^2 for every triangle; Q = 1/3."""
    mean, cell = 0.8, np.prod(spacing)
    counts = np.random.default_rng(2).poisson(mean, size=(60, *grid))
    found, power, _, _ = bispectrum_array(counts / mean - 1.0, spacing)
    expected = (cell / mean) ** 2
    z = (found.mean(axis=0) - expected) / (found.std(axis=0, ddof=1) / np.sqrt(60))
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / len(z)) and np.abs(z).max() < 4
    np.testing.assert_allclose(power.mean(axis=0), cell / mean, rtol=0.2)


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_gaussian_fields_have_none_and_the_variance_of_their_triples(grid, spacing):
    """Var B = s V P1 P2 P3 / triples, s = 6, 2, 1; a variance of n fields has error sqrt((2 + kurtosis) / n)."""
    fields = np.random.default_rng(3).standard_normal((400, *grid))
    triangles = configurations(grid, spacing)
    found, _, triples, _ = bispectrum_array(fields, spacing, triangles)
    volume, power = np.prod(grid) * np.prod(spacing), np.prod(spacing)
    equal = np.array([len(set(shells)) for shells in triangles.shells.tolist()])
    symmetry = np.array([0, 6, 2, 1])[equal]
    law = symmetry * volume * power**3 / triples
    z = found.mean(axis=0) / np.sqrt(law / 400)
    assert np.abs(z).max() < 4.5 and abs((z**2).mean() - 1) < 4.5 * np.sqrt(2 / len(z))
    ratio = found.var(axis=0, ddof=1) / law
    kurtosis = ((found / found.std(axis=0)) ** 4).mean(axis=0) - 3
    assert np.all(np.abs(ratio - 1) < 5 * np.sqrt((2 + np.maximum(kurtosis, 0)) / 400))


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_local_non_gaussian_field_has_q_of_two_f(grid, spacing):
    """phi + f (phi^2 - <phi^2>), phi of flat spectrum below k_c: B = 2 f (P1 P2 + P2 P3 + P3 P1) to order f."""
    rng, f = np.random.default_rng(4), 0.02
    axes = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n, a) for n, a in zip(grid, spacing, strict=True)), indexing="ij")
    below = sum(x**2 for x in axes) < (2 / 3 * np.pi / max(spacing)) ** 2  # phi^2 does not fold back into the shells
    dims = tuple(range(1, 1 + len(grid)))
    phi = np.fft.ifftn(np.fft.fftn(rng.standard_normal((60, *grid)), axes=dims) * below, axes=dims).real
    square = phi**2 - (phi**2).mean()
    triangles = configurations(grid, spacing)
    (plus, power, _, _), (minus, _, _, _) = (
        bispectrum_array(phi + s * f * square, spacing, triangles) for s in (1, -1)
    )
    odd = (plus - minus) / 2  # the Gaussian part and its noise drop out
    scale = permutations(power.mean(axis=0), triangles.shells)
    z = (odd.mean(axis=0) / scale - 2 * f) / (odd.std(axis=0, ddof=1) / np.sqrt(60) / scale)
    assert np.abs(z).max() < 4 and abs((z**2).mean() - 1) < 4.5 * np.sqrt(2 / len(z))


def test_reduced_values_do_not_depend_on_the_amplitude_and_raw_ones_have_its_yardstick(lattice):
    fields = np.random.default_rng(5).gamma(2.0, size=(12, 32, 48))
    small, large = (bispectrum(lattice(f * fields, spacing=(2.0, 1.5))) for f in (1.0, 10.0))
    np.testing.assert_allclose(large["value"] * 10, small["value"], rtol=1e-9)  # Q = B / P^2
    assert small["value"].dims == ("configuration", "k") and small["value"].attrs["units"] == "1"
    raw = bispectrum(lattice(fields, spacing=(2.0, 1.5)), reduced=False)
    assert raw["value"].attrs["units"] == "(Mpc/h)^4"
    assert raw["yardstick"].dims == raw["value"].dims
    gap = np.abs(raw["value"] / raw["yardstick"] - small["value"]).values
    assert np.median(gap / small["error"].values) < 1.0  # a ratio of means against a mean of ratios


def test_all_triangles_hold_the_three_configurations_of_a_shell_and_every_closed_triple(lattice):
    fields = np.random.default_rng(6).exponential(size=(3, 32, 32))
    found = bispectrum(lattice(fields), triangles="all", bins=5, reduced=False)
    edges = np.linspace(np.pi / 32, 2 / 3 * np.pi * (1 - 1e-9), 6)
    expected = [
        (i, j, m)
        for i, j, m in itertools.combinations_with_replacement(range(5), 3)
        if edges[m] < edges[i + 1] + edges[j + 1]
    ]
    shells = all_triangles((32, 32), (1.0, 1.0), 5).shells.tolist()
    assert found.sizes["triangle"] == len(shells) and set(map(tuple, shells)) <= set(expected)
    assert len(expected) - len(shells) <= 2  # barely closed, and no mode of the lattice does
    assert (found["triples"] > 0).all() and (found["k1"] <= found["k2"]).all() and (found["k2"] <= found["k3"]).all()
    one = Triangles(np.array([edges[1:3], edges[2:4]]), np.array([[0, 1, 1]]), (1,))
    alone = bispectrum_array(fields, (1.0, 1.0), one)[0]
    place = shells.index([1, 2, 2])
    np.testing.assert_allclose(found["value"][place], alone.mean(), rtol=1e-9)


def test_shells_beyond_two_thirds_of_nyquist_and_tiny_grids_are_refused():
    with pytest.raises(InputError, match="2/3 of Nyquist"):
        all_triangles((32, 32), (1.0, 1.0), bins=[0.5, 1.0, 2.5])
    with pytest.raises(InputError, match="too small"):
        bispectrum_array(np.zeros((6, 6)), (1.0, 1.0))
    with pytest.raises(InputError, match="no three modes"):
        lonely = Triangles(np.array([[0.15, 0.25], [1.0, 1.2]]), np.array([[0, 0, 1]]), (1,))
        bispectrum_array(np.zeros((32, 32)), (1.0, 1.0), lonely)
