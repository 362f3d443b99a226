"""The published sets, in their layouts: which columns, which cosmology, which boxes, which initial conditions."""

import numpy as np
import pytest

from physgen.diagnostics.spectrum import power_spectrum
from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.camels_tables import SIMBA_28, TNG, TNG_35
from physgen.domains.cosmology.quijote_sets import fixed_labels
from physgen.ensemble import check_ensemble, load_ensemble, save_ensemble
from physgen.errors import InputError

CRITICAL = 2.775e11
SIX = ["Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2"]


def write_maps(folder, suite, set_, Omega_m, prefix="Mcdm", each=15, seed=0):
    contrast = np.exp(np.random.default_rng(seed).normal(-0.125, 0.5, (len(Omega_m) * each, 16, 16)))
    maps = np.repeat(Omega_m, each)[:, None, None] * CRITICAL * 5 * contrast
    path = folder / f"Maps_{prefix}_{suite}_{set_}_z=0.00.npy"
    np.save(path, maps.astype(np.float32))
    return path


def table(columns, rows=3):
    values = 0.01 * np.arange(rows * columns).reshape(rows, columns) + 0.5
    values[:, 0] = 0.1 + 0.1 * np.arange(rows)
    return values


# --- CAMELS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suite", "set_", "names"),
    [
        ("IllustrisTNG", "1P", list(TNG)),
        ("IllustrisTNG", "SB28", list(TNG)),
        ("IllustrisTNG", "SB35", list(TNG_35)),
        ("SIMBA", "SB28", list(SIMBA_28)),
        ("Astrid", "SB7", [*SIX, "Omega_b"]),
        ("Astrid", "1P", [*SIX, "Omega_b"]),
        ("Swift-EAGLE", "LH", SIX),
        ("Nbody_Swift-EAGLE", "LH", SIX[:2]),
        ("IllustrisTNG", "EX", SIX),
        ("IllustrisTNG", "CV", SIX),
        ("IllustrisTNG", "BE", SIX),
    ],
)
def test_current_camels_sets_by_position(tmp_path, suite, set_, names):
    values = table(max(6, len(names)))
    path = write_maps(tmp_path, suite, set_, values[:, 0])
    np.savetxt(tmp_path / f"params_{set_}_{suite}.txt", values)
    ensemble = check_ensemble(Domain.load("camels_maps", [path]))
    assert [n for n in ensemble.data_vars if n not in ("field", "simulation", "source")] == names
    for i, name in enumerate(names):
        np.testing.assert_allclose(ensemble[name], np.repeat(values[:, i], 15))
    constant = {"Omega_b", "h", "n_s"} - set(names)
    assert {"Omega_b", "h", "n_s"} & set(ensemble.attrs) == constant  # what varies is a label, never a constant
    assert ensemble.attrs["box_size"] == (50 if set_ == "SB35" else 25)
    assert ("shared_by_units" in ensemble.attrs) == (set_ in ("1P", "EX", "BE"))
    assert ensemble.source.values[16] == f"{path.name}[16]"


@pytest.mark.parametrize(
    ("suite", "set_", "header", "rows"),
    [
        ("Ramses", "LH", "Omega_m sigma_8 A_SN1 A_SN2 A_AGN1 A_AGN2", "{i}"),
        ("Astrid", "SB7", " Name Omega_m, sigma_8 ASN1 AAGN1 ASN2 AAGN2 Omega_b seed", "SB7_{n} {i} {s}"),
        ("Swift-EAGLE", "LH", "Name Omega_m sigma_8 A_SN1 A_AGN1 A_SN2 A_AGN2 seed", "LH_{n} {i} {s}"),
        ("IllustrisTNG", "SB28", "Omega0 sigma8 " + " ".join(TNG[2:6]) + " OmegaBaryon HubbleParam n_s", "{i}"),
    ],
)
def test_names_in_a_header_win_over_the_position(tmp_path, suite, set_, header, rows):
    names = [w.strip(",") for w in header.split() if w not in ("Name", "seed")]
    values = table(len(names))
    path = write_maps(tmp_path, suite, set_, values[:, 0])
    order = (2, 0, 1)  # rows that are named may stand anywhere
    named = "Name" in header
    lines = [
        rows.format(n=n, s=70 + n, i=" ".join(map(repr, values[n].tolist()))) for n in (order if named else range(3))
    ]
    (tmp_path / "table.txt").write_text("\n".join([f"#{header}", *lines]) + "\n")
    ensemble = Domain.load("camels_maps", [path, tmp_path / "table.txt"])
    meant = {"ASN1": "A_SN1", "ASN2": "A_SN2", "AAGN1": "A_AGN1", "AAGN2": "A_AGN2", "Omega0": "Omega_m"}
    meant |= {"sigma8": "sigma_8", "OmegaBaryon": "Omega_b", "HubbleParam": "h"}
    for i, name in enumerate(names):
        np.testing.assert_allclose(ensemble[meant.get(name, name)], np.repeat(values[:, i], 15))
    assert ("seed" in ensemble) == named
    if named:
        assert list(ensemble.seed.values[::15]) == [70, 71, 72]


