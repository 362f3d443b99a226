"""Labels belong to their fields: headers, orders, and rows that name their file or their simulation."""

import numpy as np
import pytest
from astropy.io import fits

from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.sources import natural_key
from physgen.domains.cosmology.tables import read_table
from physgen.ensemble import load_ensemble, save_ensemble
from physgen.errors import InputError

BOX = "25 Mpc/h"


def maps(n, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=(n, 8, 8)).astype(np.float32)


@pytest.fixture
def four(tmp_path):
    np.save(tmp_path / "m.npy", maps(4))

    def load(table, name="labels.txt", **options):
        (tmp_path / name).write_text(table)
        return Domain.load("npy", [tmp_path / "m.npy"], box_size=BOX, labels=str(tmp_path / name), **options)

    return load


ROWS = "0.1 0.6\n0.2 0.7\n0.3 0.8\n0.4 0.9\n"


@pytest.mark.parametrize(
    "table",
    [
        "# Latin hypercube\n# Omega_m sigma_8\n" + ROWS,
        "# Omega_m sigma_8\n# Latin hypercube\n" + ROWS,
        "# made by the script of 2024\n#\n#Omega_m\tsigma_8\n" + ROWS,
        "# Omega_m, sigma_8\n" + ROWS,
        "# Omega_m sigma/8\n" + ROWS,
        "# 1:Omega_m 2:sigma_8\n" + ROWS,
        "Omega_m sigma_8\n" + ROWS,
        "Omega_m,sigma_8\n" + ROWS.replace(" ", ","),
        "\ufeffOmega_m, sigma_8\n" + ROWS.replace(" ", ", "),
        "# Omega_m,sigma_8\n" + ROWS.replace(" ", ","),
        "# sigma_8 Omega_m\n" + "".join(" ".join(reversed(line.split())) + "\n" for line in ROWS.splitlines()),
    ],
)
def test_names_come_from_the_line_that_fits_the_columns(four, table):
    ensemble = four(table)
    np.testing.assert_allclose(ensemble.Omega_m, [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(ensemble.sigma_8, [0.6, 0.7, 0.8, 0.9])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("# Omega_m sigma_8 h\n" + ROWS, "a header of 3 names .Omega_m sigma_8 h. over 2 columns"),
        ("# Omega_m\n" + ROWS, "a header of 1 names .Omega_m. over 2 columns"),
        ("# five nice words of comment\n" + ROWS, "needs a first line that names its 2 columns"),
        ("# Omega_m Omega_m\n" + ROWS, "names two columns 'Omega_m'"),
        ("# a/b a:b\n" + ROWS, "names two columns 'a_b'"),
        ("# Omega_m source\n" + ROWS, "another meaning"),
        ("# Omega_m sigma_8\n0.1 0.6\n0.2 x\n0.3 0.8\n0.4 0.9\n", "not a table of numbers"),
        ("# Omega_m sigma_8\n0.1 nan\n" + ROWS[8:], "not finite in row 0"),
    ],
)
def test_headers_that_do_not_fit_are_refused(four, table, message):
    with pytest.raises(InputError, match=message):
        four(table)


def test_a_name_that_no_file_can_hold_is_replaced_and_said(four, tmp_path):
    ensemble = four("# Omega_m A/SN(1)\n" + ROWS)
    assert "A_SN_1" in ensemble and "'A/SN(1)' is stored as 'A_SN_1'" in ensemble.attrs["import_notes"]
    back = load_ensemble(save_ensemble(ensemble, tmp_path / "named.h5"))
    np.testing.assert_allclose(back["A_SN_1"], [0.6, 0.7, 0.8, 0.9])


# --- order ------------------------------------------------------------------------------------------


def test_the_natural_order():
    names = ["map_10.fits", "map_2.fits", "map_1.fits", "a12b3", "a12b10", "map.fits"]
    assert sorted(names, key=natural_key) == ["a12b3", "a12b10", "map.fits", "map_1.fits", "map_2.fits", "map_10.fits"]


def test_files_are_joined_in_natural_order_and_named(tmp_path):
    for i in range(12):
        fits.writeto(tmp_path / f"map_{i}.fits", np.full((8, 8), 0.01 * i, np.float32) + maps(1, i)[0] * 0.01)
    (tmp_path / "labels.txt").write_text("# Omega_m\n" + "".join(f"{0.1 + 0.01 * i:.2f}\n" for i in range(12)))
    globbed = sorted(tmp_path.glob("map_*.fits"))  # 0, 1, 10, 11, 2, ...
    assert globbed[2].name == "map_10.fits"
    ensemble = Domain.load("fits", [*globbed, tmp_path / "labels.txt"], box_size=BOX)
    np.testing.assert_allclose(ensemble.field.mean(("y", "x")), ensemble.Omega_m - 0.1, atol=0.001)
    assert list(ensemble.source.values) == [f"map_{i}.fits" for i in range(12)]
    assert "order of the 12 files: map_0.fits, map_1.fits, map_2.fits" in ensemble.attrs["import_notes"]
    folder = Domain.load("fits", [tmp_path, tmp_path / "labels.txt"], box_size=BOX)
    np.testing.assert_array_equal(folder.field, ensemble.field)
    given = Domain.load("fits", globbed, box_size=BOX, order="given")
    assert given.source.values[2] == "map_10.fits"
    back = load_ensemble(save_ensemble(ensemble, tmp_path / "joined.h5"))
    assert list(back.source.values) == list(ensemble.source.values)


