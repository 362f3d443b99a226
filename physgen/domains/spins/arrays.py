"""Arrays from files, checked together: shapes, values, couplings, temperatures. Files are never unpickled."""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.spins.layout import SAMPLE, Disorder, check_values, spin_ensemble
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Source:
    """Where arrays came from, and what couplings (and fields) are multiplied with to be those of H = -sum J s s."""

    name: str
    factor: float = 1.0


def assemble(
    spins: np.ndarray,
    couplings: np.ndarray,
    edges: np.ndarray | None,
    temperatures: np.ndarray | None,
    source: Source,
    external_field: np.ndarray | None = None,
) -> xr.Dataset:
    r"""An ensemble of spins (D, T, R, \*grid) with couplings (D, d, \*grid), or (D, M) on edges (M, 2)."""
    couplings = np.asarray(couplings)
    name = source.name
    if couplings.dtype.kind not in "iuf" or not np.isfinite(couplings).all():
        raise InputError(f"{name}: couplings must be finite numbers: repair or drop that disorder instance")
    given = 0 if temperatures is None else len(temperatures)
    if temperatures is None or given != spins.shape[1]:
        raise InputError(
            f"{name}: {given} temperatures were given for {spins.shape[1]} in the file: give temperatures=T1,T2,... in "
            f"units of J, or betas=B1,B2,...{_other_axis(spins, given)}"
        )
    if len(np.unique(temperatures)) < given:
        raise InputError(
            f"{name}: temperatures {list(map(float, temperatures))} hold one twice: join its configurations along "
            "replica"
        )
    if not np.all(np.isfinite(temperatures) & (temperatures > 0)):
        raise InputError(f"{name}: temperatures {list(map(float, temperatures))} must be positive, in units of J")
    try:
        spins = check_values(spins)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    outer = None if external_field is None else (source.factor * external_field).astype(np.float32)
    disorder = Disorder((source.factor * couplings).astype(np.float32), edges, outer)
    return spin_ensemble(spins, disorder, temperatures, np.arange(len(spins)), {})


def _other_axis(spins: np.ndarray, temperatures: int) -> str:
    at = [i for i in (0, 2) if spins.shape[i] == temperatures]
    if not at:
        return ""
    order = ["disorder", "replica"]
    order.insert(at[0], "temperature")
    space = ",".join("zyx"[6 - spins.ndim :])
    return f"; axis {at[0]} has that length: is it axes={','.join(order)},{space} (default {','.join(SAMPLE)},{space})?"


def array(path: Path) -> np.ndarray:
    """A numeric array, of an archive the only one; Python objects are refused, because unpickling them runs code."""
    loaded = open_arrays(path)
    if isinstance(loaded, dict) and len(loaded) == 1:
        return next(iter(loaded.values()))
    if isinstance(loaded, dict):
        raise InputError(f"{path} is an archive of {', '.join(loaded)}: save the one array that is meant as .npy")
    return loaded


def open_arrays(path: Path, content: bytes | None = None) -> dict[str, np.ndarray] | np.ndarray:
    """The array of an .npy file, or those of an .npz archive by name; ``content`` where it is at hand."""
    try:
        loaded = np.load(path if content is None else io.BytesIO(content), allow_pickle=False)
        return {key: loaded[key] for key in loaded.files} if hasattr(loaded, "files") else loaded
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is not a readable array of numbers ({' '.join(str(error).split())[:120]}): "
            "physgen loads no Python objects; save it with numpy.save as int8 or float"
        ) from error


def content_of(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is one of gzip."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == GZIP else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())}): check the file") from None


def text_of(path: Path, content: bytes | None = None) -> str:
    """The text of a file in UTF-8, UTF-16 or Latin-1, packed by gzip or not, without a byte order mark."""
    content = content_of(path) if content is None else content
    encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        if any(byte < 9 for byte in content):  # no text holds them
            raise InputError(
                f"{path} is not a text file: couplings are read from text, JSON of dimod, .npy, .npz and matrices"
            ) from None
        return content.decode("latin-1")
