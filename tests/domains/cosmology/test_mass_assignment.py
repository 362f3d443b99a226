"""Mass assignment: kernels, window, alias sum, shot noise and interlacing, against exact laws."""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.diagnostics import Correction, bispectrum, cross_spectrum, deconvolved, power_spectrum
from physgen.diagnostics.window import SCHEMES, MassAssignment, alias_sum, window
from physgen.domains.cosmology import statistics
from physgen.domains.cosmology.assignment import add_points, painted_contrast
from physgen.domains.cosmology.discreteness import MEAN_ABSOLUTE, of_points, slab_noise
from physgen.domains.cosmology.mesh import lattice_positions
from physgen.errors import InputError

CELLS, POINTS, FIELDS = 16, 2000, 8
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def ensemble(fields, said, **attrs):
    """Fields (B, z, y, x) or (B, y, x) in cells of 1 Mpc/h."""
    dims = ("z", "y", "x")[-(fields.ndim - 1) :]
    coords = {d: (d, np.arange(fields.shape[-1]) + 0.5, {"units": "Mpc/h"}) for d in dims}
    attrs = {"independent_unit": "sample", "mass_assignment": said, "field_kind": "delta"} | attrs
    return xr.Dataset({"field": (("sample", *dims), fields)}, coords, attrs)


def points(rng, count=POINTS):
    return torch.from_numpy((rng.random((3, count)) * CELLS).astype(np.float32))


@pytest.fixture(scope="module")
def poisson():
    """(scheme, interlaced) -> fields of uniform points; the same points for all."""

    def make(scheme, interlaced=False):
        rng = np.random.default_rng(1)
        fields = [painted_contrast(points(rng), CELLS, scheme, interlaced).numpy() for _ in range(FIELDS)]
        said = f"{MassAssignment(scheme, interlaced)} of the particles; window not deconvolved"
        return ensemble(np.stack(fields), said, number_density=POINTS / CELLS**3)

    return make


@every_scheme
def test_a_point_gives_its_whole_weight_to_cells_that_it_reaches(scheme):
    """Sum 1, first moment the position itself (second order and up), nothing beyond p/2 cells, periodic."""
    place = torch.tensor([[0.2], [7.9], [15.7]])
    density = torch.zeros(CELLS**3)
    add_points(density, place, CELLS, scheme)
    density = density.view((CELLS,) * 3).double()
    assert float(density.sum()) == pytest.approx(1, abs=1e-6)
    for axis in range(3):
        line = density.sum([a for a in range(3) if a != axis])
        distance = (torch.arange(CELLS) - place[axis] + CELLS / 2).remainder(CELLS) - CELLS / 2
        assert bool((distance[line > 0].abs() <= SCHEMES[scheme] / 2).all())
        if scheme != "NGP":
            assert float((line * distance).sum()) == pytest.approx(0, abs=1e-5)


@every_scheme
def test_the_closed_alias_sums_are_those_of_all_images(scheme):
    """Against W^2 summed over images: 2001 along an axis, or 41^2 of even sum in two dimensions."""
    order, x = SCHEMES[scheme], np.pi * np.arange(9)[1:] / CELLS
    images = np.arange(-1000, 1001)
    powers = (np.sin(x)[:, None] / (x[:, None] + np.pi * images)) ** (2 * order)
    np.testing.assert_allclose(alias_sum((CELLS,), MassAssignment(scheme))[1:], powers.sum(1), rtol=3e-4)
    even = (powers.sum(1) + (powers * (-1.0) ** images).sum(1)) / 2
    np.testing.assert_allclose(alias_sum((CELLS,), MassAssignment(scheme, True))[1:], even, rtol=3e-4)
    near = powers[:, 980:1021]
    pairs = np.add.outer(np.arange(41), np.arange(41)) % 2 == 0
    plane = np.einsum("am,bn,mn->ab", near, near, pairs)
    found = alias_sum((CELLS, CELLS), MassAssignment(scheme, True))[1:9, 1:]
    np.testing.assert_allclose(found, plane, rtol=0.06 if order == 1 else 1e-4)