def test_cosmoastroseed_tables_are_found_beside_the_maps(tmp_path):
    values = table(28)
    path = write_maps(tmp_path, "IllustrisTNG", "1P", values[:, 0])
    rows = [f"1P_p1_{n} {' '.join(map(str, row))} 67" for n, row in zip(("n1", "0", "1"), values, strict=True)]
    (tmp_path / "CosmoAstroSeed_IllustrisTNG_L25n256_1P.txt").write_text("\n".join(rows))
    ensemble = Domain.load("camels_maps", [path])
    np.testing.assert_allclose(ensemble.h, np.repeat(values[:, 7], 15))
    assert set(ensemble.seed.values) == {67}
    np.savetxt(tmp_path / "all.txt", values)
    text = "#Name Omega_m sigma_8 seed\nLH_0 0.9 0.9 1\n1P_0 0.1 0.8 67\n1P_1 0.2 0.8 67\n1P_2 0.3 0.8 67\n"
    (tmp_path / "all.txt").write_text(text)
    of_all = Domain.load("camels_maps", [path], params=str(tmp_path / "all.txt"))
    np.testing.assert_allclose(of_all.Omega_m[::15], [0.1, 0.2, 0.3])


def test_camels_tables_of_others_are_refused(tmp_path):
    values = table(6)
    path = write_maps(tmp_path, "SIMBA", "LH", values[:, 0])

    def refused(name, text, message):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=message):
            Domain.load("camels_maps", [path], params=str(tmp_path / name))

    rows = "\n".join(" ".join(map(str, row)) for row in values)
    refused("params_LH_Astrid.txt", rows, "by its name the table of Astrid, the fields are of SIMBA")
    refused("params_1P_SIMBA.txt", rows, "by its name the table of 1P, the fields are of LH")
    refused("t.txt", "# Omega_m sigma_8 A_SN1 A_AGN1 A_SN2\n" + rows, "a header of 5 names")
    refused("t.txt", "# sigma_8 A_SN1 A_AGN1 A_SN2 A_AGN2 h\n" + rows, "names no column Omega_m")
    refused("t.txt", "#Name Omega_m sigma_8\n" + "\n".join(f"1P_{n} 0.3 0.8" for n in range(3)), "no row of the set LH")
    refused("t.txt", "#Name Omega_m sigma_8\n" + "\n".join(f"LH_{n} 0.3 0.8" for n in (0, 1, 3)), "not 0 to 2")
    refused("t.txt", "# sigma_8 Omega_m\n" + "\n".join("0.3 1.8" for _ in range(3)), "Omega_m = 1.8, outside 0 to 1")
    shuffled = Domain.load("camels_maps", [_shuffled(tmp_path)])
    assert "does not follow Omega_m" in shuffled.attrs["import_notes"]


def _shuffled(tmp_path):
    Omega_m = np.linspace(0.1, 0.5, 8)
    np.savetxt(tmp_path / "params_LH_Astrid.txt", np.column_stack([Omega_m[::-1], np.ones((8, 5))]))
    return write_maps(tmp_path, "Astrid", "LH", Omega_m)


