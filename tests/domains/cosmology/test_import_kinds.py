"""A field is what its values say: kinds, shapes and boxes confronted with the data."""

import numpy as np
import pytest
from astropy.io import fits

from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.kinds import Values
from physgen.ensemble import check_ensemble, load_ensemble, save_ensemble
from physgen.errors import InputError

BOX = "25 Mpc/h"


def contrast(*shape, seed=0):
    return np.exp(np.random.default_rng(seed).normal(-0.125, 0.5, shape)).astype(np.float32) - 1


def saved(tmp_path, values, name="a.npy"):
    np.save(tmp_path / name, values)
    return [tmp_path / name]


def correlated_box(cells, seed=0):
    """White noise smoothed over two cells: neighbouring slices of one box resemble each other."""
    k = np.meshgrid(*[np.fft.fftfreq(cells)] * 3, indexing="ij")
    white = np.random.default_rng(seed).normal(size=(cells,) * 3)
    smooth = np.fft.ifftn(np.fft.fftn(white) * np.exp(-sum(q**2 for q in k) * (2 * np.pi * 2) ** 2 / 2)).real
    return smooth / smooth.std() * 0.2


# --- kinds ----------------------------------------------------------------------------------------

DELTA = contrast(20, 16, 16)
CONFLICTS = {  # name -> values, kinds that the message offers, the kind that is then accepted
    "counts": (np.random.default_rng(1).poisson(8 * (1 + DELTA)), "field_kind=counts", "counts"),
    "log": (np.log10((1 + DELTA) * 4e11), "log10 of a density", "real"),
    "one plus": (1 + DELTA, "field_kind=1\\+delta", "1+delta"),
    "log contrast": (np.log10(1 + 0.99 * DELTA) * 4, "at least -1", "real"),
    "surface density": ((1 + DELTA) * 4e11, "surface_density", "surface_density"),
    "temperature": ((1 + DELTA) * 1e4, "positive", "positive"),
    "offset": (DELTA + 0.8, "field_kind=delta", "real"),
    "signs": (np.sign(DELTA), "whole number", "real"),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_what_is_no_density_contrast_is_asked_for(tmp_path, name):
    values, offered, kind = CONFLICTS[name]
    paths = saved(tmp_path, values)
    with pytest.raises(InputError, match=offered) as caught:
        Domain.load("npy", paths, box_size=BOX)
    assert "a.npy" in str(caught.value) and "values from" in str(caught.value)
    ensemble = check_ensemble(Domain.load("npy", paths, box_size=BOX, field_kind=kind))
    assert ensemble.attrs["field_kind"] == kind.removeprefix("1+")
    np.testing.assert_allclose(ensemble.field, values - (kind == "1+delta"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (1 + DELTA, "delta", "has mean 0, so some cell lies below 0"),
        (np.log10((1 + DELTA) * 4e11), "delta", "has mean 0"),
        (DELTA * 0.1 + 3, "delta", "below 0"),
        (0.2 * DELTA + 1.0 - 1.5 * (DELTA > 1.3), "delta", "mean of a density contrast is 0"),
        (DELTA * 3, "delta", "at least -1"),
        (np.log10((1 + DELTA) * 4e11), "surface_density", "logarithm of a surface density"),
        (1 + DELTA, "counts", "whole numbers"),
        (DELTA, "density", "density is at least 0"),
    ],
)
def test_what_contradicts_the_kind_that_was_said_is_refused(tmp_path, values, kind, message):
    with pytest.raises(InputError, match=message):
        Domain.load("npy", saved(tmp_path, values), box_size=BOX, field_kind=kind)


def test_a_doubt_is_settled_by_saying_the_kind(tmp_path):
    values = DELTA + 0.52  # an overdense part of the sky
    with pytest.raises(InputError, match="give field_kind=delta if it is one"):
        Domain.load("npy", saved(tmp_path, values), box_size=BOX)
    ensemble = Domain.load("npy", saved(tmp_path, values), box_size=BOX, field_kind="delta")
    assert float(ensemble.field.mean()) == pytest.approx(values.mean(), abs=1e-6)
    patch = Domain.load("npy", saved(tmp_path, values + 0.6), box_size=BOX, field_kind="delta", periodic="no")
    assert patch.attrs["periodic"] == 0
    spread = 8 * (1 + DELTA)
    counts = Domain.load("npy", saved(tmp_path, spread), box_size=BOX, field_kind="counts", mass_assignment="CIC")
    assert counts.attrs["field_kind"] == "counts" and counts.attrs["mass_assignment"] == "CIC"


def test_true_contrasts_are_never_doubted(tmp_path):
    """Slabs whose means scatter by 0.1, as those of a box do: no false alarm in 100 sets of 3 to 30 simulations."""
    generator = np.random.default_rng(5)
    for _ in range(100):
        simulations = generator.integers(1, 30)
        means = np.repeat(generator.normal(0, 0.1, simulations), 3)
        maps = 0.3 * generator.normal(size=(len(means), 8, 8)) + means[:, None, None]
        assert not Values.of(maps, np.arange(len(maps)) // 3).off_zero


# --- shapes ---------------------------------------------------------------------------------------


def test_a_cube_is_a_box_or_a_stack_as_the_user_says(tmp_path):
    paths = saved(tmp_path, contrast(16, 16, 16))
    with pytest.raises(InputError, match="Say dimension=3 or dimension=2"):
        Domain.load("npy", paths, box_size=BOX)
    assert Domain.load("npy", paths, box_size=BOX, dimension="3").field.dims == ("sample", "z", "y", "x")
    assert Domain.load("npy", paths, box_size=BOX, dimension="2").sizes["sample"] == 16
    (tmp_path / "labels.txt").write_text("# Omega_m\n" + "0.3\n" * 16)
    rows = Domain.load("npy", [*paths, tmp_path / "labels.txt"], box_size=BOX)
    assert rows.sizes["sample"] == 16  # one row of labels per map says that they are maps


def test_slices_that_resemble_their_neighbours_are_asked_about(tmp_path):
    box = correlated_box(24)[:12]
    with pytest.raises(InputError, match="resemble each other"):
        Domain.load("npy", saved(tmp_path, box), box_size=BOX)
    flat = Domain.load("npy", saved(tmp_path, box), box_size="12.5 Mpc/h, 25 Mpc/h, 25 Mpc/h", dimension="3")
    assert flat.field.shape == (1, 12, 24, 24) and flat.attrs["box_size"] == [12.5, 25, 25]
    assert float(flat.z[1] - flat.z[0]) == pytest.approx(25 / 24)


@pytest.mark.parametrize(
    ("shape", "options", "dims", "sizes"),
    [
        ((8, 1, 16, 16), {}, ("sample", "y", "x"), (8, 16, 16)),
        ((8, 16, 16, 1), {}, ("sample", "y", "x"), (8, 16, 16)),
        ((2, 1, 8, 8, 8), {}, ("sample", "z", "y", "x"), (2, 8, 8, 8)),
        ((2, 8, 8, 8, 1), {}, ("sample", "z", "y", "x"), (2, 8, 8, 8)),
        ((16, 16, 1), {}, ("sample", "y", "x"), (1, 16, 16)),
        ((4, 3, 16, 16), {"components": "a,b,c"}, ("sample", "component", "y", "x"), (4, 3, 16, 16)),
        ((4, 16, 16, 3), {"components": "a,b,c"}, ("sample", "component", "y", "x"), (4, 3, 16, 16)),
        ((4, 2, 8, 8, 8), {"components": "a,b"}, ("sample", "component", "z", "y", "x"), (4, 2, 8, 8, 8)),
        ((4, 16, 16, 16), {}, ("sample", "z", "y", "x"), (4, 16, 16, 16)),
        ((4, 8, 16, 16), {"dimension": "3", "box_size": "1,2,2 Mpc/h"}, ("sample", "z", "y", "x"), (4, 8, 16, 16)),
        ((4, 3, 3, 3), {"dimension": "2", "channels": "first"}, ("sample", "component", "y", "x"), (4, 3, 3, 3)),
    ],
)
def test_every_usual_layout_is_read(tmp_path, shape, options, dims, sizes):
    values = contrast(*shape)
    ensemble = check_ensemble(Domain.load("npy", saved(tmp_path, values), **{"box_size": BOX, **options}))
    assert ensemble.field.dims == dims and ensemble.field.shape == sizes
    if "component" in dims:
        axis = 1 if shape[1] == sizes[1] else -1
        np.testing.assert_array_equal(ensemble.field.isel(component=1), values.take(1, axis))
    else:
        np.testing.assert_array_equal(ensemble.field.values.ravel(), values.ravel())


def test_a_shape_with_two_readings_is_asked_about(tmp_path):
    with pytest.raises(InputError, match="boxes, or maps of several components"):
        Domain.load("npy", saved(tmp_path, contrast(4, 3, 16, 16)), box_size=BOX)
    with pytest.raises(InputError, match="which axis holds the components"):
        Domain.load("npy", saved(tmp_path, contrast(4, 3, 8, 3)), box_size=BOX, dimension="2")
    with pytest.raises(InputError, match="no 2-D fields"):
        Domain.load("npy", saved(tmp_path, contrast(2, 2, 8, 8, 8)), box_size=BOX, dimension="2")


def test_grids_and_cells_of_unequal_sides(tmp_path):
    values = contrast(5, 8, 16)
    with pytest.raises(InputError, match='box_size="12.5 Mpc/h, 25 Mpc/h"'):
        Domain.load("npy", saved(tmp_path, values), box_size=BOX)
    ensemble = Domain.load("npy", saved(tmp_path, values), box_size="25 Mpc/h,50 Mpc/h", cells="8")
    assert ensemble.field.shape == (5, 4, 8) and ensemble.attrs["box_size"] == [25, 50]
    assert float(ensemble.y[1] - ensemble.y[0]) == 6.25 and float(ensemble.x[1] - ensemble.x[0]) == 6.25
    np.testing.assert_allclose(ensemble.field, values.reshape(5, 4, 2, 8, 2).mean((2, 4)), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="gives 3 lengths"):
        Domain.load("npy", saved(tmp_path, values), box_size="1,2,3 Mpc/h")


# --- boxes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("25 Mpc h^-1", 25),
        ("25 h^-1 Mpc", 25),
        ("25 cMpc/h", 25),
        ("25000 ckpc/h", 25),
        ("0.25 Gpc/h", 250),
        ("25 $h^{-1}$Mpc", 25),
    ],
)
def test_lengths_as_cosmologists_write_them(tmp_path, text, size):
    ensemble = Domain.load("npy", saved(tmp_path, DELTA), box_size=text)
    assert ensemble.attrs["box_size"] == pytest.approx(size) and ensemble.attrs["box_size_units"] == "Mpc/h"
    assert ensemble.x.attrs["units"] == "Mpc/h"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("25 mpc/h", "milliparsec"),
        ("25 pc/h", "not the size of a cosmological box"),
        ("25 Gpc/h", "not the size of a cosmological box"),
        ("25 MPC/h", "did you mean Mpc"),
        ("25 pMpc/h", "comoving"),
        ("400 deg", "between 0 and 360"),
    ],
)
def test_lengths_that_nobody_means_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        Domain.load("npy", saved(tmp_path, DELTA), box_size=text)


