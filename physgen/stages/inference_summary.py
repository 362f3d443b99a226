"""What a stage of inference found, in numbers with their errors and in warnings: calibration is never passed over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.coverage import coverage_at
from physgen.diagnostics.ranks import rank_uniformity

if TYPE_CHECKING:
    import xarray as xr

    from physgen.stages.inference import InferenceOptions
    from physgen.stages.recalibration import Recalibration

ERROR_OF_NOTE, MISFIT_OF_NOTE, OUTSIDE_OF_NOTE = 0.3, 0.3, 0.01
SIGNIFICANT = 0.05
UNSURE = 0.2  # of the exponent, relative
MISCALIBRATED, PREFIX, BARE = "MISCALIBRATED", "recalibrated_", ("coverage_deviation", "coverage_deviation_floor")
FEW_UNITS = 30  # below them uniform ranks are no evidence: a distance of a quarter is not seen


def summary_of(
    posterior: xr.Dataset, coverage: xr.Dataset | None, plan: InferenceOptions, drawn: int
) -> dict[str, Any]:
    """Flat summary: name -> {"value", "error", "meaning"}, settings, and ``notes``; ``drawn`` log-likelihoods."""
    independent = posterior["unit_name"].values
    count = len(np.unique(independent))
    summary: dict[str, Any] = {}
    for name in map(str, posterior["label"].values):
        one = posterior.sel(label=name)
        summary[f"std_{name}"] = _mean(one["std"].values, independent, f"posterior standard deviation of {name}")
        share = one["mean_error"].values / one["std"].values
        summary[f"error_{name}"] = _mean(share, independent, "Monte Carlo error of the mean over that deviation")
        if "truth" not in one:
            continue
        tested = rank_uniformity(one["rank"].values, independent, plan.seed)
        summary[f"ks_p_{name}"] = {"value": tested["p"], "error": None, "meaning": _meaning(tested)}
        summary[f"bias_{name}"] = _mean(one["score"].values, independent, "mean of (mean - truth)/std; 0 if unbiased")
        square = _mean(one["score"].values ** 2, independent, "its mean square; 1 if widths are right")
        summary[f"width_{name}"] = square
    if coverage is not None:
        for level, (value, error) in coverage_at(coverage).items():
            meaning = f"coverage at credibility {level:g} (TARP), {count} independent units"
            summary[f"coverage_{100 * level:g}"] = {"value": value, "error": error, "meaning": meaning}
        summary["coverage_deviation"] = coverage.attrs["largest_deviation"]
        summary["coverage_deviation_floor"] = coverage.attrs["floor"]
    settings = {"method": plan.method, "draws": plan.draw_count, "seed": plan.seed}
    settings |= {"steps": plan.step_count, "combine": plan.combine}
    summary |= settings | {"posteriors": posterior.sizes["unit"], "independent_units": count}
    summary["log_likelihoods_drawn"] = drawn
    summary["notes"] = _notes(posterior, coverage, count, plan)
    return summary


def with_recalibration(summary: dict[str, Any], learned: Recalibration, recalibrated: dict[str, Any]) -> dict[str, Any]:
    """A summary of raw posteriors with that of the recalibrated ones beside it, and what was learned, at what cost."""
    own = {name: entry for name, entry in recalibrated.items() if isinstance(entry, dict) or name in BARE}
    own = {f"{PREFIX}{name}": entry for name, entry in own.items() if not name.startswith("error_")}
    one, wrong = learned.learned, [note for note in recalibrated["notes"] if note.startswith(MISCALIBRATED)]
    slope = (
        " + slope"
        if one.tilt.any()
        else "; a slope besides does not raise the held-out score, or their labels are not uniform"
    )
    notes = [
        f"{PREFIX}*: recalibrated by ln q = {one.exponent:.2f}({one.error[0]:.2f}) ln p{slope}, learned on {one.units} "
        f"independent units ({learned.source}), which are not among those above; its error is part of the posterior"
    ]
    if one.gain < one.gain_error:
        notes.append("nothing to correct was seen on the held-out units (calibration_gain): take the raw posterior")
    if one.error[0] > UNSURE * one.exponent:
        notes.append(f"the exponent is known to {100 * one.error[0] / one.exponent:.0f} %: hold out more units")
    notes += [f"recalibrated, still {note}" for note in wrong]
    return summary | learned.entries() | own | {"held_out": learned.source, "notes": summary["notes"] + notes}


def _mean(values: np.ndarray, independent: np.ndarray, meaning: str) -> dict[str, Any]:
    """Mean over units, and its standard error."""
    index = np.unique(independent, return_inverse=True)[1]
    per_unit = np.bincount(index, values) / np.bincount(index)
    error = per_unit.std(ddof=1) / math.sqrt(len(per_unit)) if len(per_unit) > 1 else math.nan
    return {"value": float(per_unit.mean()), "error": float(error), "meaning": meaning}


def _meaning(tested: dict[str, Any]) -> str:
    return f"KS p of uniform ranks, {tested['count']} units; sees a distance of {tested['detectable']:.2f}"


def _notes(posterior: xr.Dataset, coverage: xr.Dataset | None, count: int, plan: InferenceOptions) -> list[str]:
    notes = ["the prior is uniform over the range of the training data; the posterior is that of the network's law"]
    if plan.combine and int(posterior["configurations"].max()) > 1:
        notes.append(
            "configurations of one unit were combined as if they were independent; they are not where they share what "
            "made them (maps of one box), and the posterior is then too narrow"
        )
    elif count < posterior.sizes["unit"]:
        notes.append("several posteriors belong to one unit: errors and tests count units")
    if coverage is not None:
        bad = [n for n in map(str, posterior["label"].values) if _ks(posterior, n, plan) < SIGNIFICANT]
        if bad:
            notes.append(
                f"MISCALIBRATED: ranks of {', '.join(bad)} are not uniform (KS p < {SIGNIFICANT}): do not use these "
                "posteriors without correcting them (--calibrate); width_* above 1 means too narrow, bias_* a shift"
            )
        uneven = [n for n in map(str, posterior["label"].values) if _ks_of_truth(posterior, n, plan) < SIGNIFICANT]
        if uneven:
            notes.append(
                f"the true {', '.join(uneven)} of these units are not uniform over the prior (KS p < {SIGNIFICANT}): "
                "then ranks of a right posterior are not quite uniform either, the less so the narrower it is"
            )
        deviation, floor = coverage.attrs["largest_deviation"], coverage.attrs["floor"]
        if deviation > 1.56 * floor:  # the 95 % point 1.36/sqrt(U) of the largest deviation over its mean
            notes.append(f"MISCALIBRATED: coverage deviates by {deviation:.2f}, above chance ({floor:.2f} on average)")
    if "truth" not in posterior:
        notes.append(
            "the file holds no labels, so that nothing here tells whether these posteriors are right: infer those of "
            "held-out data first (the test part of the run, --limit 100), whose ranks and coverage do"
        )
    elif count < FEW_UNITS:
        notes.append(
            f"{count} independent units would hardly show a wrong posterior: it must shift ranks by "
            f"{1.36 / math.sqrt(count):.2f} of their range; take more"
        )
    worst = float((posterior["mean_error"] / posterior["std"]).max())
    if worst > ERROR_OF_NOTE:
        notes.append(f"the Monte Carlo error of a mean reaches {worst:.2f} posterior deviations: raise --probes")
    if float(posterior["misfit"].max()) > MISFIT_OF_NOTE:
        notes.append(f"ln p is missed by up to {float(posterior['misfit'].max()):.2f} nats near its peak")
    if float(posterior["outside"].max()) > OUTSIDE_OF_NOTE:
        notes.append(f"up to {100 * float(posterior['outside'].max()):.0f} % of a posterior may lie outside its grid")
    return notes


def _ks(posterior: xr.Dataset, name: str, plan: InferenceOptions) -> float:
    p = rank_uniformity(posterior["rank"].sel(label=name).values, posterior["unit_name"].values, plan.seed)["p"]
    return p if math.isfinite(p) else 1.0


def _ks_of_truth(posterior: xr.Dataset, name: str, plan: InferenceOptions) -> float:
    """p of the place of the truth in the prior, which a test of ranks takes for uniform."""
    one = posterior.sel(label=name)
    place = ((one["truth"] - one["low"]) / (one["high"] - one["low"])).values
    p = rank_uniformity(place, posterior["unit_name"].values, plan.seed)["p"]
    return p if math.isfinite(p) else 1.0
