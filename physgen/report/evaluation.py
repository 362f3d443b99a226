"""An evaluation: all that was found of one ensemble beside a reference, and the folder that is written of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen import figures
from physgen.diagnostics.verdict import Verdict
from physgen.errors import InputError
from physgen.figures.value import Value
from physgen.provenance import git_commit
from physgen.report.evaluation_prose import (
    banner_of,
    cost_paragraph,
    evaluation_title,
    gallery_caption,
    made_with,
    not_tested,
    samples_and_lattice,
)
from physgen.report.fidelity import verdict_html, verdict_table
from physgen.report.page import Metrics, flat_summary, write_report, write_summary
from physgen.report.sections import Picture, Section, diagnostic_section, group_section
from physgen.storage.disk import whole_file

if TYPE_CHECKING:
    import xarray as xr

    from physgen.figures.style import Figure

GALLERY, MEMORIZATION, LOSS, VALIDATION_LOSS = "gallery", "memorization", "loss", "validation_loss"
MEMORIZATION_CAPTION = (
    "Similarity of each configuration to its nearest neighbour in the training set: generated, and held-out data "
    "that no model has seen. Copies would stand to the right of the held-out law."
)
PAIRS = "nearest_pairs"
PAIRS_CAPTION = (
    "The likest pairs: a configuration, its nearest training configuration after the best translation, turn and "
    "reflection with their correlation, and the difference. Of a copy nothing would be left in the difference."
)
GROUP_BYTES = 2**15  # of the tables that HDF5 keeps for a group, above its values


@dataclass(frozen=True)
class Training:
    """What a page tells of the training behind the generated ensemble, as plain data.

    Attributes:
        losses: records ``{"step": ..., "metrics": {"train/loss": ...}}``.
        validation: (K, 3) noise level s, validation loss over that of the baseline, its standard error; K may be 0.
        baseline: what the validation loss is compared with, in words.
        configuration: of the run, nested.
    """

    losses: Sequence[Mapping[str, Any]]
    validation: np.ndarray
    baseline: str
    configuration: Mapping[str, Any]


@dataclass(frozen=True, repr=False)
class Evaluation:
    """All that was found of a generated ensemble beside a reference.

    Attributes:
        generated: the ensemble that was judged, in the frame of the reference.
        reference: what it was compared with.
        results: diagnostic -> (result of the reference, result of the generated, comparison).
        metrics: diagnostic -> metric -> {"value", "error"[, "floor", "null", ...]}; numbers or None.
        verdicts: one for each diagnostic, and one on memorization where a training set was given.
        memorization: the result of the memorization test; None without a training set.
        facts: of the reference data, for the provenance.
        folder: where it was written; None before.
    """

    generated: xr.Dataset
    reference: xr.Dataset
    results: Mapping[str, tuple[xr.Dataset, xr.Dataset, xr.Dataset]]
    metrics: Metrics
    verdicts: tuple[Verdict, ...]
    memorization: xr.Dataset | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``, see :func:`physgen.report.flat_summary`."""
        return flat_summary(self.verdicts, self.metrics)

    @property
    def table(self) -> str:
        """The verdicts as text, a row for each diagnostic; what lies beyond the training is said first."""
        banner = banner_of(self.generated)
        return (f"{banner}\n" if banner else "") + verdict_table(self.verdicts)

    @property
    def values(self) -> dict[str, dict[str, Value]]:
        """Diagnostic -> metric -> number with its error, which prints as 0.987(12)."""
        return {
            diagnostic: {metric: Value.of(entry) for metric, entry in found.items()}
            for diagnostic, found in self.metrics.items()
        }

    def figure(self, diagnostic: str) -> Figure:
        """One diagnostic of the generated ensemble over that of the reference; ``gallery`` shows configurations."""
        if diagnostic == GALLERY:
            return figures.gallery(self.reference, self.generated)
        if diagnostic == MEMORIZATION and self.memorization is not None:
            return figures.memorization_panel(self.memorization)
        if diagnostic == PAIRS and self.memorization is not None and "pair_field" in self.memorization:
            return figures.nearest_pairs(self.memorization)
        for title, members in figure_groups(self.results).items():
            if diagnostic == _file(title):
                return figures.curve_row([self.results[name] for name in members])
        if diagnostic not in self.results:
            known = [
                GALLERY,
                *self.results,
                *map(_file, figure_groups(self.results)),
                *([] if self.memorization is None else [MEMORIZATION]),
            ]
            raise InputError(f"there is no figure {diagnostic!r}: choose one of {', '.join(known)}")
        return figures.result_figure(*self.results[diagnostic])

    def __repr__(self) -> str:
        return self.table

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return verdict_html(self.verdicts)

    def write(
        self,
        folder: str | Path,
        sources: Mapping[str, str] | None = None,
        training: Training | None = None,
        processes: int = 1,
    ) -> Evaluation:
        """Write ``summary.json``, ``diagnostics.nc``, ``figures/`` (png and svg) and ``report.html``.

        Args:
            folder: made if absent; files of an earlier evaluation are replaced.
            sources: name -> where the data came from, for the provenance.
            training: a section on it is written where it is given.
            processes: how many draw the figures, see :func:`physgen.figures.save_figures`.

        Returns:
            This evaluation with its ``folder``.

        Raises:
            OSError: the disk has no room, or no right to write there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        sections = _sections(self, folder, training, processes)
        write_summary(folder, self.summary)
        _write_diagnostics(self, folder / "diagnostics.nc")
        comparisons = [comparison for *_, comparison in self.results.values()]
        write_report(
            folder,
            evaluation_title(self.generated, self.reference),
            self.verdicts,
            self.metrics,
            sections,
            provenance=_provenance(self, sources or {}, training),
            banner=banner_of(self.generated),
            not_tested=not_tested(self.verdicts, self.generated, comparisons, self.memorization is not None),
        )
        return replace(self, folder=folder)


def _sections(evaluation: Evaluation, folder: Path, training: Training | None, processes: int) -> list[Section]:
    generated, reference = evaluation.generated, evaluation.reference
    drawings = _drawings(evaluation) | ({} if training is None else _training_drawings(training))
    # last: this process begins with it, so that its fields stay here
    drawings[GALLERY] = partial(figures.gallery, reference, generated)
    svg = figures.save_figures(drawings, folder / "figures", processes)
    caption = gallery_caption(reference, figures.differing_conditions(reference, generated))
    sections = [Section("configurations", pictures=[Picture(svg[GALLERY], caption)])]
    grouped = figure_groups(evaluation.results)
    for name, three in evaluation.results.items():
        title = next((title for title, members in grouped.items() if name in members), None)
        if title is None:
            sections.append(diagnostic_section(*three, svg[name], name))
        elif name == grouped[title][0]:
            shown = [evaluation.results[member] for member in grouped[title]]
            sections.append(group_section(title, shown, svg[_file(title)]))
    if evaluation.memorization is not None:
        reason = next(v.reason for v in evaluation.verdicts if v.diagnostic == MEMORIZATION)
        pictures = [Picture(svg[MEMORIZATION], MEMORIZATION_CAPTION)]
        pictures += [Picture(svg[PAIRS], PAIRS_CAPTION)] if PAIRS in svg else []
        sections.append(Section(MEMORIZATION, reason, pictures))
    if training is not None:
        sections.append(_training_section(training, svg))
    return [*sections, Section("sampler bias and cost", cost_paragraph(generated, reference))]


def _drawings(evaluation: Evaluation) -> dict[str, Callable[[], Figure]]:
    """What each figure is made of, by the name of its file."""
    drawings: dict[str, Callable[[], Figure]]
    grouped = figure_groups(evaluation.results)
    alone = [name for name in evaluation.results if name not in sum(grouped.values(), [])]
    drawings = {name: partial(figures.result_figure, *evaluation.results[name]) for name in alone}
    for title, members in grouped.items():
        drawings[_file(title)] = partial(figures.curve_row, [evaluation.results[name] for name in members])
    if evaluation.memorization is not None:
        drawings[MEMORIZATION] = partial(figures.memorization_panel, evaluation.memorization)
        if "pair_field" in evaluation.memorization:
            drawings[PAIRS] = partial(figures.nearest_pairs, evaluation.memorization)
    return drawings


def figure_groups(results: Mapping[str, tuple[xr.Dataset, xr.Dataset, xr.Dataset]]) -> dict[str, list[str]]:
    """Title -> names of the results that stand side by side in one figure: those of one attribute ``figure``."""
    groups: dict[str, list[str]] = {}
    for name, (reference, _, _) in results.items():
        if "figure" in reference.attrs:
            groups.setdefault(str(reference.attrs["figure"]), []).append(name)
    return {title: members for title, members in groups.items() if len(members) > 1}


def _file(title: str) -> str:
    return title.lower().replace(" ", "_")


def _training_drawings(training: Training) -> dict[str, Callable[[], Figure]]:
    drawings: dict[str, Callable[[], Figure]] = {LOSS: partial(figures.loss_curves, training.losses)}
    if len(training.validation):
        s, ratios = training.validation[:, 0], training.validation[:, 1:]
        drawings[VALIDATION_LOSS] = partial(
            figures.loss_by_noise_level, s, {"validation": ratios}, ylabel="loss / baseline", level=1.0
        )
    return drawings


def _training_section(training: Training, svg: Mapping[str, Path]) -> Section:
    """Loss curves, and the last validation loss by noise level over that of its baseline."""
    pictures = [Picture(svg[LOSS], "Training loss, weighted to order one.")]
    if VALIDATION_LOSS in svg:
        caption = (
            f"Denoising loss of held-out data over that of the baseline at the same noise, {training.baseline}. "
            "1: no more than that was learned."
        )
        pictures.append(Picture(svg[VALIDATION_LOSS], caption))
    return Section("training", pictures=pictures)


def _provenance(evaluation: Evaluation, sources: Mapping[str, str], training: Training | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"physgen commit": git_commit(), **sources}
    facts["made with"] = made_with(evaluation.generated)
    facts["lattice and samples"] = samples_and_lattice(evaluation.generated)
    facts["reference data"] = dict(evaluation.facts)
    if training is not None:
        facts["configuration"] = dict(training.configuration)
    return facts


def _write_diagnostics(evaluation: Evaluation, path: Path) -> None:
    """All results in one NetCDF file, one group for each diagnostic and side."""
    groups = {}
    for name, three in evaluation.results.items():
        for side, result in zip(("reference", "generated", "comparison"), three, strict=True):
            plain = result.drop_vars("permuted_log_p", errors="ignore")  # as large as all else, and made from it
            plain = plain.assign_attrs({k: v for k, v in result.attrs.items() if isinstance(v, str | int | float)})
            groups[f"{name}/{side}"] = plain
    write_groups(groups, path)


def write_groups(groups: Mapping[str, xr.Dataset], path: Path) -> None:
    """Datasets as the groups of one NetCDF file, written whole or not at all."""
    with whole_file(path, sum(group.nbytes + GROUP_BYTES for group in groups.values())) as fresh:
        _write_groups(groups, fresh)


def _write_groups(groups: Mapping[str, xr.Dataset], path: Path) -> None:
    """Datasets as groups of a file that is opened once: ``to_netcdf`` reads all groups before each that it adds."""
    from physgen.storage.netcdf import open_netcdf, write_dataset

    with open_netcdf(path, "w") as file:
        for name, group in groups.items():
            write_dataset(group, file.create_group(name))