def test_maps_of_the_sky_are_angular_and_not_periodic(tmp_path):
    kappa = 0.02 * np.random.default_rng(0).normal(size=(4, 16, 16))
    ensemble = Domain.load("npy", saved(tmp_path, kappa), box_size="210 arcmin", field_kind="convergence")
    assert ensemble.attrs["box_size"] == pytest.approx(3.5) and ensemble.x.attrs["units"] == "deg"
    assert ensemble.attrs["periodic"] == 0 and ensemble.field.attrs["long_name"] == "convergence"
    assert float(ensemble.x[1] - ensemble.x[0]) == pytest.approx(3.5 / 16)
    bare = Domain.load("npy", saved(tmp_path, kappa), box_size="3.5 deg", periodic="yes")
    assert bare.attrs["field_kind"] == "real" and "field_kind=convergence" in bare.attrs["import_notes"]
    assert bare.attrs["periodic"] == 1


def test_masks_travel_with_the_fields(tmp_path):
    values, mask = contrast(4, 8, 8), np.ones((8, 8), bool)
    mask[:2] = False
    holes = np.where(mask, values, np.nan)
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(InputError, match="nan at index"):
        Domain.load("npy", saved(tmp_path, holes), box_size=BOX)
    for how in (str(tmp_path / "mask.npy"), "nan"):
        ensemble = Domain.load("npy", saved(tmp_path, holes), box_size=BOX, mask=how, periodic="no")
        np.testing.assert_array_equal(ensemble.mask, mask)
        assert ensemble.mask.dims == ("y", "x") and (ensemble.field.values[:, :2] == 0).all()
    back = load_ensemble(save_ensemble(ensemble, tmp_path / "masked.h5"))
    np.testing.assert_array_equal(back.mask, mask)
    with pytest.raises(InputError, match="the mask has shape"):
        np.save(tmp_path / "mask.npy", mask[1:])
        Domain.load("npy", saved(tmp_path, values), box_size=BOX, mask=str(tmp_path / "mask.npy"))


