"""Data larger than the memory: parts that point to one file, encoded values that all processes map."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.config import load_config
from physgen.ensemble import from_array, load_ensemble, open_ensemble, save_ensemble
from physgen.errors import InputError
from physgen.runs import encoded
from physgen.runs.encoded import encoded_part, open_store, store_folder
from physgen.runs.folder import PARTS, open_run
from physgen.stages import DrawOptions, simulate, train
from physgen.stages.sampling import draw_ensemble

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "configs" / "cosmology" / "smoke.yaml"
SHARDED = """
import sys
from physgen.cli import main
from physgen.runs import encoded

encoded.IN_MEMORY_BYTES = 0  # small data in files, as large ones are
sys.exit(main())
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return simulate(load_config(SMOKE), tmp_path_factory.mktemp("data") / "fields.h5")


def words(dataset, copied):
    return [f"dataset={dataset}", f"copy_dataset={json.dumps(copied)}", "training.steps=4", "tracking.uri=off",
            "training.log_every=1", "sampling.levels=log-uniform"]  # fmt: skip


def trained(dataset, runs, copied=False):
    return train(load_config(SMOKE, words(dataset, copied)), runs, device="cpu")


def samples(run):
    return draw_ensemble(open_run(run), DrawOptions(n=3, steps=3), device="cpu").field.values


def weights(run):
    return json.loads((run / "model" / "model.json").read_text())["weights_sha256"]


@pytest.fixture(scope="module")
def in_memory(dataset, tmp_path_factory):
    return trained(dataset, tmp_path_factory.mktemp("memory"), copied=True)


@pytest.fixture
def mapped(dataset, tmp_path, monkeypatch):
    """A run whose parts point to the data set and whose encoded values are mapped, though they are small."""
    monkeypatch.setattr(encoded, "IN_MEMORY_BYTES", 0)
    own = tmp_path / "fields.h5"
    shutil.copy2(dataset, own)
    return own, trained(own, tmp_path / "runs")


def test_same_seed_same_samples_in_memory_mapped_and_sharded(dataset, in_memory, mapped, tmp_path):
    _, run = mapped
    assert sorted(path.name for path in (run / "data" / "encoded").iterdir()) == ["train", "validation"]
    assert weights(run) == weights(in_memory)
    np.testing.assert_array_equal(samples(run), samples(in_memory))
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script), "train",
         str(SMOKE), *words(dataset, False), "--runs", str(tmp_path / "two"), "--device", "cpu"],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    two = tmp_path / "two" / run.name
    # gradients are summed in another order, float32; four steps do not amplify that
    np.testing.assert_allclose(samples(two), samples(in_memory), rtol=1e-3, atol=1e-4)


def test_a_selection_is_read_as_the_part_that_it_stands_for(in_memory, mapped):
    dataset, run = mapped
    assert sum(path.stat().st_size for path in (run / "data").glob("*.h5")) < dataset.stat().st_size
    for name in PARTS:
        copy = load_ensemble(in_memory / "data" / f"{name}.h5")
        part = load_ensemble(run / "data" / f"{name}.h5")
        xr.testing.assert_equal(part, copy)
        assert part.attrs["part"] == name and part.attrs["independent_unit"] == copy.attrs["independent_unit"]
    with open_ensemble(run / "data" / "test.h5") as part:
        own = load_ensemble(save_ensemble(part, run / "own.h5"))
    xr.testing.assert_equal(own, load_ensemble(in_memory / "data" / "test.h5"))


