"""Every export, read back by the command that it prints, is the ensemble that it was."""

import shlex

import h5py
import numpy as np
import pytest
from astropy.io import fits

import physgen as pg
from physgen.cli import main
from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.arrays import make_ensemble
from physgen.domains.cosmology.options import Box
from physgen.ensemble import load_ensemble, save_ensemble
from physgen.errors import InputError
from physgen.stages.data import describe_domains
from physgen.stages.exporting import export_files

FORMATS = sorted(Domain.exports)
PATHS = {"npy": "out.npy", "hdf5": "out.hdf5", "fits": "out", "the_well": "out.h5"}
FACTS = (
    "field_kind",
    "box_size",
    "box_size_units",
    "redshift",
    "slab_thickness",
    "h",
    "mass_assignment",
    "periodic",
    "source_redshift",
    "redshift_space",
    "number_density",
)


def fields(*shape, seed=0):
    return (np.exp(np.random.default_rng(seed).normal(-0.125, 0.5, shape)) - 1).astype(np.float32)


def case(name):
    """Ensembles that a format must hold: (fields, kind, box, labels, simulation, attrs, components)."""
    labels = {"Omega_m": np.repeat([0.1 + 0.2, 1 / 3], 3), "sigma_8": np.repeat([0.7, 0.9], 3)}
    blocks = np.repeat([0, 1], 3)
    told = {"redshift": 0.5, "h": 0.6711, "slab_thickness": 5.0, "mass_assignment": "CIC"}
    told |= {"redshift_space": "along the line of sight", "number_density": 1 / 3}
    if name == "slabs":
        return make_ensemble(fields(6, 8, 8), "delta", 25.0, labels, blocks, told)
    if name == "shuffled":  # fields of one simulation do not follow each other, each has a redshift of its own
        mixed = np.array([2, 0, 1, 5, 4, 3])
        own = {"Omega_m": np.linspace(0.1, 0.5, 6), "redshift": np.array([0, 1, 2.0, 0, 0.1, 3])}
        return make_ensemble(fields(6, 8, 8), "delta", 25.0, own, mixed, {})
    if name == "boxes":
        counts = np.random.default_rng(0).poisson(8, (3, 8, 8, 8)).astype(np.float32)
        return make_ensemble(counts, "counts", 1000.0, {"w": np.array([-1.1, -1, -0.9])}, np.arange(3), {"redshift": 0})
    if name == "gas":
        labels |= {"A_SN1": np.repeat([0.25, 4.0], 3)}
        attrs = {"field_units": "(Msun/h)/(Mpc/h)^2", "slab_thickness": 5.0}
        two = np.stack([4e11 * (1 + fields(6, 8, 8)), 4e10 * (1 + fields(6, 8, 8, seed=1))], axis=1)
        return make_ensemble(two, "surface_density", 25.0, labels, blocks, attrs, ["Mcdm", "Mgas"])
    if name == "lensing":
        return make_ensemble(
            0.02 * fields(4, 8, 8), "real", Box((3.5,), "deg"), {"M_nu": np.array([0.1, 0, 0, 0.2])}, np.arange(4),
            {"periodic": 0, "source_redshift": 1.034},
        )  # fmt: skip
    sides = Box((10.0, 20.0))
    temperature = {"field_name": "T", "field_units": "K"}
    return make_ensemble(1e4 * (1 + fields(5, 4, 8)), "positive", sides, {}, np.arange(5), temperature)


def read_back(format, ensemble, path):
    written = export_files(format, ensemble, path)
    assert all(one.exists() for one in written.paths)
    files = [word for word in written.back[1:] if "=" not in word]
    return pg.import_files(written.back[0], files, **dict(word.split("=", 1) for word in written.back if "=" in word))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["slabs", "shuffled", "boxes", "gas", "lensing", "strips"])
def test_what_is_read_back_is_what_was_written(tmp_path, format, name):
    ensemble = case(name).assign_attrs(domain="cosmology")
    back = read_back(format, ensemble, tmp_path / PATHS[format])
    np.testing.assert_array_equal(back.field.values, ensemble.field.values)
    assert back.field.dims == ensemble.field.dims and back.field.attrs["units"] == ensemble.field.attrs["units"]
    assert set(back.data_vars) - {"source"} == set(ensemble.data_vars)
    single = format == "the_well"  # labels in single precision there
    for label in set(ensemble.data_vars) - {"field"}:
        np.testing.assert_allclose(back[label].values, ensemble[label].values, rtol=6e-8 if single else 0)
    for coord in ensemble.coords:
        if coord != "mean_density":
            assert (back[coord].values == ensemble[coord].values).all()
            assert back[coord].attrs["units"] == ensemble[coord].attrs["units"]
    for fact in FACTS:
        assert back.attrs.get(fact) == ensemble.attrs.get(fact), fact


