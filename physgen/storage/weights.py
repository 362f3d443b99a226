"""Weights for sharing and archives: safetensors and JSON, readable by any later version."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from physgen.errors import InputError
from physgen.provenance import file_digest
from physgen.storage.disk import sync_to_disk, write_atomically


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
        fresh = folder / "weights.safetensors.tmp"
        save_file({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}, fresh)
        sync_to_disk(fresh)
        digest = file_digest(fresh)
        os.replace(fresh, folder / "weights.safetensors")
        write_atomically(folder / "model.json", json.dumps({"weights_sha256": digest, "model": dict(model)}, indent=1))
    except Exception as error:
        raise InputError(f"the weights were not written in {folder} ({error}); free space or rights there") from None
    return folder


def load_weights(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read (weights, model) that :func:`export_weights` wrote.

    Raises:
        InputError: a file is missing or does not match its sha256.
    """
    folder = Path(folder)
    try:
        described = json.loads((folder / "model.json").read_text())
        whole = file_digest(folder / "weights.safetensors") == described["weights_sha256"]
        model = described["model"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} holds no readable model ({error}); export it again from the run") from None
    if not whole:
        raise InputError(f"{folder / 'weights.safetensors'} does not match the sha256 in model.json; copy it again")
    return load_file(folder / "weights.safetensors"), model


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """sha256 of the names and bytes of the tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
