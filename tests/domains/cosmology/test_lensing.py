"""Convergence maps of MassiveNuS and kappaTNG, and fields in the layout of The Well, by their names and layouts."""

import h5py
import numpy as np
import pytest
from astropy.io import fits

from physgen.domains.cosmology import Domain
from physgen.errors import InputError


def kappa(seed, cells=8):
    return 0.02 * np.random.default_rng(seed).normal(size=(cells, cells))


@pytest.fixture
def massive_nus(tmp_path):
    """Two cosmologies x two source redshifts x three realisations."""
    for M_nu, Omega_m in (("0.00000", "0.30000"), ("0.10000", "0.28000")):
        for z in (0.5, 1.0):
            folder = tmp_path / f"convergence_6redshifts_mnv{M_nu}_om{Omega_m}_As2.1000" / f"Maps{int(10 * z):02d}"
            folder.mkdir(parents=True)
            for r in (1, 2, 10):
                values = (kappa(r) * z * (1 + float(M_nu))).astype(np.float32)
                fits.writeto(folder / f"WLconv_z{z:.2f}_{r:04d}r.fits", values)
    return tmp_path


def test_massive_nus_is_labelled_by_its_folders(massive_nus):
    with pytest.raises(InputError, match="source redshifts 0.5, 1: choose one, source_redshift=0.5"):
        Domain.load("massive_nus", [massive_nus])
    maps = Domain.load("massive_nus", [massive_nus], source_redshift="1")
    assert maps.field.shape == (6, 8, 8) and maps.x.attrs["units"] == "deg" and maps.attrs["periodic"] == 0
    assert maps.M_nu.values.tolist() == [0, 0, 0, 0.1, 0.1, 0.1] and maps.M_nu.attrs["units"] == "eV"
    assert maps.Omega_m.values.tolist() == [0.3] * 3 + [0.28] * 3
    np.testing.assert_allclose(maps.A_s, 2.1e-9, rtol=1e-15)
    assert maps.simulation.values.tolist() == [1, 2, 10] * 2  # one unit in all cosmologies: split together
    assert maps.attrs["box_size"] == 3.5 and maps.attrs["source_redshift"] == 1 and maps.attrs["field_kind"] == "real"
    assert maps.field.attrs["long_name"] == "convergence" and "redshift" not in maps.attrs
    np.testing.assert_array_equal(maps.field.values[5], (kappa(10) * 1.1).astype(np.float32))
    first = Domain.load("massive_nus", [massive_nus], source_redshift="0.5", realisations="2", cells="4")
    assert first.simulation.values.tolist() == [1, 2, 1, 2] and first.field.shape == (4, 4, 4)


def test_massive_nus_needs_its_names_and_its_values(massive_nus, tmp_path):
    path = next(massive_nus.rglob("WLconv_z0.50_0001r.fits"))
    fits.writeto(path, 1 + np.abs(kappa(0)), overwrite=True)
    with pytest.raises(InputError, match="holds values from 1 to 1.0.*: no convergence"):
        Domain.load("massive_nus", [path])
    fits.writeto(tmp_path / "WLconv_z0.50_0001r.fits", kappa(0))
    with pytest.raises(InputError, match="must lie in a folder that names its cosmology"):
        Domain.load("massive_nus", [tmp_path / "WLconv_z0.50_0001r.fits"])


def test_ktng_in_hdf5_and_in_records_is_the_same(tmp_path):
    for planes, run in ((1, 1), (1, 2), (2, 1)):
        folder = tmp_path / "new" / f"LP{planes:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        with h5py.File(folder / f"LP{planes:03d}_run{run:03d}_maps.hdf5", "w") as file:
            for plane in (22, 23):
                file[f"z{plane}/kappa"] = kappa(10 * planes + run + plane)
        old = tmp_path / "old" / f"LP{planes:03d}" / f"run{run:03d}"
        old.mkdir(parents=True)
        ends, values = np.int32(8).tobytes(), kappa(10 * planes + run + 23)
        (old / "kappa23.dat").write_bytes(ends + values.tobytes() + ends)
    with pytest.raises(InputError, match="source redshifts 0.973168, 1.03409"):
        Domain.load("ktng", [tmp_path / "new"])
    new = Domain.load("ktng", [tmp_path / "new"], source_redshift="1.034")
    old = Domain.load("ktng", [tmp_path / "old"])
    np.testing.assert_array_equal(new.field.values, old.field.values)
    np.testing.assert_array_equal(new.field.values[2], kappa(44).astype(np.float32))
    for maps in (new, old):
        assert maps.simulation.values.tolist() == [1, 1, 2] and maps.attrs["source_redshift"] == 1.034093
        assert maps.attrs["box_size"] == 5 and maps.attrs["periodic"] == 0
    one = Domain.load("ktng", [tmp_path / "old" / "LP001"])
    assert one.simulation.values.tolist() == [1, 2]
    (tmp_path / "old/LP001/run001/kappa23.dat").write_bytes(np.int32(8).tobytes() + bytes(100))
    with pytest.raises(InputError, match="holds 104 bytes, a map of 8.2 cells has 520: copy it again"):
        Domain.load("ktng", [tmp_path / "old"])


