"""Posteriors recalibrated on held-out configurations of known labels, beside the raw ones, never in their place.

The held-out configurations go through the same method, draws, noise levels and seed as those that are asked about:
what is learned holds for these settings alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.ranks import rank_uniformity
from physgen.diffusion.inference.label_calibration import FEWEST, LabelCalibration, best_calibration, calibrate_labels
from physgen.diffusion.inference.label_posterior import LabelPosterior
from physgen.ensemble import units_of_samples
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.folder import PARTS, Run
from physgen.runs.model import Model
from physgen.stages.encoded_data import at_samples
from physgen.stages.label_posteriors import Chosen, as_dataset, choose, measure

if TYPE_CHECKING:
    import xarray as xr

    from physgen.stages.inference import InferenceOptions

UNKNOWN = "-1"  # seed of an ensemble that was not made here
UNEVEN = 0.05  # KS p of true labels below which they are not uniform over the prior
BEYOND = 0.05  # of half the prior, by which a true label may lie outside


@dataclass(frozen=True)
class Recalibration:
    """What held-out configurations say of posteriors.

    Attributes:
        learned: exponent and tilt with their errors, and what they do to widths and means.
        held_out: raw posteriors of those configurations, with ``truth``, ``rank`` and ``score``.
        source: what they are, in words.
    """

    learned: LabelCalibration
    held_out: xr.Dataset
    source: str

    def apply(self, chosen: Chosen, found: LabelPosterior, plan: InferenceOptions) -> xr.Dataset:
        """Recalibrated posteriors of other configurations, as a dataset like that of the raw ones."""
        return as_dataset(chosen, self.learned.apply(found), plan).drop_vars("ln_evidence")

    @property
    def dataset(self) -> xr.Dataset:
        """``value`` and ``covariance`` over ``parameter``; ``widening`` and ``shift`` over ``label``, with errors."""
        import xarray as xr

        names, one = list(self.held_out["label"].values), self.learned
        parameters = ["exponent", *(f"tilt_{name}" for name in names)]
        columns = {
            "value": ("parameter", one.parameters, {"long_name": "of exponent and tilt, labels in half prior ranges"}),
            "error": ("parameter", one.error, {"long_name": "standard error, jackknife over units"}),
            "covariance": (("parameter", "other"), one.covariance),
            "widening": ("label", one.widening, {"long_name": "recalibrated over raw standard deviation"}),
            "widening_error": ("label", one.widening_error),
            "shift": ("label", one.shift, {"long_name": "recalibrated less raw mean, raw standard deviations"}),
            "shift_error": ("label", one.shift_error),
        }
        attrs = {"held_out": self.source, "independent_units": one.units, "posteriors": one.posteriors}
        attrs |= {"gain": one.gain, "gain_error": one.gain_error}
        return xr.Dataset(columns, {"parameter": parameters, "label": names}, attrs)

    def entries(self) -> dict[str, dict[str, Any]]:
        """Lines of a summary."""
        one, units = self.learned, f"{self.learned.units} held-out units"

        def entry(value: float, error: float, meaning: str) -> dict[str, Any]:
            return {"value": float(value), "error": float(error), "meaning": meaning}

        told = {"calibration_exponent": entry(one.exponent, one.error[0], f"of p; 1 if widths are right; {units}")}
        for i, name in enumerate(self.held_out["label"].values):
            said = f"shift of the mean of {name}, raw posterior deviations"
            told[f"calibration_shift_{name}"] = entry(one.shift[i], one.shift_error[i], said)
            said = f"recalibrated over raw deviation of {name}: the width that it costs"
            told[f"calibration_widening_{name}"] = entry(one.widening[i], one.widening_error[i], said)
        said = "nats of the held-out truth, each unit judged by the others"
        return told | {"calibration_gain": entry(one.gain, one.gain_error, said)}


def held_out_for(run: Run, model: Model, held_out: Any, tested: Chosen, plan: InferenceOptions) -> Chosen:
    """Configurations to recalibrate on: a file, an ensemble, or the name of a part of the run.

    Raises:
        InputError: no labels, or units that are tested or were trained on as well.
    """
    part = isinstance(held_out, str) and held_out in PARTS
    chosen = choose(run, model, run.part(held_out) if part else held_out, plan)
    if chosen.truth is None:
        raise InputError(f"calibrate needs configurations whose {', '.join(chosen.names)} are known: give such a file")
    own = chosen.data.ensemble
    if _share_units(own, tested.data.ensemble, chosen.names) or _digests(chosen) & _digests(tested):
        raise InputError(
            "the same units would be calibrated on and tested, which makes any posterior look right: give "
            "calibrate other units than the file"
        )
    with run.open_conditions("train") as train:
        known = _share_units(own, train, chosen.names)
    if known:
        raise InputError(
            "calibrate was given units that the run was trained on, whose labels it knows too well: give "
            "held-out ones, its validation or test part or a file of their own"
        )
    return chosen


def learn(found: LabelPosterior, place: np.ndarray, units: np.ndarray) -> LabelCalibration:
    """The exponent, and a slope where it helps and the true labels (U, n) in [-1, 1] are uniform over the prior.

    Where they are not, be it by chance, a slope would learn their law instead of what is wrong with ln p.
    """
    if len(np.unique(units)) < FEWEST:
        return calibrate_labels(found, place, units)  # says so
    p_values = [rank_uniformity(np.clip((one + 1) / 2, 0, 1), units)["p"] for one in place.T]
    if min(p_values) < UNEVEN:
        return calibrate_labels(found, place, units, with_tilt=False)
    return best_calibration(found, place, units)


def recalibration(
    held_out: Chosen, source: Any, plan: InferenceOptions, progress: Progress | None = None
) -> Recalibration:
    """Learn from the posteriors of held-out configurations whose labels the prior allows, by 5 % of half its range.

    Raises InputError where too few are left.
    """
    found, truth = measure(held_out, plan, progress), held_out.truth
    assert truth is not None
    low, high = held_out.prior
    place = (2 * truth - low - high) / (high - low)
    inside = np.flatnonzero((np.abs(place) < 1 + BEYOND).all(1))
    learned = learn(found.of(inside), place[inside], held_out.independent[inside])
    words = str(source) if isinstance(source, (str, Path)) else "given in memory"
    if words in PARTS:
        words = f"the {words} part of the run"
    return Recalibration(learned, as_dataset(held_out, found, plan).drop_vars("draws"), words)


def _share_units(one: xr.Dataset, other: xr.Dataset, names: tuple[str, ...]) -> bool:
    """Whether a unit of one is also in the other: the same number and labels, and seeds that do not say otherwise."""
    seeds = {str(ensemble.attrs.get("seed", UNKNOWN)) for ensemble in (one, other)}
    if not all(name in ensemble.variables for name in names for ensemble in (one, other)):
        return False
    if len(seeds) == 2 and UNKNOWN not in seeds:
        return False
    found = []
    for ensemble in (one, other):
        columns = [units_of_samples(ensemble), *(at_samples(ensemble, name) for name in names)]
        found.append(set(zip(*(column.tolist() for column in columns), strict=True)))
    return bool(found[0] & found[1])


def _digests(chosen: Chosen) -> set[bytes]:
    """Of the configurations themselves: files without labels or numbers have nothing else."""
    return {hashlib.sha1(x.numpy().tobytes(), usedforsecurity=False).digest() for x in chosen.data.x}
