"""Particle snapshots in the layouts of Quijote and CAMELS: completed, counted, painted as the simulator paints."""

import h5py
import numpy as np
import pytest

from physgen.cli import main
from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.background import CosmologyParams
from physgen.domains.cosmology.mesh import density_contrast
from physgen.domains.cosmology.sheet import sheet_contrast
from physgen.domains.cosmology.simulate import SimulationBox, simulate_particles
from physgen.ensemble import load_ensemble
from physgen.errors import InputError

N, SIDE, CELLS = 16, 64.0, 16
CRITICAL = 27.7536627  # 1e10 Msun/h / (Mpc/h)^3


@pytest.fixture(scope="module")
def particles():
    """Positions (3, n) in Mpc/h in the order of the lattice, of a crude simulation of the fiducial cosmology."""
    return simulate_particles(CosmologyParams(), SimulationBox(SIDE, N, 1.0, 3), 1)


def write(folder, positions, parts=2, redshift=0.0, Omega_m=0.3175, kpc=True, stem="snap_004", **options):
    """Files of one snapshot with particles in a shuffled order; ``options``: blosc, header, velocities."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation(positions.shape[1])
    count = len(order)
    unit = 1e3 if kpc else 1.0
    velocities = options.get("velocities", np.zeros((3, count)))
    header = {
        "NumPart_Total": np.array([0, count, 0, 0, 0, 0], np.uint32), "NumPart_Total_HighWord": np.zeros(6, np.uint32),
        "MassTable": np.array([0, Omega_m * CRITICAL * SIDE**3 / count, 0, 0, 0, 0]), "BoxSize": SIDE * unit,
        "Redshift": redshift, "Time": 1 / (1 + redshift), "NumFilesPerSnapshot": parts, "Omega0": Omega_m,
        "OmegaLambda": 1 - Omega_m, "HubbleParam": 0.6711, **options.get("header", {}),
    }  # fmt: skip
    for part, some in enumerate(np.array_split(order, parts)):
        name = f"{stem}.{part}.hdf5" if parts > 1 else f"{stem}.hdf5"
        with h5py.File(folder / name, "w") as file:  # columns x, y, z; axes of a box are z, y, x
            file.create_group("Header").attrs.update(header)
            file["Header"].attrs["NumPart_ThisFile"] = np.array([0, len(some), 0, 0, 0, 0], np.int32)
            group = file.create_group("PartType1")
            coordinates = (positions.numpy()[::-1].T[some] * unit).astype(np.float32)
            group.create_dataset("Coordinates", data=coordinates, **options.get("blosc", {}))
            group["Velocities"] = velocities[::-1].T[some].astype(np.float32)
            group["ParticleIDs"] = (some + 1).astype(np.uint32)
    return folder / (f"{stem}.0.hdf5" if parts > 1 else f"{stem}.hdf5")


@pytest.fixture
def quijote(tmp_path, particles):
    """``fiducial/3/snapdir_004/snap_004.{0,1}.hdf5``."""
    return write(tmp_path / "fiducial" / "3" / "snapdir_004", particles)


def painted(particles, cells=CELLS):
    return density_contrast(particles * (cells / SIDE), cells).numpy()


def test_one_file_brings_its_whole_set(quijote, particles):
    ensemble = Domain.load("gadget", [quijote], cells=str(CELLS))
    assert ensemble.field.dims == ("sample", "z", "y", "x")
    # two painters add the same weights in another order: rounding of single precision
    np.testing.assert_allclose(ensemble.field.values[0], painted(particles), atol=1e-4)
    assert abs(float(ensemble.field.mean())) < 1e-6 and ensemble.attrs["field_kind"] == "delta"
    assert ensemble.attrs["box_size"] == SIDE and ensemble.attrs["redshift"] == 0 and ensemble.h.item() == 0.6711
    assert ensemble.Omega_m.item() == 0.3175 and ensemble.sigma_8.item() == 0.834 and ensemble.simulation.item() == 3
    assert ensemble.attrs["number_density"] == pytest.approx(N**3 / SIDE**3)
    assert "1 snapshots in 2 files, complete by their headers" in ensemble.attrs["import_notes"]


def test_slabs_are_those_of_the_simulator(quijote, particles):
    ensemble = Domain.load("gadget", [quijote.parents[1]], cells="16", thickness="16 Mpc/h", slabs="2")
    assert ensemble.field.shape == (6, 16, 16) and ensemble.attrs["slab_thickness"] == 16
    delta = painted(particles)
    np.testing.assert_allclose(ensemble.field.values[0], delta[:4].mean(0), atol=1e-4)
    np.testing.assert_allclose(ensemble.field.values[3], delta[:, 8:12].mean(1), atol=1e-4)
    with pytest.raises(InputError, match="whole number of cells"):
        Domain.load("gadget", [quijote], cells="16", thickness="15 Mpc/h")


def test_the_sheet_is_put_together_by_identifiers(quijote, particles):
    ensemble = Domain.load("gadget", [quijote], cells=str(CELLS), painting="sheet")
    expected = sheet_contrast(particles * (CELLS / SIDE), N, CELLS).numpy()
    np.testing.assert_allclose(ensemble.field.values[0], expected, atol=1e-3)


def test_redshift_space_shifts_along_one_axis(tmp_path, particles):
    """Peculiar velocities of one cell over (1 + z)/H, stored over the root of a, roll the box by one cell."""
    z = 1.0
    rate = 100 * np.sqrt(0.3175 * (1 + z) ** 3 + 0.6825)
    peculiar = SIDE / CELLS * rate / (1 + z)
    velocities = np.zeros((3, N**3))
    velocities[0] = peculiar * np.sqrt(1 + z)  # along z, the first axis of a box
    path = write(tmp_path / "run", particles, redshift=z, velocities=velocities)
    plain, shifted = (Domain.load("gadget", [path], cells="16", **more) for more in ({}, {"rsd": "z"}))
    # single precision of stored velocities: 1e-7 of a cell times the gradient
    np.testing.assert_allclose(shifted.field.values, np.roll(plain.field.values, 1, axis=1), atol=1e-3)
    assert shifted.attrs["redshift_space"] == "along z" and plain.attrs["redshift_space"] == "none"
    slabs = Domain.load("gadget", [path], cells="16", rsd="z", slabs="2")
    assert slabs.field.shape == (2, 16, 16)
    np.testing.assert_allclose(slabs.field.values[0], shifted.field.values[0][:8].mean(0), atol=1e-5)


def test_rows_of_a_table_belong_to_folders_and_are_confronted(tmp_path, particles):
    for i, Omega_m in ((7, 0.3), (2, 0.2)):
        write(tmp_path / "latin_hypercube" / str(i) / "snapdir_004", particles, Omega_m=Omega_m)
    table = np.tile([0.1, 0.05, 0.6711, 0.96, 0.8], (8, 1))
    table[[2, 7], 0], table[[2, 7], 4] = (0.2, 0.3), (0.62, 0.97)
    np.savetxt(tmp_path / "latin_hypercube_params.txt", table, header="Omega_m Omega_b h n_s sigma_8", comments="#")
    paths = [tmp_path / "latin_hypercube", tmp_path / "latin_hypercube_params.txt"]
    ensemble = Domain.load("gadget", paths, cells="8")
    assert ensemble.simulation.values.tolist() == [2, 7] and ensemble.sigma_8.values.tolist() == [0.62, 0.97]
    np.savetxt(paths[1], table[::-1], header="Omega_m Omega_b h n_s sigma_8", comments="#")
    with pytest.raises(InputError, match="says Omega_m = 0.2, its row 0.1: the table belongs to other simulations"):
        Domain.load("gadget", paths, cells="8")


def test_snapshots_of_several_redshifts_are_asked_for(tmp_path, particles):
    for number, z in ((2, 1.0), (4, 0.0)):
        write(tmp_path / "LH_0", particles, parts=1, redshift=z, stem=f"snapshot_00{number}")
    (tmp_path / "table.txt").write_text("#Name Omega_m sigma_8 seed\nLH_1 0.1 0.7 12\nLH_0 0.3175 0.9 11\n")
    with pytest.raises(InputError, match="redshifts 0, 1: choose one, redshift=0, or redshift=all"):
        Domain.load("gadget", [tmp_path / "LH_0"], cells="8")
    one = Domain.load("gadget", [tmp_path / "LH_0", tmp_path / "table.txt"], cells="8", redshift="1")
    assert one.attrs["redshift"] == 1 and one.sigma_8.item() == 0.9 and one.seed.item() == 11
    both = Domain.load("gadget", [tmp_path / "LH_0"], cells="8", redshift="all")
    assert sorted(both.redshift.values) == [0, 1] and "redshift" not in both.attrs
    assert both.simulation.values.tolist() == [0, 0]


def test_all_matter_is_the_mass_of_every_type(tmp_path, particles):
    """Gas with masses of its own beside dark matter: asked for, weighed; tracers without a mass are no matter."""
    path = write(tmp_path / "LH_3", particles, parts=1, Omega_m=0.3)
    dark = 0.25 / 0.3
    with h5py.File(path, "a") as file:
        table = file["Header"].attrs["MassTable"]
        each = table[1]
        file["Header"].attrs["MassTable"] = table * dark
        counts = np.array([N**3, N**3, 0, 5, 0, 0])
        file["Header"].attrs["NumPart_Total"] = file["Header"].attrs["NumPart_ThisFile"] = counts
        half = file["PartType1/Coordinates"][:].copy()
        file["PartType0/Coordinates"] = half[:, [1, 2, 0]]
        file["PartType0/Masses"] = (each * (1 - dark) * np.linspace(0, 2, N**3)).astype(np.float32)
        file["PartType3/Coordinates"] = half[:5]
        masses, gas = file["PartType0/Masses"][:], half[:, [0, 2, 1]].T / 1e3
    with pytest.raises(InputError, match="0 .gas, 4096., 1 .dark matter, 4096.: say particles=all"):
        Domain.load("gadget", [path], cells="8")
    whole = Domain.load("gadget", [path], cells="8", particles="all").field.values[0]
    alone = Domain.load("gadget", [path], cells="8", particles="dark").field.values[0]
    np.testing.assert_allclose(alone, painted(particles, 8), atol=1e-4)
    # masses along the diagonal mode of the mesh: the transform of a cloud in a cell is that of its particle
    index = np.floor(gas * 8 / SIDE).astype(int) % 8
    nearest = np.zeros((8, 8, 8))
    np.add.at(nearest, tuple(index), masses)
    assert np.corrcoef(nearest.ravel(), (whole - dark * alone).ravel())[0, 1] > 0.5
    assert abs(whole.mean()) < 1e-6 and not np.allclose(whole, alone, atol=0.01)


def test_what_is_missing_or_mixed_is_named(quijote, tmp_path, particles):
    other = quijote.with_name("snap_004.1.hdf5")
    with h5py.File(quijote, "a") as file:
        file["Header"].attrs["NumPart_ThisFile"] = [0, 5, 0, 0, 0, 0]
    with pytest.raises(InputError, match="says 0, 4096, 0, 0, 0, 0 particles of each type, its 2 files hold 0, 2053"):
        Domain.load("gadget", [other])
    other.unlink()
    with pytest.raises(InputError, match="should hold 2 files of snap_004, snap_004.1.hdf5 is missing"):
        Domain.load("gadget", [quijote])
    with pytest.raises(InputError, match="is not the name of a snapshot"):
        Domain.load("gadget", [quijote.rename(quijote.with_name("groups_004.hdf5"))])


def test_the_unit_of_lengths_is_that_which_makes_the_matter_right(tmp_path, particles):
    """A snapshot in Mpc/h without a unit is recognised by its density; one that fits no unit is refused."""
    path = write(tmp_path / "a", particles, kpc=False)
    ensemble = Domain.load("gadget", [path], cells="8")
    assert ensemble.attrs["box_size"] == SIDE
    with pytest.raises(InputError, match="times the matter of Omega_m = 0.3175|a box of"):
        Domain.load("gadget", [path], cells="8", length_unit="kpc/h")
    wrong = write(tmp_path / "b", particles, header={"Omega0": 0.2})
    with pytest.raises(InputError, match="1.59 times the matter of Omega_m = 0.2"):
        Domain.load("gadget", [wrong], cells="8")


def test_blosc_is_read_with_its_plugin_and_named_without(tmp_path, particles, monkeypatch):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = write(tmp_path / "a", particles, blosc=dict(hdf5plugin.Blosc(cname="zstd", clevel=3, shuffle=2)))
    compressed = Domain.load("gadget", [path], cells="8")
    np.testing.assert_allclose(compressed.field.values[0], painted(particles, 8), atol=1e-4)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code != 32001)
    with pytest.raises(InputError, match="compressed with Blosc .HDF5 filter 32001., .* pip install hdf5plugin"):
        Domain.load("gadget", [path], cells="8")


def test_the_command_writes_an_ensemble(quijote, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["import", "gadget", "fiducial/3/snapdir_004/snap_004.0.hdf5", "cells=16", "slabs=4", "-o", "o.h5"]
    assert main(words) == 0 and "wrote o.h5" in capsys.readouterr().out
    ensemble = load_ensemble("o.h5")
    assert ensemble.source.values[0] == "fiducial/3/snap_004.0.hdf5[0]"
