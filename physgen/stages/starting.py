"""A training that begins with the weights of another run: on data of one's own, of other settings, or to go on.

``training.start`` names the run. Its weights are copied into ``start/`` of the new run, which needs the other one no
longer. On the same lattice the encoding comes with them, so that the first step is that of a denoiser that already
draws: the constants that turn values into numbers, the range of the noise levels, the prior spectrum, the calibration.
On another lattice all these are fitted anew, and the network alone is taken over, with its scale of the labels; one
whose weights do not depend on the lattice, as a convolution's, can begin there.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physgen.config import Experiment
from physgen.diffusion.learning.denoisers import FieldDenoiser
from physgen.errors import InputError
from physgen.runs.encoding import Encoding
from physgen.runs.folder import START, Run, open_run
from physgen.runs.model import kept_calibration
from physgen.runs.student import needs_a_denoiser
from physgen.storage.weights import load_description, load_weights

NETWORK = "network."  # of the weights, what does not depend on the lattice
EMPTY: tuple[Any, ...] = (None, "", [], {})  # a constant that an earlier physgen did not write yet
SAME_CELL = 1e-3  # relative: grids that were written with other roundings


@dataclass(frozen=True)
class Start:
    """What a training begins with: where its weights are, and what they were trained in."""

    folder: Path
    encoding: Encoding
    source: str

    def constants(self, fitted: Mapping[str, Any], grid: tuple[int, ...]) -> Mapping[str, Any]:
        """The constants of the encoding: its own on its lattice, else those ``fitted`` on the new data.

        The scale of the labels is its own in both cases: the network knows no other.

        Raises InputError where the cells, the labels or the way of encoding are others: the network would see another
        physics, or the configuration would say what is not done.
        """
        own = dict(self.encoding.domain)
        labels = [list(each.get("labels") or ()) for each in (fitted, own)]
        if labels[0] != labels[1]:
            raise InputError(
                f"training.start={self.source} was trained with the labels {', '.join(labels[1]) or 'none'}, these "
                f"data have {', '.join(labels[0]) or 'none'}: give them the same (variables on their samples)"
            )
        cells = fitted.get("cell_size"), own.get("cell_size")
        if None not in cells and not _equal_cells(*cells):
            raise InputError(
                f"training.start={self.source} was trained on cells of {cells[1]}, these data have {cells[0]}: regrid "
                "the data, or train without it"
            )
        for key in sorted(fitted.keys() | own.keys()):
            here, there = fitted.get(key), own.get(key)
            if (here in EMPTY) != (there in EMPTY) or isinstance(here, str) and here != there:
                raise InputError(
                    f"training.start={self.source} encodes with {key}={_short(there)}, this configuration and its data "
                    f"with {_short(here)}: give the data section the settings of that run (its experiment.yaml)"
                )
        if grid == self.encoding.grid:
            return own
        return {**fitted, "labels": own["labels"]} if labels[1] else fitted

    def ends(self, grid: tuple[int, ...]) -> tuple[float | None, float | None]:
        """The range of its noise levels; none on another lattice, whose own they are."""
        return (self.encoding.s_min, self.encoding.s_max) if grid == self.encoding.grid else (None, None)

    def begin(self, denoiser: torch.nn.Module, grid: tuple[int, ...]) -> None:
        """Give an untrained denoiser these weights: all on their lattice, else those of the network.

        Raises InputError where they are those of another network.
        """
        weights, _ = load_weights(self.folder)
        whole = grid == self.encoding.grid
        if whole and isinstance(denoiser, FieldDenoiser):
            denoiser.calibration = kept_calibration(weights)
        if not whole:
            weights = {name: value for name, value in weights.items() if name.startswith(NETWORK)}
        try:
            found = denoiser.load_state_dict(weights, strict=whole)
        except RuntimeError as error:
            raise InputError(self._another(str(error))) from None
        missing = [name for name in found.missing_keys if name.startswith(NETWORK)]
        if missing or found.unexpected_keys:
            raise InputError(self._another(f"{len(missing)} are missing, {len(found.unexpected_keys)} have no place"))

    def _another(self, reason: str) -> str:
        return (
            f"training.start={self.source}: its weights do not fit this network "
            f"({' '.join(reason.split())[:160]}): give network, diffusion.head and diffusion.process as it has them"
        )


def _short(value: Any) -> str:
    return value if isinstance(value, str) else "none" if value in EMPTY else "one of its own"


def _equal_cells(one: Any, other: Any) -> bool:
    first, second = np.atleast_1d(one).astype(float), np.atleast_1d(other).astype(float)
    return len(first) == len(second) and bool(np.allclose(first, second, rtol=SAME_CELL, atol=0))


def check_start(experiment: Experiment) -> None:
    """Raise InputError where ``training.start`` is no run that this experiment can begin with; before a folder is."""
    if experiment.training.start is None:
        return
    source = open_run(experiment.training.start)
    _, described = load_weights(source.folder / "model")  # a damaged file is found before a folder stands
    if described.get("student"):
        raise needs_a_denoiser(source.folder / "model", described["student"])
    ours, theirs = (e.resolved() for e in (experiment, source.experiment))
    if experiment.domain != source.experiment.domain:
        raise InputError(
            f"training.start={experiment.training.start} is of domain {source.experiment.domain!r}, this configuration "
            f"of {experiment.domain!r}: begin with a run of the same"
        )
    same = [("network", key) for key in ours["network"]] + [("diffusion", "head"), ("diffusion", "process")]
    for section, key in same:
        if ours[section].get(key) != theirs[section].get(key):
            raise InputError(
                f"{section}.{key}={ours[section].get(key)!r} is not that of training.start="
                f"{experiment.training.start}, {theirs[section].get(key)!r}: its weights need the same network, so "
                f"give {section}.{key}={theirs[section].get(key)}"
            )


def start_of(run: Run) -> Start | None:
    """What a run begins with, copied into it the first time; None where it begins with random weights."""
    source = run.experiment.training.start
    if source is None:
        return None
    folder = run.folder / START
    if not (folder / "model.json").is_file():
        _copy(open_run(source).folder / "model", folder)
    described = load_description(folder)  # the weights are read where they are needed, by Start.begin
    return Start(folder, Encoding.from_json(described.get("encoding", {}), str(folder / "model.json")), source)


def _copy(model: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("weights.safetensors", "model.json"):  # the second says that both are there
        shutil.copyfile(model / name, folder / name)
