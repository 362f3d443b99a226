"""DiT against the U-Net at equal CPU time of training: 32 x 32 maps of N-body slabs (periodic) and digits (not).

    python -m benchmarks.dit train maps [MAPS.h5] | digits    every network of the grid in turn -> dit.jsonl
    python -m benchmarks.dit                                  the table of that record

Both networks get the same grid of three sizes and rates, the same seconds of one thread (``time.process_time``), the
same batches, loss, noise levels and average of the weights, random symmetries of the maps, and the precision that
``training.precision: auto`` gives them. The best of each, by its validation loss, is judged on the same held-out data.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from benchmarks.regimes.maps import domain as maps_domain
from benchmarks.regimes.maps import moved
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogNormal
from physgen.diffusion.learning.precision import fitting_precision
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.learning.validation import sample_losses, summarise_losses
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.domains.any_field import AnyField
from physgen.domains.contract import Domain
from physgen.ensemble import from_array, load_ensemble
from physgen.figures import format_value

RECORD = Path(__file__).with_suffix(".jsonl")
CPU = torch.device("cpu")
TIMED = 12  # steps that tell what a step costs, after three
LEVELS = (-0.5, 1.4)  # mean and spread of ln s in training, those of configs/cosmology/demo.yaml
SEEN = (0.04, 8.0)  # noise levels s of the loss that is told: beyond them the Wiener filter leaves nothing to learn
EVALUATIONS = 24  # of the sampler dpmpp_2m


@dataclass(frozen=True)
class Case:
    """One data set with its grid of networks.

    Attributes:
        domain: its physics. train, heldout: ensembles; ``unit`` names the independent units of the held-out one.
        periodic: whether opposite sides touch. symmetric: whether training moves and reflects the fields.
        seconds: CPU time of one training. batch: of a step.
        grid: network options and the learning rate of each training.
    """

    domain: Domain
    train: xr.Dataset
    heldout: xr.Dataset
    unit: np.ndarray
    periodic: bool
    symmetric: bool
    seconds: float
    batch: int
    grid: tuple[tuple[dict[str, Any], float], ...]


def maps(path: Path | None = None) -> Case:
    """540 maps of 90 simulations of one cosmology, 32 Mpc/h deep, cells of 2 Mpc/h; 24 simulations are held out."""
    physics = maps_domain(32, 90)
    ensemble = physics.simulate(1) if path is None else load_ensemble(path)
    simulation = ensemble["simulation"].values
    parts = [ensemble.isel(sample=np.flatnonzero(rows)) for rows in (simulation < 66, simulation >= 66)]
    unets = [({"kind": "unet", "width": w, "multipliers": m}, r) for w, m, r in
             ((16, (1, 2, 3), 3e-3), (8, (1, 2, 3), 3e-3))]  # fmt: skip
    dits = [({"kind": "dit", "width": w, "depth": d, "heads": 4, "patch": p, "overlap": o}, r) for w, d, p, o, r in
            ((64, 3, 4, 2, 3e-3), (32, 3, 2, 1, 3e-3), (64, 3, 4, 2, 1e-3))]  # fmt: skip
    unit = parts[1]["simulation"].values
    return Case(physics, *parts, unit, True, True, 24.0, 16, tuple(unets + dits))


def _digits() -> Case:
    """1797 handwritten digits of 8 x 8 (scikit-learn), 500 of them held out; labels are left out."""
    from sklearn.datasets import load_digits

    images = load_digits().images[np.random.default_rng(0).permutation(1797)].astype("f4")
    parts = [from_array(images[part], periodic=False) for part in (slice(500, None), slice(500))]
    unets = [({"kind": "unet", "width": w, "multipliers": m}, r) for w, m, r in
             ((16, (1, 2), 3e-3), (32, (1, 2), 2e-3))]  # fmt: skip
    dits = [({"kind": "dit", "width": w, "depth": d, "heads": 4, "patch": p}, r) for w, d, p, r in
            ((64, 3, 2, 3e-3), (64, 3, 2, 1e-3))]  # fmt: skip
    return Case(AnyField(), *parts, np.arange(500), False, False, 10.0, 32, tuple(unets + dits))


CASES: Mapping[str, Callable[..., Case]] = {"maps": maps, "digits": _digits}


@dataclass(frozen=True)
class Encoded:
    """Encoded fields and what is fitted on the training part alone."""

    train: Tensor
    heldout: Tensor
    constants: dict[str, Any]
    spectrum: Any
    levels: tuple[float, float]


def encode(case: Case) -> Encoded:
    """Fields of order one, prior spectrum and range of noise levels, as a training by configuration has them."""
    constants = case.domain.fit_encoding(case.train)
    x, heldout = (case.domain.encode(part, constants)[0] for part in (case.train, case.heldout))
    sizes = {"grid": list(x.shape[2:]), "channels": x.shape[1], "condition_shapes": {}, "periodic": case.periodic}
    values = case.domain.values
    return Encoded(x, heldout, {**constants, **sizes}, values.prior_spectrum(x), values.noise_range(x))


def steps_for(seconds: float, build: Callable[[], FieldDenoiser], data: Encoded, recipe: Recipe, moves: Any) -> int:
    """Steps that take so many seconds of this thread, from the median of :data:`TIMED` of them."""
    state, spent = TrainingState(build(), dataclasses.replace(recipe, steps=TIMED + 3)), []
    begun = time.process_time()
    for _ in train(state, data.train, None, moves):
        spent.append(time.process_time() - begun)
        begun = time.process_time()
    return max(1, round(seconds / float(np.median(spent[3:]))))


def fitted(case: Case, data: Encoded, options: dict[str, Any], rate: float) -> tuple[TrainingState, dict[str, Any]]:
    """One training of ``case.seconds``, and what it was."""

    def build() -> FieldDenoiser:
        torch.manual_seed(1)
        return FieldDenoiser(case.domain.network(options, data.constants), data.spectrum)

    precision = fitting_precision(build().network, CPU)
    moves = moved if case.symmetric else None
    recipe = Recipe(1, case.batch, rate, 1, LogNormal(*LEVELS), warmup=50, precision=precision)
    recipe = dataclasses.replace(recipe, steps=steps_for(case.seconds, build, data, recipe, moves))
    state, begun = TrainingState(build(), recipe), time.process_time()
    for _ in train(state, data.train, None, moves):
        pass
    return state, {
        "network": options, "rate": rate, "precision": precision, "steps": recipe.steps,
        "seconds": round(time.process_time() - begun, 1),
        "parameters": sum(p.numel() for p in state.model.parameters()), "skipped": state.skipped,
    }  # fmt: skip


def drawn(data: Encoded, state: TrainingState, n: int) -> Tensor:
    """n draws of the averaged weights, encoded."""
    s_min, s_max = data.levels
    shape = (n, *data.train.shape[1:])
    return sample(state.ema, log_uniform(s_max, s_min, EVALUATIONS), shape, 3, None, "dpmpp_2m")


def losses(case: Case, data: Encoded, state: TrainingState) -> dict[str, Any]:
    """Validation loss of the average over that of the Wiener filter, at twelve levels: each, and their mean."""
    levels = torch.from_numpy(np.geomspace(*data.levels, 12)).float()
    loss = summarise_losses(
        levels, *sample_losses(state.ema, data.heldout, None, levels, 7, state.ema.baseline), case.unit
    )
    by_level = [[float(v) for v in row] for row in zip(levels, loss.ratio, loss.ratio_error, strict=True)]
    seen = [row[1:] for row in by_level if SEEN[0] < row[0] < SEEN[1]]
    return {"loss": [float(v) for v in np.mean(seen, axis=0)], "by_level": by_level}


def judged(case: Case, data: Encoded, x: Tensor) -> dict[str, Any]:
    """Diagnostic -> status and metrics of encoded draws against the held-out fields."""
    template = case.domain.request(case.heldout, len(x), {}, data.constants)
    return verdicts(case, case.domain.decode(x, template, data.constants))


def verdicts(case: Case, made: xr.Dataset) -> dict[str, Any]:
    """The same of an ensemble in physical units."""
    from physgen.stages import evaluate_ensembles

    found = evaluate_ensembles(made, case.heldout, domain=case.domain)
    status = {verdict.diagnostic: verdict.status for verdict in found.verdicts}
    return {name: {"status": status[name], **metrics} for name, metrics in found.metrics.items()}


def campaign(name: str) -> None:
    """Every network of a case, and the judge on the best of each kind."""
    case = CASES[name](*map(Path, sys.argv[3:]))
    data, found = encode(case), list[tuple[TrainingState, dict[str, Any]]]()
    for options, rate in case.grid:
        state, told = fitted(case, data, options, rate)
        found.append((state, {"case": name, **told, **losses(case, data, state)}))
        print(found[-1][1], flush=True)
    for kind in ("unet", "dit"):
        of = [pair for pair in found if pair[1]["network"]["kind"] == kind]
        state, row = min(of, key=lambda pair: pair[1]["loss"][0])
        begun = time.process_time()
        row["judge"] = judged(case, data, drawn(data, state, len(data.heldout)))
        row["drawing"] = round(time.process_time() - begun, 1)
    with RECORD.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for _, row in found)


@functools.cache
def records() -> list[dict[str, Any]]:
    """What was measured so far."""
    return [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []


JUDGED = ("chi2_per_dof", "distance_tv", "distance_w1", "mean_abs_log_ratio")


def table() -> Iterator[str]:
    """Markdown: every training, then the judge on the best of each network."""
    head = ("data", "network", "rate", "parameters", "steps", "CPU s", "validation loss over the Wiener filter's")
    yield from lines(head, ([row["case"], _name(row), f"{row['rate']:g}", row["parameters"], row["steps"],
                             row["seconds"], format_value(*row["loss"])] for row in records()))  # fmt: skip
    yield ""
    rows = []
    for case in CASES:
        unet, dit = best(case, "unet"), best(case, "dit")
        if unet is None or dit is None:
            continue
        for name, ours in unet["judge"].items():
            theirs = dit["judge"][name]
            for metric in (m for m in JUDGED if m in ours):
                cells = [_cell(ours[metric]), _cell(theirs.get(metric, {})), _floor(ours[metric])]
                rows.append([case, name, metric, *cells, f"{ours['status']} / {theirs['status']}"])
    yield from lines(("data", "diagnostic", "metric", "U-Net", "DiT", "floor or null", "verdicts"), rows)


def best(case: str, kind: str) -> Any:
    of = [row for row in records() if row["case"] == case and row["network"]["kind"] == kind and "judge" in row]
    return min(of, key=lambda row: row["loss"][0], default=None)


def _name(row: Mapping[str, Any]) -> str:
    options = dict(row["network"])
    return f"{options.pop('kind')} " + ", ".join(f"{k} {v}" for k, v in options.items())


def _cell(metric: Mapping[str, Any]) -> str:
    value, error = metric.get("value"), metric.get("error")
    return "" if value is None else f"{value:.3g}" if error is None else format_value(value, error)


def _floor(metric: Mapping[str, Any]) -> str:
    found = [f"{name} {metric[name]:.3g}" for name in ("floor", "null") if metric.get(name) is not None]
    return ", ".join(found)


def lines(head: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        torch.set_num_threads(1)
        campaign(sys.argv[2])
    else:
        print("\n".join(table()))