@pytest.mark.parametrize("interlaced", [False, True])
@every_scheme
def test_uniform_points_have_the_shot_noise_that_is_subtracted(poisson, scheme, interlaced):
    """P = C(k) / nbar, 1 / nbar once the alias sum is divided out: mean square pull 1 +- sqrt(2 / bins), at 4 sigma."""
    fields, level = poisson(scheme, interlaced), CELLS**3 / POINTS
    for kind in ("none", "window", "aliased"):
        raw = power_spectrum(fields, correction=Correction(kind) if kind != "none" else None)
        left = power_spectrum(fields, correction=Correction(kind, shot_noise="poisson"))
        noise = raw["value"] - left["value"]
        pulls = left["value"] / noise * np.sqrt(FIELDS * left["modes"])
        assert float((pulls**2).mean()) < 1 + 4 * np.sqrt(2 / left.sizes["k"])
        assert left.attrs["shot_noise"] == pytest.approx(level) and left.attrs["deconvolve"] == kind
    np.testing.assert_allclose(noise, level, rtol=1e-12)  # flat after the alias sum
    if scheme == "CIC":
        steep = float((power_spectrum(fields)["value"] / level)[-1])
        assert steep < 0.35  # what is corrected: two thirds of the noise near Nyquist


def dense_in_x(count):
    """Positions (3, count * CELLS^2): a point a cell along y and z, many along x, whose lattice then has no images."""
    x = torch.arange(count, dtype=torch.float64) * (CELLS / count)
    line = torch.arange(CELLS, dtype=torch.float64)
    return torch.stack(torch.meshgrid(x, line, line, indexing="ij")).reshape(3, -1)


@pytest.mark.parametrize("scheme", ["CIC", "TSC", "PCS"])
def test_a_plane_wave_comes_back_at_its_amplitude(scheme):
    """Points that a wave displaces along x: delta = -k psi cos(k x) to first order, times W on the mesh."""
    positions = dense_in_x(256)
    k, psi = 2 * np.pi * 5 / CELLS, 1e-2
    positions[0] += psi * torch.sin(k * positions[0])
    field = painted_contrast(positions.float(), CELLS, scheme).numpy()[None]
    found, raw = (power_spectrum(ensemble(field, scheme), correction=c) for c in (Correction("window"), None))
    place = int(np.argmin(np.abs(found["k"].values - k)))
    share = float((found["value"] * 2 * found["modes"])[place]) / CELLS**3
    assert share == pytest.approx((k * psi) ** 2 / 2, rel=5e-3)
    w = window((CELLS,) * 3, scheme)[5, 0, 0]
    assert float(found["value"][place]) == pytest.approx(float(raw["value"][place]) / w**2, rel=1e-4)


def test_deconvolution_is_the_factor_of_pylians():
    """(x / sin x)^p along every axis, x = pi n / N: the published formula, mode by mode."""
    fields = np.random.default_rng(2).standard_normal((3, CELLS, CELLS)).astype(np.float32)
    modes = np.fft.rfft2(fields)
    for axis, count in ((1, np.fft.fftfreq(CELLS)), (2, np.fft.rfftfreq(CELLS))):
        x = (np.pi * count).reshape([-1 if a == axis else 1 for a in range(3)])
        with np.errstate(invalid="ignore"):
            modes = modes * np.where(x == 0, 1, (x / np.sin(x)) ** 3)
    found = deconvolved(ensemble(fields, "TSC"))
    np.testing.assert_allclose(np.fft.rfft2(found["field"].values), modes, rtol=1e-4, atol=1e-3)
    assert found.attrs["mass_assignment"] == "TSC; window deconvolved (window)"