# --- what FITS headers say --------------------------------------------------------------------------


def header(tmp_path, values=DELTA[0], **cards):
    hdu = fits.PrimaryHDU(values.astype(">f4"))
    for name, card in cards.items():
        hdu.header[name] = card
    hdu.writeto(tmp_path / "a.fits", overwrite=True)
    return [tmp_path / "a.fits"]


def test_a_header_and_the_options_agree_or_are_refused(tmp_path):
    def load(options=None, **cards):
        return Domain.load("fits", header(tmp_path, **cards), **(options or {}))

    assert load(BOXSIZE=(25000.0, "[kpc/h] side")).attrs["box_size"] == pytest.approx(25)
    assert load(BOXSIZE=(250.0, "side of the box in h^-1 Mpc")).attrs["box_size"] == pytest.approx(250)
    assert load({"h": "0.7"}, BOXSIZE=(100.0, "Mpc")).attrs["box_size"] == pytest.approx(70)
    assert load({"box_size": "25 Mpc/h"}, BOXSIZE=(25000.0, "[kpc/h]")).attrs["box_size"] == pytest.approx(25)
    assert "taken as Mpc/h" in load(BOXSIZE=64.0).attrs["import_notes"]
    for options, cards, message in [
        ({"box_size": "250 Mpc/h"}, {"BOXSIZE": (25.0, "[Mpc/h]")}, "says a box of 25.0 Mpc/h, you gave box_size=250"),
        ({"box_size": "100 Mpc/h"}, {"BOXSIZE": (100.0, "[Mpc]")}, "without the Hubble parameter"),
        ({"redshift": "0"}, {"BOXSIZE": 25.0, "REDSHIFT": 2.0}, "says redshift 2, you gave redshift=0"),
        (
            {"field_kind": "delta"},
            {"BOXSIZE": 25.0, "BUNIT": "(Msun/h)/(Mpc/h)^2"},
            "that is field_kind=surface_density",
        ),
        ({}, {"BOXSIZE": 25.0, "BUNIT": "log10(Msun)"}, "a logarithm"),
        ({"field_kind": "delta"}, {"BOXSIZE": 25.0, "BUNIT": "K"}, "which this kind does not have"),
    ]:
        with pytest.raises(InputError, match=message):
            load(options, **cards)
    surface = load(values=(DELTA[0] + 1) * 4e11, BOXSIZE=25.0, BUNIT="(Msun/h)/(Mpc/h)^2")
    assert surface.attrs["field_kind"] == "surface_density" and surface.field.attrs["units"] == "(Msun/h)/(Mpc/h)^2"
    kelvin = load(values=(DELTA[0] + 1) * 1e4, BOXSIZE=25.0, BUNIT="K")
    assert kelvin.attrs["field_kind"] == "positive" and kelvin.field.attrs["units"] == "K"


