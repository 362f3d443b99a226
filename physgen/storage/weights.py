"""Weights as safetensors and JSON, no pickle, readable by any later version; each name holds a whole file or none.

model/weights.safetensors, model.json: the weights of a run and what rebuilds its network, for sharing and archives.
averages/step-00000200-0.safetensors, -1, ...: snapshots along a run, one file for each snapshot of that step.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.provenance import file_digest
from physgen.storage.checkpoint import on_main
from physgen.storage.disk import leftovers, whole_file, write_atomically

SNAPSHOT_FORMAT = "physgen-snapshot/1"
SNAPSHOTS = "step-*.safetensors"
SNAPSHOT_REMEDY = "copy it again, or remove it to work with the other snapshots"


def export_weights(folder: Path, weights: Mapping[str, torch.Tensor], model: Mapping[str, Any]) -> Path:
    """Write ``weights.safetensors`` and ``model.json``.

    Args:
        folder: made if absent.
        weights: tensors by name.
        model: JSON values that rebuild the network; the sha256 of the weights is written beside them.

    Raises:
        InputError: the disk cannot take them.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / "weights.safetensors") as fresh:
            save_file({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}, fresh)
            digest = file_digest(fresh)
        write_atomically(folder / "model.json", json.dumps({"weights_sha256": digest, "model": dict(model)}, indent=1))
    except Exception as error:
        raise InputError(
            f"the weights were not written in {folder} ({error}); free space or get the right to write there"
        ) from None
    return folder


def load_weights(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read (weights, model) that :func:`export_weights` wrote.

    Raises:
        InputError: a file is missing or does not match its sha256.
    """
    folder = Path(folder)
    digest, model = _described(folder)
    try:
        whole = file_digest(folder / "weights.safetensors") == digest
    except OSError as error:
        raise _unreadable(folder, error) from None
    if not whole:
        raise InputError(f"{folder / 'weights.safetensors'} does not match the sha256 in model.json; copy it again")
    return load_file(folder / "weights.safetensors"), model


def load_description(folder: Path) -> dict[str, Any]:
    """The model of :func:`load_weights` alone, without reading its weights.

    Raises:
        InputError: model.json is missing or does not describe a model.
    """
    return _described(Path(folder))[1]


def _described(folder: Path) -> tuple[str, dict[str, Any]]:
    """The sha256 of the weights, and the model."""
    try:
        described = json.loads((folder / "model.json").read_text())
        return described["weights_sha256"], described["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from None


def _unreadable(folder: Path, error: Exception) -> InputError:
    return InputError(f"{folder} holds no readable model ({error}); export it again from the run")


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """sha256 of the names and bytes of the tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# --- snapshots along a run --------------------------------------------------------------------------


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
            _write_snapshot(folder / f"step-{step:08d}-{number}.safetensors", weights, {"step": step, **metadata})

    on_main(
        action,
        launch,
        lambda error: (
            f"the EMA snapshots of step {step} were not written in {folder} ({error}); free space or get the "
            "right to write there, then resume the run"
        ),
    )


def _write_snapshot(path: Path, weights: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    described = {"format": SNAPSHOT_FORMAT, "sha256": weights_digest(plain), **metadata}
    with whole_file(path) as fresh:
        # one key: safetensors writes several in an order that changes from process to process
        save_file(plain, fresh, {"physgen": json.dumps(described)})


def read_snapshots(folder: Path) -> list[StoredSnapshot]:
    """All snapshots of a folder, by step; none if it does not exist. The sha256 of every file is verified.

    Raises:
        InputError: a file is damaged.
    """
    found = []
    for path in sorted(folder.glob(SNAPSHOTS)):
        try:
            weights = StoredWeights(path)
            metadata = json.loads(weights.file.metadata()["physgen"])
            whole = metadata["format"] == SNAPSHOT_FORMAT and weights_digest(weights) == metadata["sha256"]
            step = int(metadata["step"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} cannot be read ({error}): {SNAPSHOT_REMEDY}") from None
        if not whole:
            raise InputError(f"{path} does not match its sha256: {SNAPSHOT_REMEDY}")
        found.append(StoredSnapshot(step, metadata, weights))
    return found


def drop_snapshots(folder: Path, after: int) -> None:
    """Remove the snapshots of later steps, which belong to an abandoned branch, and what is half written."""
    for path in leftovers(folder, SNAPSHOTS):
        path.unlink(missing_ok=True)
    for path in folder.glob(SNAPSHOTS):
        step = path.name.split("-")[1]
        if step.isdigit() and int(step) > after:
            path.unlink(missing_ok=True)
