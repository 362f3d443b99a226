"""Importers on files of the real layout (names, units, shapes) at a small size, and one message for every bad input."""

import h5py
import numpy as np
import pytest
from astropy.io import fits

from physgen.domains.cosmology import Domain
from physgen.ensemble import check_ensemble, load_ensemble, save_ensemble
from physgen.errors import InputError

CAMELS = "Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy"
CRITICAL = 2.775e11
HEADER = "#Omega_m Omega_b h n_s sigma_8"


def density(*shape, seed=0):
    return np.exp(np.random.default_rng(seed).normal(-0.125, 0.5, shape)).astype(np.float32)


@pytest.fixture
def camels(tmp_path):
    """Two simulations x 15 maps of 16^2 and a params file with six columns, as the CMD documents them."""
    params = np.array([[0.3, 0.8, 1.0, 0.5, 1.2, 0.9], [0.2, 0.7, 2.0, 3.0, 0.6, 1.9]])
    maps = density(30, 16, 16) * np.repeat(params[:, 0], 15)[:, None, None] * CRITICAL * 5
    np.save(tmp_path / CAMELS, maps.astype(np.float32))
    np.savetxt(tmp_path / "params_LH_IllustrisTNG.txt", params)
    return tmp_path, maps.astype(np.float32), params


@pytest.fixture
def quijote(tmp_path):
    """Three realisations of a latin hypercube in folders 0, 1, 2 and its table with the documented header."""
    table = np.random.default_rng(0).uniform([0.1, 0.03, 0.5, 0.8, 0.6], [0.5, 0.07, 0.9, 1.2, 1.0], (5, 5))
    np.savetxt(tmp_path / "latin_hypercube_params.txt", table, header=HEADER[1:], comments="#")
    for i in range(3):
        folder = tmp_path / "3D_cubes" / "latin_hypercube" / str(i)
        folder.mkdir(parents=True)
        np.save(folder / "df_m_8_CIC_z=0.npy", density(8, 8, 8, seed=i) - 1)
    return tmp_path, table


def test_camels_maps_carry_their_own_parameters(camels, tmp_path):
    folder, maps, params = camels
    ensemble = check_ensemble(Domain.load("camels_maps", [folder / CAMELS]))
    np.testing.assert_array_equal(ensemble.field.values, maps)
    assert ensemble.field.attrs["units"] == "(Msun/h)/(Mpc/h)^2"
    assert ensemble.attrs["field_kind"] == "surface_density" and ensemble.attrs["domain"] == "cosmology"
    assert ensemble.attrs["box_size"] == 25 and ensemble.attrs["slab_thickness"] == 5
    assert list(ensemble.simulation.values) == [0] * 15 + [1] * 15
    for i, name in enumerate(("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")):
        np.testing.assert_allclose(ensemble[name].values, np.repeat(params[:, i], 15))
    back = load_ensemble(save_ensemble(ensemble, tmp_path / "camels.h5"))
    np.testing.assert_array_equal(back.field.values, maps)


def test_camels_maps_can_be_thinned_and_coarsened(camels):
    folder, maps, params = camels
    params_file = folder / "params_LH_IllustrisTNG.txt"
    ensemble = Domain.load("camels_maps", [folder / CAMELS, params_file], simulations="1", cells="8")
    expected = maps[:15].reshape(15, 8, 2, 8, 2).mean((2, 4))
    np.testing.assert_allclose(ensemble.field.values, expected, rtol=1e-6)
    assert (ensemble.Omega_m == params[0, 0]).all()
    assert float(ensemble.x[1] - ensemble.x[0]) == 25 / 8


def test_camels_nbody_suites_have_two_parameters_and_old_names_work(camels):
    folder, maps, params = camels
    np.save(folder / "Maps_Mtot_Nbody_IllustrisTNG_LH_z=0.00.npy", maps)
    np.savetxt(folder / "params_Nbody_IllustrisTNG.txt", params)
    ensemble = Domain.load("camels_maps", [folder / "Maps_Mtot_Nbody_IllustrisTNG_LH_z=0.00.npy"])
    assert {"Omega_m", "sigma_8"} <= set(ensemble.data_vars) and "A_SN1" not in ensemble
    assert ensemble.attrs["suite"] == "Nbody_IllustrisTNG"


