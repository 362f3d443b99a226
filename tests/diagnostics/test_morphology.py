"""Minkowski functionals and extrema: another code's counts, bodies of known shape, exact laws of Gaussian fields."""

import numpy as np
import pytest
from scipy.ndimage import maximum_filter
from scipy.stats import multivariate_normal, norm
from skimage.measure import euler_number

from physgen.diagnostics.morphology import extrema, extrema_array, minkowski, minkowski_array
from physgen.errors import InputError


def smooth(rng, count, grid, length):
    """Gaussian fields of unit variance and correlation length ``length`` cells, and their correlation function."""
    axes = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in grid), indexing="ij")
    gain = np.exp(-sum(np.square(k) for k in axes) * length**2 / 4)
    gain *= np.sqrt(np.prod(grid) / np.sum(gain**2))
    dims = tuple(range(1, 1 + len(grid)))
    fields = np.fft.ifftn(np.fft.fftn(rng.standard_normal((count, *grid)), axes=dims) * gain, axes=dims).real
    return fields, np.fft.ifftn(gain**2).real, (gain**2, axes)


@pytest.mark.parametrize("grid", [(40, 52), (14, 20, 17)])
@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_euler_characteristic_equals_that_of_scikit_image(grid, density):
    """Cells that share a corner connected (connectivity = d); an empty margin, since scikit-image knows no period."""
    field = np.zeros((5, *grid))
    inner = (slice(None), *(slice(1, -1) for _ in grid))
    field[inner] = np.random.default_rng(1).random(field[inner].shape)
    found = minkowski_array(field, [0.5, 1 - density], (1.0,) * len(grid))[:, -1, 1] * np.prod(grid)
    expected = [euler_number(f >= 1 - density, connectivity=len(grid)) for f in field]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_disc_has_its_area_its_circumference_and_one_component():
    """In cells of unequal size; the error of the counted boundary is of the order of a cell over the radius."""
    y, x = np.meshgrid(np.arange(150) * 0.4, np.arange(120) * 0.5, indexing="ij")
    radius = 20.0
    disc = (np.hypot(y - 30, x - 30) < radius).astype(float)[None]
    area, length, euler = minkowski_array(disc, [0.5], (0.4, 0.5))[0, :, 0] * disc.size * 0.4 * 0.5
    assert area == pytest.approx(np.pi * radius**2, rel=0.01)
    assert length == pytest.approx(2 * np.pi * radius, rel=0.02)
    assert euler == pytest.approx(1)


