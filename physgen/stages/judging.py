"""Judging: every diagnostic of a domain on two ensembles, and the evaluation that is written of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physgen import figures
from physgen.diagnostics.comparison import measure
from physgen.diagnostics.verdict import judge
from physgen.disk_space import reserve
from physgen.engine.journal import read_journal
from physgen.ensemble import sample_count, sample_dims
from physgen.errors import InputError
from physgen.notation import format_value
from physgen.provenance import file_digest, git_commit
from physgen.report import Picture, Section, diagnostic_section, fidelity_rows, write_report, write_summary
from physgen.run import Run

MEMORIZATION = "memorization"
MEMORIZATION_METRICS = ("auc", "fraction_above_null", "copied_fraction", "duplicates")
MADE_WITH = ("sampler", "sampler_steps", "seed", "average_width", "average_residual")
VERDICT_WORDS = {True: "pass", False: "fail", None: "undecided"}


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


def judge_ensembles(domain: Any, generated: Any, reference: Any, train: Any = None) -> Judged:
    """Compare two ensembles with every diagnostic of a domain, and with the training set if there is one."""
    results, comparisons, summary, verdicts = {}, {}, {}, []
    for name, diagnostic in domain.diagnostics().items():
        try:
            *both, comparisons[name] = measure(reference, generated, diagnostic)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        results[name] = tuple(both)
        summary[name] = judge(comparisons[name])
        verdicts.append(_take_verdict(name, summary[name]))
    found = None
    if train is not None:
        found = domain.memorization(generated, train, reference)
        summary[MEMORIZATION] = {
            key: {"value": float(found[key]), "error": float(found[f"{key}_error"])} for key in MEMORIZATION_METRICS
        }
        verdicts.append(
            {
                "diagnostic": MEMORIZATION,
                "metric": "copied_fraction",
                "passed": _passed(found.attrs["verdict"]),
                "threshold": "no more than held-out data, two standard errors",
            }
        )
    return Judged(generated, reference, results, comparisons, summary | {"verdicts": verdicts}, found)


def _take_verdict(name: str, metrics: dict[str, Any]) -> dict[str, Any]:
    verdict, threshold, judged_by = (metrics.pop(key) for key in ("verdict", "threshold", "judged"))
    return {"diagnostic": name, "metric": judged_by, "passed": _passed(verdict), "threshold": threshold}


def _passed(verdict: str) -> bool | None:
    return {word: passed for passed, word in VERDICT_WORDS.items()}[verdict]


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
    return Written(judged.summary, summary_table(judged.summary))


def summary_table(summary: Mapping[str, Any]) -> str:
    """The table of fidelity as text: diagnostic, metric, value with error, floor, verdict and its threshold."""
    header = ("diagnostic", "metric", "value", "floor", "verdict", "threshold")
    signs = {"pass": "pass", "fail": "FAIL", "open": "open", "none": ""}
    rows = [
        (r["diagnostic"], r["metric"], r["value"], r["floor"], signs[r["outcome"]], r["threshold"])
        for r in fidelity_rows(summary)
    ]
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    line = "  ".join("-" * w for w in widths)
    text = ["  ".join(str(c).ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([text[0], line, *text[1:]])


def _title(judged: Judged) -> str:
    name = judged.generated.attrs.get("run") or "generated"
    counts = sample_count(judged.generated), sample_count(judged.reference)
    return f"{name}: {counts[0]} configurations against {counts[1]} of the reference"


def _gallery_section(judged: Judged, folder: Path) -> Section:
    reference, generated, differ = _side_by_side(judged.reference, judged.generated)
    words = f"{' and '.join(differ)} differ, titles are those of the reference" if differ else "equal conditions"
    caption = f"Reference above, generated below; {words}{'' if differ else ' in each column'}."
    picture = _picture(figures.gallery(reference, generated), folder, "gallery", caption)
    return Section("configurations", pictures=[picture])


def _side_by_side(reference: Any, generated: Any) -> tuple[Any, Any, list[str]]:
    """Both without the condition labels that they have no value of in common, and the names of these."""
    differ = []
    for name in ("simulation", *sample_dims(reference)):
        if name not in reference.variables:
            continue
        if name not in generated.variables or not np.intersect1d(reference[name], generated[name]).size:
            reference, generated = (e.drop_vars(name, errors="ignore") for e in (reference, generated))
            differ.append(name)
    return reference, generated, differ


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
    last = next((r["metrics"] for r in reversed(records) if "validation/ratio_mean" in r["metrics"]), {})
    found = sorted(
        (float(key.rsplit("_s", 1)[1].replace("p", ".")), value, last[key.replace("ratio_s", "ratio_error_s")])
        for key, value in last.items()
        if key.startswith("validation/ratio_s")
    )
    if found:
        s, ratio, error = np.array(found).T
        figure = figures.loss_by_noise_level(
            s, {"validation": np.stack([ratio, error], axis=1)}, ylabel="loss / baseline", level=1.0
        )
        caption = (
            "Denoising loss of held-out data over that of the baseline at the same noise (fields: the Wiener filter "
            "with the training spectrum; spins: free spins). 1: no more than that was learned."
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
    if run is not None:
        facts["configuration"] = run.experiment.resolved()
    return facts


def _write_diagnostics(judged: Judged, path: Path) -> None:
    """All results in one NetCDF file, one group for each diagnostic and side; the name never holds half a file."""
    groups = {}
    for name, (reference, generated) in judged.results.items():
        sides = {"reference": reference, "generated": generated, "comparison": judged.comparisons[name]}
        for side, result in sides.items():
            plain = result.assign_attrs({k: v for k, v in result.attrs.items() if isinstance(v, str | int | float)})
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
    from physgen.engine.journal import Journal
    from physgen.engine.launch import Launch
    from physgen.engine.tracking import Tracker, tracked_at

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
                for part in ("value", "error", "floor"):
                    if entry.get(part) is not None:
                        flat[f"{section}/{metric}{'' if part == 'value' else '_' + part}"] = entry[part]
            journal.log(last, flat)
        for png in sorted((folder / "figures").glob("*.png")):
            tracker.figure([png, png.with_suffix(".svg")], f"eval/{png.stem}", last)
        tracker.artifact(folder / "report.html", "evaluation")
        tracker.artifact(folder / "summary.json", "evaluation")
        words = [f"{v['diagnostic']}: {VERDICT_WORDS[v['passed']]}" for v in judged.summary["verdicts"]]
        tracker.tags({"physgen.verdict": "; ".join(words), "physgen.verdicts": json.dumps(judged.summary["verdicts"])})
