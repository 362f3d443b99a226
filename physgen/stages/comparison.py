"""The stage that lays several evaluations over one another: the same diagnostics of several runs, one reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physgen.errors import InputError
from physgen.provenance import file_digest
from physgen.report.comparison import Comparison, Judged
from physgen.runs.folder import open_run
from physgen.tracking.journal import read_journal

if TYPE_CHECKING:
    import xarray as xr

SUMMARY, DIAGNOSTICS = "summary.json", "diagnostics.nc"
SAME = 1e-5  # relative difference of two measurements of one reference, which differ by rounding alone


def compare(sources: Sequence[str | Path]) -> Comparison:
    """Lay the evaluations of several runs over one another; nothing is written.

    Args:
        sources: folders of runs that were judged (the last evaluation of each is taken), or of evaluations.

    Raises:
        InputError: fewer than two, one that was not judged, or evaluations against different references; it names
            what differs.
    """
    folders = [Path(source) for source in sources]
    if len({folder.resolve() for folder in folders}) < 2:
        raise InputError(f"{len(folders)} runs were given: a comparison needs at least two different ones")
    judged = [_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    for other in judged[1:]:
        _check_one_reference(judged[0], other)
    return Comparison(tuple(judged), _settings_that_differ(folders, [one.name for one in judged]))


def log_comparison(comparison: Comparison, folder: Path, tracking_uri: str | None = None) -> str | None:
    """Send a written comparison to MLflow, as a run of its own with the tag ``physgen.kind = comparison``.

    ``folder`` becomes a run folder with a journal, so that ``physgen sync`` can send it later. Where the runs are
    tracked nowhere and no URI is given, nothing is sent.

    Returns:
        The URI, or None where nothing was sent.
    """
    from physgen.processes.launch import Launch
    from physgen.tracking.journal import Journal
    from physgen.tracking.tracker import Tracker, tracked_at

    runs = [one.source for one in comparison.judged if (one.source / "experiment.yaml").is_file()]
    uri = tracking_uri or next(filter(None, map(tracked_at, runs)), None)
    if uri in (None, "off"):
        return None
    experiment = open_run(runs[0]).experiment.tracking.experiment if runs else "physgen"
    with Journal(folder) as journal, Tracker(journal, Launch(), folder.name, experiment, uri) as tracker:
        tracker.tags({"physgen.kind": "comparison", "physgen.compared": ", ".join(o.name for o in comparison.judged)})
        for one in comparison.judged:
            journal.log(0, _metrics(one))
        for png in sorted((folder / "figures").glob("*.png")):
            tracker.figure([png, png.with_suffix(".svg")], f"comparison/{png.stem}")
        tracker.artifact(folder / "report.html", "comparison")
    return uri


def _metrics(one: Judged) -> dict[str, float]:
    """``comparison_<diagnostic>/<metric>/<run>`` of the metrics without a point of their own."""
    return {
        f"comparison_{diagnostic}/{metric}/{one.name}": float(entry["value"])
        for diagnostic, metrics in one.metrics.items()
        for metric, entry in metrics.items()
        if entry.get("value") is not None and "reference" not in entry
    }


# --- reading --------------------------------------------------------------------------------------


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest tails of the paths that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def evaluation_folder(source: Path) -> Path:
    """The folder of an evaluation: itself, or that of the last evaluation that a run knows of."""
    if (source / SUMMARY).is_file():
        return source
    if not (source / "experiment.yaml").is_file():
        raise InputError(
            f"{source} is neither a run nor an evaluation: give a folder with experiment.yaml or with {SUMMARY}"
        )
    logged = [str(event["path"]) for event in read_journal(source) if event.get("folder") == "evaluation"]
    known = [(source / path).resolve().parent for path in reversed(logged) if Path(path).name == SUMMARY]
    inside = sorted(source.glob(f"*/{SUMMARY}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in [*known, *(path.parent for path in inside)]:
        if (folder / SUMMARY).is_file() and (folder / DIAGNOSTICS).is_file():
            return folder
    raise InputError(
        f"the run {source} was not judged yet, or its evaluation was moved: draw from it and evaluate, or give the "
        "folder of its evaluation"
    )


def is_judged(run: Path) -> bool:
    """Whether an evaluation of the run is known."""
    try:
        evaluation_folder(run)
    except InputError:
        return False
    return True


def _read(source: Path, name: str) -> Judged:
    from physgen.storage.netcdf import load_groups

    folder = evaluation_folder(source)
    try:
        summary = json.loads((folder / SUMMARY).read_text())
        groups = load_groups(folder / DIAGNOSTICS)
        found = [group.removesuffix("/comparison") for group in groups if group.endswith("/comparison")]
        results = {
            name: (groups[f"{name}/reference"], groups[f"{name}/generated"], groups[f"{name}/comparison"])
            for name in found
        }
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} is damaged ({str(error)[:120]}): evaluate again into it") from None
    verdicts = summary.pop("verdicts", [])
    order = {verdict["diagnostic"]: i for i, verdict in enumerate(verdicts)}
    results = {key: results[key] for key in sorted(results, key=lambda key: order.get(key, len(order)))}
    return Judged(name, source, folder, tuple(verdicts), summary, results, file_digest(folder / SUMMARY))


# --- one reference --------------------------------------------------------------------------------


def _check_one_reference(first: Judged, other: Judged) -> None:
    """Raise InputError unless all diagnostics that both hold were measured on the same reference."""
    shared = [name for name in first.results if name in other.results]
    if not shared:
        raise InputError(f"{first.name} and {other.name} have no diagnostic in common: they are of different physics")
    differ = [
        f"{name.replace('_', ' ')}: {what}"
        for name in shared
        if (what := _difference(first.results[name][0], other.results[name][0]))
    ]
    if differ:
        more = f" (and {len(differ) - 2} more diagnostics)" if len(differ) > 2 else ""
        raise InputError(
            f"{first.name} and {other.name} were judged against different references; {'; '.join(differ[:2])}{more}. "
            "Curves over different references cannot be compared: evaluate both against one file"
        )


def _difference(one: xr.Dataset, other: xr.Dataset) -> str:
    """How two measurements of what should be one reference differ; empty where they do not."""
    if one["value"].dims != other["value"].dims:
        over = (", ".join(map(str, result["value"].dims)) for result in (one, other))
        return f"measured over {' and over '.join(over)}"
    for dim in map(str, one["value"].dims):
        mine, theirs = (np.asarray(result[dim].values) for result in (one, other))
        if mine.shape != theirs.shape or not _close(mine, theirs):
            return f"{dim} is {_shown(mine)} and {_shown(theirs)}"
    counts = [int(result.attrs.get("n_independent", -1)) for result in (one, other)]
    if counts[0] != counts[1]:
        return f"{counts[0]} and {counts[1]} independent units"
    if not _close(one["value"].values, other["value"].values):
        with np.errstate(divide="ignore", invalid="ignore"):
            most = np.nanmax(np.abs(np.asarray(other["value"]) / np.asarray(one["value"]) - 1))
        return f"values differ by up to {100 * float(most):.2g} %"
    return ""


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype.kind not in "fiu" or other.dtype.kind not in "fiu":
        return bool(np.all(one == other))
    scale = float(np.nanmax(np.abs(one), initial=0.0))
    return bool(np.allclose(one, other, rtol=SAME, atol=SAME * scale, equal_nan=True))


def _shown(values: np.ndarray) -> str:
    """A coordinate in few words."""
    if values.dtype.kind not in "fiu" or values.size <= 4:
        return ", ".join(f"{x:.4g}" if values.dtype.kind in "fiu" else str(x) for x in values[:4].tolist())
    return f"{values.size} points from {values.min():.4g} to {values.max():.4g}"


# --- what the runs differ in ----------------------------------------------------------------------


def _settings_that_differ(folders: Sequence[Path], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Key of the configuration -> run -> value, of those keys in which the runs differ."""
    flat = {
        name: open_run(folder).experiment.flat()
        for folder, name in zip(folders, names, strict=True)
        if (folder / "experiment.yaml").is_file()
    }
    if len(flat) < 2:
        return {}
    keys = dict.fromkeys(key for settings in flat.values() for key in settings)
    rows = {key: {name: str(settings.get(key, "")) for name, settings in flat.items()} for key in keys}
    return {key: row for key, row in rows.items() if len(set(row.values())) > 1 and key not in ("name", "dataset")}
