"""Posteriors of a trained network on 100 held-out simulations: of the labels of a map, and of a map given observations.

    physgen simulate benchmarks/emulators/posteriors32.yaml -o data.h5
    physgen train benchmarks/emulators/posteriors32.yaml dataset=data.h5
    python -m benchmarks.emulators.posteriors labels runs/posteriors32 data.h5 -o labels.json
    python -m benchmarks.emulators.observations runs/posteriors32 -o observations.json
    python -m benchmarks.emulators.posteriors page labels.json observations.json ...

A campaign of its own: its rows cost an hour of one core. The last command writes docs/posteriors-fields.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from benchmarks.campaign import HEAD, ROOT, as_line, processor
from benchmarks.emulators.observations import one_of_each
from benchmarks.regimes.row import Row
from physgen.diagnostics.bispectrum import bispectrum_array
from physgen.diagnostics.coverage import coverage_at, coverage_curve, credibilities
from physgen.diagnostics.fisher import correction_factor, fisher_matrix
from physgen.diagnostics.ranks import rank_uniformity, ranks, standard_scores
from physgen.diagnostics.spectrum import power_spectrum_array
from physgen.ensemble import flatten, load_ensemble, spacing, units_of_samples
from physgen.provenance import git_commit
from physgen.runs.folder import Run, open_run
from physgen.stages.inference import InferenceOptions, infer

PAGE = "posteriors-fields"
BINS, POINTS, GRID = 8, 3, 61  # of the spectrum, of the bispectrum's sides, of the Gaussian likelihood
DEGREE, WIDTH = 3, 1.0  # of the mean of a statistic in the labels, and where its Fisher matrix looks
PART = 20  # posteriors that are found at a time
INNER = 0.2  # of the prior, at each end, where the prior cuts posteriors off


@dataclass(frozen=True)
class Statistic:
    """ln P(k) of each map, beside the reduced bispectrum or not, with labels and units: (B, m), (B, n), (B,)."""

    values: np.ndarray
    labels: np.ndarray
    units: np.ndarray

    def at(self, chosen: np.ndarray) -> Statistic:
        """Of some maps alone."""
        return Statistic(self.values[chosen], self.labels[chosen], self.units[chosen])


def statistics(ensemble: xr.Dataset, names: Sequence[str], with_bispectrum: bool) -> Statistic:
    """Statistics of all maps of an ensemble of density contrasts."""
    contrast = flatten(ensemble)[:, 0].astype(np.float64)
    cells = spacing(ensemble)
    parts = [np.log(power_spectrum_array(contrast, cells, BINS)[1])]
    if with_bispectrum:
        from physgen.diagnostics.bispectrum import permutations
        from physgen.diagnostics.triangles import configurations

        triangles = configurations(contrast.shape[1:], cells, POINTS)
        found, power, _, _ = bispectrum_array(contrast, cells, triangles)
        parts.append(found / permutations(power, triangles.shells))
    labels = np.stack([np.broadcast_to(ensemble[n].values, len(contrast)) for n in names], axis=1)
    return Statistic(np.concatenate(parts, axis=1), labels, units_of_samples(ensemble))


def label_rows(folder: str | Path, data: str | Path, options: InferenceOptions, maps: int, keep: Path) -> Iterator[Row]:
    """Calibration and widths of the posteriors of one map of each held-out simulation, beside bounds and a rival."""
    run = open_run(folder)
    test = one_of_each(run.part("test"), maps)
    posterior = posteriors_by_parts(run, test, options, keep)
    how = f"{options.draw_count} draws of {options.step_count} levels, {posterior.attrs['cpu_seconds']:.1f} CPU s a map"
    yield from calibration_rows("network", posterior, how)
    share = (posterior["mean_error"] / posterior["std"]).mean("unit")
    for name in map(str, share["label"].values):
        where = f"network: Monte Carlo error of the mean of {name}, posterior deviations"
        yield Row(where, float(share.sel(label=name)), 0.0)
    held = set(units_of_samples(test).tolist())
    everything = load_ensemble(data)
    yield from bound_rows(posterior, test, everything, held)


def posteriors_by_parts(run: Run, test: xr.Dataset, options: InferenceOptions, keep: Path) -> xr.Dataset:
    """Posteriors of all maps, PART at a time, each with noise of its own; parts that lie in ``keep`` stay."""
    keep.mkdir(parents=True, exist_ok=True)
    dim, parts = test["field"].dims[0], []
    for number, first in enumerate(range(0, test.sizes[dim], PART)):
        file = keep / f"part{number}.nc"
        if not file.exists():
            began = time.process_time()
            some = test.isel({dim: slice(first, first + PART)})
            found = infer(run, some, dataclasses.replace(options, seed=number)).posterior
            seconds = (time.process_time() - began) / some.sizes[dim]
            found.assign(cpu_seconds=("unit", np.full(some.sizes[dim], seconds))).to_netcdf(file, engine="h5netcdf")
        parts.append(xr.load_dataset(file, engine="h5netcdf"))
    posterior = xr.concat(parts, "unit", data_vars="minimal")
    return posterior.assign_attrs(cpu_seconds=float(posterior["cpu_seconds"].mean()))


def calibration_rows(name: str, posterior: xr.Dataset, how: str) -> Iterator[Row]:
    """Ranks, scores and coverage of posteriors with ``draws``, ``truth``, ``low`` and ``high``."""
    draws, truth = posterior["draws"].values, posterior["truth"].values
    units = posterior["unit_name"].values
    count = len(truth)
    rank, score = ranks(draws, truth), standard_scores(draws.mean(1), draws.std(1), truth)
    for i, label in enumerate(map(str, posterior["label"].values)):
        tested = rank_uniformity(rank[:, i], units)
        note = (
            f"{count} maps, {how}; would see a distance of {tested['detectable']:.2f}, found {tested['distance']:.2f}"
        )
        yield Row(f"{name}: KS p of the ranks of {label}", tested["p"], 0.0, kept=tested["p"] > 0.05, note=note)
        mean, square = score[:, i].mean(), (score[:, i] ** 2).mean()
        error = score[:, i].std(ddof=1) / math.sqrt(count)
        yield Row(f"{name}: mean of (mean - truth)/std of {label}", mean, error, 0.0, "", bool(abs(mean) < 4 * error))
        error = max((score[:, i] ** 2).std(ddof=1) / math.sqrt(count), math.sqrt(2 / count))
        kept, note = bool(abs(square - 1) < 4 * error), "within four errors, sqrt(2/N) of a calibrated one if larger"
        yield Row(f"{name}: mean square of (mean - truth)/std of {label}", square, error, 1.0, "", kept, note)
        width = draws.std(1)[:, i]
        where = f"{name}: posterior standard deviation of {label}"
        yield Row(where, width.mean(), width.std(ddof=1) / math.sqrt(count))
    curve = coverage_curve(credibilities(draws, truth, posterior["low"].values, posterior["high"].values), units)
    for level, (value, error) in coverage_at(curve).items():
        floor = math.sqrt(level * (1 - level) / count)
        kept, note = bool(abs(value - level) < 3 * floor), f"TARP; scatter of a calibrated one {floor:.3f}"
        yield Row(f"{name}: coverage at {level:g}", value, error, level, "", kept, note)


def bound_rows(posterior: xr.Dataset, test: xr.Dataset, everything: xr.Dataset, held: set) -> Iterator[Row]:
    """Widths beside the Fisher bound of P(k) and of P(k) + bispectrum, and beside their Gaussian posteriors."""
    names = [str(name) for name in posterior["label"].values]
    low, high = posterior["low"].values, posterior["high"].values
    truth, width = posterior["truth"].values, posterior["draws"].values.std(1)
    inside = ((truth > low + INNER * (high - low)) & (truth < high - INNER * (high - low))).all(1)
    for label, with_bispectrum in (("P(k)", False), ("P(k) + bispectrum", True)):
        all_maps = statistics(everything, names, with_bispectrum)
        trained = all_maps.at(~np.isin(all_maps.units, list(held)))
        own = statistics(test, names, with_bispectrum)
        bounds, errors = np.empty(truth.shape), np.empty(truth.shape)
        for u in np.flatnonzero(inside):
            one = fisher_matrix(
                all_maps.values, all_maps.labels, truth[u], names, units=all_maps.units, degree=DEGREE, width=WIDTH
            )
            bounds[u], errors[u] = one["sigma"].values, one["sigma_error"].values
        rival = gaussian_posteriors(trained, own, low, high, posterior)
        for i, name in enumerate(names):
            ratio = width[inside, i] / bounds[inside, i]
            relative = float(np.nanmean(errors[inside, i] / bounds[inside, i]))
            note = (
                f"{inside.sum()} maps whose labels are {INNER:.0%} of the prior away from its ends; "
                f"{own.values.shape[1]} numbers; the Fisher sigma itself errs by {relative:.1%}, and knows no prior"
            )
            error = math.hypot(ratio.std(ddof=1) / math.sqrt(len(ratio)), relative * ratio.mean())
            yield Row(
                f"width of the posterior of {name} over the Fisher bound of {label}", ratio.mean(), error, note=note
            )
            ratio = width[:, i] / rival["draws"].values.std(1)[:, i]
            note = (
                "the same maps, prior included: a Gaussian likelihood of these numbers, its mean and covariance fitted"
            )
            error = ratio.std(ddof=1) / math.sqrt(len(ratio))
            yield Row(f"width of the posterior of {name} over that by {label}", ratio.mean(), error, note=note)
        yield from calibration_rows(f"Gaussian likelihood of {label}", rival, f"{len(trained.values)} maps fitted")


def gaussian_posteriors(
    trained: Statistic, own: Statistic, low: np.ndarray, high: np.ndarray, like: xr.Dataset, draws: int = 1000
) -> xr.Dataset:
    """Posteriors from statistics that are normal with a mean polynomial in the labels and a covariance that is, too."""
    features, middle, half = _monomials, (low + high) / 2, (high - low) / 2
    design = features((trained.labels - middle) / half, DEGREE)
    mean = np.linalg.lstsq(design, trained.values, rcond=None)[0]
    rest = trained.values - design @ mean
    # scale of each number by labels, then one correlation matrix: bispectra scatter more where fields are rougher
    flat = features((trained.labels - middle) / half, 1)
    spread = np.linalg.lstsq(flat, np.log(rest**2 + 1e-12), rcond=None)[0]
    scaled = rest / np.exp(0.5 * flat @ spread)
    covariance = np.cov(scaled.T)
    factor = correction_factor(len(np.unique(trained.units)), covariance.shape[0], "hartlap")
    precision = factor * np.linalg.inv(covariance)
    line = -1 + (np.arange(GRID) + 0.5) * 2 / GRID
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    centre, scale = features(grid, DEGREE) @ mean, np.exp(0.5 * features(grid, 1) @ spread)  # (Q, m)
    rng, found = np.random.default_rng(3), np.empty((len(own.values), draws, 2))
    for u, value in enumerate(own.values):
        pull = (value - centre) / scale
        ln_p = -0.5 * np.einsum("qi,ij,qj->q", pull, precision, pull) - np.log(scale).sum(1)
        weight = np.exp(ln_p - ln_p.max())
        chosen = grid[rng.choice(len(grid), draws, p=weight / weight.sum())]
        found[u] = middle + half * (chosen + (rng.random(chosen.shape) - 0.5) * 2 / GRID)
    return like.drop_vars("draws").assign(draws=(("unit", "draw", "label"), found))


def _monomials(x: np.ndarray, degree: int) -> np.ndarray:
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return np.stack([x[:, 0] ** i * x[:, 1] ** j for i, j in powers], axis=1)


def page(files: Sequence[str], notes: str) -> Path:
    """Write the rows of files to the page, under the words of ``notes``, which are kept from the page if empty."""
    target = ROOT / "docs" / f"{PAGE}.md"
    sections = []
    for file in files:
        rows = [as_line(Row(**row)) for row in json.loads(Path(file).read_text())]
        sections.append(f"## {Path(file).stem}\n\n{HEAD}\n" + "\n".join(rows))
    where = (
        f"{datetime.date.today()}, commit {git_commit()}: {processor()}, {os.cpu_count()} cores shared with other "
        f"work, one thread, Python {platform.python_version()}, torch {torch.__version__}."
    )
    target.write_text("\n\n".join(["# Posteriors on a trained network", where, notes, *sections]).strip() + "\n")
    return target


def main(words: Sequence[str] | None = None, show: Callable[[str], None] = print) -> None:
    """``labels RUN DATA`` or ``page FILES``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    topics = parser.add_subparsers(dest="topic", required=True)
    labels = topics.add_parser("labels")
    labels.add_argument("run")
    labels.add_argument("data", help="the whole file of simulations: derivatives of statistics need many")
    labels.add_argument("--maps", type=int, default=100)
    labels.add_argument("--draws", type=int, default=4)
    labels.add_argument("--steps", type=int, default=32)
    labels.add_argument("-o", "--output", default="labels.json")
    written = topics.add_parser("page")
    written.add_argument("files", nargs="+")
    written.add_argument("--notes", help="a file of Markdown that stands before the tables")
    given = parser.parse_args(words)
    if given.topic == "page":
        show(f"wrote {page(given.files, Path(given.notes).read_text() if given.notes else '')}")
        return
    options, kept = InferenceOptions(draws=given.draws, steps=given.steps), []
    output = Path(given.output)
    for row in label_rows(given.run, given.data, options, given.maps, output.with_suffix("")):
        show(f"{row.quantity:70s} {row.measured:.4f} +- {row.error:.4f} ({row.theory}) {row.kept} {row.note}")
        kept.append(dataclasses.asdict(row))
        output.write_text(json.dumps(kept, indent=1, default=float))


if __name__ == "__main__":
    main()