def test_a_ball_has_its_surface_and_curvature_and_a_torus_its_genus():
    """Ball: 4 pi R^3/3, 4 pi R^2, 4 pi R, 1. Torus: 2 pi^2 R r^2, Euler characteristic 0."""
    steps = (0.5, 0.6, 0.5)
    axes = [np.arange(n) * a - n * a / 2 for n, a in zip((90, 70, 84), steps, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    radius, big, small = 15.0, 12.0, 5.0
    bodies = [x**2 + y**2 + z**2 < radius**2, (np.hypot(x, z) - big) ** 2 + y**2 < small**2]
    ball, torus = minkowski_array(np.array(bodies, dtype=float), [0.5], steps)[..., 0] * x.size * np.prod(steps)
    law = 4 * np.pi * radius * np.array([radius**2 / 3, radius, 1])
    np.testing.assert_allclose(ball[:3], law, rtol=0.02)  # a cell over the radius: 0.04, averaged over directions
    assert torus[0] == pytest.approx(2 * np.pi**2 * big * small**2, rel=0.01)
    assert ball[3] == pytest.approx(1) and torus[3] == pytest.approx(0, abs=1e-9)


def test_what_wraps_around_the_box_is_closed():
    """A full stripe is an annulus (0), everything a torus (0), two cells across the edge one piece (1)."""
    field = np.zeros((3, 16, 16))
    field[0, :, 3:6], field[1] = 1, 1
    field[2, 0, 4], field[2, -1, 4] = 1, 1
    euler = minkowski_array(field, [0.5], (1.0, 1.0))[:, -1, 0] * 256
    np.testing.assert_allclose(euler, [0, 0, 1], atol=1e-9)


def test_gaussian_fields_have_the_exact_expectations_of_their_lattice():
    """Areas, pairs of neighbours and squares of four cells: orthant probabilities of the correlation at lags 0, 1."""
    fields, xi, _ = smooth(np.random.default_rng(2), 300, (32, 32), 2.0)
    levels, steps = np.array([-1.0, 0.0, 1.5]), (0.8, 1.25)
    found = minkowski_array(fields, levels, steps)
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    covariance = np.array([[xi[a[0] - b[0], a[1] - b[1]] for b in places] for a in places])

    def any_above(level, members):
        rows = np.ix_(members, members)
        return 1 - multivariate_normal(cov=covariance[rows]).cdf(np.full(len(members), level))

    for t, level in enumerate(levels):
        cell, along_x, along_y, corner = norm.sf(level), *(any_above(level, m) for m in ([0, 1], [0, 2], [0, 1, 2, 3]))
        length = np.pi / 4 * 2 * ((along_y - cell) / steps[0] + (along_x - cell) / steps[1])
        expected = [cell, length, cell - along_x - along_y + corner]
        z = (found[:, :, t].mean(axis=0) - expected) / (found[:, :, t].std(axis=0, ddof=1) / np.sqrt(300))
        assert np.abs(z).max() < 4


def test_gaussian_fields_follow_the_continuum_formulae_where_they_are_smooth():
    """With l = sqrt(<k_x^2>): length per area l exp(-nu^2/2) / 2, genus l^2 nu exp(-nu^2/2) / (2 pi)^(3/2) (Tomita)."""
    fields, _, (power, axes) = smooth(np.random.default_rng(3), 60, (128, 128), 12.0)
    squared = np.sum(power * axes[0] ** 2) / np.sum(power)
    nu = np.array([-1.0, 0.5, 1.0, 2.0])
    _, length, euler = np.moveaxis(minkowski_array(fields, nu, (1.0, 1.0)), 1, 0)
    law = np.sqrt(squared) * np.exp(-(nu**2) / 2) / 2
    assert np.all(np.abs(length.mean(axis=0) - law) < 4 * length.std(axis=0) / np.sqrt(60) + 0.02 * law)
    law = squared * nu * np.exp(-(nu**2) / 2) / (2 * np.pi) ** 1.5
    assert np.all(np.abs(euler.mean(axis=0) - law) < 4 * euler.std(axis=0) / np.sqrt(60) + 0.03 * np.abs(law))


def test_gaussian_fields_in_three_dimensions_follow_theirs():
    r"""Area 2 l/pi exp(-nu^2/2), curvature l^2 nu exp(-nu^2/2) / sqrt(2 pi)..., Euler l^3 (nu^2 - 1) / (2 pi)^2 ..."""
    fields, _, (power, axes) = smooth(np.random.default_rng(4), 24, (48, 48, 48), 8.0)
    rate = np.sqrt(np.sum(power * axes[0] ** 2) / np.sum(power))
    nu = np.array([-1.5, 0.7, 1.8])
    _, area, curvature, euler = np.moveaxis(minkowski_array(fields, nu, (1.0, 1.0, 1.0)), 1, 0)
    gauss = np.exp(-(nu**2) / 2)
    laws = (
        2 * rate / np.pi * gauss,
        rate**2 * nu * gauss / np.sqrt(2 * np.pi),
        rate**3 * (nu**2 - 1) * gauss / (2 * np.pi) ** 2,
    )
    for found, law in zip((area, curvature, euler), laws, strict=True):
        error = found.std(axis=0, ddof=1) / np.sqrt(24)
        assert np.all(np.abs(found.mean(axis=0) - law) < 4 * error + 0.04 * np.abs(laws[0] if found is area else law))


@pytest.mark.parametrize("grid", [(30, 41), (12, 14, 16)])
def test_extrema_are_the_cells_that_a_maximum_filter_leaves(grid):
    field = np.random.default_rng(5).standard_normal(grid)
    levels = np.array([-0.5, 0.0, 0.8, 2.0])
    cells = field.size * 1.5 ** len(grid)
    for sign, minima in ((1, False), (-1, True)):
        tops = maximum_filter(sign * field, 3, mode="wrap") == sign * field
        expected = [np.sum(tops & ((field < t) if minima else (field >= t))) for t in levels]
        found = extrema_array(field, levels, (1.5,) * len(grid), minima) * cells
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_white_noise_has_a_maximum_in_every_ninth_cell(lattice):
    """Any of the nine cells of a block is the largest with equal odds; plateaus are no extrema."""
    noise = lattice(np.random.default_rng(6).random((100, 32, 32)), spacing=(2.0, 0.5))
    for minima, level in ((False, -1.0), (True, 2.0)):
        found = extrema(noise, minima, thresholds=[level])
        assert abs(found["value"][0] - 1 / 9) < 4 * found["error"][0]
    flat = extrema(lattice(np.zeros((2, 8, 8))), thresholds=[-1.0])
    assert float(flat["value"][0]) == 0.0


def test_results_stand_on_given_thresholds_with_units_and_yardstick(lattice, red_noise):
    field = np.exp(0.7 * red_noise(np.random.default_rng(7), 8, (32, 32)))
    ensemble, levels = lattice(field, spacing=(2.0, 2.0)), np.linspace(-1.5, 1.5, 13)
    said = ("log10_field", {"long_name": "logarithm", "units": "1"})
    for name, units in (("surface", "1/(Mpc/h)"), ("euler_characteristic", "1/(Mpc/h)^2")):
        found = minkowski(ensemble, name, levels, np.log10, said)
        assert found["value"].dims == ("log10_field",) and found["value"].attrs["units"] == units
        assert float(found["yardstick"].max()) == pytest.approx(float(abs(found["value"]).max()))
    shown = np.mean(np.log10(field) >= 0.5)
    above = minkowski(ensemble, "volume", levels, np.log10, said)["value"].sel(log10_field=0.5)
    assert float(above) == pytest.approx(shown, abs=1e-4)
    assert minkowski(ensemble, "volume", levels)["value"].dims == ("threshold",)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: minkowski(e, "mean_curvature", [0.0]), "in 2 dimensions"),
        (lambda e: minkowski(e, "surface", []), "must increase"),
        (lambda e: extrema(e, thresholds=[1.0, 0.0]), "must increase"),
    ],
)
def test_what_cannot_be_measured_is_refused(lattice, call, message):
    with pytest.raises(InputError, match=message):
        call(lattice(np.zeros((2, 8, 8))))