def test_several_camels_fields_are_components(tmp_path):
    values = table(6)
    paths = [
        write_maps(tmp_path, "SIMBA", "LH", values[:, 0], prefix, seed=i) for i, prefix in enumerate(("Mcdm", "T"))
    ]
    np.savetxt(tmp_path / "params_LH_SIMBA.txt", values)
    ensemble = check_ensemble(Domain.load("camels_maps", paths))
    assert ensemble.field.dims == ("sample", "component", "y", "x") and list(ensemble.component.values) == ["Mcdm", "T"]
    assert ensemble.attrs["field_kind"] == "surface_density, positive"
    np.testing.assert_array_equal(ensemble.field.sel(component="T"), np.load(paths[1]))
    assert ensemble.mean_density.dims == ("sample", "component") and len(ensemble.attrs["mean_density"]) == 2
    back = load_ensemble(save_ensemble(ensemble, tmp_path / "two.h5"))
    np.testing.assert_array_equal(back.mean_density, ensemble.mean_density)
    other = write_maps(tmp_path, "SIMBA", "CV", values[:, 0], "T")
    with pytest.raises(InputError, match="2 .npy files were given"):
        Domain.load("camels_maps", [paths[0], other])


def test_each_cosmology_has_its_own_mean(tmp_path):
    """In a Latin hypercube one mean for all makes P 1.15 times too high; the mean of each gives that of delta."""
    Omega_m = np.linspace(0.1, 0.5, 40)
    path = write_maps(tmp_path, "IllustrisTNG", "LH", Omega_m)
    np.savetxt(tmp_path / "params_LH_IllustrisTNG.txt", np.column_stack([Omega_m, np.ones((40, 5))]))
    ensemble = Domain.load("camels_maps", [path])
    contrast = ensemble.field / ensemble.mean_density - 1
    scatter = 0.53 / np.sqrt(15 * 256)  # of the mean of 15 maps of 16^2 cells
    ratio = ensemble.mean_density / (np.repeat(Omega_m, 15) * CRITICAL * 5)
    np.testing.assert_allclose(ratio, 1, atol=5 * scatter)
    variance = np.exp(0.25) - 1  # of the lognormal cells; their fourth moment gives the error of 153600 of them
    assert float((contrast**2).mean()) == pytest.approx(variance, rel=5 * 4.5 / np.sqrt(153600))
    one_mean = (ensemble.field / ensemble.attrs["mean_density"] - 1) ** 2
    assert float(one_mean.mean()) / variance > 1.1
    assert "all samples of equal labels" in ensemble.attrs["mean_convention"]
    assert "mean_density" not in ensemble.data_vars  # no label of the fields
    spectrum = power_spectrum(ensemble)
    assert spectrum.value.attrs["units"] == "((Msun/h)/(Mpc/h)^2)^2 (Mpc/h)^2"


@pytest.mark.parametrize("maps", [1, 2])
def test_few_maps_of_a_cosmology_do_not_tell_its_mean(tmp_path, maps):
    """One map of each cosmology: its own mean is fluctuation; that of matter goes with Omega_m."""
    Omega_m = np.linspace(0.1, 0.5, 8)
    generator = np.random.default_rng(0)
    slab = 1 + 0.1 * generator.normal(size=8 * maps)  # slabs scatter by a tenth
    noise = generator.normal(size=(8 * maps, 8, 8))
    fields = (np.repeat(Omega_m, maps) * slab)[:, None, None] * CRITICAL * np.exp(0.1 * noise)
    np.save(tmp_path / "m.npy", fields)
    (tmp_path / "l.txt").write_text("# Omega_m\n" + "\n".join(map(str, Omega_m)))
    ensemble = Domain.load(
        "npy", [tmp_path / "m.npy", tmp_path / "l.txt"], box_size="25 Mpc/h", field_kind="surface_density",
        maps_per_simulation=str(maps),
    )  # fmt: skip
    per_Omega_m = ensemble.mean_density / ensemble.Omega_m
    assert float(per_Omega_m.std() / per_Omega_m.mean()) < 1e-6
    assert "in proportion to Omega_m" in ensemble.attrs["mean_convention"]


# --- Quijote ----------------------------------------------------------------------------------------

HEADER = "#Omega_m Omega_b h n_s sigma_8"


def cube(folder, seed=0, n=8, name="df_m_8_CIC_z=0.npy"):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / name, np.exp(np.random.default_rng(seed).normal(-0.125, 0.5, (n,) * 3)).astype(np.float32) - 1)
    return folder / name


