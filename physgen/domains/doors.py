"""The doors of a domain: foreign files and arrays in, files for other programs out. Part of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from physgen.ensemble.plain import PLAIN
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


class Doors:
    """What a :class:`physgen.domains.contract.Domain` reads and writes; see there for the words."""

    name: ClassVar[str]
    split_by: ClassVar[str]
    labels: ClassVar[tuple[str, ...]] = ()
    formats: ClassVar[Mapping[str, str]] = {}
    exports: ClassVar[Mapping[str, str]] = PLAIN

    @classmethod
    def load(cls, format: str, paths: Sequence[Path], **options: str) -> xr.Dataset:
        """Read foreign files. Options are strings as typed by the user. Raises InputError."""
        how = "write an ensemble (physgen.ensemble.save_ensemble) from your own script"
        raise InputError(f"{cls.name} cannot read files of format {format!r}, nor of any other: {how}")

    @classmethod
    def load_conditions(cls, path: Path, dimension: int) -> xr.Dataset:
        """A template from a foreign file that says all of itself, for a model of so many space dims.

        Raises InputError for a file that it cannot read, which is each where the domain does not override this.
        """
        raise InputError(f"{path} is not an ensemble: bring foreign data in with `physgen import`")

    @classmethod
    def export(cls, format: str, ensemble: xr.Dataset, folder: Path, name: str) -> list[str | Path]:
        """Write an ensemble for other programs into an empty folder: a file, or a folder, ``name``, and what is beside.

        Returns the words of the ``physgen import`` that reads it back, files as Path relative to ``folder``; none where
        no importer does. Raises InputError for another format, or what it cannot hold.
        """
        from physgen.ensemble.plain import write_plain

        write_plain(format, ensemble, folder, name)
        return []

    @classmethod
    def adopt(cls, ensemble: xr.Dataset, like: xr.Dataset | None = None) -> xr.Dataset:
        """An ensemble that names no physics (:func:`physgen.from_array`) as one of this domain.

        ``like``, one of this domain, says what an array does not say of itself, such as its box.
        Raises InputError where a variable, a unit or a value says that it is none.
        """
        from physgen.domains.contract import with_units
        from physgen.domains.lattice_field import adopt_field

        return with_units(adopt_field(ensemble, like, cls.name, cls.split_by, cls.labels), cls)
