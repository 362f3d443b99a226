"""The stage that combines few costly ensembles with many surrogates of the same random starts: control variates.

:func:`combine` takes files or Datasets; the estimators are in :mod:`physgen.diagnostics.control_variate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.combined import against, combine_results, logarithmic
from physgen.domains.contract import Domain, with_units
from physgen.ensemble import independent_units, unread_field
from physgen.ensemble.pairing import condition_fields, starts_of_units
from physgen.errors import InputError
from physgen.report.combination import Combination, Cost
from physgen.stages.data import seconds_of_each
from physgen.stages.sources import as_ensembles, described, of_one_physics

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.contract import Diagnostic

USUAL = "power_spectrum"  # where a physics has it and none is named
LEARNED = (
    "surrogates were drawn by a network: the combined value is unbiased where none of the costly units was among its "
    "training data, since what it draws under a start that it has learned from has another law"
)
SAME_ROW = 1e-6  # relative difference of a unit's row when it is measured among few units and among all


@dataclass(frozen=True)
class CombineOptions:
    """How to combine. What is left out is chosen.

    Attributes:
        statistics: names of diagnostics; empty for the power spectrum, where there is one, else for all.
        by: variable that names the random starts; None for the one that says so.
        slope: coefficient of the control variate where it is known from elsewhere; None fits it.
        multivariate: every point of a surrogate controls every point.
        covariance: estimate covariance matrices too.
        price: what a costly unit costs, in surrogates; None for the seconds that the files state.
        logarithm: combine ln of the value of each unit.
    """

    statistics: Sequence[str] = ()
    by: str | None = None
    slope: float | None = None
    multivariate: bool = False
    covariance: bool = True
    price: float | None = None
    logarithm: bool = False


def combine(
    costly: Any,
    surrogates: Sequence[Any],
    reference: Any = None,
    options: CombineOptions | None = None,
    *,
    box_size: Any = None,
    domain: str | None = None,
) -> Combination:
    """Means and covariances of diagnostics from few costly configurations and many surrogates; nothing is written.

    Units are matched by their random starts, never by position. Surrogates of other starts give the mean of the
    control; those of the costly units give how both go together.

    Args:
        costly: an ensemble or its file. surrogates: one or more; together they hold a surrogate of each costly unit,
            and many of further starts.
        reference: further costly units, to compare with; those of starts that ``costly`` has are left out.
        options: what to combine, and how.
        box_size, domain: of sources that do not say it.

    Raises:
        InputError: starts that are not known or do not match, an unknown diagnostic, too few pairs.
    """
    options = options or CombineOptions()
    if options.price is not None and not options.price > 0:
        raise InputError(f"price = {options.price} must be positive: what a costly unit costs, in surrogates")
    if not surrogates:
        raise InputError("no surrogates were given: a control variate needs those of the same random starts")
    sources = {"reference": costly} | {f"surrogate {i + 1}": source for i, source in enumerate(surrogates)}
    sources |= {} if reference is None else {"the reference": reference}
    mine, cheap, truth, physics = _in_one_frame(sources, options.by, box_size, domain)
    starts = starts_of_units(mine, options.by, "the costly ensemble")
    of_cheap = [starts_of_units(one, options.by, name) for name, one in cheap.items()]
    notes = _notes_on_conditions([(mine, starts), *zip(cheap.values(), of_cheap, strict=True)])
    notes += [LEARNED] if any("run" in one.attrs for one in cheap.values()) else []
    settings = {name: getattr(options, name) for name in ("slope", "multivariate", "covariance")}
    results = {}
    for name, diagnostic in _chosen(physics, options).items():
        try:
            of_costly, of_surrogates = diagnostic(mine), [diagnostic(one) for one in cheap.values()]
            found = combine_results(of_costly, of_surrogates, starts, of_cheap, **settings)
            found = found.assign_attrs(is_average=int(is_average(diagnostic, mine, of_costly)))
            results[name] = found if truth is None else against(found, diagnostic(truth))
        except InputError as error:
            if options.statistics:
                raise InputError(f"{name}: {error}") from None
            notes.append(f"{name} was not combined: {error}")
    if not results:
        raise InputError("; ".join(notes))
    cost = _cost(mine, list(cheap.values()), options.price)
    return Combination(results, cost, tuple(notes), _facts(sources, options, physics))


def _in_one_frame(
    sources: dict[str, Any], by: str | None, box_size: Any, domain: str | None
) -> tuple[xr.Dataset, dict[str, xr.Dataset], xr.Dataset | None, Domain]:
    """The costly ensemble, the surrogates by name (in the frame of the first), the reference, and their physics."""
    read, physics = of_one_physics(as_ensembles(sources, box_size, domain), domain)
    # what a configuration was drawn under is no condition of its law here
    ready = {n: with_units(e, physics).drop_vars(condition_fields(e)) for n, e in read.items()}
    mine, truth = ready.pop("reference"), ready.pop("the reference", None)
    mine = physics.confront(mine, mine, "the costly ensemble")
    first = next(iter(ready.values()))
    cheap = {name: physics.confront(first, one, name) for name, one in ready.items()}
    if truth is not None:
        truth = _of_other_starts(physics.confront(mine, truth, "the reference"), mine, by)
    return mine, cheap, truth, physics


def is_average(diagnostic: Diagnostic, ensemble: xr.Dataset, result: xr.Dataset) -> bool:
    """Whether a diagnostic is an average over units: the row of a unit does not depend on the others.

    Then the combined mean is exactly unbiased. Else (a ratio of averages, whose rows are pseudo-values of a jackknife;
    bins that follow the data) the combined value has a bias, as the one without surrogates has.
    """
    units = independent_units(ensemble)
    if units.along is None or units.count < 3:
        return False
    few = ensemble.isel({units.along: np.flatnonzero(np.isin(units.entries, units.labels[:2]))})
    try:
        rows, known = (r["per_unit"].transpose("unit", ...).values[:2] for r in (diagnostic(few), result))
    except InputError:
        return False
    scale = np.abs(known).max(initial=0.0)
    return rows.shape == known.shape and bool(np.allclose(rows, known, rtol=SAME_ROW, atol=SAME_ROW * scale))


def _chosen(physics: Domain, options: CombineOptions) -> dict[str, Diagnostic]:
    known, names = physics.diagnostics(), options.statistics
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"{unknown[0]!r} is no diagnostic here: choose from {', '.join(known)}")
    chosen = list(names) or ([USUAL] if USUAL in known else list(known))
    return {name: _of_logarithm(known[name]) if options.logarithm else known[name] for name in chosen}


def _of_logarithm(diagnostic: Diagnostic) -> Diagnostic:
    def measured(ensemble: xr.Dataset) -> xr.Dataset:
        return logarithmic(diagnostic(ensemble))

    return measured


def _of_other_starts(reference: xr.Dataset, costly: xr.Dataset, by: str | None) -> xr.Dataset:
    """The units of the reference that the costly ensemble does not hold: both are then independent."""
    theirs, units = starts_of_units(reference, by, "the reference"), independent_units(reference)
    other = units.labels[~np.isin(theirs, starts_of_units(costly, by, "the costly ensemble"))]
    if len(other) < 2 or units.along is None:
        raise InputError(
            f"the reference has {len(other)} units of other random starts than the costly ensemble: give at least 2"
        )
    return unread_field(reference).isel({units.along: np.flatnonzero(np.isin(units.entries, other))})


def _notes_on_conditions(sources: Sequence[tuple[xr.Dataset, np.ndarray]]) -> list[str]:
    """A sentence where labels vary between units: what is estimated is then the mean over their law.

    Raises InputError where two units of one random start have different labels.
    """
    from physgen.diagnostics.conditions import unit_conditions

    found = [(unit_conditions(one), starts) for one, starts in sources]
    known: dict[int | str, str] = {}
    for digests, starts in found:
        for start, digest in zip(starts.tolist(), [] if digests is None else digests.tolist(), strict=False):
            if known.setdefault(start, digest) != digest:
                raise InputError(
                    f"units of the random start {start} have different labels in two of the ensembles: make the "
                    "surrogates under the same conditions (a range of labels that is laid out anew for another number "
                    "of units is another one)"
                )
    if len(set(known.values())) <= 1:
        return []
    return [
        "labels differ between units: the mean is that over their law. It is unbiased where the labels of the costly "
        "units and of the surrogates were drawn independently from one law, not where they were laid out evenly over a "
        "range"
    ]


def _cost(costly: xr.Dataset, cheap: Sequence[xr.Dataset], price: float | None) -> Cost | None:
    """What a unit costs of either kind; None where nobody says so."""
    if price is not None:
        return Cost(price, 1.0, "as stated")
    each = [seconds_of_each(one) for one in (costly, *cheap)]
    if any(one is None for one in each):
        return None
    seconds = [float(one or 0.0) * _samples_of_a_unit(e) for one, e in zip(each, (costly, *cheap), strict=True)]
    units = [independent_units(one).count for one in cheap]
    return Cost(seconds[0], float(np.average(seconds[1:], weights=units)), "seconds that the files state")


def _samples_of_a_unit(ensemble: xr.Dataset) -> float:
    units = independent_units(ensemble)
    return len(units.index) / units.count


def _facts(sources: dict[str, Any], options: CombineOptions, physics: Domain) -> dict[str, Any]:
    named = {"costly" if name == "reference" else name: source for name, source in sources.items()}
    asked = {"slope": "fitted" if options.slope is None else options.slope, "multivariate": options.multivariate}
    asked |= {"of": "ln of the value of each unit"} if options.logarithm else {}
    return described(named) | {"physics": physics.name} | asked


def write_combination(
    costly: str | Path,
    surrogates: Sequence[str | Path],
    output: str | Path | None = None,
    reference: str | Path | None = None,
    options: CombineOptions | None = None,
) -> Combination:
    """:func:`combine` for files, written into a folder; see :meth:`physgen.report.combination.Combination.write`.

    ``output`` is None for the name of ``costly`` with ``-combined``.
    """
    costly = Path(costly)
    folder = costly.with_name(f"{costly.stem}-combined") if output is None else Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose a folder for the report")
    return combine(costly, list(surrogates), reference, options).write(folder)