def hypercube(path, header=HEADER, columns=5):
    rows = np.random.default_rng(1).uniform(0.1, 0.5, (6, columns))
    path.write_text("\n".join([header, *(" ".join(map(str, row)) for row in rows)]) + "\n")
    return rows


@pytest.mark.parametrize(
    ("folder", "labels"),
    [
        ("fiducial", {"Omega_m": 0.3175, "sigma_8": 0.834}),
        ("fiducial_HR", {"Omega_m": 0.3175}),
        ("Om_p", {"Omega_m": 0.3275, "Omega_b": 0.049}),
        ("Om_m", {"Omega_m": 0.3075}),
        ("Ob2_p", {"Omega_b": 0.051}),
        ("h_m", {"h": 0.6511}),
        ("ns_p", {"n_s": 0.9824}),
        ("s8_p", {"sigma_8": 0.849}),
        ("Mnu_pp", {"M_nu": 0.2}),
        ("w_p", {"w": -1.05}),
        ("EQ_m", {"f_NL_equilateral": -100}),
        ("OR_LSS_p", {"f_NL_orthogonal_LSS": 100}),
    ],
)
def test_sets_of_one_cosmology_need_no_table(tmp_path, folder, labels):
    for i in (10, 2):
        cube(tmp_path / folder / str(i), i)
    ensemble = check_ensemble(Domain.load("quijote", [tmp_path / folder]))
    assert list(ensemble.simulation.values) == [2, 10] and ensemble.attrs["set"] == folder
    for name, value in labels.items():
        np.testing.assert_allclose(ensemble[name], value)
    assert list(ensemble.source.values) == [f"{folder}/{i}/df_m_8_CIC_z=0.npy" for i in (2, 10)]
    hypercube(tmp_path / "LH.txt")
    with pytest.raises(InputError, match=f"{folder} has one fixed cosmology"):
        Domain.load("quijote", [tmp_path / folder, tmp_path / "LH.txt"])


def test_sets_of_one_cosmology_share_their_seeds(tmp_path):
    for name in ("Om_p", "Om_m"):
        for i in range(2):
            cube(tmp_path / name / str(i), i)
    ensemble = Domain.load("quijote", [tmp_path / "Om_p", tmp_path / "Om_m"])
    assert list(ensemble.simulation.values) == [0, 1, 0, 1]  # one seed, one unit
    assert list(ensemble.Omega_m.values) == [0.3075, 0.3075, 0.3275, 0.3275]


def test_paired_fixed_simulations_are_one_unit_and_do_not_mix(tmp_path):
    for pair in (0, 1):
        cube(tmp_path / "fiducial" / f"NCV_{pair}_3", pair)
    ensemble = Domain.load("quijote", [tmp_path / "fiducial"])
    assert list(ensemble.simulation.values) == [3, 3] and "paired fixed" in ensemble.attrs["initial_conditions"]
    cube(tmp_path / "fiducial" / "3", 5)
    with pytest.raises(InputError, match="differ in kind of initial conditions"):
        Domain.load("quijote", [tmp_path / "fiducial"])


