"""The stage that judges an ensemble against a reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physgen.config import JudgingConfig
from physgen.domains.contract import check_same_domain, domain_of, with_units
from physgen.ensemble import independent_units, load_ensemble, sample_count, space_dims
from physgen.errors import InputError
from physgen.runs.folder import open_run
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
            check_comparable(new, with_units(other, domain), name)
    new, truth = with_units(new, domain), with_units(truth, domain)
    learned = None if learned is None else with_units(learned, domain)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: give a folder for the report with -o")
    logged_to = open_run(run) if run else None
    rules = logged_to.experiment.judging if logged_to else JudgingConfig()
    rules = rules.model_copy(update={"tolerances": {**rules.tolerances, **(tolerances or {})}})
    judged = judge_ensembles(domain, new, truth, learned, rules)
    sources = {"generated": generated, "reference": reference, "train": train}
    evaluation = write_evaluation(judged, output, sources, logged_to)
    return Evaluation(output, evaluation.summary, evaluation.table)


def check_comparable(generated: Any, other: Any, name: str) -> None:
    """The same lattice, and enough configurations and independent units for errors."""
    mine = {d: generated.sizes[d] for d in space_dims(generated)}
    theirs = {d: other.sizes[d] for d in space_dims(other)}
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
