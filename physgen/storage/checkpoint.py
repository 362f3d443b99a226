"""Checkpoints that survive a kill, a flipped bit and a full disk.

The state is replicated over the processes (DDP), so rank 0 writes it: safetensors and JSON in a new folder, a manifest
with the sha256 of each file, fsync, rename, and only then the pointer ``latest``. All ranks read and vote.

    checkpoints/step-00000200/{state.json, <key>.safetensors, manifest.json}   checkpoints/latest
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.provenance import file_digest
from physgen.storage.disk import check_room, sync_to_disk, write_atomically
from physgen.storage.state_files import read_state, state_bytes, write_state

FORMAT = "physgen-checkpoint/1"
MANIFEST, LATEST = "manifest.json", "latest"


class DamagedCheckpoint(Exception):
    """A checkpoint whose files are not those of its manifest."""


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints of a folder, ascending; their files are not verified."""
    names = [path.name.removeprefix("step-") for path in Path(folder).glob("step-*")]
    return sorted(int(name) for name in names if name.isdigit())


def _step_folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def _latest(folder: Path) -> int | None:
    try:
        return int((folder / LATEST).read_text())
    except (OSError, ValueError):
        return None


def _write_manifest(folder: Path, step: int, launch: Launch, metadata: Mapping[str, Any]) -> None:
    files = {path.name: {"size": path.stat().st_size, "sha256": file_digest(path)} for path in sorted(folder.iterdir())}
    content = {
        "format": FORMAT,
        "step": step,
        "world_size": launch.world_size,
        "torch": torch.__version__,
        "files": files,
        "metadata": dict(metadata),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({"sha256": digest, "content": content}, indent=1))
    for path in folder.iterdir():
        sync_to_disk(path)
    sync_to_disk(folder)


def _clear_leftovers(folder: Path) -> None:
    """After a kill: what was being replaced comes back, what was half written goes."""
    for replaced in folder.glob("step-*.old"):
        if not replaced.with_suffix("").exists():
            os.replace(replaced, replaced.with_suffix(""))
    for leftover in (*folder.glob("step-*.tmp"), *folder.glob("step-*.old")):
        shutil.rmtree(leftover, ignore_errors=True)


def _write(folder: Path, step: int, state: Mapping[str, Any], launch: Launch, metadata: Mapping[str, Any]) -> None:
    final = _step_folder(folder, step)
    fresh = final.with_name(final.name + ".tmp")
    folder.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(folder)
    check_room(folder, 2 * state_bytes(state))
    try:
        fresh.mkdir()
        write_state(fresh, state)
        _write_manifest(fresh, step, launch, metadata)
        if final.exists():  # a folder cannot be renamed onto a full one
            os.replace(final, final.with_name(final.name + ".old"))
        os.replace(fresh, final)
        sync_to_disk(folder)
    finally:
        _clear_leftovers(folder)
    write_atomically(folder / LATEST, str(step))


def _prune(folder: Path, step: int, keep_last: int) -> None:
    """Keep the newest ``keep_last``; steps after this one belong to an abandoned branch."""
    steps = checkpoint_steps(folder)
    keep = [past for past in steps if past <= step][-keep_last:]
    for past in steps:
        if past > step or past not in keep:
            shutil.rmtree(_step_folder(folder, past), ignore_errors=True)


def _explain(error: Exception, folder: Path, step: int) -> str:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    kept = [past for past in checkpoint_steps(folder) if past != step]
    kept_words = f"the checkpoint of step {kept[-1]} is untouched" if kept else "there is no earlier one"
    return (
        f"the checkpoint of step {step} was not written in {folder}: {cause}; {kept_words}. "
        "Free space or rights there, then resume the run"
    )


def on_main(action: Callable[[], None], launch: Launch, explain: Callable[[Exception], str]) -> None:
    """Run on rank 0; every rank raises the same InputError, with the words of ``explain``, if it fails."""
    message = None
    if launch.is_main:
        try:
            action()
        except Exception as error:
            message = explain(error)
    message = launch.broadcast_object(message)
    if message is not None:
        raise InputError(message)


