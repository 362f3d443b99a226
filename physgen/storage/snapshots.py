"""Snapshots of weights along a run: safetensors, no pickle, each name holds a whole file or none.

averages/step-00000200-0.safetensors, -1, ...: one file for each snapshot of that step.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.storage.checkpoint import on_main
from physgen.storage.disk import sync_to_disk
from physgen.storage.weights import weights_digest

FORMAT = "physgen-snapshot/1"
PATTERN = "step-*.safetensors"


class StoredWeights(Mapping[str, torch.Tensor]):
    """Tensors by name that are read one at a time, when they are asked for: many snapshots need no memory."""

    def __init__(self, path: Path) -> None:
        self.file = safe_open(path, "pt")  # maps the file, keeps no descriptor
        self.names = sorted(self.file.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class StoredSnapshot:
    """A snapshot on disk: the step of the run, what was written of it, and its weights."""

    step: int
    metadata: dict[str, Any]
    weights: StoredWeights


def write_snapshots(
    folder: Path, step: int, snapshots: Iterable[tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]], launch: Launch
) -> None:
    """Write the snapshots of one step, (weights, metadata) each; call it on every rank, rank 0 writes.

    The same snapshots give the same bytes. Metadata are JSON values.

    Raises:
        InputError: on every rank, when rank 0 could not write; earlier snapshots are untouched.
    """

    def action() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (weights, metadata) in enumerate(snapshots):
            _write(folder / f"step-{step:08d}-{number}.safetensors", weights, {"step": step, **metadata})

    on_main(
        action,
        launch,
        lambda error: (
            f"the averages of step {step} were not written in {folder} ({error}); free space or get the "
            "right to write there, then resume the run"
        ),
    )


def _write(path: Path, weights: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    described = {"format": FORMAT, "sha256": weights_digest(plain), **metadata}
    fresh = path.with_name(path.name + ".tmp")
    try:
        # one key: safetensors writes several in an order that changes from process to process
        save_file(plain, fresh, {"physgen": json.dumps(described)})
        sync_to_disk(fresh)
        os.replace(fresh, path)
        sync_to_disk(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def read_snapshots(folder: Path) -> list[StoredSnapshot]:
    """All snapshots of a folder, by step; none if it does not exist. Every file is held to its sha256.

    Raises:
        InputError: a file is damaged.
    """
    found = []
    for path in sorted(folder.glob(PATTERN)):
        try:
            weights = StoredWeights(path)
            metadata = json.loads(weights.file.metadata()["physgen"])
            whole = metadata["format"] == FORMAT and weights_digest(weights) == metadata["sha256"]
            step = int(metadata["step"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} cannot be read ({error}): {_REMEDY}") from None
        if not whole:
            raise InputError(f"{path} does not match its sha256: {_REMEDY}")
        found.append(StoredSnapshot(step, metadata, weights))
    return found


_REMEDY = "copy it again, or remove it to do with the other snapshots"


def drop_snapshots(folder: Path, after: int) -> None:
    """Remove the snapshots of later steps, which belong to a course that was given up, and what is half written."""
    for path in [*folder.glob(PATTERN), *folder.glob(f"{PATTERN}.tmp")]:
        step = path.name.split("-")[1]
        if path.suffix == ".tmp" or (step.isdigit() and int(step) > after):
            path.unlink(missing_ok=True)
