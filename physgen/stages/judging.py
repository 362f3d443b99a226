"""Judging: every diagnostic of a domain on two ensembles, and the evaluation that is written of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from physgen import figures
from physgen.config import JudgingConfig
from physgen.diagnostics.comparison import measure
from physgen.diagnostics.memorization import memorization_verdict
from physgen.diagnostics.verdict import Verdict, judgement, skipped
from physgen.ensemble import sample_count, sample_dims
from physgen.errors import InputError
from physgen.figures.notation import format_value
from physgen.provenance import file_digest, git_commit
from physgen.report import Picture, Section, diagnostic_section, verdict_table, write_report, write_summary
from physgen.runs.facts import data_facts, shown_data
from physgen.runs.folder import Run
from physgen.storage.disk import reserve
from physgen.tracking.journal import read_journal, read_validation

MEMORIZATION = "memorization"
MEMORIZATION_METRICS = ("copies", "copied_fraction", "auc", "fraction_above_null", "duplicates")
MADE_WITH = ("sampler", "sampler_steps", "seed", "average_width", "average_residual")


@dataclass(frozen=True)
class Judged:
    """Results, comparisons and metrics by the name of the diagnostic."""

    generated: Any
    reference: Any
    results: dict[str, tuple[Any, Any]]  # (reference, generated)
    comparisons: dict[str, Any]
    summary: dict[str, Any]
    memorization: Any


@dataclass(frozen=True)
class Written:
    """The summary and the table of an evaluation."""

    summary: dict[str, Any]
    table: str


def judge_ensembles(
    domain: Any, generated: Any, reference: Any, train: Any = None, rules: JudgingConfig | None = None
) -> Judged:
    """Compare two ensembles with every diagnostic of a domain, and with the training set if there is one.

    All are first brought into the frame of the reference, or refused. The rate of false alarms is shared equally by the
    diagnostics and the memorization test, so that it holds for the page as a whole.
    """
    rules = rules or JudgingConfig()
    diagnostics = domain.diagnostics()
    _check_tolerances(rules, [*diagnostics, MEMORIZATION])
    reference = domain.confront(reference, reference, "the reference")  # whose constants all take, its halves included
    generated = domain.confront(reference, generated, "the generated ensemble")
    reference = domain.restrict(reference, generated)
    train = None if train is None else domain.confront(reference, train, "the training set")
    rate = rules.false_alarms / (len(diagnostics) + 1)
    results, comparisons, summary, verdicts = {}, {}, {}, []
    for name, diagnostic in diagnostics.items():
        try:
            *both, comparison = measure(reference, generated, diagnostic)
        except InputError as error:
            verdicts.append(skipped(name, error))
            continue
        results[name], comparisons[name] = tuple(both), comparison
        summary[name], verdict = judgement(
            comparison, rules.tolerances.get(name), confidence=rules.confidence, false_alarms=rate
        )
        verdicts.append(_without_sample_variance(replace(verdict, diagnostic=name), generated, reference))
    found = None
    if train is not None:
        limit = rules.tolerances.get(MEMORIZATION)
        judged = {"false_alarms": rate} | ({} if limit is None else {"tolerance": limit})
        found = domain.memorization(generated, train, reference, **judged)
        summary[MEMORIZATION] = {
            key: {"value": float(found[key]), "error": float(found[f"{key}_error"])} for key in MEMORIZATION_METRICS
        }
        verdicts.append(memorization_verdict(found))
    summary["verdicts"] = [v.as_dict() for v in verdicts]
    return Judged(generated, reference, results, comparisons, summary, found)


def _without_sample_variance(verdict: Verdict, generated: Any, reference: Any) -> Verdict:
    """No decision where simulations of one file start from one set of phases: their scatter hides their own error."""
    shared = [
        name
        for name, ensemble in (("generated", generated), ("reference", reference))
        if ensemble.attrs.get("shared_initial_conditions")
    ]
    if not shared or verdict.verdict not in ("pass", "fail"):
        return verdict
    why = (
        f"all units of the {' and the '.join(shared)} ensemble share one set of initial conditions, so that their "
        f"scatter does not hold the error of their mean: no {verdict.verdict} can be said; {verdict.text}"
    )
    return replace(verdict, verdict="open", text=why, needed=None)


def _check_tolerances(rules: JudgingConfig, known: list[str]) -> None:
    wrong = {name: limit for name, limit in rules.tolerances.items() if not limit > 0}
    if wrong:
        raise InputError(f"tolerances must be positive, got {wrong}: give how far a diagnostic may deviate")
    unknown = sorted(set(rules.tolerances) - set(known))
    if unknown:
        raise InputError(f"tolerance of {unknown[0]!r}: no such diagnostic here, choose from {', '.join(known)}")


# --- writing --------------------------------------------------------------------------------------


def write_evaluation(judged: Judged, folder: Path, sources: Mapping[str, Path | None], run: Run | None) -> Written:
    """Write summary.json, diagnostics.nc, figures/ and report.html; log them to the run if one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = [_gallery_section(judged, folder)]
    for name, (reference, generated) in judged.results.items():
        figure = figures.curve_comparison(reference, generated, judged.comparisons[name])
        _, svg = figures.save_figure(figure, folder / "figures", name)
        sections.append(diagnostic_section(reference, generated, judged.comparisons[name], svg, name))
    if judged.memorization is not None:
        sections.append(_memorization_section(judged.memorization, folder))
    if run is not None:
        sections.append(_training_section(run, folder))
    sections.append(_cost_section(judged))
    write_summary(folder, judged.summary)
    _write_diagnostics(judged, folder / "diagnostics.nc")
    write_report(
        folder,
        _title(judged),
        judged.summary,
        sections,
        provenance=_provenance(judged, sources, run),
        not_tested=_not_tested(judged),
    )
    if run is not None:
        _log_to_run(judged, folder, run)
    return Written(judged.summary, verdict_table(judged.summary))