def test_camels_grids_are_boxes_with_one_row_each(tmp_path):
    params = np.array([[0.3, 0.8, 1, 1, 1, 1], [0.2, 0.7, 1, 1, 1, 1]])
    grids = (density(2, 8, 8, 8) * params[:, 0].reshape(2, 1, 1, 1) * CRITICAL).astype(np.float32)
    path = tmp_path / "Grids_Mcdm_SIMBA_LH_128_z=0.50.npy"
    np.save(path, grids)
    np.savetxt(tmp_path / "table.txt", params)
    ensemble = Domain.load("camels_grids", [path], params=str(tmp_path / "table.txt"))
    np.testing.assert_array_equal(ensemble.field.values, grids)
    assert ensemble.field.dims == ("sample", "z", "y", "x") and ensemble.attrs["redshift"] == 0.5
    assert ensemble.field.attrs["units"] == "(Msun/h)/(Mpc/h)^3"
    small = Domain.load("camels_grids", [path], params=str(tmp_path / "table.txt"), simulations="1", cells="4")
    assert small.field.shape == (1, 4, 4, 4)


def test_quijote_cubes_find_their_row(quijote):
    folder, table = quijote
    cubes = folder / "3D_cubes" / "latin_hypercube"
    ensemble = check_ensemble(Domain.load("quijote", [cubes, folder / "latin_hypercube_params.txt"]))
    assert ensemble.field.shape == (3, 8, 8, 8) and ensemble.attrs["box_size"] == 1000
    turned = ensemble.field.transpose("sample", "x", "y", "z")  # as the files hold them
    np.testing.assert_allclose(turned.values[1], density(8, 8, 8, seed=1) - 1, rtol=1e-6)
    assert ensemble.field.dims == ("sample", "z", "y", "x")
    for i, name in enumerate(("Omega_m", "Omega_b", "h", "n_s", "sigma_8")):
        np.testing.assert_allclose(ensemble[name].values, table[:3, i])
    one = Domain.load(
        "quijote", [cubes / "2" / "df_m_8_CIC_z=0.npy"], params=str(folder / "latin_hypercube_params.txt")
    )
    assert one.simulation.values == [2] and one.sigma_8.values == pytest.approx(table[2, 4])


def test_quijote_slices_and_the_fiducial_folder(tmp_path):
    folder = tmp_path / "2D_maps" / "fiducial" / "7"
    folder.mkdir(parents=True)
    np.save(folder / "df_z=0.npy", density(16, 16) - 1)
    ensemble = Domain.load("quijote", [folder / "df_z=0.npy"])
    assert ensemble.field.dims == ("sample", "y", "x") and ensemble.Omega_m.values == [0.3175]
    assert ensemble.attrs["slab_thickness"] == pytest.approx(1000 * 5 / 256)


def test_bsq_counts_stay_counts_and_coarsen_by_sums(tmp_path):
    folder = tmp_path / "BSQ" / "1"
    folder.mkdir(parents=True)
    counts = np.random.default_rng(0).poisson(8, (8, 8, 8)).astype(np.float32)
    with h5py.File(folder / "df_m_CIC_z=0.00.hdf5", "w") as file:
        file["df"] = counts
    np.savetxt(tmp_path / "BSQ_params.txt", np.full((4, 5), 0.5), header=HEADER[1:], comments="#")
    ensemble = Domain.load("quijote", [folder / "df_m_CIC_z=0.00.hdf5", tmp_path / "BSQ_params.txt"], cells="4")
    assert ensemble.attrs["field_kind"] == "counts"
    assert float(ensemble.field.sum()) == counts.sum() and ensemble.field.shape == (1, 4, 4, 4)


