"""What the regimes say, in a word and a sentence each; what is within two standard errors stays undecided."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from physgen.diagnostics.regimes.collapse import CROSSING
from physgen.figures.notation import format_value
from physgen.report.regimes import Finding, Outcome

if TYPE_CHECKING:
    import xarray as xr

ERRORS = 2.0  # standard errors from which on a difference counts; 5 % of equal ones lie beyond
NOT_TESTED_WITHOUT_MODEL = (
    "No model was looked at: whether one copies these samples is not known. What collapses below t_C is the exact "
    "score of the samples, which a network follows only if it memorizes.",
    "Classes are the two sides of the first principal component: other classes may be decided at other times.",
    "All samples were taken as draws of one law; labels that vary among them widen it.",
)
NOT_TESTED = (
    "Copies are judged by distances: a partial copy, of one object in a field, is not seen.",
    "Classes are the two sides of the first principal component: other classes may be decided at other times.",
    "All samples were taken as draws of one law; labels that vary among them widen it.",
)
RARE = 0.01  # a difference that equal laws show less often than that is one
WORDS_OF_COPIES: Mapping[str, tuple[str, Outcome]] = {"pass": ("none found", "pass"), "fail": ("there are", "fail")}
Metrics = Mapping[str, Mapping[str, float]]


def findings_of(results: Mapping[str, xr.Dataset], metrics: Metrics) -> tuple[Finding, ...]:
    """The table: one line for each question that these results answer."""
    questions = (_speciation, _collapse, _window, _cloning, _loss, _copies, _dynamics)
    return tuple(found for question in questions if (found := question(results, metrics)) is not None)


def number(metrics: Metrics, name: str) -> tuple[float, float]:
    """Value and error of a metric; NaN where it is not known."""
    entry = metrics.get(name, {})
    return float(entry.get("value", math.nan)), float(entry.get("error", math.nan))


def shown(metrics: Metrics, name: str) -> str:
    """A metric with its error as text."""
    return format_value(*number(metrics, name))


def _speciation(results: Mapping[str, xr.Dataset], metrics: Metrics) -> Finding:
    t_s, error = number(metrics, "t_S")
    if not t_s > ERRORS * error:
        why = f"No direction stands out: the largest eigenvalue of the covariance gives t_S = {shown(metrics, 't_S')}"
        return Finding("speciation", "not before t = 0", "open", f"{why}, not above 0 by {ERRORS:g} standard errors.")
    reason = (
        "Above t_S the noisy data are one cloud; the direction of largest variance is decided at t_S = "
        f"{shown(metrics, 't_S')} (½ ln Λ; where the curvature changes its sign: {shown(metrics, 't_S_exact')})."
    )
    return Finding("speciation", f"at t = {shown(metrics, 't_S')}", "pass", reason)


def _collapse(results: Mapping[str, xr.Dataset], metrics: Metrics) -> Finding | None:
    if "t_C" not in metrics:
        return None
    t_c, error = number(metrics, "t_C")
    if not math.isfinite(t_c):
        order = float(results["collapse"]["order_parameter"][0])
        why = f"Y₂ does not pass {CROSSING:g} in the times looked at; at the first of them it is {order:.2g}."
        if order < CROSSING:
            why += " Samples repeat, or are too alike to be told apart there: none is there to collapse on."
        return Finding("collapse", "not found", "open", why)
    plain = (
        f", {shown(metrics, 't_C_plain')} if symmetric copies counted as new samples" if "t_C_plain" in metrics else ""
    )
    exact = f" The law itself, whose density is known, has {shown(metrics, 't_C_law')}." if "t_C_law" in metrics else ""
    reason = (
        f"Below t_C = {shown(metrics, 't_C')} the exact score of these {int(number(metrics, 'n')[0])} samples leads "
        f"to one of them{plain}. Only a model that does not follow this score there can make new ones.{exact}"
    )
    return Finding("collapse", f"at t = {shown(metrics, 't_C')}", "pass", reason)


def _window(results: Mapping[str, xr.Dataset], metrics: Metrics) -> Finding | None:
    if "window" not in metrics:
        return None
    width, error = number(metrics, "window")
    need = ""
    if "ln_n_window" in metrics and math.isfinite(number(metrics, "ln_n_window")[0]):
        value, spread = (x / math.log(10) for x in number(metrics, "ln_n_window"))
        need = f" For the Gaussian law t_C falls below t_S from n = 10^{format_value(value, spread)} samples on."
        if value < 0:
            need = " For the Gaussian law a single sample with its symmetric copies would suffice."
    if not math.isfinite(width):
        return Finding("speciated window", "unknown", "open", "One of the two times is not known.")
    if width > ERRORS * error:
        reason = (
            f"Between t_S and t_C, {shown(metrics, 'window')} wide, the class is decided and the sample is not.{need}"
        )
        return Finding("speciated window", "there is one", "pass", reason)
    if width < -ERRORS * error:
        reason = (
            f"t_C lies above t_S by {format_value(-width, error)}: the exact score of so few samples picks one of "
            f"them before a class.{need}"
        )
        return Finding("speciated window", "none", "fail", reason)
    reason = f"t_S − t_C = {shown(metrics, 'window')} is within {ERRORS:g} standard errors of 0.{need}"
    return Finding("speciated window", "undecided", "open", reason)


def _cloning(results: Mapping[str, xr.Dataset], metrics: Metrics) -> Finding | None:
    if "cloning_gap" not in results:
        return None
    gap = results["cloning_gap"]
    p, seen = float(gap["p_value"]), float(gap["detectable"].median())
    largest = shown(metrics, "cloning_gap")
    said = f"the largest difference between clones of the model and U-turns of unseen data is {largest}"
    power = f"a difference of {seen:.2g} at one time would have been seen in four of five cases"
    if p < RARE:
        return Finding("cloning and U-turn", "differ", "fail", f"{_upper(said)}, p = {p:.2g}: score or steps err.")
    return Finding("cloning and U-turn", "no difference seen", "open", f"{_upper(said)}, p = {p:.2g}; {power}.")


def _loss(results: Mapping[str, xr.Dataset], metrics: Metrics) -> Finding | None:
    if "loss_gap" not in results:
        return None
    gap = results["loss_gap"]
    levels = gap.sizes["t"]
    value, error = number(metrics, "loss_gap")
    p = min(1.0, levels * 0.5 * math.erfc(value / error / math.sqrt(2)))
    place = f"at t = {number(metrics, 'loss_gap_at_t')[0]:.2g}"
    much = shown(metrics, "loss_gap")
    said = f"The loss of unseen samples differs most from that of training samples {place}: by {much} of it"
    if p < RARE:
        why = f"{said}, p = {p:.1g} of {levels} times: the network knows its training samples."
        return Finding("loss gap", f"{100 * value:.2g} % {place}", "fail", why)
    seen = float((gap["error"] * 3.6).min())
    return Finding("loss gap", "none seen", "open", f"{said}, p = {p:.2g}; a gap of {seen:.2g} would have been seen.")


def _copies(results: Mapping[str, xr.Dataset], metrics: Metrics) -> Finding | None:
    if "memorization" not in results:
        return None
    tested = results["memorization"].attrs
    word, outcome = WORDS_OF_COPIES.get(str(tested["verdict"]), ("undecided", "open"))
    more = ""
    if "copies" in results:
        found = results["copies"]
        called = [str(name) for name in found["metric"].values[found["memorizing"].values.astype(bool)]]
        rate = format_value(float(found["any_false_positive_rate"]), float(found["any_false_positive_rate_error"]))
        more = f" Of {found.sizes['metric']} published measures {', '.join(called) or 'none'} would call it memorizing"
        more += f" (fresh real data: at least one in {rate} of cases)."
    return Finding("copies", word, outcome, f"{_upper(str(tested['reason']))}.{more}".replace("..", "."))


def _dynamics(results: Mapping[str, xr.Dataset], metrics: Metrics) -> Finding | None:
    if "dynamics" not in results:
        return None
    good, copied = number(metrics, "tau_gen"), number(metrics, "tau_mem")
    said = (
        f"the distance to the data had come 90 % of its way down by {format_value(*good)} effective steps"
        if math.isfinite(good[0])
        else "when samples became good is open: no fall of their distance to the data was seen beyond its error"
    )
    if math.isfinite(copied[0]):
        return Finding(
            "training window",
            "it has closed",
            "open",
            f"{_upper(said)}; copies set in at {format_value(*copied)} effective steps.",
        )
    last = int(results["dynamics"]["step"][-1])
    return Finding(
        "training window", "not closed", "open", f"{_upper(said)}; no memorization was seen up to step {last}."
    )


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
