"""The stage that judges ensembles against a reference: every diagnostic of the domain, with errors and verdicts.

:func:`evaluate` takes files and writes a report; :func:`evaluate_ensembles` takes Datasets and writes nothing;
:class:`Evaluator` compares several ensembles with one reference and measures the reference once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.config import JudgingConfig
from physgen.diagnostics.comparison import MeasuredReference
from physgen.diagnostics.memorization import memorization_verdict
from physgen.diagnostics.metrics import metrics_of
from physgen.diagnostics.verdict import Verdict, judge, not_computed
from physgen.diagnostics.window import Correction, corrected
from physgen.domains.contract import Domain, check_same_domain, domain_of, with_units
from physgen.ensemble import (
    EXTRAPOLATED,
    LOG_WEIGHT,
    SHARED,
    corner_of,
    independent_units,
    outside_corner,
    sample_count,
    space_dims,
)
from physgen.errors import InputError
from physgen.report.evaluation import MEMORIZATION, Evaluation, Training
from physgen.runs.facts import data_facts, shown_data
from physgen.runs.folder import Run, open_run
from physgen.runs.shipped import check_own
from physgen.stages.sources import as_ensembles, described, of_one_physics
from physgen.tracking.evaluation_log import log_evaluation
from physgen.tracking.journal import read_journal, read_validation

if TYPE_CHECKING:
    import xarray as xr

TRAINING, HELDOUT = "training set", "held-out data"
MEMORIZATION_METRICS = ("copies", "copied_fraction", "auc", "fraction_above_null", "duplicates")


def evaluate(
    generated: str | Path,
    reference: str | Path,
    train: str | Path | None = None,
    output: str | Path | None = None,
    run: str | Path | Run | None = None,
    tolerances: Mapping[str, float] | None = None,
    *,
    box_size: str | None = None,
    domain: str | None = None,
    processes: int = 1,
    correction: Correction | None = None,
    resample: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Judge an ensemble file against a reference file and write the evaluation.

    Args:
        generated: file to judge, anybody's: an ensemble, or an array in .npy or .npz.
        reference: file to compare it with.
        train: what a model was trained on, for the memorization test.
        output: folder of the report; None for the name of ``generated`` without its suffix.
        run: the evaluation goes into its journal and to MLflow, its training onto the page.
        tolerances: diagnostic -> accepted deviation; they come before those of the run's configuration.
        box_size: of arrays, see :func:`physgen.from_array`.
        domain: physics of files that name none; None for the one that another file names, or for any field.
        processes: how many draw the figures at once; the result does not depend on it.
        correction: window and shot noise to take off the spectra, in place of that of the run's configuration.
        resample: of weighted draws judge so many of each law, taken by their weights; None: as they were drawn.
        seed: of which draws ``resample`` takes.

    Returns:
        The evaluation, with its ``folder``.

    Raises:
        InputError: files that cannot be read or compared, an unknown diagnostic, a folder name that is taken.
        OSError: the report cannot be written.
    """
    paths = {"generated": Path(generated), "reference": Path(reference)}
    if train is not None:
        paths["train"] = Path(train)
    read = as_ensembles(paths, box_size, domain)
    if resample is not None:
        read["generated"] = _by_weights(read["generated"], resample, paths["generated"], seed)
    folder = default_folder(paths["generated"]) if output is None else Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose a folder for the report")
    logged_to = run if run is None or isinstance(run, Run) else open_run(Path(run))
    judging = logged_to.experiment.judging if logged_to else JudgingConfig()
    judging = judging_rules(judging, tolerances, correction)
    ensembles, physics = of_one_physics(read, domain)
    found = evaluate_ensembles(**ensembles, domain=physics, judging=judging)
    sources = described(paths)
    if logged_to is None:
        return found.write(folder, sources, processes=processes)
    return write_to_run(found, logged_to, folder, sources, processes)


def _by_weights(generated: xr.Dataset, count: int, path: Path, seed: int = 0) -> xr.Dataset:
    """``count`` draws of each law taken by their weights, :func:`physgen.stages.weighing.resampled`."""
    from physgen.stages.weighing import resampled

    if LOG_WEIGHT not in generated or "tail" not in generated:
        raise InputError(
            f"resample = {count} takes draws by the weights of their law, which {path} has none of: draw with weights "
            "and without guidance, or leave it out"
        )
    return resampled(generated, count, seed)


def judging_rules(
    rules: JudgingConfig, tolerances: Mapping[str, float] | None = None, correction: Correction | None = None
) -> JudgingConfig:
    """Rules with some tolerances, and a correction of spectra, in place of their own."""
    changed: dict[str, Any] = {"tolerances": {**rules.tolerances, **(tolerances or {})}}
    return rules.model_copy(update=changed | (asdict(correction) if correction else {}))


