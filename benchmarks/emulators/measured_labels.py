"""Posteriors of labels measured once, every draw of ln p kept: by the bound, and by the flow beside it.

Used by benchmarks/emulators/recalibrated.py, which says how.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.diffusion.inference.label_posterior import LabelPosterior, label_posterior, posterior_from_draws
from physgen.runs.folder import Run
from physgen.runs.model import Model
from physgen.stages.inference import InferenceOptions
from physgen.stages.label_posteriors import choose, design_of

PART = 10  # posteriors that are found at a time
REACH = 1.2  # posterior deviations, of the points of the flow along each label


def measure(run: Run, model: Model, data: xr.Dataset, plan: InferenceOptions, keep: Path, maps: range) -> None:
    """ln p at the last design of each map, PART maps a file, each part with noise of its own; files that lie there
    stay."""
    keep.mkdir(parents=True, exist_ok=True)
    for first in range(maps.start, maps.stop, PART):
        file = keep / f"part{first // PART:03d}.npz"
        if file.exists():
            continue
        began = time.process_time()
        some = data.isel({data["field"].dims[0]: slice(first, first + PART)})
        mine = dataclasses.replace(plan, seed=plan.seed + first // PART)
        chosen = choose(run, model, some, mine)
        drawing, last_design = design_of(chosen, mine), {}

        def kept(which: np.ndarray, at: np.ndarray, last: bool) -> np.ndarray:
            drawn = drawing(which, at, last)  # noqa: B023
            last_design.update(which=which, at=at, drawn=drawn)  # noqa: B023
            return drawn

        found = label_posterior(kept, len(chosen.first), len(chosen.names))
        low, high = chosen.prior
        truth = (2 * chosen.truth - low - high) / (high - low)
        seconds = (time.process_time() - began) / len(truth)
        np.savez(file, box=found.box, truth=truth, unit=chosen.independent, seconds=seconds, **last_design)
        print(f"{file}: {seconds:.1f} CPU s a map", flush=True)


@dataclasses.dataclass(frozen=True)
class Measured:
    """Maps that were measured: ``parts`` as they were kept, ``truth`` (U, n) in [-1, 1], ``seconds`` of CPU a map."""

    parts: list[dict[str, Any]]

    @staticmethod
    def read(folder: str | Path, most: int | None = None) -> Measured:
        """All parts of a folder, or the first ``most``."""
        files = sorted(Path(folder).glob("part*.npz"))[:most]
        return Measured([dict(np.load(file)) for file in files])

    @property
    def truth(self) -> np.ndarray:
        return np.concatenate([part["truth"] for part in self.parts])

    @property
    def seconds(self) -> float:
        return float(np.mean([part["seconds"] for part in self.parts]))

    @property
    def draws(self) -> int:
        return len(self.parts[0]["drawn"])

    def posterior(self, chosen: Sequence[int] | None = None, bare: bool = False) -> LabelPosterior:
        """From some of the draws, or all; ``bare``: of their mean as if it had no noise."""
        whole = []
        for part in self.parts:
            drawn = part["drawn"] if chosen is None else part["drawn"][list(chosen)]
            drawn = np.repeat(drawn.mean(0, keepdims=True), 2, axis=0) if bare else drawn
            whole.append(posterior_from_draws(part["box"], part["which"], part["at"], drawn))
        arrays = {
            name: np.concatenate([getattr(one, name) for one in whole])
            for name, value in vars(whole[0]).items()
            if isinstance(value, np.ndarray)
        }
        fits = tuple(fit for one in whole for fit in one.fits)
        return dataclasses.replace(whole[0], **arrays, fits=fits)


def measure_flow(
    run: Run, model: Model, data: xr.Dataset, measured: Measured, maps: int, probes: int, steps: int, output: Path
) -> None:
    """Slope of ln p by the flow less that by the bound at the posterior of each map, kept after each."""
    found, kept = measured.posterior(), {"slopes": [], "curvature": [], "seconds": []}
    for u in range(maps):
        began = time.process_time()
        some = data.isel({data["field"].dims[0]: [u]})
        plan = InferenceOptions("flow", draws=probes, steps=steps, seed=u)
        chosen = choose(run, model, some, plan)
        unit = np.stack(np.meshgrid(*[[-REACH, 0, REACH]] * 2, indexing="ij"), -1).reshape(-1, 2)
        at = np.clip(found.mean[u] + unit * found.std[u], -1, 1)
        by_flow = design_of(chosen, plan)(np.zeros(len(at), dtype=int), at, True)  # (R, 9)
        less = by_flow - found.fits[u](at)
        away = (at - found.mean[u]) / found.std[u]
        columns = [np.ones(len(at)), *away.T, *(away**2).T, away[:, 0] * away[:, 1]]
        fitted = np.linalg.pinv(np.stack(columns, axis=1)) @ less.T  # (6, R)
        kept["slopes"].append(fitted[1:3])  # (n, R)
        kept["curvature"].append(2 * fitted[3:5].mean(1))
        kept["seconds"].append(time.process_time() - began)
        np.savez(output, **{name: np.array(value) for name, value in kept.items()})
        print(f"map {u}: slope {kept['slopes'][-1].mean(1)}, {kept['seconds'][-1]:.1f} CPU s", flush=True)
