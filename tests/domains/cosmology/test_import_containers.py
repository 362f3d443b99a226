"""Containers that people have: .npz, .pt, HDF5 with its plugins or without; a file of another format is named."""

import subprocess
import sys

import h5py
import hdf5plugin
import numpy as np
import pytest
import torch

from physgen.cli import main
from physgen.domains.cosmology import Domain
from physgen.ensemble import load_ensemble
from physgen.errors import InputError

BOX = "25 Mpc/h"
MAPS = 0.1 * np.random.default_rng(0).normal(size=(6, 8, 8)).astype(np.float32)


def values(ensemble):
    return ensemble.field.values


def test_torch_files_are_read_without_running_code(tmp_path):
    torch.save(torch.tensor(MAPS)[:, None], tmp_path / "one.pt")
    np.testing.assert_array_equal(values(Domain.load("npy", [tmp_path / "one.pt"], box_size=BOX)), MAPS)
    torch.save({"train": torch.tensor(MAPS), "labels": torch.ones(6, 2, 2)}, tmp_path / "dict.pt")
    with pytest.raises(InputError, match="holds train .6, 8, 8., labels .6, 2, 2.: say which one, data=NAME"):
        Domain.load("npy", [tmp_path / "dict.pt"], box_size=BOX)
    np.testing.assert_array_equal(values(Domain.load("npy", [tmp_path / "dict.pt"], box_size=BOX, data="train")), MAPS)
    torch.save(torch.tensor(MAPS).bfloat16(), tmp_path / "half.pt")
    half = values(Domain.load("npy", [tmp_path / "half.pt"], box_size=BOX))
    np.testing.assert_allclose(half, MAPS, rtol=2**-8)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(InputError, match="not a file of plain tensors"):
        Domain.load("npy", [tmp_path / "model.pt"], box_size=BOX)


def test_npz_members_become_components(tmp_path):
    np.savez(tmp_path / "a.npz", Mcdm=MAPS, Mgas=2 * MAPS, k=np.arange(3.0))
    with pytest.raises(InputError, match="say which one, data=NAME"):
        Domain.load("npy", [tmp_path / "a.npz"], box_size=BOX)
    both = Domain.load("npy", [tmp_path / "a.npz"], box_size=BOX, data="Mcdm,Mgas")
    assert list(both.component.values) == ["Mcdm", "Mgas"] and both.field.shape == (6, 2, 8, 8)
    np.testing.assert_array_equal(values(both)[:, 1], 2 * MAPS)
    np.savez(tmp_path / "o.npz", a=np.array([None, 1], dtype=object))
    with pytest.raises(InputError, match="save plain numeric arrays"):
        Domain.load("npy", [tmp_path / "o.npz"], box_size=BOX)


def test_files_become_components_where_they_are_named(tmp_path):
    for i, name in enumerate(("gas", "stars")):
        np.save(tmp_path / f"{name}.npy", (i + 1) * MAPS)
    paths = [tmp_path / "gas.npy", tmp_path / "stars.npy"]
    ensemble = Domain.load("npy", paths, box_size=BOX, components="Mgas,Mstar", field_kind="delta,real")
    assert ensemble.field.shape == (6, 2, 8, 8) and ensemble.attrs["field_kind"] == "delta, real"
    np.testing.assert_array_equal(values(ensemble)[:, 1], 2 * MAPS)
    assert Domain.load("npy", paths, box_size=BOX).field.shape == (12, 8, 8)


@pytest.fixture
def hdf5(tmp_path):
    def write(**attrs):
        path = tmp_path / "f.hdf5"
        with h5py.File(path, "w") as file:
            file["maps/Mcdm"] = (1 + MAPS) * 4e11
            file["maps/T"] = (1 + MAPS) * 1e4
            file["maps/Mcdm"].attrs["units"] = "(Msun/h)/(Mpc/h)^2"
            file["maps/T"].attrs["units"] = b"K"
            file.attrs.update(attrs)
        return [path]

    return write


def test_hdf5_data_sets_and_their_attributes(hdf5):
    with pytest.raises(InputError, match="holds maps/Mcdm .6, 8, 8., maps/T .6, 8, 8.: say which one"):
        Domain.load("hdf5", hdf5(), box_size=BOX)
    ensemble = Domain.load("hdf5", hdf5(redshift=0.5), box_size=BOX, data="maps/Mcdm")
    assert ensemble.attrs["field_kind"] == "surface_density" and ensemble.attrs["redshift"] == 0.5
    np.testing.assert_allclose(values(ensemble), (1 + MAPS) * 4e11, rtol=1e-6)
    both = Domain.load("hdf5", hdf5(), box_size=BOX, data="maps/Mcdm,maps/T")
    assert both.attrs["field_kind"] == "surface_density, positive" and both.sizes["component"] == 2
    with pytest.raises(InputError, match="no data set 'Mgas'"):
        Domain.load("hdf5", hdf5(), box_size=BOX, data="Mgas")
    with pytest.raises(InputError, match="that is field_kind=surface_density; you gave field_kind=density"):
        Domain.load("hdf5", hdf5(), box_size=BOX, data="maps/Mcdm", field_kind="density")


