"""Arrays in files without a name, and importers that read into them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from physgen.domains.contract import get_domain
from physgen.ensemble import load_ensemble, scratch, scratch_array
from physgen.errors import InputError
from physgen.stages import import_files

ROOT = Path(__file__).resolve().parents[2]
PEAK = """
import sys, threading
from pathlib import Path
from physgen.stages import import_files

peak, done = 0, threading.Event()
def watch():
    global peak
    while not done.wait(0.005):  # a block of fields stays for longer
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = max(peak, sum(int(l.split()[1]) for l in lines if l.startswith(("RssAnon", "RssShmem"))))

watcher = threading.Thread(target=watch)
watcher.start()
import_files(sys.argv[1], [sys.argv[2]], sys.argv[3], {"field_kind": "delta", "dimension": "3", "box_size": "9 Mpc/h"})
done.set()
watcher.join()
print(peak // 1024)
"""


def test_a_large_array_lies_in_a_file_that_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "IN_MEMORY_BYTES", 0)
    monkeypatch.setenv("PHYSGEN_SCRATCH", str(tmp_path))
    array = scratch_array((7, 3), np.float32)
    assert not array.any() and array.flags.writeable
    array[2] = 5
    assert array.sum() == 15 and not list(tmp_path.iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda folder: __import__("shutil")._ntuple_diskusage(0, 0, 0))
    with pytest.raises(InputError, match="no room for .* PHYSGEN_SCRATCH"):
        scratch_array((7, 3), np.float32)


def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
@pytest.mark.parametrize("where", ["scratch", "file", "view", "memory", "private"])
def test_pages_that_are_given_back_lose_nothing(where, tmp_path, monkeypatch):
    """16 MiB of pages go where a file holds them, and stay where they are the only copy."""
    monkeypatch.setenv("PHYSGEN_SCRATCH", str(tmp_path))
    monkeypatch.setattr(scratch, "IN_MEMORY_BYTES", 0)
    expected = np.random.default_rng(0).standard_normal((5, 2**20), dtype=np.float32)
    if where == "scratch":
        values = scratch_array(expected.shape, np.float32)
        values[:] = expected
    elif where == "memory":
        values = expected.copy()
    else:
        np.save(tmp_path / "x.npy", expected)
        values = np.load(tmp_path / "x.npy", mmap_mode="c" if where == "private" else "r")
        values = np.asarray(values) if where == "view" else values
    if where == "private":
        expected[1] = values[1] = 3.0
    assert values.sum() == expected.sum()
    before = resident()
    scratch.give_back_pages(values[:4])
    gone = before - resident()
    assert gone > 2**24 - 2**20 if where in ("scratch", "file", "view") else gone < 2**20
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("format", ["npy", "hdf5"])
def test_an_import_is_the_same_through_files_and_through_memory(format, tmp_path, monkeypatch):
    import h5py

    fields = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 6, 6, 6)).astype(np.float32)
    path = tmp_path / f"fields.{format}"
    if format == "npy":
        np.save(path, fields)
    else:
        with h5py.File(path, "w") as file:
            file["fields"] = fields
    options = {"field_kind": "delta", "dimension": "3", "box_size": "9 Mpc/h"}
    plain = get_domain("cosmology").load(format, [path], **options)
    monkeypatch.setattr(scratch, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("physgen.domains.cosmology.arrays.IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("physgen.domains.cosmology.sources.READ_VALUES", 300)
    found = load_ensemble(import_files(format, [path], tmp_path / "found.h5", options))
    np.testing.assert_array_equal(found.field, plain.field)
    np.testing.assert_array_equal(found.field, fields)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
@pytest.mark.parametrize("format", ["npy", "hdf5"])
def test_an_import_needs_little_memory_beside_the_pages_of_files(format, tmp_path):
    """Of 256 MB of fields: what cannot be given back stays below 350 MB, 200 of which are the libraries."""
    import h5py

    if format == "npy":
        fields = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.float32, (32, 126, 126, 126))
    else:
        file = h5py.File(tmp_path / "f.hdf5", "w")
        fields = file.create_dataset("fields", (32, 126, 126, 126), np.float32)
    one = np.random.default_rng(0).uniform(-0.5, 0.5, (126, 126, 126)).astype(np.float32)
    for i in range(32):
        fields[i] = one
    if format == "hdf5":
        file.close()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PHYSGEN_SCRATCH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PEAK, format, str(tmp_path / f"f.{format}"), str(tmp_path / "out.h5")],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 350, f"{done.stdout.strip()} MB"
