"""IDX files, the form of MNIST and its kin: a magic number, the sizes of the axes, the values in C order.

The magic number is two bytes of zero, one for the type of the values, one for the number of axes; sizes are 32-bit
whole numbers with the largest byte first. Source: Y. LeCun, C. Cortes and C. Burges, THE MNIST DATABASE.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from physgen.errors import InputError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
BYTE, BYTES = 0x08, 256


def read_idx(paths: list[Path], options: Mapping[str, str]) -> tuple[np.ndarray, int, np.ndarray | None]:
    """(pictures (N, H, W), levels, classes or None); ``labels`` names a file of classes for each, by commas."""
    parts = [read_array(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.ndim != 3:
            raise InputError(
                f"{path} holds an array of {part.ndim} axes; images have three, (N, H, W): is it the labels?"
            )
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        raise InputError(f"the files hold images of the sizes {shapes}: give files of one size")
    values, classes = np.concatenate(parts), None
    if "labels" in options:
        classes = np.concatenate([_classes(Path(name)) for name in options["labels"].split(",")])
        if len(classes) != len(values):
            raise InputError(f"{len(classes)} labels for {len(values)} images: give the labels of each file of images")
    return values, BYTES if values.dtype == np.uint8 else 0, classes


def _classes(path: Path) -> np.ndarray:
    if not path.exists():
        raise InputError(f"labels={path} does not exist: check the path")
    found = read_array(path)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise InputError(f"{path} holds an array of shape {found.shape}; labels are one whole number for each image")
    return found.astype(np.int64)


def read_array(path: Path) -> np.ndarray:
    """The array of one file, gzip or not, in the byte order of this machine. Raises InputError."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())[:120]})") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or not content[3]:
        raise InputError(f"{path} is no IDX file: it does not begin with the magic number of one")
    axes, kind = content[3], np.dtype(TYPES[content[2]])
    start = 4 + 4 * axes
    if len(content) < start:
        raise InputError(f"{path} ends within its header: download it again")
    shape = struct.unpack(f">{axes}I", content[4:start])
    wanted = int(np.prod(shape, dtype=object)) * kind.itemsize
    if len(content) != start + wanted:
        raise InputError(
            f"{path} says that it holds {shape}, {wanted} bytes, and has {len(content) - start}: download it again"
        )
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))
