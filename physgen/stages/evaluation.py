"""The stage that judges an ensemble against a reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physgen.config import JudgingConfig
from physgen.domain import domain_of
from physgen.ensemble import load_ensemble
from physgen.errors import InputError
from physgen.run import open_run
from physgen.stages.checks import check_comparable, check_same_domain
from physgen.stages.judging import judge_ensembles, write_evaluation


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation wrote and the table that it prints."""

    folder: Path
    summary: dict[str, Any]
    table: str


def evaluate(
    generated: Path,
    reference: Path,
    train: Path | None,
    output: Path,
    run: Path | None = None,
    tolerances: dict[str, float] | None = None,
) -> Evaluation:
    """Judge an ensemble against a reference: every diagnostic with errors and floors, a report, a summary.

    ``tolerances`` (diagnostic -> accepted deviation) come before those of the run's configuration.
    """
    new, truth = load_ensemble(generated), load_ensemble(reference)
    learned = load_ensemble(train) if train else None
    try:
        domain = domain_of(truth)()
    except InputError as error:
        raise InputError(f"{reference}: {error}") from None
    for name, other in (("generated ensemble", new), ("reference", truth), ("training set", learned)):
        if other is not None:
            check_same_domain(other, domain.name, f"the {name}", "the reference")
            check_comparable(new, other, name)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: give a folder for the report with -o")
    logged_to = open_run(run) if run else None
    rules = logged_to.experiment.judging if logged_to else JudgingConfig()
    rules = rules.model_copy(update={"tolerances": {**rules.tolerances, **(tolerances or {})}})
    judged = judge_ensembles(domain, new, truth, learned, rules)
    sources = {"generated": generated, "reference": reference, "train": train}
    evaluation = write_evaluation(judged, output, sources, logged_to)
    return Evaluation(output, evaluation.summary, evaluation.table)
