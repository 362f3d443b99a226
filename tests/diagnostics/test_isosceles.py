"""Isosceles triangles: zero for Gaussian fields, 2f for a local square, and the squeezed and folded ends."""

import numpy as np
import pytest
import xarray as xr

from physgen.diagnostics.isosceles import isosceles_bispectrum, isosceles_triangles
from physgen.errors import InputError

CELLS, MAPS = 32, 60


def maps(square=0.0):
    """Smooth Gaussian maps g of unit variance, plus square (g^2 - 1)."""
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(CELLS, 1 / CELLS), np.fft.fftfreq(CELLS, 1 / CELLS)))
    gain = np.where(k > 0, np.maximum(k, 1) ** -1.0, 0)
    white = np.random.default_rng(0).standard_normal((MAPS, CELLS, CELLS))
    g = np.fft.ifft2(np.fft.fft2(white) * gain).real
    g /= g.std()
    field = g + square * (g**2 - 1)
    return xr.Dataset({"field": (("sample", "y", "x"), field)}, {d: np.arange(float(CELLS)) for d in "yx"})


def test_gaussian_fields_have_none_and_a_local_square_twice_its_strength():
    found = isosceles_bispectrum(maps())
    assert found["value"].dims == ("side", "angle")
    assert float(abs(found["value"] / found["error"]).max()) < 4
    f = 0.05
    skewed = isosceles_bispectrum(maps(f))
    gained = (skewed["value"] - found["value"]).mean()  # the same maps: their noise cancels
    assert float(gained) == pytest.approx(2 * f, rel=0.15)  # up to loops of order f^2 and of the smooth spectrum


def test_the_third_side_closes_the_triangle_below_its_reach():
    triangles, sides, angle = isosceles_triangles((64, 64), (1.0, 1.0))
    third = triangles.edges[len(sides) :].mean(axis=1).reshape(len(sides), -1)
    np.testing.assert_allclose(third, 2 * sides[:, None] * np.cos(np.pi * angle / 2), rtol=1e-9)
    assert triangles.edges.max() < 2 / 3 * np.pi
    assert triangles.edges.min() > 0


@pytest.mark.parametrize("cells", [(16, 16), (16, 32), (16, 16, 16)])
def test_small_lattices_of_any_shape_have_triangles(cells):
    dims = ("z", "y", "x")[-len(cells) :]
    field = np.random.default_rng(1).standard_normal((6, *cells))
    ensemble = xr.Dataset(
        {"field": (("sample", *dims), field)}, {d: np.arange(float(n)) for d, n in zip(dims, cells, strict=True)}
    )
    assert int(isosceles_bispectrum(ensemble)["triples"].min()) > 0


def test_a_coarse_lattice_is_refused():
    with pytest.raises(InputError, match="too small for isosceles"):
        isosceles_triangles((8, 8), (1.0, 1.0))