def _title(judged: Judged) -> str:
    name = judged.generated.attrs.get("run") or "generated"
    counts = sample_count(judged.generated), sample_count(judged.reference)
    return f"{name}: {counts[0]} configurations against {counts[1]} of the reference"


def _gallery_section(judged: Judged, folder: Path) -> Section:
    differ = figures.differing_conditions(judged.reference, judged.generated)
    words = "equal conditions in each column"
    if differ:
        words = f"{' and '.join(differ)} differ, titles name what both have in common"
    caption = f"Reference above, generated below; {words}."
    picture = _picture(figures.gallery(judged.reference, judged.generated), folder, "gallery", caption)
    return Section("configurations", pictures=[picture])


def _memorization_section(found: Any, folder: Path) -> Section:
    caption = (
        "Similarity of each configuration to its nearest neighbour in the training set: generated, and held-out data "
        "that no model has seen. Copies would stand to the right of the held-out law."
    )
    picture = _picture(figures.memorization_panel(found), folder, MEMORIZATION, caption)
    return Section(MEMORIZATION, found.attrs["verdict_text"], [picture])


def _training_section(run: Run, folder: Path) -> Section:
    """Loss curves from the journal, and the last validation loss by noise level over that of its baseline."""
    records = [entry for entry in read_journal(run.folder) if "metrics" in entry]
    pictures = [_picture(figures.loss_curves(records), folder, "loss", "Training loss, weighted to order one.")]
    found = read_validation(run.folder)
    if found["level"]:
        s, ratio, error = (np.array(found[name]) for name in ("level", "ratio", "error"))
        figure = figures.loss_by_noise_level(
            s, {"validation": np.stack([ratio, np.nan_to_num(error)], axis=1)}, ylabel="loss / baseline", level=1.0
        )
        caption = (
            "Denoising loss of held-out data over that of the baseline at the same noise, "
            f"{run.domain.values.baseline}. 1: no more than that was learned."
        )
        pictures.append(_picture(figure, folder, "validation_loss", caption))
    return Section("training", pictures=pictures)


def _picture(figure: Any, folder: Path, name: str, caption: str) -> Picture:
    return Picture(figures.save_figure(figure, folder / "figures", name)[1], caption)


def _cost_section(judged: Judged) -> Section:
    made, truth = judged.generated.attrs, judged.reference.attrs
    parts = []
    if "sampler_bias_max" in made:
        parts.append(
            f"The sampler itself ({made['sampler']}, {made['sampler_steps']} steps), run with the exact denoiser of "
            "the Gaussian field that has the training spectrum, changes P(k) by "
            f"{100 * made['sampler_bias_max']:.2g} % at most and {100 * made['sampler_bias_mean']:.2g} % on average "
            "over modes: that much of any deviation is not the network's."
        )
    parts += _levels_words(made)
    if "simulation_cpu_seconds" in truth:
        parts.append(
            f"The data set that the reference was taken from ({truth.get('simulation_count', '?')} configurations) "
            f"cost {truth['simulation_cpu_seconds']:.3g} CPU seconds to simulate."
        )
    if "draw_seconds" in made:
        rate = sample_count(judged.generated) / max(made["draw_seconds"], 1e-9)
        parts.append(f"The generated ones were drawn at {rate:.3g} per second on {made.get('draw_device', '?')}.")
    return Section("sampler bias and cost", " ".join(parts) or "The generated file says nothing of how it was made.")