def save_checkpoint(
    folder: Path,
    step: int,
    state: Mapping[str, Any],
    launch: Launch,
    metadata: Mapping[str, Any],
    *,
    keep_last: int = 3,
) -> Path:
    """Write the state of one step; call it on every rank.

    Args:
        folder: checkpoint folder of the run; made if absent.
        step: number of finished steps.
        state: nested dicts, lists, tuples of tensors, arrays, numbers, strings; equal on all ranks (rank 0 writes).
        launch: the processes of the run.
        metadata: JSON values that describe it (config hash, encoding constants, journal offset ...).
        keep_last: how many of the newest checkpoints stay.

    Returns:
        The folder of this checkpoint.

    Raises:
        InputError: on every rank, when rank 0 could not write; earlier checkpoints are untouched.
    """
    folder = Path(folder)

    def action() -> None:
        _write(folder, step, state, launch, metadata)
        _prune(folder, step, keep_last)

    on_main(action, launch, lambda error: _explain(error, folder, step))
    return _step_folder(folder, step)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        content = manifest["content"]
        if hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest() != manifest["sha256"]:
            raise DamagedCheckpoint(f"{MANIFEST} does not match its own sha256")
        if content["format"] != FORMAT:
            raise DamagedCheckpoint(f"its format is {content['format']!r}, {FORMAT!r} is needed")
        for name, expected in content["files"].items():
            size = (folder / name).stat().st_size
            if size != expected["size"]:
                raise DamagedCheckpoint(f"{name} has {size} bytes instead of {expected['size']}")
            if file_digest(folder / name) != expected["sha256"]:
                raise DamagedCheckpoint(f"{name} does not match its sha256")
        return read_state(folder), content["metadata"]
    except FileNotFoundError as error:
        raise DamagedCheckpoint(f"{Path(error.filename).name} is missing") from None
    except (OSError, ValueError, KeyError, TypeError) as error:  # a damaged manifest breaks JSON in many ways
        raise DamagedCheckpoint(f"it cannot be read ({type(error).__name__}: {error})") from None


def _candidates(folder: Path, step: int | None) -> list[int]:
    """Steps to try, in order: from ``latest`` downwards, then what lies above it."""
    steps = checkpoint_steps(folder)
    if step is not None or not steps:
        return [step] if step in steps else []
    latest = _latest(folder)
    latest = steps[-1] if latest is None else latest
    return [past for past in reversed(steps) if past <= latest] + [past for past in reversed(steps) if past > latest]


def load_checkpoint(
    folder: Path, launch: Launch, step: int | None = None
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Read the newest checkpoint that every rank finds whole, or the one of ``step``; call it on every rank.

    A damaged one is reported on stderr and the one before it is taken.

    Returns:
        (state, metadata), tensors on the CPU; None if the folder holds no checkpoint.

    Raises:
        InputError: no checkpoint of that step, or none that all ranks can read.
    """
    folder = Path(folder)
    if launch.is_main and any(folder.glob("step-*.old")):
        _clear_leftovers(folder)
    candidates = launch.broadcast_object(_candidates(folder, step) if launch.is_main else None)
    if not candidates and step is None:
        return None
    if not candidates:
        raise InputError(f"{folder} has no checkpoint of step {step}; it has {checkpoint_steps(folder) or 'none'}")
    for candidate in candidates:
        found, damage = None, None
        try:
            found = _read(_step_folder(folder, candidate))
        except DamagedCheckpoint as error:
            damage = str(error)
        if launch.all_agree(found is not None):
            return found
        if damage is not None or launch.is_main:
            print(
                f"physgen: WARNING: checkpoint {_step_folder(folder, candidate)} is damaged on rank {launch.rank}: "
                f"{damage or 'another rank cannot read it'}; trying the next",
                file=sys.stderr,
                flush=True,
            )
    tried = ", ".join(map(str, candidates))
    raise InputError(
        f"no checkpoint in {folder} is whole (tried steps {tried}); copy the folder back from a backup, "
        "or start a new run"
    )