def test_any_npy_needs_only_its_box(tmp_path):
    np.save(tmp_path / "a.npy", density(6, 8, 8) - 1)
    (tmp_path / "labels.txt").write_text("# Omega_m sigma_8\n0.3 0.8\n0.2 0.7\n")
    ensemble = Domain.load(
        "npy", [tmp_path / "a.npy"], box_size="25 Mpc/h", labels=str(tmp_path / "labels.txt"), maps_per_simulation="3"
    )
    assert list(ensemble.Omega_m.values) == [0.3] * 3 + [0.2] * 3 and list(ensemble.simulation.values) == [
        0,
        0,
        0,
        1,
        1,
        1,
    ]
    bare = Domain.load("npy", [tmp_path / "a.npy", tmp_path / "a.npy"], box_size="25000 kpc/h")
    assert bare.field.shape == (12, 8, 8) and bare.attrs["box_size"] == pytest.approx(25)
    np.save(tmp_path / "cube.npy", density(8, 8, 8))
    cube = Domain.load("npy", [tmp_path / "cube.npy"], box_size="50 Mpc", h="0.7", dimension="3", field_kind="density")
    assert cube.field.shape == (1, 8, 8, 8) and cube.attrs["box_size"] == pytest.approx(35)


def test_fits_axes_are_reversed_and_the_header_gives_the_box(tmp_path):
    image = density(8, 8) - 1
    hdu = fits.PrimaryHDU(image.astype(">f4"))
    hdu.header["BOXSIZE"], hdu.header["REDSHIFT"] = 64.0, 0.5
    hdu.writeto(tmp_path / "a.fits")
    ensemble = Domain.load("fits", [tmp_path / "a.fits"])
    np.testing.assert_array_equal(ensemble.field.values[0], image)
    assert ensemble.attrs["box_size"] == 64 and ensemble.attrs["redshift"] == 0.5
    assert Domain.load("fits", [tmp_path / "a.fits"], box_size="32 Mpc/h").attrs["box_size"] == 32


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box_size", "message"),
    [
        ("25", 'needs a unit, e.g. "25 Mpc/h"'),
        ("25 Mpc", "without the Hubble parameter"),
        ("25 Mpc/hour", "speed"),
        ("25 kg", "cannot be converted|unknown unit|without the Hubble"),
        ("-25 Mpc/h", "must be positive"),
        ("many Mpc/h", "not a number with a unit"),
    ],
)
def test_lengths_without_a_clear_unit_are_refused(tmp_path, box_size, message):
    np.save(tmp_path / "a.npy", density(4, 8, 8))
    with pytest.raises(InputError, match=message):
        Domain.load("npy", [tmp_path / "a.npy"], box_size=box_size)


def bad_npy(path, what):
    good = density(4, 8, 8) - 1
    if what == "objects":
        np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    elif what == "truncated":
        np.save(path, good)
        path.write_bytes(path.read_bytes()[:-100])
    elif what == "text":
        path.write_text("not an array")
    elif what == "nan":
        good[2, 3, 1] = np.nan
        np.save(path, good)
    elif what == "below":
        good[1, 0, 5] = -1.5
        np.save(path, good)
    else:
        np.save(path, {"oblong": density(4, 8, 6), "vector": density(5), "complex": good * 1j, "bool": good > 0}[what])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("objects", "never loads"),
        ("truncated", "truncated or damaged"),
        ("text", "truncated or damaged|never loads"),
        ("nan", r"nan at index \(2, 3, 1\)"),
        ("below", "delta is at least -1"),
        ("oblong", "must be square"),
        ("vector", r"save \(n, N, N\) maps"),
        ("complex", "real numbers"),
        ("bool", "real numbers"),
    ],
)
def test_bad_arrays_have_one_message_each(tmp_path, what, message):
    bad_npy(tmp_path / "a.npy", what)
    with pytest.raises(InputError, match=message) as caught:
        Domain.load("npy", [tmp_path / "a.npy"], box_size="25 Mpc/h")
    assert "a.npy" in str(caught.value)