def _levels_words(made: Mapping[str, Any]) -> list[str]:
    """What the noise levels do to samples of this network, where that was measured."""
    if "levels_power" not in made:
        return []

    def figures(prefix: str) -> str:
        power, distance = (
            format_value(100 * made[f"{prefix}_{key}"], 100 * made[f"{prefix}_{key}_error"])
            for key in ("power", "distance")
        )
        return f"{power} % in P(k) at most and {distance} % in the field"

    words = (
        f"On this network itself the noise levels used ({made['levels']}) change the samples by "
        f"{figures('levels')}, against levels eight times finer from the same noise"
    )
    if made["levels"] != "log-uniform":
        words += f"; the best log-uniform ones would change them by {figures('levels_log_uniform')}"
    return [f"{words}."]


def _not_tested(judged: Judged) -> list[str]:
    untested = [
        f"{v['diagnostic'].replace('_', ' ')}: {v['text']}."
        for v in judged.summary["verdicts"]
        if v["verdict"] == "skipped"
    ]
    untested += [note for note in str(judged.generated.attrs.get("frame_notes", "")).splitlines() if note]
    if outside := str(judged.generated.attrs.get("conditions_outside_training", "")):
        untested.append(f"Drawn at conditions outside those of the training data: {outside}.")
    untested += [
        "What no diagnostic above looks at: agreement in these statistics does not prove equality of the laws.",
        "Conditions outside those of the reference.",
    ]
    if judged.memorization is None:
        untested.append("Memorization: no training data were given (--train).")
    if not any(c.attrs.get("paired") for c in judged.comparisons.values()):
        untested.append("Response to the conditions one by one: reference and generated do not share their conditions.")
    return untested


def _provenance(judged: Judged, sources: Mapping[str, Path | None], run: Run | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"physgen commit": git_commit()}
    for name, path in sources.items():
        if path is not None:
            facts[name] = f"{path} (sha256 {file_digest(path)[:16]})"
    facts["made with"] = ", ".join(f"{k} {judged.generated.attrs[k]}" for k in MADE_WITH if k in judged.generated.attrs)
    facts["lattice and samples"] = {
        k: int(v) for k, v in judged.generated.sizes.items() if k in sample_dims(judged.generated)
    }
    facts["reference data"] = data_facts(judged.reference)
    if run is not None:
        facts["configuration"] = run.experiment.resolved() | {"data": shown_data(run.experiment, run.facts())}
    return facts


def _write_diagnostics(judged: Judged, path: Path) -> None:
    """All results in one NetCDF file, one group for each diagnostic and side; the name never holds half a file."""
    groups = {}
    for name, (reference, generated) in judged.results.items():
        sides = {"reference": reference, "generated": generated, "comparison": judged.comparisons[name]}
        for side, result in sides.items():
            plain = result.drop_vars("permuted_log_p", errors="ignore")  # as large as all else, and made from it
            plain = plain.assign_attrs({k: v for k, v in result.attrs.items() if isinstance(v, str | int | float)})
            groups[f"{name}/{side}"] = plain
    fresh = path.with_name(f".{path.name}.tmp")
    try:
        reserve(fresh, sum(group.nbytes + 2**15 for group in groups.values()))
        for name, group in groups.items():
            group.to_netcdf(fresh, engine="h5netcdf", group=name, mode="a" if fresh.exists() else "w")
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _log_to_run(judged: Judged, folder: Path, run: Run) -> None:
    from physgen.processes.launch import Launch
    from physgen.tracking.journal import Journal
    from physgen.tracking.tracker import Tracker, tracked_at

    last = max((e["step"] for e in read_journal(run.folder) if "step" in e and "metrics" in e), default=0)
    tracking = run.experiment.tracking
    with (
        Journal(run.folder) as journal,
        Tracker(
            journal, Launch(), run.experiment.name, tracking.experiment, tracked_at(run.folder) or tracking.uri
        ) as tracker,
    ):
        for name, metrics in judged.summary.items():
            if name == "verdicts":
                continue
            section = name if name == MEMORIZATION else f"eval_{name}"
            flat = {}
            for metric, entry in metrics.items():
                for part in ("value", "error", "floor", "null"):
                    if entry.get(part) is not None:
                        flat[f"{section}/{metric}{'' if part == 'value' else '_' + part}"] = entry[part]
            journal.log(last, flat)
        for png in sorted((folder / "figures").glob("*.png")):
            tracker.figure([png, png.with_suffix(".svg")], f"eval/{png.stem}", last)
        tracker.artifact(folder / "report.html", "evaluation")
        tracker.artifact(folder / "summary.json", "evaluation")
        words = [f"{v['diagnostic']}: {v['verdict']}" for v in judged.summary["verdicts"]]
        tracker.tags({"physgen.verdict": "; ".join(words), "physgen.verdicts": json.dumps(judged.summary["verdicts"])})
