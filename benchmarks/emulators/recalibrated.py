"""Are posteriors of labels right, why not, and what does it cost to make them right: a trained network on simulations
whose labels are uniform over the prior by design, recalibrated on others.

    physgen simulate benchmarks/emulators/posteriors32.yaml -o data.h5
    physgen train benchmarks/emulators/posteriors32.yaml dataset=data.h5
    physgen simulate benchmarks/emulators/posteriors32.yaml seed=1009 data.simulations=100 -o uniform.h5
    python -m benchmarks.emulators.recalibrated measure runs/posteriors32 uniform.h5 -o uniform
    python -m benchmarks.emulators.recalibrated measure runs/posteriors32 test -o held_out --seed 200
    python -m benchmarks.emulators.recalibrated measure runs/posteriors32 uniform.h5 -o earlier --weights CHECKPOINT
    python -m benchmarks.emulators.recalibrated flow runs/posteriors32 uniform.h5 uniform -o flow.npz
    python -m benchmarks.emulators.recalibrated rows runs/posteriors32 data.h5 uniform.h5 uniform held_out \\
        --earlier earlier --flow flow.npz -o recalibrated.json

``measure`` keeps every draw of ln p at the last design, so that posteriors of fewer draws cost nothing more. The rows
go onto docs/posteriors-fields.md by ``python -m benchmarks.emulators.posteriors page``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from benchmarks.emulators.measured_labels import Measured, measure, measure_flow
from benchmarks.emulators.observations import one_of_each
from benchmarks.emulators.posteriors import (
    DEGREE,
    INNER,
    WIDTH,
    calibration_rows,
    gaussian_posteriors,
    statistics,
)
from benchmarks.regimes.row import Row
from physgen.diagnostics.fisher import fisher_matrix
from physgen.diffusion.inference.label_calibration import LabelCalibration, calibrate_labels
from physgen.diffusion.inference.label_posterior import LabelPosterior
from physgen.ensemble import load_ensemble
from physgen.runs.folder import open_run
from physgen.runs.model import load_model
from physgen.stages.inference import InferenceOptions
from physgen.stages.recalibration import learn

DRAWS = 1000  # from each posterior


def scores(found: LabelPosterior, truth: np.ndarray) -> np.ndarray:
    """(mean - truth)/std, (U, n)."""
    return (found.mean - truth) / found.std


def draw_rows(measured: Measured, names: Sequence[str]) -> Iterator[Row]:
    """What Monte Carlo noise does: widths and mean squares by the number of draws, and with infinitely many."""
    most, truth = measured.draws, measured.truth
    squares, widths = [], []
    for count in range(1, most + 1):
        # the average over disjoint sets of draws, as many as there are
        sets = [range(i, i + count) for i in range(0, most - count + 1, count)]
        found = [measured.posterior(one, bare=True) for one in sets]
        squares.append(np.mean([scores(one, truth) ** 2 for one in found], axis=0))
        widths.append(np.mean([one.std for one in found], axis=0))
    inverse = 1 / np.arange(1, most + 1)
    # least squares in 1/R of each map: the mean over maps is that of the fits, and its error their scatter
    design = np.stack([np.ones(most), inverse], axis=1)
    fitted = np.einsum("pr,run->pun", np.linalg.pinv(design), np.stack(squares))
    for i, name in enumerate(names):
        for count in (1, most):
            value = squares[count - 1][:, i]
            yield Row(
                f"mean square of (mean - truth)/std of {name}, {count} draws", value.mean(), _error(value), 1.0,
                note=f"{len(truth)} maps",
            )  # fmt: skip
        value = fitted[0][:, i]
        note = "fit of a + b/draws to each map: what is left is the network's"
        yield Row(f"the same with infinitely many draws, {name}", value.mean(), _error(value), 1.0, note=note)
        share = fitted[1][:, i]
        yield Row(f"what one draw adds to it, {name}", share.mean(), _error(share), note="b; R draws add b/R")
        ratio = widths[0][:, i] / widths[-1][:, i]
        where = f"width of the posterior of {name}, one draw over {most}"
        yield Row(where, ratio.mean(), _error(ratio), note="noise moves posteriors, it does not widen them")


def network_rows(measured: Measured, earlier: Measured, names: Sequence[str], said: str) -> Iterator[Row]:
    """The same maps and noise under the network as it was earlier in its training."""
    count = len(earlier.truth)
    now, then = measured.posterior(), earlier.posterior()
    truth = earlier.truth
    for i, name in enumerate(names):
        one, other = (scores(f.of(np.arange(count)), truth)[:, i] ** 2 for f in (now, then))
        yield Row(f"mean square of {name}, network {said}", other.mean(), _error(other), 1.0, note=f"{count} maps")
        change = one - other
        yield Row(f"at the end of the training less that, {name}", change.mean(), _error(change), note="paired")
        ratio = now.std[:count, i] / then.std[:, i]
        yield Row(f"width of the posterior of {name}, the end over that", ratio.mean(), _error(ratio))


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def flow_rows(measured: Measured, file: str | Path, names: Sequence[str]) -> Iterator[Row]:
    """By how much posteriors of the flow lie elsewhere than those of the bound, and whether that is better."""
    kept = dict(np.load(file))
    count, probes = len(kept["slopes"]), kept["slopes"].shape[2]
    few = measured.posterior().of(np.arange(count))
    own = scores(few, measured.truth[:count])
    root = np.einsum("un,umn,um->unm", 1 / few.std, few.covariance, 1 / few.std)
    each = np.einsum("umn,unr->umr", root, kept["slopes"])  # in posterior deviations: the correlation times the slope
    shift, noise = each.mean(2), each.std(2, ddof=1) / math.sqrt(probes)
    for i, name in enumerate(names):
        both = shift[:, i] ** 2 - noise[:, i] ** 2 - (few.mean_error / few.std)[:, i] ** 2
        note = f"{count} maps, squared, less the noise of probes and draws, {kept['seconds'].mean():.1f} CPU s a map"
        yield Row(f"shift by the flow of {name}, posterior deviations squared", both.mean(), _error(both), note=note)
        by_flow = (own + shift)[:, i] ** 2 - noise[:, i] ** 2
        change = by_flow - own[:, i] ** 2
        yield Row(f"mean square of {name}, the flow less the bound", change.mean(), _error(change), note="paired")
        value = -kept["curvature"][:, i]
        where = f"curvature of ln p in {name}, the flow less the bound, in 1/deviations squared"
        yield Row(where, value.mean(), _error(value), note="0 if they agree; 1 would halve a variance")


# --- recalibrated -------------------------------------------------------------------------------------


def as_dataset(found: LabelPosterior, truth: np.ndarray, names: Sequence[str]) -> xr.Dataset:
    """As ``calibration_rows`` reads it, with labels on [-1, 1]."""
    columns = {
        "draws": (("unit", "draw", "label"), found.draw(DRAWS, 0)),
        "truth": (("unit", "label"), truth),
        "low": ("label", -np.ones(len(names))),
        "high": ("label", np.ones(len(names))),
        "unit_name": ("unit", np.arange(len(truth))),
    }
    return xr.Dataset(columns, {"label": list(names)})


def recalibrated_rows(tested: Measured, held_out: Measured, names: Sequence[str]) -> Iterator[Row]:
    """What was learned, and calibration before and after it."""
    found, truth = tested.posterior(), tested.truth
    how = f"{tested.draws} draws, {tested.seconds:.1f} CPU s a map"
    learned = calibrate_labels(held_out.posterior(), held_out.truth)
    note = f"{learned.units} held-out simulations"
    yield Row("exponent of the posteriors", learned.exponent, float(learned.error[0]), 1.0, note=note)
    for i, name in enumerate(names):
        shift, error = learned.shift[i], learned.shift_error[i]
        yield Row(f"shift of the mean of {name}, raw deviations", shift, error, 0.0, note=note)
        wide, error = learned.widening[i], learned.widening_error[i]
        yield Row(f"recalibrated over raw deviation of {name}", wide, error, 1.0, note="what it costs")
    yield Row("gain of the held-out truth, nats", learned.gain, learned.gain_error, note="each judged by the others")
    alone = calibrate_labels(held_out.posterior(), held_out.truth, with_tilt=False)
    yield Row("exponent alone, without a slope", alone.exponent, float(alone.error[0]), 1.0, note=note)
    yield Row("its gain of the held-out truth, nats", alone.gain, alone.gain_error)
    yield from calibration_rows("raw", as_dataset(found, truth, names), how)
    for said, one in (("exponent and slope", learned), ("exponent alone", alone)):
        after = one.apply(found)
        gained = _ln_density(after, truth) - _ln_density(found, truth)
        yield Row(f"{said}: gain of the tested truth, nats", gained.mean(), _error(gained), note=f"{len(truth)} maps")
        yield from calibration_rows(said, as_dataset(after, truth, names), how)
    other = calibrate_labels(found, truth)
    said = "learned on the tested ones instead: the same within errors if neither set is odd"
    yield Row("exponent of the posteriors, the sets exchanged", other.exponent, float(other.error[0]), 1.0, note=said)


def _ln_density(found: LabelPosterior, truth: np.ndarray) -> np.ndarray:
    """ln of the posterior density at the truth (U,), by the point of the quadrature that is nearest, up to its cell."""
    inside = np.clip(truth, found.box[:, 0], found.box[:, 1])
    nearest = ((found.points - inside[:, None]) ** 2).sum(2).argmin(1)
    return np.asarray(np.log(found.weight[np.arange(len(truth)), nearest]))


def width_rows(
    everything: xr.Dataset, test: xr.Dataset, tested: Measured, learned: LabelCalibration, names: Sequence[str],
    prior: tuple[np.ndarray, np.ndarray],
) -> Iterator[Row]:  # fmt: skip
    """Widths of raw and recalibrated posteriors beside the Fisher bound of P(k) + bispectrum, and their posteriors."""
    low, high = prior
    half, truth = (high - low) / 2, (high + low) / 2 + (high - low) / 2 * tested.truth
    found = tested.posterior()
    after = learned.apply(found)
    inside = (np.abs(tested.truth) < 1 - 2 * INNER).all(1)
    all_maps, own = statistics(everything, names, True), statistics(test, names, True)
    bounds, errors = np.empty(truth.shape), np.empty(truth.shape)
    for u in np.flatnonzero(inside):
        one = fisher_matrix(
            all_maps.values, all_maps.labels, truth[u], list(names), units=all_maps.units, degree=DEGREE, width=WIDTH
        )
        bounds[u], errors[u] = one["sigma"].values, one["sigma_error"].values
    like = as_dataset(found, truth, names).assign(low=("label", low), high=("label", high))
    rival = gaussian_posteriors(all_maps, own, low, high, like)
    for said, some in (("raw", found), ("recalibrated", after)):
        width = half * some.std
        for i, name in enumerate(names):
            ratio = width[inside, i] / bounds[inside, i]
            relative = float(np.nanmean(errors[inside, i] / bounds[inside, i]))
            note = f"{inside.sum()} maps {INNER:.0%} of the prior away from its ends; the bound errs by {relative:.1%}"
            error = math.hypot(_error(ratio), relative * ratio.mean())
            where = f"{said}: deviation of {name} over the Fisher bound of P(k) + bispectrum"
            yield Row(where, ratio.mean(), error, note=note)
            ratio = width[:, i] / rival["draws"].values.std(1)[:, i]
            where = f"{said}: deviation of {name} over that of a Gaussian likelihood of P(k) + bispectrum"
            yield Row(where, ratio.mean(), _error(ratio), note="the same maps, prior included")
    yield from calibration_rows(
        "Gaussian likelihood of P(k) + bispectrum", rival, f"{len(all_maps.values)} maps fitted"
    )


# --- the command --------------------------------------------------------------------------------------


def rows(given: argparse.Namespace) -> Iterator[Row]:
    """All rows that the files at hand allow."""
    run = open_run(given.run)
    names = list(run.domain.label_ranges(run.encoding().domain))
    prior = tuple(np.array([run.domain.label_ranges(run.encoding().domain)[n][i] for n in names]) for i in (0, 1))
    tested, held_out = Measured.read(given.tested), Measured.read(given.held_out)
    yield from draw_rows(tested, names)
    if given.earlier:
        yield from network_rows(tested, Measured.read(given.earlier), names, given.said)
    if given.flow:
        yield from flow_rows(tested, given.flow, names)
    yield from recalibrated_rows(tested, held_out, names)
    test = one_of_each(load_ensemble(given.test), len(tested.truth))
    learned = learn(held_out.posterior(), held_out.truth, np.arange(len(held_out.truth)))
    yield from width_rows(load_ensemble(given.data), test, tested, learned, names, prior)


def main(words: Sequence[str] | None = None, show: Callable[[str], None] = print) -> None:
    """``measure RUN DATA``, ``flow RUN DATA FOLDER`` or ``rows RUN DATA TEST FOLDER FOLDER``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    topics = parser.add_subparsers(dest="topic", required=True)
    one, flow, last = (topics.add_parser(name) for name in ("measure", "flow", "rows"))
    for topic in (one, flow, last):
        topic.add_argument("run")
        topic.add_argument("data", help="rows: all simulations; else those to measure, a file or a part of the run")
        topic.add_argument("-o", "--output", required=True)
    for topic, draws, steps, maps in ((one, 3, 16, 100), (flow, 2, 24, 20)):
        topic.add_argument("--draws", type=int, default=draws)
        topic.add_argument("--steps", type=int, default=steps)
        topic.add_argument("--maps", type=int, default=maps)
    one.add_argument("--first", type=int, default=0)
    one.add_argument("--seed", type=int, default=100)
    one.add_argument("--weights", help="ema.safetensors of a checkpoint; the run's own where left out")
    flow.add_argument("measured")
    last.add_argument("test")
    last.add_argument("tested")
    last.add_argument("held_out")
    for name in ("--earlier", "--flow"):
        last.add_argument(name)
    last.add_argument("--said", default="earlier in its training")
    given = parser.parse_args(words)
    if given.topic == "rows":
        kept = []
        for row in rows(given):
            error = "" if row.error is None else f"+- {row.error:.4f}"
            show(f"{row.quantity:90s} {row.measured:.4f} {error} ({row.theory}) {row.kept} {row.note}")
            kept.append(dataclasses.asdict(row))
        Path(given.output).write_text(json.dumps(kept, indent=1, default=float))
        return
    run = open_run(given.run)
    model = load_model(run.folder / "model", "cpu")
    source = run.part(given.data) if given.data in ("validation", "test") else load_ensemble(given.data)
    if given.topic == "flow":
        measured = Measured.read(given.measured)
        data = one_of_each(source, len(measured.truth))
        measure_flow(run, model, data, measured, given.maps, given.draws, given.steps, Path(given.output))
        return
    if given.weights:
        from safetensors.torch import load_file

        model.denoiser.load_state_dict({n.removeprefix("ema/"): v for n, v in load_file(given.weights).items()})
    plan = InferenceOptions(draws=given.draws, steps=given.steps, seed=given.seed)
    maps = range(given.first, given.first + given.maps)
    measure(run, model, one_of_each(source, maps.stop), plan, Path(given.output), maps)


if __name__ == "__main__":
    main()