def test_interlacing_takes_off_the_odd_images_and_nothing_else():
    """A wave above Nyquist of the mesh enters at k - 2 k_N: interlaced it does not; one below stays, to rounding."""
    positions = dense_in_x(256)
    below, above, psi = 3, CELLS - 5, 1e-2  # above appears as mode 5
    for m in (below, above):
        k = 2 * np.pi * m / CELLS
        positions[0] += psi * torch.sin(k * positions[0])
    modes = [
        np.abs(np.fft.fftn(painted_contrast(positions.float(), CELLS, "CIC", interlaced).numpy())[:, 0, 0])
        for interlaced in (False, True)
    ]
    assert modes[1][below] == pytest.approx(modes[0][below], rel=1e-3)
    expected = 2 * np.pi * above / CELLS * psi / 2 * CELLS**3 * np.sinc(above / CELLS) ** 2
    assert modes[0][5] == pytest.approx(expected, rel=0.02) and modes[1][5] < 0.02 * expected


def test_interlacing_reduces_the_aliasing_of_a_known_spectrum():
    """Truth: the same points on a mesh four times as fine with PCS. To 0.9 k_Nyq 7 to 24 % of error become 0 to 2.4."""
    psi = 0.15 * torch.from_numpy(np.random.default_rng(3).standard_normal((3, 32**3)).astype(np.float32))
    place = (lattice_positions(32, CELLS) - 0.5 + psi).remainder(CELLS)
    edges = 2 * np.pi / CELLS * np.array([4.5, 5.5, 6.5, 7.2])
    fine = ensemble(painted_contrast(place * 4, 4 * CELLS, "PCS").numpy()[None], "PCS")
    fine = fine.assign_coords({d: (d, (np.arange(4 * CELLS) + 0.5) / 4) for d in "zyx"})
    truth = power_spectrum(fine, edges, correction=Correction("window"))
    errors = []
    for interlaced in (False, True):
        one = ensemble(painted_contrast(place, CELLS, "CIC", interlaced).numpy()[None], "CIC")
        found = power_spectrum(one, edges, correction=Correction("window"))
        errors.append(np.abs(found["value"].values / truth["value"].values - 1))
    assert errors[0].max() > 0.2 and errors[1].max() < 0.03 and np.all(errors[1] < errors[0] / 2.5)


def test_the_bispectrum_of_uniform_points_is_its_shot_noise(poisson):
    """To 0.1 N^2, as stated, and 4 standard errors; the noise of a smoothed field is refused."""
    fields, level = poisson("CIC"), CELLS**3 / POINTS
    found = bispectrum(fields, reduced=False, correction=Correction("window", shot_noise="poisson"))
    assert np.all(np.abs(found["value"]) < 0.1 * level**2 + 4 * found["error"])
    with pytest.raises(InputError, match="give deconvolve=window"):
        bispectrum(fields, correction=Correction(shot_noise="poisson"))


def test_correlation_and_transfer_are_those_of_the_points(poisson):
    """Two Poisson samples of one field: r and T are 1 within their jackknife errors once noise and window are off."""
    rng = np.random.default_rng(4)
    x = (np.arange(CELLS) + 0.5) / CELLS
    wave = 1 + 0.9 * np.cos(2 * np.pi * (2 * x[:, None, None] + x[None, :, None])) * np.ones((1, 1, CELLS))
    edges, pair = 2 * np.pi / CELLS * np.array([1.5, 2.5]), []
    for scheme in ("CIC", "TSC"):
        cells = [rng.choice(CELLS**3, POINTS, p=wave.ravel() / wave.sum()) for _ in range(FIELDS)]
        places = [np.stack(np.unravel_index(c, (CELLS,) * 3)) + rng.random((3, POINTS)) - 0.5 for c in cells]
        fields = [
            painted_contrast(torch.from_numpy(p.astype(np.float32) % CELLS), CELLS, scheme).numpy() for p in places
        ]
        pair.append(ensemble(np.stack(fields), scheme, number_density=POINTS / CELLS**3))
    found = cross_spectrum(*pair, edges, correction=Correction("window", shot_noise="poisson"))
    for name in ("correlation", "transfer"):
        assert abs(float(found[name][0]) - 1) < 4 * float(found[f"{name}_error"][0]) + 1e-3
    raw = cross_spectrum(*pair, edges)
    assert float(raw["transfer"][0]) < 0.99  # TSC smooths more than CIC


