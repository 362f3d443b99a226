"""CIFAR-10 and CIFAR-100: the binary version, and the pickles of the python version, read without running any of it.

A binary record is one byte of the class (CIFAR-100: two, coarse and fine) and 3072 bytes of the picture, red, green,
blue, each row by row. A pickle holds a dict of the same as arrays and lists. Source: A. Krizhevsky, Learning Multiple
Layers of Features from Tiny Images (2009), and its page "The CIFAR-10 dataset".

A pickle is a program. This reader allows it numpy arrays, dicts, lists, strings and numbers, and refuses every other
name, so that no code of the file runs.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from physgen.errors import InputError

SIDE, PIXELS, BYTES = 32, 3072, 256
ALLOWED = {
    ("numpy", "ndarray"), ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
}  # fmt: skip
CLASSES = {"fine": b"fine_labels", "coarse": b"coarse_labels"}


class _ArraysAlone(pickle.Unpickler):
    """Finds the names that an array of numbers needs, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_cifar(paths: list[Path], options: Mapping[str, str]) -> tuple[np.ndarray, int, np.ndarray | None]:
    """(pictures (N, 3, 32, 32), 256, classes) of files; ``labels``: fine or coarse of CIFAR-100, fine by default."""
    which = options.get("labels", "fine")
    if which not in CLASSES:
        raise InputError(f"labels={which}: choose fine or coarse (CIFAR-10 has one kind of labels)")
    parts = [_binary(path, which) if path.suffix == ".bin" else _python(path, which) for path in paths]
    values, classes = (np.concatenate(part) for part in zip(*parts, strict=True))
    return values.reshape(-1, 3, SIDE, SIDE), BYTES, classes


def _binary(path: Path, which: str) -> tuple[np.ndarray, np.ndarray]:
    content = np.frombuffer(_bytes(path), np.uint8)
    labels = next((n for n in (1, 2) if len(content) and len(content) % (PIXELS + n) == 0), None)
    if labels == 1 and len(content) % (PIXELS + 2) == 0:  # 3073 x 3074 bytes, or a multiple: the name decides
        labels = 1 if "batch" in path.name else 2
    if labels is None:
        raise InputError(
            f"{path} has {len(content)} bytes, no multiple of 3073 (CIFAR-10) or 3074 (CIFAR-100): is it whole?"
        )
    rows = content.reshape(-1, PIXELS + labels)
    column = 0 if labels == 1 or which == "coarse" else 1
    return rows[:, labels:], rows[:, column].astype(np.int64)


def _python(path: Path, which: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        found = _ArraysAlone(io.BytesIO(_bytes(path)), encoding="bytes").load()
    except Exception as error:  # of a broken pickle anything may be raised
        said = " ".join(str(error).split())[:120]
        raise InputError(f"{path} is no batch of CIFAR: only arrays are read from a pickle ({said})") from None
    named = {k.encode() if isinstance(k, str) else k: v for k, v in found.items()} if isinstance(found, dict) else {}
    values, classes = named.get(b"data"), named.get(b"labels", named.get(CLASSES[which]))
    are_pixels = isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == PIXELS
    if values is None or not are_pixels or not isinstance(classes, list) or len(classes) != len(values):
        raise InputError(
            f"{path} holds no 'data' (N, 3072) with as many labels: give data_batch_*, test_batch, train or test"
        )
    return values.astype(np.uint8), np.asarray(classes, dtype=np.int64)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