def test_what_does_not_belong_together_is_refused(tmp_path):
    table = tmp_path / "LH.txt"
    rows = hypercube(table)
    cubes = tmp_path / "3D_cubes"
    for i in range(2):
        cube(cubes / "latin_hypercube" / str(i), i)
        cube(cubes / "fiducial" / str(i), 9 + i)
    with pytest.raises(InputError, match="fiducial has one fixed cosmology .Omega_m = 0.3175"):
        Domain.load("quijote", [cubes, table])
    chosen = Domain.load("quijote", [cubes, table], set="latin_hypercube")
    np.testing.assert_allclose(chosen.Omega_m, rows[:2, 0])
    cube(cubes / "latin_hypercube" / "0", 0, 16, "df_m_16_PCS_z=0.npy")
    with pytest.raises(InputError, match="differ in grid: choose with grid=N"):
        Domain.load("quijote", [cubes / "latin_hypercube", table], cells="8")
    fine = Domain.load("quijote", [cubes / "latin_hypercube", table], grid="16")
    assert fine.field.shape == (1, 16, 16, 16) and fine.attrs["mass_assignment"] == "PCS"
    (cubes / "latin_hypercube" / "0" / "df_m_16_PCS_z=0.npy").unlink()
    cube(cubes / "latin_hypercube" / "1", 0, 8, "df_m_8_PCS_z=0.npy")
    with pytest.raises(InputError, match="differ in mass assignment: choose with scheme=CIC"):
        Domain.load("quijote", [cubes / "latin_hypercube", table])
    assert Domain.load("quijote", [cubes / "latin_hypercube", table], scheme="CIC").sizes["sample"] == 2
    cube(cubes / "latin_hypercube" / "1", 0, 8, "df_m_8_CIC_z=1.npy")
    with pytest.raises(InputError, match="differ in redshift: choose with redshift=Z"):
        Domain.load("quijote", [cubes / "latin_hypercube", table], scheme="CIC")
    other = cube(tmp_path / "copy" / "latin_hypercube" / "1", 0)
    with pytest.raises(InputError, match="same realisation 1 of latin_hypercube"):
        Domain.load("quijote", [cubes / "latin_hypercube", other, table], scheme="CIC", redshift="0")


@pytest.mark.parametrize(
    ("folder", "name", "header", "columns", "message"),
    [
        ("latin_hypercube_nwLH", "latin_hypercube_params.txt", HEADER, 5, "has no column w, which"),
        ("latin_hypercube", "t.txt", HEADER + " M_nu w0", 7, "varies w, latin_hypercube does not"),
        ("latin_hypercube", "t.txt", "#f_NL_equilateral Omega_m h n_s sigma_8", 5, "varies f_NL_equilateral"),
        ("latin_hypercube", "BSQ_params.txt", HEADER, 5, "by its name the table of BSQ"),
        ("latin_hypercube_EQ", "t.txt", "", 5, "no header, latin_hypercube_EQ varies f_NL_equilateral"),
        ("latin_hypercube", "t.txt", HEADER + " M_nu", 5, "a header of 6 names"),
    ],
)
def test_tables_of_another_quijote_set_are_refused(tmp_path, folder, name, header, columns, message):
    cube(tmp_path / folder / "0")
    hypercube(tmp_path / name, header, columns)
    with pytest.raises(InputError, match=message):
        Domain.load("quijote", [tmp_path / folder, tmp_path / name])


@pytest.mark.parametrize(
    ("folder", "header", "names"),
    [
        ("latin_hypercube_nwLH", HEADER + " M_nu w0", ["Omega_m", "Omega_b", "h", "n_s", "sigma_8", "M_nu", "w"]),
        ("latin_hypercube_EQ", "#f_NL_equilateral Omega_m h n_s sigma_8", None),
        ("latin_hypercube", "#sigma_8 Omega_m Omega_b n_s h", None),
    ],
)
def test_quijote_headers_win_over_the_position(tmp_path, folder, header, names):
    names = names or header[1:].split()
    rows = hypercube(tmp_path / "params.txt", header, len(names))
    for i in (0, 4):
        cube(tmp_path / folder / str(i), i)
    ensemble = Domain.load("quijote", [tmp_path / folder, tmp_path / "params.txt"])
    for i, name in enumerate(names):
        np.testing.assert_allclose(ensemble[name], rows[[0, 4], i])


def test_quijote_cubes_that_are_no_contrast_are_refused(tmp_path):
    path = cube(tmp_path / "fiducial" / "0")
    np.save(path, np.load(path) + 1)
    with pytest.raises(InputError, match="field_kind=1\\+delta"):
        Domain.load("quijote", [path])
    assert float(Domain.load("quijote", [path], field_kind="1+delta").field.min()) < 0


def test_every_fixed_set_differs_from_the_fiducial_in_one_parameter():
    fiducial = fixed_labels("fiducial")
    for name in ("Om_p", "Ob_m", "h_p", "ns_m", "s8_m", "Mnu_p", "w_m", "DC_p", "LC_m", "ODD_p"):
        assert sum(fixed_labels(name)[k] != v for k, v in fiducial.items()) == 1
    assert fixed_labels("latin_hypercube") is None and fixed_labels("xx_p") is None