def test_places_inside_a_file_are_named(tmp_path):
    np.save(tmp_path / "m10.npy", maps(2, 1))
    np.save(tmp_path / "m9.npy", maps(3, 2))
    ensemble = Domain.load("npy", [tmp_path / "m10.npy", tmp_path / "m9.npy"], box_size=BOX)
    assert list(ensemble.source.values) == ["m9.npy[0]", "m9.npy[1]", "m9.npy[2]", "m10.npy[0]", "m10.npy[1]"]


def test_rows_that_name_their_file_are_joined_by_it(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"m{i}.npy", maps(1, i)[0] + 0.01 * i)
    files = [tmp_path / f"m{i}.npy" for i in range(3)]

    def load(text):
        (tmp_path / "labels.csv").write_text(text)
        return Domain.load("npy", [*files, tmp_path / "labels.csv"], box_size=BOX)

    for header, rows in [
        ("file,Omega_m", ["m2.npy,0.2", "m0.npy,0.0", "m1.npy,0.1"]),
        ("Omega_m,filename", ["0.2,runs/m2.npy", "0.1,runs/m1.npy", "0.0,runs/m0.npy"]),
        ("name,Omega_m", ["m1,0.1", "m2,0.2", "m0,0.0", "m3,0.3"]),
    ]:
        ensemble = load("\n".join([header, *rows]))
        np.testing.assert_allclose(ensemble.Omega_m, [0.0, 0.1, 0.2])
        assert "by the files that its rows name" in ensemble.attrs["import_notes"]
    with pytest.raises(InputError, match="has no row for m1.npy"):
        load("file,Omega_m\nm2.npy,0.2\nm0.npy,0.0\nm0.npy,0.1\n".replace("m0.npy,0.1", "m7.npy,0.1"))
    with pytest.raises(InputError, match="has 2 rows for m0.npy"):
        load("file,Omega_m\nm0.npy,0.2\nm0.npy,0.0\nm1.npy,0.1\n")


def test_rows_that_name_file_and_place(tmp_path):
    np.save(tmp_path / "a.npy", maps(2, 0))
    np.save(tmp_path / "b.npy", maps(2, 1))
    (tmp_path / "l.txt").write_text("# file index Omega_m\nb.npy 1 0.4\na.npy 0 0.1\nb.npy 0 0.3\na.npy 1 0.2\n")
    ensemble = Domain.load("npy", [tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "l.txt"], box_size=BOX)
    np.testing.assert_allclose(ensemble.Omega_m, [0.1, 0.2, 0.3, 0.4])
    assert "index" not in ensemble


def test_rows_that_name_their_simulation(tmp_path):
    np.save(tmp_path / "m.npy", maps(6))

    def load(text, **options):
        (tmp_path / "l.txt").write_text(text)
        return Domain.load("npy", [tmp_path / "m.npy", tmp_path / "l.txt"], box_size=BOX, **options)

    shuffled = load("# simulation Omega_m\n2 0.3\n0 0.1\n1 0.2\n", maps_per_simulation="2")
    np.testing.assert_allclose(shuffled.Omega_m, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    assert list(shuffled.simulation.values) == [0, 0, 1, 1, 2, 2] and "simulation" not in dict(shuffled.Omega_m.coords)
    each = load("# Omega_m simulation seed\n" + "".join(f"0.{s} {s} {90 + s}\n" for s in (4, 4, 7, 7, 5, 5)))
    assert list(each.simulation.values) == [4, 4, 7, 7, 5, 5]  # the table says which maps share a simulation
    assert each.seed.dtype.kind == "i" and list(each.seed.values) == [94, 94, 97, 97, 95, 95]
    named = load("# Name Omega_m\nLH_1 0.2\nLH_0 0.1\nLH_2 0.3\n", maps_per_simulation="2")
    np.testing.assert_allclose(named.Omega_m, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    with pytest.raises(InputError, match="Sort the table by that column"):
        load("# simulation Omega_m\n" + "".join(f"{s} 0.{s}\n" for s in (3, 1, 0, 2, 5, 4)))
    with pytest.raises(InputError, match="leave out the option"):
        load("# simulation Omega_m\n" + "".join(f"{s} 0.{s}\n" for s in (1, 1, 1, 2, 2, 2)), maps_per_simulation="2")


def test_two_tables_are_one_too_many(tmp_path):
    np.save(tmp_path / "m.npy", maps(2))
    for name in ("a.txt", "b.csv"):
        (tmp_path / name).write_text("# Omega_m\n0.1\n0.2\n")
    with pytest.raises(InputError, match="are both tables"):
        Domain.load("npy", [tmp_path / n for n in ("m.npy", "a.txt", "b.csv")], box_size=BOX)
    with pytest.raises(InputError, match="both given"):
        Domain.load("npy", [tmp_path / "m.npy", tmp_path / "a.txt"], box_size=BOX, labels=str(tmp_path / "b.csv"))


def test_a_header_of_known_parameters_beats_a_remark(tmp_path):
    (tmp_path / "t.txt").write_text("# OmegaBaryon HubbleParam\n# two words\n1 2\n3 4\n")
    table = read_table(tmp_path / "t.txt")
    assert table.names == ["OmegaBaryon", "HubbleParam"] and list(table.column("h")) == [2, 4]