def test_labels_beside_the_fields(tmp_path):
    params = np.column_stack([np.linspace(0.1, 0.5, 6), np.linspace(0.6, 1, 6)])
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["maps"], file["params"], file["run/Omega_m"] = MAPS, params, params[:, 0]
        file["params"].attrs["names"] = ["Omega_m", "sigma_8"]
    np.savez(tmp_path / "a.npz", maps=MAPS, Omega_m=params[:, 0], sigma_8=params[:, 1], params=params)
    for format, name, labels in [
        ("hdf5", "f.h5", "params"),
        ("hdf5", "f.h5", "params[Omega_m,sigma_8]"),
        ("hdf5", "f.h5", "run/Omega_m"),
        ("npy", "a.npz", "Omega_m,sigma_8"),
        ("npy", "a.npz", "params[Omega_m,sigma_8]"),
    ]:
        ensemble = Domain.load(format, [tmp_path / name], box_size=BOX, data="maps", labels=labels)
        np.testing.assert_allclose(ensemble.Omega_m, params[:, 0])
    for labels, message in [
        ("params", "2 columns and 0 names"),
        ("x", "is not a file"),
        ("maps,Omega_m", "equal length"),
    ]:
        with pytest.raises(InputError, match=message):
            Domain.load("npy", [tmp_path / "a.npz"], box_size=BOX, data="maps", labels=labels)


def test_the_box_of_an_hdf5_file(hdf5):
    def load(attrs, **options):
        return Domain.load("hdf5", hdf5(**attrs), data="maps/Mcdm", **options)

    with_unit = {"BoxSize": 25000.0, "box_units": "kpc/h"}
    assert load(with_unit).attrs["box_size"] == pytest.approx(25)
    assert load(with_unit, box_size="25 Mpc/h").attrs["box_size"] == pytest.approx(25)
    with pytest.raises(InputError, match="says a box of 25000.0 kpc/h, you gave box_size=50 Mpc/h"):
        load(with_unit, box_size="50 Mpc/h")
    with pytest.raises(InputError, match='without a unit: give box_size, e.g. box_size="25000.0 kpc/h"'):
        load({"BoxSize": 25000.0})
    assert "without a unit" not in load({"BoxSize": 25000.0}, box_size="25 Mpc/h").attrs["import_notes"]
    assert "yours is used" in load({"BoxSize": 25000.0}, box_size="50 Mpc/h").attrs["import_notes"]


def test_blosc_is_read_with_its_plugin_and_named_without(tmp_path):
    path = tmp_path / "BSQ" / "0" / "df_m_CIC_z=0.00.hdf5"
    path.parent.mkdir(parents=True)
    counts = np.random.default_rng(0).poisson(8, (8, 8, 8)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("df", data=counts, **hdf5plugin.Blosc())
    (tmp_path / "p.txt").write_text("# Omega_m Omega_b h n_s sigma_8\n0.28 0.027 0.716 0.84 0.97\n")
    ensemble = Domain.load("quijote", [path, tmp_path / "p.txt"])
    np.testing.assert_array_equal(values(ensemble)[0], counts.T)
    # a process in which the plugin cannot be imported
    code = (
        "import sys; sys.modules['hdf5plugin'] = None\n"
        "from physgen.domains.cosmology import Domain; from physgen.errors import InputError\n"
        "try: Domain.load('quijote', sys.argv[1:])\n"
        "except InputError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code, path, tmp_path / "p.txt"], capture_output=True, text=True)
    assert "compressed with Blosc (HDF5 filter 32001)" in ran.stdout and "pip install hdf5plugin" in ran.stdout, ran


@pytest.mark.parametrize(
    ("format", "name", "message"),
    [
        ("npy", "f.hdf5", "is an HDF5 file, not .npy: use `physgen import hdf5"),
        ("npy", "a.fits", "is a FITS file, not .npy: use `physgen import fits"),
        ("hdf5", "m.npy", "is a .npy file, not HDF5: use `physgen import npy"),
        ("hdf5", "a.fits", "is a .fits file, not HDF5: use `physgen import fits"),
        ("fits", "m.npy", "is a .npy file, not FITS: use `physgen import npy"),
        ("fits", "f.hdf5", "is an HDF5 file, not FITS: use `physgen import hdf5"),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path, format, name, message):
    from astropy.io import fits

    np.save(tmp_path / "m.npy", MAPS)
    fits.writeto(tmp_path / "a.fits", MAPS[0])
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file["field"] = MAPS
    with pytest.raises(InputError, match=message):
        Domain.load(format, [tmp_path / name], box_size=BOX)


def test_a_mistyped_path_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("m.npy", MAPS)
    assert main(["import", "npy", "Maps_z=0.0.npy", "box_size=25 Mpc/h", "-o", "o.h5"]) == 2
    assert "Maps_z=0.0.npy is not an existing file, so it was read as an option" in capsys.readouterr().err
    assert main(["import", "npy", "m.npy", "Maps_z=0.0.npy", "box_size=25 Mpc/h", "-o", "o.h5"]) == 2
    assert "Maps_z=0.0.npy is neither a file here nor an option of npy: check the path" in capsys.readouterr().err


def test_the_command_prints_what_was_joined(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for i in (2, 10):
        np.save(f"m_{i}.npy", MAPS + 0.01 * i)
    np.savetxt("l.csv", np.ones((12, 2)), delimiter=",", header="Omega_m,sigma_8")
    assert main(["import", "npy", "m_10.npy", "m_2.npy", "l.csv", "box_size=25 Mpc/h", "-o", "o.h5"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "order of the 2 files: m_2.npy, m_10.npy"
    assert printed[1] == "labels Omega_m, sigma_8 from l.csv, row by row" and printed[2] == "wrote o.h5"
    ensemble = load_ensemble(tmp_path / "o.h5")
    assert ensemble.attrs["import_notes"].splitlines() == printed[:2]
    assert ensemble.source.values[0] == "m_2.npy[0]" and float(ensemble.field[6:].mean()) > 0.05