def test_world_coordinates_give_unequal_sides(tmp_path):
    cards = {"CDELT1": 0.01, "CDELT2": -0.02, "CUNIT1": "deg", "CUNIT2": "deg", "BUNIT": ""}
    ensemble = Domain.load("fits", header(tmp_path, contrast(8, 16), **cards), field_kind="convergence")
    assert ensemble.attrs["box_size"] == 0.16 and ensemble.sizes["y"] == 8  # 8 x 0.02 and 16 x 0.01
    with pytest.raises(InputError, match="you gave box_size=3.5 deg"):
        Domain.load("fits", header(tmp_path, contrast(8, 16), **cards), box_size="3.5 deg")


def test_extensions_and_compressed_images(tmp_path):
    values = contrast(2, 16, 16)
    compressed = fits.CompImageHDU(values[1], name="KAPPA", quantize_level=0, compression_type="GZIP_1")
    compressed.header["BOXSIZE"], compressed.header["BUNIT"] = 25.0, "delta"
    fits.HDUList([fits.PrimaryHDU(), compressed]).writeto(tmp_path / "one.fits")
    ensemble = Domain.load("fits", [tmp_path / "one.fits"])
    np.testing.assert_array_equal(ensemble.field.values[0], values[1])
    assert ensemble.attrs["field_kind"] == "delta" and ensemble.field.attrs["units"] == "1"
    units = [fits.PrimaryHDU(), fits.ImageHDU(values[0], name="A"), fits.ImageHDU(values[1], name="B")]
    fits.HDUList(units).writeto(tmp_path / "two.fits")
    with pytest.raises(InputError, match="say which one, extension=NUMBER"):
        Domain.load("fits", [tmp_path / "two.fits"], box_size=BOX)
    for extension in ("2", "B"):
        ensemble = Domain.load("fits", [tmp_path / "two.fits"], box_size=BOX, extension=extension)
        np.testing.assert_array_equal(ensemble.field.values[0], values[1])
    with pytest.raises(InputError, match="no extension 'C'"):
        Domain.load("fits", [tmp_path / "two.fits"], box_size=BOX, extension="C")


def test_fits_cubes(tmp_path):
    paths = header(tmp_path, contrast(4, 8, 8), BOXSIZE=25.0)
    with pytest.raises(InputError, match="dimension=2"):
        Domain.load("fits", paths)
    assert Domain.load("fits", paths, dimension="2").field.shape == (4, 8, 8)
    assert Domain.load("fits", header(tmp_path, contrast(8, 8, 8), BOXSIZE=25.0)).field.shape == (1, 8, 8, 8)
