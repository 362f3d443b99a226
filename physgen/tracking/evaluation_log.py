"""What was judged of a run, an evaluation or its regimes, in its journal, and from there in MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physgen.processes.launch import Launch
from physgen.tracking.journal import Journal, read_journal
from physgen.tracking.tracker import Tracker, tracked_at

OWN_SECTION = "memorization"  # its metrics stand beside, not under, those of the evaluation
PARTS = ("value", "error", "floor", "null")


def log_evaluation(
    run_dir: Path, folder: Path, summary: Mapping[str, Any], name: str, experiment: str, tracking_uri: str | None
) -> None:
    """Write an evaluation into the journal of a run and send it to where the run is tracked.

    Metrics go to ``eval_<diagnostic>/<metric>`` (``memorization/<metric>``) with ``_error``, ``_floor``, ``_null``, at
    the last step of the training; figures, report and summary become artifacts, the verdicts tags.

    Args:
        run_dir: run folder.
        folder: of the evaluation, already written.
        summary: the content of its ``summary.json``.
        name: of the run.
        experiment: of the run, in MLflow.
        tracking_uri: for a run that was never tracked.

    Raises:
        InputError: another process writes the run.
    """
    last = max((e["step"] for e in read_journal(run_dir) if "step" in e and "metrics" in e), default=0)
    with (
        Journal(run_dir) as journal,
        Tracker(journal, Launch(), name, experiment, tracked_at(run_dir) or tracking_uri) as tracker,
    ):
        for diagnostic, metrics in summary.items():
            if diagnostic != "verdicts":
                journal.log(last, _named(diagnostic, metrics))
        for png in sorted((folder / "figures").glob("*.png")):
            tracker.figure([png, png.with_suffix(".svg")], f"eval/{png.stem}", last)
        tracker.artifact(folder / "report.html", "evaluation")
        tracker.artifact(folder / "summary.json", "evaluation")
        verdicts = summary["verdicts"]
        in_short = "; ".join(f"{v['diagnostic']}: {v['verdict']}" for v in verdicts)
        tracker.tags({"physgen.verdict": in_short, "physgen.verdicts": json.dumps(verdicts)})


def log_regimes(
    run_dir: Path, folder: Path, summary: Mapping[str, Any], name: str, experiment: str, tracking_uri: str | None
) -> None:
    """Write the regimes of a run into its journal and send them to where it is tracked; arguments as above.

    Numbers go to ``regimes/<name>`` and ``regimes/<name>_error`` at the last step of the training; figures, page and
    summary become artifacts, the findings a tag.
    """
    last = max((e["step"] for e in read_journal(run_dir) if "step" in e and "metrics" in e), default=0)
    with (
        Journal(run_dir) as journal,
        Tracker(journal, Launch(), name, experiment, tracked_at(run_dir) or tracking_uri) as tracker,
    ):
        numbers = {
            key: {part: number for part, number in entry.items() if math.isfinite(number)}
            for key, entry in summary.items()
            if key != "findings"
        }
        journal.log(last, _flat("regimes", numbers))
        for png in sorted((folder / "figures").glob("*.png")):
            tracker.figure([png, png.with_suffix(".svg")], f"regimes/{png.stem}", last)
        tracker.artifact(folder / "regimes.html", "regimes")
        tracker.artifact(folder / "summary.json", "regimes")
        tracker.tags({"physgen.regimes": "; ".join(f"{f['name']}: {f['verdict']}" for f in summary["findings"])})


def _named(diagnostic: str, metrics: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    return _flat(diagnostic if diagnostic == OWN_SECTION else f"eval_{diagnostic}", metrics)


def _flat(section: str, metrics: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    flat = {}
    for metric, entry in metrics.items():
        for part in PARTS:
            value = entry.get(part)
            if value is not None:
                flat[f"{section}/{metric}{'' if part == 'value' else '_' + part}"] = value
    return flat