@pytest.fixture
def well(tmp_path):
    """Three trajectories of two steps of a density and a velocity, a coefficient that differs and one that does not."""
    path = tmp_path / "data.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs.update(
            dataset_name="toy", grid_type="cartesian", n_spatial_dims=2, n_trajectories=3, simulation_parameters=["mu"],
            mu=0.5,
        )  # fmt: skip
        axes = file.create_group("dimensions")
        axes.attrs["spatial_dims"] = ["x", "y"]
        axes["time"] = np.float32([0, 1])
        for name in "xy":
            axes[name] = (np.arange(8, dtype=np.float32) + 0.5) / 8
            wall = file.create_group(f"boundary_conditions/{name}_periodic")
            wall.attrs.update(associated_dims=[name], bc_type="periodic")
        file["scalars/nu"] = np.float32([0.1, 0.2, 0.3])
        file["scalars/nu"].attrs.update(sample_varying=True, time_varying=False)
        varying = {"sample_varying": True, "time_varying": True, "dim_varying": [True, True]}
        rng = np.random.default_rng(0)
        file["t0_fields/density"] = rng.lognormal(size=(3, 2, 8, 8)).astype(np.float32)
        file["t0_fields/density"].attrs.update(varying)
        file["t1_fields/velocity"] = rng.normal(size=(3, 2, 8, 8, 2)).astype(np.float32)
        file["t1_fields/velocity"].attrs.update(varying)
        file["t0_fields/floor"] = rng.normal(size=8).astype(np.float32)
        file["t0_fields/floor"].attrs.update(sample_varying=False, time_varying=False, dim_varying=[True, False])
    return path


def test_a_trajectory_of_the_well_is_a_unit(well):
    told = {"box_size": "10 Mpc/h", "field_kind": "positive", "data": "density"}
    with pytest.raises(InputError, match="has 2 steps: say which, step=last"):
        Domain.load("the_well", [well], **told)
    last = Domain.load("the_well", [well], step="last", **told)
    with h5py.File(well) as file:
        density, velocity = file["t0_fields/density"][:], file["t1_fields/velocity"][:]
    np.testing.assert_array_equal(last.field.values, density[:, 1])
    np.testing.assert_allclose(last.nu, [0.1, 0.2, 0.3], rtol=1e-6)
    assert last.mu.values.tolist() == [0.5] * 3 and last.attrs["periodic"] == 1
    every = Domain.load("the_well", [well], step="all", **told)
    assert every.simulation.values.tolist() == [0, 0, 1, 1, 2, 2] and every.time.values.tolist() == [0, 1] * 3
    flow = Domain.load("the_well", [well], step="0", **(told | {"data": "velocity,floor", "field_kind": "real"}))
    assert flow.component.values.tolist() == ["velocity_x", "velocity_y", "floor"]
    np.testing.assert_array_equal(flow.field.values[:, 1], velocity[:, 0, ..., 1])
    assert np.ptp(flow.field.values[:, 2], axis=(0, 2)).max() == 0


def test_the_well_is_confronted(well, tmp_path):
    with pytest.raises(InputError, match="has periodic boundaries, you gave periodic=no"):
        Domain.load("the_well", [well], box_size="1 Mpc/h", periodic="no")
    with pytest.raises(InputError, match="box_size is needed"):
        Domain.load("the_well", [well], data="density", step="0", field_kind="positive")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["field"] = np.ones((2, 2))
    with pytest.raises(InputError, match="has no group 'dimensions'.*not the layout of The Well"):
        Domain.load("the_well", [tmp_path / "other.hdf5"], box_size="1 Mpc/h")