def write_to_run(
    evaluation: Evaluation,
    run: Run,
    folder: Path,
    sources: Mapping[str, str] | None = None,
    processes: int = 1,
) -> Evaluation:
    """Write an evaluation with the training behind it, and log it to the run; see :meth:`Evaluation.write`."""
    check_own(run.folder, "the record of an evaluation")
    written = evaluation.write(folder, sources, training_of(run), processes)
    settings, tracking = run.experiment, run.experiment.tracking
    log_evaluation(run.folder, folder, written.summary, settings.name, tracking.experiment, tracking.uri)
    return written


def default_folder(generated: Path) -> Path:
    """Where the report on a file goes: its name without suffix, or with ``-evaluation`` where it has none."""
    return generated.with_suffix("") if generated.suffix else generated.with_name(f"{generated.name}-evaluation")


def evaluate_ensembles(
    generated: xr.Dataset,
    reference: xr.Dataset,
    train: xr.Dataset | None = None,
    heldout: xr.Dataset | None = None,
    *,
    domain: Domain | None = None,
    judging: JudgingConfig | None = None,
) -> Evaluation:
    """Judge one ensemble against a reference; nothing is written. See :class:`Evaluator`."""
    return Evaluator(reference, domain, judging).evaluate(generated, train, heldout)


class Evaluator:
    """Judges any number of ensembles against one reference, whose diagnostics are computed once.

    Args:
        reference: what all are compared with.
        domain: its physics; None for the one that the reference names in its attribute ``domain``.
        judging: tolerances and rates; None for the defaults.

    Raises:
        InputError: no domain is known, or the rules name a diagnostic that it has not.
    """

    def __init__(
        self, reference: xr.Dataset, domain: Domain | None = None, judging: JudgingConfig | None = None
    ) -> None:
        self.domain = domain_of(reference)() if domain is None else domain
        self.judging = judging or JudgingConfig()
        rules = self.judging
        self.correction = Correction(rules.deconvolve, rules.mass_assignment, rules.shot_noise)
        self.diagnostics = corrected(self.domain.diagnostics_of(reference), self.correction)
        _check_tolerances(self.judging, [*self.diagnostics, MEMORIZATION])
        check_same_domain(reference, self.domain.name, "the reference", "the evaluation")
        reference = with_units(reference.assign_attrs(domain=self.domain.name), self.domain)
        # all take its constants, its own halves included
        self.reference = self.domain.confront(reference, reference, "the reference")
        self.correction.of(self.reference)  # refused at once, not diagnostic by diagnostic
        self._measured: list[tuple[xr.Dataset, MeasuredReference]] = []

    def evaluate(
        self, generated: xr.Dataset, train: xr.Dataset | None = None, heldout: xr.Dataset | None = None
    ) -> Evaluation:
        """Judge an ensemble by every diagnostic, and by the memorization test if there is a training set.

        All are first brought into the frame of the reference, or refused. The rate of false alarms is shared equally by
        the diagnostics and the memorization test, so that it holds for all of them together.

        Args:
            generated: what is judged.
            train: what its model was trained on.
            heldout: data that no model has seen, the null of the memorization test; None for the reference.

        Raises:
            InputError: the ensembles cannot be compared.
        """
        generated = with_units(generated, self.domain)
        train, heldout = (None if other is None else with_units(other, self.domain) for other in (train, heldout))
        named = {"generated ensemble": generated, "reference": self.reference, TRAINING: train, HELDOUT: heldout}
        for name, ensemble in named.items():
            if ensemble is not None:
                check_same_domain(ensemble, self.domain.name, f"the {name}", "the reference")
                check_comparable(generated, ensemble, name)
        generated = self.domain.confront(self.reference, generated, "the generated ensemble")
        self.correction.of(generated)
        generated = without_extrapolation(generated)
        measured = self._restricted_to(generated)
        rate = self.judging.false_alarms / (len(self.diagnostics) + 1)
        results, metrics, verdicts = {}, {}, []
        for name, diagnostic in self.diagnostics.items():
            try:
                results[name] = measured.compare(generated, diagnostic)
            except InputError as error:
                verdicts.append(not_computed(name, error))
                continue
            limit, comparison = self.judging.tolerances.get(name), results[name][2]
            verdict = judge(comparison, limit, confidence=self.judging.confidence, false_alarms=rate)
            metrics[name] = metrics_of(comparison, verdict)
            verdicts.append(_without_sample_variance(replace(verdict, diagnostic=name), generated, measured.ensemble))
        if EXTRAPOLATED in generated.attrs:
            verdicts = [replace(v, reason=f"by extrapolation: {v.reason}") for v in verdicts]
        found = None
        if train is not None:
            unseen = measured.ensemble
            if heldout is not None:
                unseen = self.domain.confront(self.reference, heldout, f"the {HELDOUT}")
            train = self.domain.confront(self.reference, train, f"the {TRAINING}")
            found = self._memorization(generated, train, unseen, rate)
            metrics[MEMORIZATION] = {
                key: {"value": float(found[key]), "error": float(found[f"{key}_error"])} for key in MEMORIZATION_METRICS
            }
            verdicts.append(memorization_verdict(found))
        facts = data_facts(measured.ensemble)
        return Evaluation(generated, measured.ensemble, results, metrics, tuple(verdicts), found, facts)

    def _restricted_to(self, generated: xr.Dataset) -> MeasuredReference:
        """The reference at the conditions that it shares with an ensemble; the same object for the same conditions."""
        reference = self.domain.restrict(self.reference, generated)
        if EXTRAPOLATED not in generated.attrs:  # what is judged holds no extrapolation: neither does its reference
            reference = outside_corner(reference, corner_of(generated))
        for known, measured in self._measured:
            if known is reference or known.identical(reference):
                return measured
        self._measured.append((reference, MeasuredReference(reference)))
        return self._measured[-1][1]

    def _memorization(self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, rate: float) -> xr.Dataset:
        limit = self.judging.tolerances.get(MEMORIZATION)
        judged = {"false_alarms": rate} | ({} if limit is None else {"tolerance": limit})
        return self.domain.memorization(generated, train, heldout, **judged)