def test_snapshots_along_a_dim_become_samples_with_a_redshift(tmp_path):
    snapshots = case("slabs").drop_attrs(deep=False).assign_attrs(domain="cosmology", field_kind="delta")
    both = snapshots.drop_vars("field").assign_coords(redshift=("redshift", [0.0, 1.0]))
    both["field"] = (("sample", "redshift", "y", "x"), fields(6, 2, 8, 8))
    back = read_back("npy", both, tmp_path / "out.npy")
    assert back.redshift.values.tolist() == [0, 1] * 6 and back.simulation.values.tolist() == [0] * 6 + [1] * 6
    np.testing.assert_array_equal(back.field.values.reshape(6, 2, 8, 8), both.field.values)


def test_the_table_is_that_of_camels(tmp_path):
    """A row for each simulation, as numpy.loadtxt reads it: map i has row i // 3."""
    pg.export("npy", case("slabs").assign_attrs(domain="cosmology"), tmp_path / "maps.npy")
    assert (tmp_path / "maps_params.txt").read_text().startswith("#Omega_m sigma_8\n")
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "maps_params.txt"), [[0.1 + 0.2, 0.7], [1 / 3, 0.9]])


def test_the_printed_command_runs_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_ensemble(case("slabs").assign_attrs(domain="cosmology"), "in.h5")
    for format in FORMATS:
        assert main(["export", format, "in.h5", "-o", PATHS[format]]) == 0
        command = capsys.readouterr().out.split("next, to read it back: ")[1]
        assert main(shlex.split(command)[1:]) == 0
        np.testing.assert_array_equal(load_ensemble("out-back.h5").field, load_ensemble("in.h5").field)
        (tmp_path / "out-back.h5").unlink()
        capsys.readouterr()


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ensemble = case("slabs").assign_attrs(domain="cosmology")
    save_ensemble(ensemble, "in.h5")
    (tmp_path / "out_params.txt").write_text("mine")
    assert main(["export", "npy", "in.h5", "-o", "out.npy"]) == 2
    assert "out_params.txt exists already" in capsys.readouterr().err
    assert main(["export", "npy", "in.h5", "-o", "in.h5"]) == 2 and "in.h5 exists already" in capsys.readouterr().err
    assert main(["export", "ascii", "in.h5", "-o", "out.txt"]) == 2
    assert "cannot be exported as 'ascii': choose one of npy, hdf5, fits, the_well" in capsys.readouterr().err
    with pytest.raises(InputError, match="mask"):
        masked = ensemble.assign(mask=(("y", "x"), np.ones((8, 8), np.int8)))
        export_files("npy", masked, "masked.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5", "out_params.txt"]
    assert (tmp_path / "out_params.txt").read_text() == "mine"


def test_labels_of_headers_are_read_and_confronted(tmp_path):
    """OMEGAM and SIGMA8 of anybody's images are labels; a table that says others belongs to others."""
    for i in range(3):
        image = fits.PrimaryHDU(fields(8, 8, seed=i))
        image.header.update(BOXSIZE=25.0, BUNIT="delta", OMEGAM=0.2 + 0.1 * i, SIGMA8=0.8)
        image.writeto(tmp_path / f"map_{i}.fits")
    paths = [tmp_path / f"map_{i}.fits" for i in range(3)]
    ensemble = Domain.load("fits", paths)
    np.testing.assert_allclose(ensemble.Omega_m, [0.2, 0.3, 0.4])
    assert ensemble.sigma_8.values.tolist() == [0.8] * 3 and ensemble.simulation.values.tolist() == [0, 1, 2]
    (tmp_path / "table.txt").write_text("#Omega_m h\n0.2 0.7\n0.4 0.7\n0.3 0.7\n")
    with pytest.raises(InputError, match="say Omega_m = 0.3 of field 1, the table 0.4: the rows belong"):
        Domain.load("fits", [*paths, tmp_path / "table.txt"])
    with pytest.raises(InputError, match="would hold 6 fields, FITS has one a file: name a folder, -o maps"):
        export_files("fits", case("slabs").assign_attrs(domain="cosmology"), tmp_path / "maps.fits")


def test_each_physics_says_which_labels_its_data_have():
    """Those of fields come with the data: "none" would be false."""
    told = {part.split(":")[0]: part for part in describe_domains().split("\n\n")}
    assert "labels: those that the data have: Omega_m and sigma_8 of simulations" in told["cosmology"]
    assert all(f"physgen export {format}" in told["cosmology"] for format in FORMATS)
    assert "physgen export npy" in told["spins"] and "labels: none beside the conditions" in told["spins"]


def test_plain_hdf5_says_what_the_ensemble_says(tmp_path):
    pg.export("hdf5", case("slabs").assign_attrs(domain="cosmology"), tmp_path / "maps.hdf5")
    with h5py.File(tmp_path / "maps.hdf5") as file:
        assert file.attrs["box_size"] == 25 and file.attrs["redshift"] == 0.5 and file["x"].attrs["units"] == "Mpc/h"
        assert file["field"].shape == (6, 8, 8) and list(file["field"].attrs["dims"]) == ["sample", "y", "x"]
