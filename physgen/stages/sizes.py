"""The stage that lays ensembles of several sizes over one another: curves of each size, and where they cross."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physgen.domains.contract import domain_of
from physgen.ensemble import load_ensemble
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

KIND = "sizes"


class SizeComparison(NamedTuple):
    """What was written: its folder, name -> result, and a table of the crossings."""

    folder: Path
    results: dict[str, xr.Dataset]
    table: str


def compare_sizes(sources: Sequence[str | Path], folder: str | Path) -> SizeComparison:
    """Curves of ensembles of several sizes, one file each, and their crossings.

    ``folder`` gets ``summary.json`` (statistic -> pair of sizes -> value, error, share of bootstrap draws that cross),
    ``crossings.nc`` and ``figures/crossings.png`` and ``.svg``.

    Raises:
        InputError: ensembles of different domains, or what the domain says of them; a folder that exists.
    """
    ensembles = [load_ensemble(source) for source in sources]
    domains = {domain_of(ensemble).name for ensemble in ensembles}
    if len(domains) > 1:
        raise InputError(f"the files are of the domains {', '.join(sorted(domains))}: compare sizes within one")
    results = domain_of(ensembles[0]).compare_sizes(ensembles)
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists already and is not overwritten: give another -o")
    folder.mkdir(parents=True)
    summary = {name: _summary(result) for name, result in results.items()}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1))
    for place, (name, result) in enumerate(results.items()):
        result.to_netcdf(folder / "crossings.nc", mode="a" if place else "w", group=name, engine="h5netcdf")
    from physgen.figures.crossing import size_crossings
    from physgen.figures.style import save_figure

    save_figure(size_crossings(*results.values()), folder / "figures", "crossings")
    return SizeComparison(folder, results, _table(results))


def log_sizes(found: SizeComparison, tracking_uri: str | None = None) -> str | None:
    """Send a written comparison to MLflow as a run of its own, with the tag ``physgen.kind = sizes``.

    Returns the URI, or None where none was given: nothing is sent then.
    """
    from physgen.processes.launch import Launch
    from physgen.tracking.journal import Journal
    from physgen.tracking.tracker import Tracker

    if tracking_uri in (None, "off"):
        return None
    folder = found.folder
    with Journal(folder) as journal, Tracker(journal, Launch(), folder.name, "physgen", tracking_uri) as tracker:
        tracker.tags({"physgen.kind": KIND})
        for name, result in found.results.items():
            for pair, entry in _summary(result).items():
                metrics = {f"{name}/{pair}": entry["value"], f"{name}_error/{pair}": entry["error"]}
                journal.log(0, {key: value for key, value in metrics.items() if value is not None})
        png = folder / "figures" / "crossings.png"
        tracker.figure([png, png.with_suffix(".svg")], "comparison/crossings")
        tracker.artifact(folder / "summary.json", "comparison")
    return tracking_uri


def _summary(result: xr.Dataset) -> dict[str, dict[str, float | None]]:
    """Pair of sizes, as small_large -> place of the crossing, its error, and the share of draws that cross."""
    found = {}
    for place in range(result.sizes["pair"]):
        pair = result.isel(pair=place)
        names = {"value": "crossing", "error": "crossing_error", "crossed": "crossed"}
        numbers = {key: float(pair[name]) for key, name in names.items()}
        key = f"{int(pair['small'])}_{int(pair['large'])}"
        found[key] = {name: number if np.isfinite(number) else None for name, number in numbers.items()}
    return found


def _table(results: dict[str, xr.Dataset]) -> str:
    """A line for each pair of sizes of each statistic."""
    from physgen.figures.notation import format_value

    lines = []
    for name, result in results.items():
        unit = result["crossing"].attrs.get("units", "1")
        for pair, entry in _summary(result).items():
            told = "no crossing within the range"
            if entry["value"] is not None:
                error = np.nan if entry["error"] is None else entry["error"]
                told = f"{format_value(entry['value'], error)} {unit}"
            lines.append(f"{name}: sizes {pair.replace('_', ', ')}: {told} ({entry['crossed']:.0%} of the draws cross)")
    return "\n".join(lines)
