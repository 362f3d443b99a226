"""The ensemble: what is written is read back, and nothing damaged is read at all."""

import errno

import numpy as np
import pytest
import xarray as xr

from physgen import ensemble as en
from physgen.errors import InputError


def maps(n=6, size=8, simulations=3, seed=0):
    rng = np.random.default_rng(seed)
    centres = (np.arange(size) + 0.5) * 2.0
    return xr.Dataset(
        {
            "field": (("sample", "y", "x"), rng.normal(size=(n, size, size)).astype("float32"), {"units": "1"}),
            "simulation": ("sample", np.arange(n) % simulations),
        },
        coords={"y": ("y", centres, {"units": "Mpc/h"}), "x": ("x", centres, {"units": "Mpc/h"})},
        attrs={"seed": seed},
    )


def test_a_file_gives_back_the_same_bits_and_its_provenance(tmp_path):
    original = maps()
    path = en.save_ensemble(original, tmp_path / "a.h5")
    back = en.load_ensemble(path)
    assert np.array_equal(back.field.values, original.field.values)
    assert back.field.dtype == np.float32
    for name in ("physgen_schema", "domain", "seed", "config_json", "physgen_version", "git_commit", "history"):
        assert name in back.attrs
    assert all("units" in v.attrs and "long_name" in v.attrs for v in back.variables.values())


def test_opening_is_lazy_and_reads_one_sample_at_a_time(tmp_path):
    path = en.save_ensemble(maps(), tmp_path / "a.h5")
    with en.open_ensemble(path) as lazy:
        assert not lazy.field._in_memory
        assert lazy.field.encoding["chunksizes"] == (1, 8, 8)
        assert lazy.field.encoding["fletcher32"]


@pytest.mark.parametrize("position", [0.3, 0.6, 0.9])
def test_a_flipped_bit_in_the_data_is_found(tmp_path, position):
    original = maps(n=64, size=32)
    path = en.save_ensemble(original, tmp_path / "a.h5")
    data = bytearray(path.read_bytes())
    block = original.field.values[int(position * 64)].tobytes()  # flip inside a chunk, not in unused space
    data[data.find(block) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        en.load_ensemble(path)


@pytest.mark.parametrize("keep", [0, 10, 2000, 0.5, 0.99])
def test_a_truncated_file_gives_one_clear_message(tmp_path, keep):
    path = en.save_ensemble(maps(n=64, size=32), tmp_path / "a.h5")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match="damaged|truncated"):
        en.load_ensemble(path)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = en.save_ensemble(maps(seed=1), tmp_path / "a.h5")
    before = path.read_bytes()

    def full(self, store, **keywords):  # of a file that was begun
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "dump_to_store", full)
    with pytest.raises(InputError, match="disk .* full.*MiB"):
        en.save_ensemble(maps(seed=2), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_nan_is_named_with_its_place():
    bad = maps()
    bad.field.values[4, 2, 7] = np.nan
    with pytest.raises(InputError, match="field holds nan at sample=4, y=2, x=7"):
        en.check_ensemble(bad)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda d: d.rename(field="density"), "variable 'field'"),
        (lambda d: d.rename(y="u", x="v"), "named z, y, x or site"),
        (lambda d: d.isel(sample=0), "no dim that counts samples"),
        (lambda d: d.isel(sample=slice(0, 0)), "empty along 'sample'"),
        (lambda d: d.assign(field=d.field.astype(complex)), "complex128"),
        (lambda d: d.assign_coords(x=d.x.values**2), "not a uniform"),
    ],
)
def test_each_broken_rule_has_its_message(broken, message):
    with pytest.raises(InputError, match=message):
        en.check_ensemble(broken(maps()))


def test_a_split_never_shares_a_simulation_and_loses_nothing():
    whole = maps(n=60, simulations=12)
    parts = en.split(whole, "simulation", {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=3)
    members = [set(p.simulation.values.tolist()) for p in parts.values()]
    assert not (members[0] & members[1] or members[0] & members[2] or members[1] & members[2])
    assert sum(p.sizes["sample"] for p in parts.values()) == 60
    again = en.split(whole, "simulation", {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=3)
    assert all(np.array_equal(parts[k].field, again[k].field) for k in parts)


def test_a_split_needs_a_unit_for_each_part():
    with pytest.raises(InputError, match="2 simulation units cannot be split into 3 parts"):
        en.split(maps(simulations=2), "simulation", {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=0)


def test_subsets_of_one_seed_are_nested():
    whole = maps(n=60, simulations=12)
    sets = [set(en.subset(whole, n, 5, "simulation").simulation.values.tolist()) for n in (2, 5, 9)]
    assert sets[0] < sets[1] < sets[2]


def test_spins_split_by_disorder_and_flatten_in_c_order():
    values = np.arange(4 * 2 * 3 * 2 * 2).reshape(4, 2, 3, 2, 2).astype("int32")
    spins = xr.Dataset({"field": (("disorder", "temperature", "replica", "y", "x"), values)})
    assert en.sample_dims(spins) == ("disorder", "temperature", "replica")
    assert en.space_dims(spins) == ("y", "x")
    assert np.array_equal(en.flatten(spins), values.reshape(24, 1, 2, 2))
    parts = en.split(spins, "disorder", {"train": 0.5, "validation": 0.25, "test": 0.25}, seed=0)
    assert [p.sizes["disorder"] for p in parts.values()] == [2, 1, 1]


def test_spacing_is_read_from_a_box_of_any_shape():
    ds = xr.Dataset(
        {"field": (("sample", "y", "x"), np.zeros((1, 4, 8)))},
        coords={"y": np.arange(4) * 3.0 + 1.5, "x": np.arange(8) * 0.5},
    )
    assert en.spacing(ds) == (3.0, 0.5)
