"""Memory of a training on data that are larger than it: a file is generated, imported and trained on for a few steps.

::

    python -m benchmarks.speed.memory --fields 2500 --cells 128 --folder /a/disk/with/45/GB

Each stage is the command that a user types, in a process of its own, watched through ``/proc/PID/status``. Counted as
resident is what the kernel cannot take back without swapping, ``RssAnon + RssShmem``; ``RssFile``, pages of mapped
files that are given back when memory is short, and ``VmHWM``, the kernel's own peak of all three together, are printed
beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.speed.row import Cost, Row

GOAL = "importing < 1 GB, training < 2 GB resident"
# what main() printed for the size of the goal, which is too long for the table
LARGE = (
    "21 GB (2500 x 128^3, by its own command on 2026-11-26, one thread, commit 75a890ad8dcc): import 0.28 GB, "
    "train 1.09 GB, resume 0.99 GB resident; with the pages of mapped files 0.43, 1.43 and 1.30 GB at most (VmHWM)"
)
CONFIG = """
name: memory
domain: cosmology
data: {{dimension: 3, cells: {cells}, particles: {cells}, transform: {transform}}}
network: {{kind: unet, width: 8, multipliers: [1], blocks: 1}}
training: {{steps: {steps}, batch_size: {batch}, validation_size: 4, log_every: 1, warmup: 1}}
sampling: {{levels: log-uniform, n: 1, steps: 2}}
tracking: {{uri: "off"}}
"""


@dataclass(frozen=True)
class Watched:
    """Peaks of one process, in bytes, and its cost."""

    resident: int  # RssAnon + RssShmem
    files: int  # RssFile
    all: int  # VmHWM, of the sum of both
    cost: Cost


def watch(*words: str, folder: Path) -> Watched:
    """Run ``physgen WORDS`` and follow its memory ten times a second."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "physgen.cli", *words], env=environment, cwd=folder)
    peaks, cpu = [0, 0, 0], 0.0
    while process.poll() is None:
        cpu = max(cpu, _cpu_seconds(process.pid))
        peaks = [max(pair) for pair in zip(peaks, _status(process.pid), strict=True)]
        time.sleep(0.1)
    if process.returncode:
        raise RuntimeError(f"physgen {' '.join(words)} ended with {process.returncode}")
    return Watched(*peaks, Cost(cpu, time.perf_counter() - started))


def _status(pid: int) -> tuple[int, int, int]:
    """RssAnon + RssShmem, RssFile, VmHWM, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0, 0, 0
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("Rss", "VmHWM"))}
    return found.get("RssAnon", 0) + found.get("RssShmem", 0), found.get("RssFile", 0), found.get("VmHWM", 0)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def generate(path: Path, fields: int, cells: int, seed: int = 0) -> None:
    """A .npy file of density contrasts: smooth lognormal noise, one field after the other."""
    random = np.random.default_rng(seed)
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (fields, cells, cells, cells)}
        np.lib.format.write_array_header_2_0(file, header)
        for _ in range(fields):
            one = random.standard_normal((cells,) * 3, dtype=np.float32)
            for axis in range(3):
                one = one + np.roll(one, 1, axis)
            one = np.exp(0.2 * one)
            file.write((one / one.mean(dtype=np.float64) - 1).astype(np.float32).tobytes())


def measure(
    folder: Path, fields: int, cells: int, steps: int = 4, batch: int = 1, transform: str = "gaussian"
) -> dict[str, Watched]:
    """Import and train in ``folder``; what is large is removed as soon as it is not needed any more."""
    array, ensemble, config = folder / "fields.npy", folder / "fields.h5", folder / "memory.yaml"
    generate(array, fields, cells)
    words = ("field_kind=delta", "dimension=3", "box_size=128 Mpc/h", "-o", str(ensemble))
    found = {"import": watch("import", "npy", str(array), *words, folder=folder)}
    _print("import", found["import"])
    array.unlink()
    config.write_text(CONFIG.format(cells=cells, steps=steps, batch=batch, transform=transform))
    run = ("train", str(config), f"dataset={ensemble}", "--runs", str(folder / "runs"), "--device", "cpu")
    found["train"] = watch(*run, folder=folder)
    _print("train", found["train"])
    found["resume"] = watch(*run, "--resume", f"training.steps={steps + 1}", folder=folder)
    _print("resume", found["resume"])
    return found


def _print(stage: str, found: Watched) -> None:
    print(
        f"{stage:<8} resident {found.resident / 1e9:.2f} GB (RssAnon + RssShmem), mapped files "
        f"{found.files / 1e9:.2f} GB, peak of both together {found.all / 1e9:.2f} GB (VmHWM); "
        f"{found.cost.cpu:.0f} CPU s, {found.cost.wall:.0f} s",
        flush=True,
    )


def rows(fields: int = 400, cells: int = 64) -> list[Row]:
    """A small one, 420 MB, for the table."""
    folder = Path(tempfile.mkdtemp(prefix="memory-", dir="."))
    try:
        found = measure(folder.absolute(), fields, cells)
    finally:
        shutil.rmtree(folder)
    size = fields * cells**3 * 4 / 1e9
    said = "; ".join(f"{stage} {watched.resident / 1e9:.2f} GB resident" for stage, watched in found.items())
    costs = {stage: watched.cost for stage, watched in found.items()}
    return [Row(f"import and train {size:.2g} GB", GOAL, costs, note=f"{said}. {LARGE}")]


def main() -> None:
    """The size that is asked for, on the disk that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=400)
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--transform", default="gaussian")
    parser.add_argument("--folder", type=Path, default=Path("."), help="needs twice the size of the file, and a tenth")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="memory-", dir=given.folder)).absolute()
    size = given.fields * given.cells**3 * 4 / 1e9
    print(f"{given.fields} fields of {given.cells}^3, {size:.3g} GB; goal: {GOAL}", flush=True)
    try:
        measure(folder, given.fields, given.cells, given.steps, transform=given.transform)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
