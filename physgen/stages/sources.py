"""Ensembles from whatever is at hand: a Dataset, an array, the file of either; and the physics that they share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.any_field import AnyField
from physgen.domains.contract import Domain, check_same_domain, domain_of, get_domain
from physgen.ensemble import check_ensemble, from_array, map_ensemble
from physgen.ensemble.table import read_table
from physgen.errors import InputError
from physgen.provenance import file_digest

if TYPE_CHECKING:
    import xarray as xr

TABLE = ".csv"
ARRAYS = (".npy", ".npz", TABLE)
NAMES = {"generated": "the generated ensemble", "reference": "the reference", "train": "the training set"}


def as_ensembles(sources: Mapping[str, Any], box_size: Any = None, domain: str | None = None) -> dict[str, xr.Dataset]:
    """Name -> :func:`as_ensemble` of each source; what an array is, the domain says, or that of another ensemble."""
    made = {name: as_ensemble(source, box_size) for name, source in sources.items() if not _is_array(source)}
    named = domain or next((e.attrs["domain"] for e in made.values() if e.attrs.get("domain")), None)
    dimension = get_domain(named).array_dimension if named else None
    made |= {n: as_ensemble(source, box_size, dimension=dimension) for n, source in sources.items() if n not in made}
    return {name: made[name] for name in sources}


def _is_array(source: Any) -> bool:
    if isinstance(source, str | Path):
        return Path(source).suffix.lower() in ARRAYS
    return not hasattr(source, "data_vars")


def as_ensemble(source: Any, box_size: Any = None, name: str = "the array", dimension: int | None = None) -> xr.Dataset:
    """The ensemble that ``source`` is.

    Args:
        source: a Dataset; an array (N, \\*grid), see :func:`physgen.from_array`; the path of an ensemble file, of an
            array in .npy or .npz, or of a table of numbers in .csv, a row for each sample.
        box_size: of an array: ``"25 Mpc/h"``, one length for each axis where they differ.
        name: what to call it in a message.
        dimension: of space, of an array; 0 for vectors, which the rows of a table always are.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        dimension = 0 if path.suffix.lower() == TABLE else dimension
        if path.suffix.lower() not in ARRAYS:
            return map_ensemble(path)
        source, name = read_array(path), str(path)
    if hasattr(source, "data_vars"):
        return check_ensemble(source)
    try:
        return from_array(source, box_size, dimension=dimension)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def read_array(path: Path) -> np.ndarray:
    """The one array of an .npy or .npz file, or the table of a .csv file.

    Python objects are refused, because unpickling them runs code.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file: check the path")
    if path.suffix.lower() == TABLE:
        return read_table(path)
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} is not a readable array of numbers ({' '.join(str(error).split())[:120]}): save it with numpy.save"
        ) from None
    if not hasattr(loaded, "files"):
        return loaded
    if len(loaded.files) != 1:
        raise InputError(f"{path} holds {len(loaded.files)} arrays ({', '.join(loaded.files)}): save the one meant")
    return loaded[loaded.files[0]]


def of_one_physics(
    ensembles: Mapping[str, xr.Dataset], domain: str | None = None
) -> tuple[dict[str, xr.Dataset], Domain]:
    """The ensembles as those of one domain, and that domain: the one asked for, else the first that is named.

    Where none is named they are fields on a lattice, :class:`physgen.domains.any_field.AnyField`.

    Args:
        ensembles: generated, reference, train -> ensemble; the reference gives to the others what
            an array does not say of itself (its box, the kind of its field).
        domain: name of the physics.
    """
    reference = ensembles["reference"]
    named = [ensemble for ensemble in (reference, *ensembles.values()) if ensemble.attrs.get("domain")]
    found = get_domain(domain) if domain else domain_of(named[0]) if named else AnyField
    kept = {}
    for name, ensemble in {"reference": reference, **ensembles}.items():
        if ensemble.attrs.get("domain"):
            check_same_domain(ensemble, found.name, NAMES.get(name, name), "the reference")
            kept[name] = ensemble
            continue
        like = kept.get("reference")
        try:
            kept[name] = found.adopt(ensemble, like if like is not None and like.attrs.get("domain") else None)
        except InputError as error:
            raise InputError(f"{NAMES.get(name, name)}: {error}") from None
    return {name: kept[name] for name in ensembles}, found()


def described(sources: Mapping[str, Any]) -> dict[str, str]:
    """Where the data came from: the file and its digest, for provenance."""
    return {
        name: f"{source} (sha256 {file_digest(Path(source))[:16]})" if isinstance(source, str | Path) else "in memory"
        for name, source in sources.items()
    }