def test_bad_options_of_npy_are_explained(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, density(4, 8, 8))
    (tmp_path / "three.txt").write_text("# a b\n1 2\n3 4\n5 6\n")
    (tmp_path / "bare.txt").write_text("1 2\n3 4\n1 2\n3 4\n")
    (tmp_path / "x.txt").write_text("x y\n1 2\n3 4\n1 2\n3 4\n")
    for options, message in [
        ({}, "box_size is needed"),
        ({"boxsize": "1 Mpc/h"}, "no option 'boxsize'"),
        ({"box_size": "25 Mpc/h", "cells": "3"}, "does not divide the 8 cells"),
        ({"box_size": "25 Mpc/h", "cells": "few"}, "not a whole number"),
        ({"box_size": "25 Mpc/h", "field_kind": "mass"}, "'mass' is unknown"),
        ({"box_size": "25 Mpc/h", "maps_per_simulation": "3"}, "does not divide the 4 fields"),
        ({"box_size": "25 Mpc/h", "labels": str(tmp_path / "three.txt")}, "3 rows for 4 fields"),
        ({"box_size": "25 Mpc/h", "labels": str(tmp_path / "bare.txt")}, "needs a first line"),
        ({"box_size": "25 Mpc/h", "labels": str(tmp_path / "x.txt")}, "another meaning"),
        ({"box_size": "25 Mpc/h", "labels": str(tmp_path / "none.txt")}, "cannot be read"),
    ]:
        with pytest.raises(InputError, match=message):
            Domain.load("npy", [path], **options)


def test_bad_camels_sets_are_explained(camels):
    folder, maps, params = camels
    path, table = folder / CAMELS, folder / "params_LH_IllustrisTNG.txt"

    def refused(message, paths=(path,), format="camels_maps", **options):
        with pytest.raises(InputError, match=message):
            Domain.load(format, list(paths), **options)

    refused("2 .npy files were given", [path, path])
    refused("is not a name of this format", [path], format="camels_grids")
    refused("3 were asked for", simulations="3")
    np.savetxt(table, params[:1])
    refused("has 1 rows, .* holds 30 fields; they need 2 rows x 15 maps")
    np.savetxt(table, params[:, :5])
    refused("has 5 columns, this format has 6")
    table.write_text("0.3 0.8 1 1 1 1\n0.2 0.7 1\n")
    refused("not a table of numbers with equal rows")
    table.unlink()
    refused("parameters of .* were not found")
    np.savetxt(table, params)
    np.save(path, np.log10(maps))
    refused("in other units or logarithmic")
    np.save(path, maps[0])
    refused("Maps files have 3 axes")
    maps[7, 1, 2] = np.inf
    np.save(path, maps)
    refused(r"inf at index \(7, 1, 2\)")


def test_bad_quijote_sets_are_explained(quijote):
    folder, table = quijote
    cube, params = folder / "3D_cubes/latin_hypercube/2/df_m_8_CIC_z=0.npy", folder / "latin_hypercube_params.txt"

    def refused(message, paths, **options):
        with pytest.raises(InputError, match=message):
            Domain.load("quijote", paths, **options)

    refused("parameters were not found", [cube])
    refused("counts is at least 0", [cube, params], field_kind="counts")
    np.savetxt(params, table[:2])
    refused("has 2 rows, realisation 2 needs row 2", [cube, params])
    np.savetxt(params, table[:, :4])
    refused("has 4 columns, this format has 5 or 7", [cube, params])
    np.savetxt(params, table)
    np.save(folder / "df_m_8_CIC_z=0.npy", density(8, 8, 8))
    refused("folder named after its realisation", [folder / "df_m_8_CIC_z=0.npy", params])
    np.save(cube.parent / "cube.npy", density(8, 8, 8))
    refused("is not a name of this format", [cube.parent / "cube.npy", params])
    np.save(cube, density(8, 8) - 1)
    refused("its name says 3-D", [cube, params])
    bsq = cube.parent / "df_m_CIC_z=0.00.hdf5"
    bsq.write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 100)
    refused("cannot be read as HDF5", [bsq, params])
    with h5py.File(bsq, "w") as file:
        file["density"] = np.zeros((8, 8, 8))
    refused("no data set 'df'", [bsq, params])


def test_a_damaged_fits_file_is_explained(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  = nothing")
    with pytest.raises(InputError, match="cannot be read as FITS|no 2-D or 3-D image"):
        Domain.load("fits", [tmp_path / "a.fits"], box_size="25 Mpc/h")
    fits.PrimaryHDU(density(8, 8)).writeto(tmp_path / "b.fits")
    with pytest.raises(InputError, match="box_size is needed"):
        Domain.load("fits", [tmp_path / "b.fits"])


def test_unknown_formats_are_named():
    with pytest.raises(InputError, match="choose one of camels_maps"):
        Domain.load("ramses", [])
