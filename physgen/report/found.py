"""What a stage found of a run's density: a table, a summary, datasets and one figure, printed and written alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from physgen.report.evaluation import write_groups
from physgen.report.page import write_summary

if TYPE_CHECKING:
    import xarray as xr

    from physgen.figures.style import Figure


class Found:
    """Base of frozen dataclasses with ``subject``, ``summary`` (name -> {"value", "error", "meaning"}, settings,
    ``notes``) and ``folder``, which have a ``figure`` and the datasets ``groups``.

    ``stem`` names the files, ``columns`` are the widths of names and values in the table.
    """

    stem: ClassVar[str]
    columns: ClassVar[tuple[int, int]]
    subject: str
    summary: dict[str, Any]
    folder: Path | None

    @property
    def figure(self) -> Figure:
        """The one figure."""
        raise NotImplementedError

    @property
    def groups(self) -> dict[str, xr.Dataset]:
        """Group of the file -> dataset."""
        raise NotImplementedError

    @property
    def table(self) -> str:
        """What came out, each number with its error and its meaning, and the notes, in lines."""
        from physgen.figures.notation import format_value

        lines, (names, values) = [self.subject], self.columns
        for name, entry in self.summary.items():
            if isinstance(entry, dict) and "value" in entry:
                said = format_value(entry["value"], entry["error"])
                lines.append(f"  {name:{names}} {said:>{values}}  {entry['meaning']}")
        return "\n".join([*lines, *(f"note: {text}" for text in self.summary["notes"])])

    def write(self, folder: str | Path) -> Self:
        """Write ``summary.json``, the datasets and the figure into a folder."""
        from physgen.figures.style import save_figure

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_groups(self.groups, folder / f"{self.stem}.nc")
        write_summary(folder, self.summary)
        save_figure(self.figure, folder / "figures", self.stem)
        return replace(self, folder=folder)  # type: ignore[type-var]

    def __repr__(self) -> str:
        return self.table
