"""Wavenumbers, multiplicities and shells against plane waves and lattice sums."""

import numpy as np
import pytest
import torch

from physgen.lattice import half_grid, mode_bins, multiplicity, shells, wavenumber, wavenumbers

BOXES = [((8,), (0.5,)), ((6, 10), (1.0, 0.3)), ((4, 6, 5), (2.0, 1.0, 0.7))]


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_a_plane_wave_stands_at_its_wavenumber(grid, spacing):
    """The mode m of exp(i k x), k = 2 pi m / L, in both layouts."""
    mode = tuple(1 + axis % 2 for axis in range(len(grid)))
    k = [2 * np.pi * m / (n * a) for m, n, a in zip(mode, grid, spacing, strict=True)]
    x = np.meshgrid(*[np.arange(n) * a for n, a in zip(grid, spacing, strict=True)], indexing="ij")
    wave = np.cos(sum(ki * xi for ki, xi in zip(k, x, strict=True)))
    for half, transform in ((True, np.fft.rfftn), (False, np.fft.fftn)):
        where = np.unravel_index(np.abs(transform(wave)).argmax(), transform(wave).shape)
        parts = [component.expand(transform(wave).shape)[where] for component in wavenumbers(grid, spacing, half)]
        np.testing.assert_allclose(np.abs(parts), k, rtol=1e-14)
        assert wavenumber(grid, spacing, half)[where] == pytest.approx(np.hypot.reduce(k), rel=1e-14)


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_the_half_spectrum_stands_for_the_whole(grid, spacing):
    """Parseval with multiplicities; shells of the full spectrum count as many modes."""
    field = np.random.default_rng(0).standard_normal(grid)
    half = np.abs(np.fft.rfftn(field)) ** 2
    assert half.shape == half_grid(grid)
    assert (half * multiplicity(grid).numpy()).sum() == pytest.approx(field.size * (field**2).sum(), rel=1e-12)
    weight = np.broadcast_to(multiplicity(grid).numpy(), half.shape)
    counted = np.bincount(shells(grid, spacing).ravel(), weight.ravel())
    np.testing.assert_array_equal(counted, np.bincount(shells(grid, spacing, half=False).ravel()))
    assert counted.sum() == field.size and counted[0] == 1


def test_shells_and_bins_of_a_square_are_those_of_integer_vectors():
    """|n|^2 of 8 x 8: shell 1 holds n = (1,0), (1,1) and images, shell 2 (2,0), (2,1) and images."""
    numbers = shells((8, 8), (2.0, 2.0), half=False)
    assert np.bincount(numbers.ravel())[:3].tolist() == [1, 8, 12]
    assert shells((8, 8), parts=4)[1, 1] == round(4 * 2**0.5)
    assert shells((24, 16), (0.1, 0.1))[0, [1, 3]].tolist() == [2, 5]  # 1.5 and 4.5 lie on an edge
    bins = mode_bins((8, 8), (2.0, 2.0))
    assert bins.count.tolist()[:2] == [8, 12]
    unit = 2 * np.pi / 16
    np.testing.assert_allclose(bins.k[:2], [unit * (1 + 2**0.5) / 2, unit * (4 * 2 + 8 * 5**0.5) / 12], rtol=1e-14)


def test_precision_and_device_are_those_asked_for():
    single = wavenumbers((6, 6), dtype=torch.float32)
    assert {k.dtype for k in single} == {torch.float32} and [tuple(k.shape) for k in single] == [(6, 1), (1, 4)]