@every_scheme
def test_shot_noise_of_a_slab(scheme):
    """Slabs of 4 cells: the level is (1 - c a / D) / (nbar D) after the alias sum across; 4 sigma of the mode count."""
    rng, depth = np.random.default_rng(5), 4
    boxes = [painted_contrast(points(rng), CELLS, scheme).numpy() for _ in range(FIELDS)]
    slabs = np.stack(boxes).reshape(FIELDS, CELLS // depth, depth, CELLS, CELLS).mean(2).reshape(-1, CELLS, CELLS)
    maps = ensemble(slabs, scheme, slab_thickness=float(depth), number_density=POINTS / CELLS**3)
    found = power_spectrum(maps, correction=Correction("aliased"))
    level = slab_noise(POINTS / CELLS**3, depth, 1.0, scheme)
    assert of_points(maps).attrs["poisson_level"] == level
    weight = found["modes"] / found["modes"].sum()
    mean = float((found["value"] * weight).sum())
    # neighbouring slabs share the points of an edge: three quarters of the modes are independent at least
    assert abs(mean / level - 1) < 4 / np.sqrt(0.75 * len(slabs) * float(found["modes"].sum()))
    draws = np.abs(rng.random((2 * SCHEMES[scheme] - 2, 10_000)).sum(0) - (SCHEMES[scheme] - 1))
    assert abs(draws.mean() - MEAN_ABSOLUTE[SCHEMES[scheme]]) <= 4 * draws.std() / 100
    said = statistics.power_spectrum(maps).attrs["convention"]
    assert "the mean over 4 Mpc/h" in said and "never divided out" in said


def test_counts_know_their_shot_noise():
    """Whole numbers: NGP and the mean count, stated or not; P - 1/nbar = 0 in (Mpc/h)^2."""
    fields = np.random.default_rng(6).poisson(3.0, (FIELDS, CELLS, CELLS)).astype(np.float32)
    counts = ensemble(fields, "", field_kind="counts").drop_attrs(deep=False)
    counts = counts.assign_attrs(field_kind="counts", independent_unit="sample")
    found = statistics.power_spectrum(counts, Correction(shot_noise="poisson"))
    assert found.attrs["shot_noise"] == pytest.approx(1 / 3, rel=0.01) and found.attrs["mass_assignment"] == "NGP"
    pulls = found["value"] / found.attrs["shot_noise"] * np.sqrt(FIELDS * found["modes"])
    assert float((pulls**2).mean()) < 1 + 4 * np.sqrt(2 / found.sizes["k"])


REFUSED = [
    ("CIC", Correction("window", "TSC"), "mass_assignment = TSC, but the field states CIC"),
    ("CIC; window deconvolved (aliased)", Correction("window"), "divided out already"),
    ("", Correction("window"), "give mass_assignment, one of NGP, CIC, TSC, PCS"),
    ("CIC", Correction(shot_noise="poisson"), "needs the root attribute number_density"),
]


@pytest.mark.parametrize(("said", "correction", "why"), REFUSED)
def test_what_cannot_be_corrected_is_refused(said, correction, why):
    fields = ensemble(np.random.default_rng(7).standard_normal((2, 8, 8)), said)
    for measure in (power_spectrum, bispectrum):
        with pytest.raises(InputError, match=why):
            measure(fields, correction=correction)
    with pytest.raises(InputError, match=why):
        cross_spectrum(fields, fields, correction=correction)


def test_a_correction_is_checked_when_it_is_made():
    for wrong, why in (({"deconvolve": "yes"}, "none, window, aliased"), ({"shot_noise": -1.0}, "at least 0")):
        with pytest.raises(InputError, match=why):
            Correction(**wrong)
    with pytest.raises(InputError, match="choose one of NGP"):
        Correction("window", "SPH")
    fields = ensemble(np.ones((2, 8, 8)), "CIC")
    with pytest.raises(InputError, match="neither a window nor a shot noise"):
        power_spectrum(fields, transform=np.log, correction=Correction("window"))
    for kind, given in itertools.product(("none",), (None, 1.0)):
        with pytest.raises(InputError, match="divided by its window and nothing else"):
            deconvolved(fields, Correction(kind, shot_noise=given))