def test_a_data_set_that_was_moved_or_changed_is_named_and_found_again(mapped, tmp_path):
    dataset, folder = mapped
    part = folder / "data" / "test.h5"
    before = load_ensemble(part)
    moved = tmp_path / "elsewhere.h5"
    dataset.rename(moved)
    with pytest.raises(InputError, match=f"(?s){dataset}.*put it back, or link it there.*dataset=NEW"):
        load_ensemble(part)
    longer = load_config(SMOKE, [*words(moved, False), "training.steps=6"])
    train(longer, folder.parent, resume=True, device="cpu")
    xr.testing.assert_equal(load_ensemble(part), before)
    os.utime(moved)  # touched, not changed: its digest is that of the run
    xr.testing.assert_equal(load_ensemble(part), before)
    with open(moved, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(moved)
    with pytest.raises(InputError, match="is not the file any more"):
        load_ensemble(part)


def test_a_run_with_data_from_memory_can_be_moved_whole(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("physgen.runs.folder.COPIED_BYTES", 0)
    config = load_config(SMOKE, words(dataset, False)[2:])
    run = train(config, tmp_path / "runs", device="cpu", data=load_ensemble(dataset))
    assert (run / "data" / "ensemble.h5").is_file()
    before = open_run(run).part("test")
    run.rename(tmp_path / "moved")
    xr.testing.assert_equal(open_run(tmp_path / "moved").part("test"), before)


def test_the_store_is_made_anew_where_it_is_missing_damaged_or_of_other_data(mapped):
    _, folder = mapped
    run, store = open_run(folder), folder / "data" / "encoded" / "train"
    constants = run.encoding().domain
    x = encoded_part(run, "train", constants).x.clone()
    key = json.loads((store / "about.json").read_text())["key"]
    assert torch.equal(open_store(store, key).x, x)
    assert open_store(store, key | {"constants": "others"}) is None
    with open(store / "x.npy", "r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"\x7f")
    assert open_store(store, key) is None
    assert torch.equal(encoded_part(run, "train", constants).x, x) and open_store(store, key) is not None
    shutil.rmtree(store)
    assert torch.equal(encoded_part(run, "train", constants).x, x) and store.is_dir()
    assert not list(store.parent.glob(".*"))


def test_the_files_are_never_written_to(mapped):
    """Mapped copy on write: what a program does to its tensor stays its own."""
    run = open_run(mapped[1])
    found = encoded_part(run, "train", run.encoding().domain)
    before = (mapped[1] / "data" / "encoded" / "train" / "x.npy").read_bytes()
    found.x.fill_(7.0)
    assert (mapped[1] / "data" / "encoded" / "train" / "x.npy").read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory there is")
def test_an_array_larger_than_the_memory_is_mapped(tmp_path):
    """Linux refuses to map such a file copy on write, unless it is told to reserve nothing."""
    count = (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + 2**34) // 4
    with open(tmp_path / "x.npy", "wb") as file:  # a hole: it takes no room
        np.lib.format.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count,)})
        file.truncate(file.tell() + 4 * count)
    (tmp_path / "about.json").write_text(json.dumps({"key": {}, "sha256": {"x": ""}}))
    found = open_store(tmp_path, {}, verify=False)
    assert found is not None and found.x.shape == (count,) and found.x[-1] == 0


def test_a_full_disk_is_one_message_and_leaves_nothing(mapped, monkeypatch):
    run = open_run(mapped[1])
    shutil.rmtree(mapped[1] / "data" / "encoded")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 0))
    with pytest.raises(InputError, match="the encoded data need .* PHYSGEN_SCRATCH"):
        encoded_part(run, "train", run.encoding().domain)
    assert not list((mapped[1] / "data" / "encoded").iterdir())


def test_another_folder_for_the_encoded_data(mapped, tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSGEN_SCRATCH", str(tmp_path / "node"))
    run = open_run(mapped[1])
    found = encoded_part(run, "train", run.encoding().domain)
    assert (store_folder(run.folder) / "train" / "x.npy").is_file() and tmp_path / "node" in store_folder(
        run.folder
    ).parents
    assert len(found.x)


def test_blocks_of_many_sample_dims_follow_the_flattened_order():
    from physgen.ensemble import sample_blocks
    from physgen.ensemble.layout import flatten

    field = np.arange(2 * 3 * 5 * 4, dtype=np.float32).reshape(2, 3, 5, 4)
    data = from_array(field.reshape(30, 4), dimension=1).drop_vars("field").assign(field=(("a", "b", "c", "x"), field))
    for values in (1, 4, 8, 19, 20, 45, 60, 1000):
        parts = [flatten(block) for block in sample_blocks(data, values)]
        np.testing.assert_array_equal(np.concatenate(parts), flatten(data))
        assert max(part.size for part in parts) <= max(values, 4)