def without_extrapolation(generated: xr.Dataset) -> xr.Dataset:
    """An ensemble without what was drawn in a held-out corner, with a note of it; one that lies there whole stays.

    Verdicts on both together would say nothing of either.
    """
    words = str(generated.attrs.get(EXTRAPOLATED, ""))
    kept = outside_corner(generated, corner_of(generated)) if words else generated
    if kept is generated or not sample_count(kept):
        return generated
    note = (
        f"Drawn by extrapolation: {words}; they are left out here. Judge them by themselves: physgen sample RUN "
        "--like RUN/data/corner.h5, then physgen evaluate with --reference RUN/data/corner.h5."
    )
    notes = "\n".join(filter(None, [str(generated.attrs.get("frame_notes", "")), note]))
    kept.attrs = {k: v for k, v in generated.attrs.items() if k != EXTRAPOLATED} | {"frame_notes": notes}
    return kept


def _without_sample_variance(verdict: Verdict, generated: xr.Dataset, reference: xr.Dataset) -> Verdict:
    """No decision where the units of one file share what should be random: their scatter hides their own error."""
    shared = {
        name: str(ensemble.attrs[SHARED])
        for name, ensemble in (("generated", generated), ("reference", reference))
        if SHARED in ensemble.attrs
    }
    if not shared or verdict.status not in ("pass", "fail"):
        return verdict
    common = " and ".join(sorted(set(shared.values())))
    why = (
        f"all units of the {' and the '.join(shared)} ensemble share {common}, so that their "
        f"scatter does not contain the error of their mean: {verdict.status} cannot be claimed; {verdict.reason}"
    )
    return replace(verdict, status="open", reason=why, needed=None)


def _check_tolerances(judging: JudgingConfig, known: list[str]) -> None:
    wrong = {name: limit for name, limit in judging.tolerances.items() if not limit > 0}
    if wrong:
        raise InputError(f"tolerances must be positive, got {wrong}: give how far a diagnostic may deviate")
    unknown = sorted(set(judging.tolerances) - set(known))
    if unknown:
        raise InputError(f"tolerance of {unknown[0]!r}: no such diagnostic here, choose from {', '.join(known)}")


def check_comparable(generated: Any, other: Any, name: str) -> None:
    """The same lattice, and enough configurations and independent units for errors."""
    mine, theirs = ({d: e.sizes[d] for d in space_dims(e) or ("component",)} for e in (generated, other))
    if mine != theirs:
        raise InputError(
            f"the generated lattice is {mine}, that of the {name} is {theirs}: compare ensembles on the same lattice"
        )
    if sample_count(other) < 4:
        raise InputError(
            f"the {name} holds {sample_count(other)} configurations; at least 4 are needed for errors: make more"
        )
    units = independent_units(other)
    if units.count < 2:
        raise InputError(f"the {name} holds one independent unit ({units.name}); errors need at least 2: add some")


def training_of(run: Run) -> Training:
    """What the page of an evaluation tells of a run: its losses, its last validation, its configuration."""
    records = [entry for entry in read_journal(run.folder) if "metrics" in entry]
    configuration = run.experiment.resolved() | {"data": shown_data(run.experiment, run.facts())}
    last = read_validation(run.folder)
    validation = np.array([last[name] for name in ("level", "ratio", "error")]).T.reshape(-1, 3)
    return Training(records, np.nan_to_num(validation), run.domain.values.baseline, configuration)
