"""Judge ensembles and lay runs over one another, in a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen.session.run import OpenRun

if TYPE_CHECKING:
    from physgen.report.combination import Combination
    from physgen.report.comparison import Comparison
    from physgen.report.evaluation import Evaluation
    from physgen.report.regimes import Regimes
    from physgen.stages.certification import Certificate
    from physgen.stages.correction import Correction


def evaluate(
    generated: Any,
    reference: Any,
    train: Any = None,
    *,
    box_size: Any = None,
    domain: str | None = None,
    tolerances: Mapping[str, float] | None = None,
    correction: Correction | None = None,
) -> Evaluation:
    """Judge an ensemble against a reference: every diagnostic with its error, its floor and a verdict.

    Args:
        generated: what to judge: a Dataset, an array (N, *grid), or the path of either.
        reference: what to compare it with, alike.
        train: what a model was trained on, for the memorization test.
        box_size: of arrays, see :func:`physgen.from_array`.
        domain: physics of ensembles that name none; None for the one that another of them names, or for any field.
        tolerances: diagnostic -> accepted deviation.
        correction: window and shot noise to take off the spectra of both (:class:`physgen.diagnostics.Correction`).

    Returns:
        The evaluation: it shows its table, and has ``results``, ``values``, ``figure(name)`` and ``write(folder)``.
    """
    from physgen.config import JudgingConfig
    from physgen.stages.evaluation import evaluate_ensembles, judging_rules
    from physgen.stages.sources import as_ensembles, of_one_physics

    given = {"generated": generated, "reference": reference, "train": train}
    read = as_ensembles({name: source for name, source in given.items() if source is not None}, box_size, domain)
    ensembles, physics = of_one_physics(read, domain)
    judging = judging_rules(JudgingConfig(), tolerances, correction)
    return evaluate_ensembles(**ensembles, domain=physics, judging=judging)


def certify(ensemble: Any, *, false_alarms: float = 0.01) -> Certificate:
    """Hold configurations against identities that their law fixes exactly, without a reference.

    Args:
        ensemble: a Dataset of a physics that knows such identities, or the path of one; its log-weights count.
        false_alarms: probability that any row fails where the law is exact.

    Returns:
        The certificate: it shows its table, and has ``rows``, ``verdict``, ``summary`` and ``write(path)``.

    Raises:
        InputError: data that cannot be read, a physics that knows no identities.
    """
    from physgen.stages.certification import certify_ensemble
    from physgen.stages.sources import as_ensemble

    return certify_ensemble(as_ensemble(ensemble), "the ensemble", false_alarms)


def compare(*runs: OpenRun | str | Path) -> Comparison:
    """Lay the diagnostics of several runs over one another; all must have been judged against one reference.

    Args:
        runs: opened runs, folders of runs, or folders of evaluations. An opened run that was not judged yet is judged
            against its own test data.

    Returns:
        The comparison: it shows the table of verdicts, and has ``figure(diagnostic)`` and ``write(folder)``.
    """
    from physgen.stages.comparison import compare as compare_stage
    from physgen.stages.comparison import is_judged

    for run in runs:
        if isinstance(run, OpenRun) and not is_judged(run.folder):
            _ = run.report
    return compare_stage([run.folder if isinstance(run, OpenRun) else run for run in runs])


def combine(
    costly: Any,
    *surrogates: Any,
    reference: Any = None,
    statistics: Sequence[str] = (),
    by: str | None = None,
    slope: float | None = None,
    multivariate: bool = False,
    price: float | None = None,
    logarithm: bool = False,
) -> Combination:
    r"""Means and covariances of diagnostics from few costly configurations and many surrogates, exactly unbiased.

    :math:`\bar x - \beta (\bar c - \bar c')`: c is the surrogate of x from the same random start, c' of others.

    Args:
        costly: a Dataset or the path of one, with the variable that names random starts.
        surrogates: one or more of the same, made from the same starts and from many others.
        reference: further costly units, to compare with.
        statistics: names of diagnostics; none for the power spectrum.
        by: the variable that names the random starts; None for the one that says so.
        slope: coefficient that is known from elsewhere; None fits it, for each pair to the others.
        multivariate: let every point of a surrogate control every point.
        price: what a costly unit costs, in surrogates; None for what the files state.
        logarithm: combine ln of the value of each unit, whose covariance is known better where P has a long tail.

    Returns:
        The combination: it shows its table, and has ``results``, ``values``, ``figure(name)`` and ``write(folder)``.

    Raises:
        InputError: random starts that are not known or do not match, too few of them, an unknown diagnostic.
    """
    from physgen.stages.combining import CombineOptions
    from physgen.stages.combining import combine as combine_stage

    options = CombineOptions(statistics, by, slope, multivariate, price=price, logarithm=logarithm)
    return combine_stage(costly, surrogates, reference, options)


def regimes(
    data_or_run: Any,
    *,
    box_size: Any = None,
    domain: str | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Regimes:
    r"""When the backward diffusion decides classes and single samples: of data, or of a run and its data.

    Times are those of the Ornstein-Uhlenbeck process, :math:`x_t = e^{-t} x_0 + \sqrt{1 - e^{-2t}} z`.

    Args:
        data_or_run: a Dataset, an array (N, *grid), the path of either; or an opened run, or the folder of one.
        box_size: of an array, see :func:`physgen.from_array`.
        domain: physics of an ensemble that names none; None for any field.
        seed: of noise and draws.
        device: where the network of a run computes.

    Returns:
        The regimes: they show their table, and have ``results``, ``values``, ``figure(name)`` and ``write(folder)``.

    Raises:
        InputError: too few samples or units, data that cannot be read, an unknown domain.
    """
    from physgen.stages.regimes import find_regimes

    source = data_or_run.run if isinstance(data_or_run, OpenRun) else data_or_run
    return find_regimes(source, box_size=box_size, domain=domain, seed=seed, device=device)
