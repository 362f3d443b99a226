"""The stage that writes an ensemble for other programs: whole or not at all, and nothing is overwritten."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from physgen.domains.any_field import AnyField
from physgen.domains.contract import Domain, get_domain
from physgen.ensemble import check_ensemble, open_verified
from physgen.errors import InputError
from physgen.stages.data import check_new
from physgen.storage.disk import fresh_folder

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        paths: the files or folders, what was asked for first.
        back: words of the ``physgen import`` that reads it back, all but its output; none where no importer does.
    """

    paths: list[Path]
    back: list[str]


def export_files(format: str, source: str | Path | xr.Dataset, output: str | Path) -> Exported:
    """Write an ensemble in a format of its physics, ``physgen domains`` lists them.

    All files are written in a folder of their own beside the output, synced, and then take their names, ``output``
    last: where it stands, all that belongs to it does.

    Args:
        format: one of those of the domain that the ensemble names; npy or hdf5 where it names none.
        source: an ensemble, in memory or a file.
        output: new file or folder, as the format has it.

    Raises:
        InputError: another format, something the format cannot hold, or an output that exists.
    """
    output = Path(output)
    check_new(output)
    if isinstance(source, str | Path):
        with open_verified(source) as ensemble:
            return _export(format, ensemble, output)
    return _export(format, check_ensemble(source), output)


def _export(format: str, ensemble: xr.Dataset, output: Path) -> Exported:
    domain = _domain(ensemble)
    if format not in domain.exports:
        owner = domain.name or "fields without a physics"
        raise InputError(f"{owner} cannot be exported as {format!r}: choose one of {', '.join(domain.exports)}")
    try:
        with fresh_folder(output, ensemble.nbytes + 2**17) as folder:
            words = domain.export(format, ensemble, folder, output.name)
            for path in folder.iterdir():
                check_new(output.parent / path.name)
            written = sorted(path.name for path in folder.iterdir() if path.name != output.name)
    except OSError as error:
        raise InputError(
            f"cannot write {output}: {error.strerror or error}. Nothing that existed was changed"
        ) from error
    back = [str(output.parent / word) if isinstance(word, Path) else word for word in words]
    return Exported([output, *(output.parent / name for name in written)], back)


def _domain(ensemble: xr.Dataset) -> type[Domain]:
    name = str(ensemble.attrs.get("domain", ""))
    return get_domain(name) if name else AnyField
