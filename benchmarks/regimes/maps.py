"""The regimes on physgen's own N-body maps: times of data, and of trainings with n maps.

The law is one: a single cosmology. The independent unit is the simulation. ``campaign`` takes hours and writes
``fields/maps32.jsonl``, from which docs/regimes-fields.md is made; ``rows`` measures a small part of it again.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.regimes.fields.course import FIELDS, Data, Plan, constant_rate, copied, follow, null, overfitted, record
from benchmarks.regimes.fields.timescales import collapse, speciation
from benchmarks.regimes.fields.windows import Run
from benchmarks.regimes.fields.windows import overfitted as overfit_step
from benchmarks.regimes.row import Row
from physgen.diagnostics.nearest import nearest_field
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogNormal
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.domains.cosmology.domain import Cosmology
from physgen.lattice import Draws, random_moves
from physgen.networks.unet import UNet

TRAINING_SIMULATIONS = 192  # of 240: 1152 maps of 6 a simulation; the other 48 are never trained on
RECORD = FIELDS / "maps32.jsonl"
BATCH, RATE, WIDTH, MULTIPLIERS = 8, 2e-3, 16, (1, 2, 3)
LEVELS = (0.1, 0.3, 1.0, 3.0, 10.0)
OVERFITTED = 2.0  # held-out over training loss at s = 1, at which the network knows its maps from others


def domain(cells: int = 32, simulations: int = 240) -> Cosmology:
    """Slabs of 32 Mpc/h, cells of 2 Mpc/h, one cosmology; else the settings of configs/cosmology/demo.yaml."""
    side = 2.0 * cells
    return Cosmology(
        cells=cells,
        dimension=2,
        box_size=side,
        thickness=32.0,
        slabs_per_axis=round(side / 32),
        simulations=simulations,
        particles=cells,
        mesh_factor=2,
        steps=10,
        linear_power="eisenstein_hu",
        Omega_m=(0.3, 0.3),
        sigma_8=(0.8, 0.8),
        painting="sheet",
        transform="gaussian",
    )


@dataclass(frozen=True)
class Maps:
    """Encoded maps x (N, 1, L, L) and the simulation (N,) of each."""

    x: Tensor
    simulation: np.ndarray

    def chosen(self, rows: np.ndarray) -> Maps:
        """These rows."""
        return Maps(self.x[torch.from_numpy(rows)], self.simulation[rows])


@functools.cache
def encoded(path: str | None = None, cells: int = 32, simulations: int = 240, training: int = 192) -> tuple[Maps, Maps]:
    """Training and held-out maps; simulated with seed 1 where no file is given. The encoding is fitted once, on all
    training maps, so that trainings of any n learn the same law."""
    from physgen.ensemble import load_ensemble

    physics = domain(cells, simulations)
    ensemble = physics.simulate(1) if path is None else load_ensemble(Path(path))
    simulation = ensemble["simulation"].values
    parts = [ensemble.isel(sample=np.flatnonzero(rows)) for rows in (simulation < training, simulation >= training)]
    constants = physics.fit_encoding(parts[0])
    train, heldout = (Maps(physics.encode(part, constants)[0], part["simulation"].values) for part in parts)
    return train, heldout


def subset(maps: Maps, n: int, seed: int) -> Maps:
    """n maps, one of each simulation as long as there are simulations, then a second one; nested in n at each seed."""
    rng = np.random.default_rng([seed, 77])
    names = rng.permutation(np.unique(maps.simulation))
    rows = [rng.permutation(np.flatnonzero(maps.simulation == name)) for name in names]
    return maps.chosen(np.stack(rows).T.reshape(-1)[:n])


def gaps(generated: Tensor, train: Tensor) -> Mapping[str, np.ndarray]:
    """d1/d2 to the nearest training maps, as they stand, and modulo translations without and with the point group."""
    return {
        "in_place": nearest_field(generated, train, "none", periodic=False).gap,
        "translations": nearest_field(generated, train, "none").gap,
        "orbit": nearest_field(generated, train, "point").gap,
    }


def moved(x: Tensor, condition: Mapping[str, Tensor], draws: Draws) -> tuple[Tensor, Mapping[str, Tensor]]:
    """A random translation, reflection and exchange of axes: what ``training.augment`` does to such maps."""
    return random_moves(tuple(x.shape[2:]), draws).move(x), condition


def _told_enough(told: list[dict[str, Any]]) -> bool:
    """The held-out loss at s = 1 is three times that of training: half an octave or more after :data:`OVERFITTED`."""
    return overfitted(told, LEVELS.index(1.0), 3.0)


def course(train: Maps, heldout: Maps, n: int, seed: int, augment: bool, steps: int, **changed: Any) -> Iterator[Any]:
    """Null, then the measurements of one training."""
    torch.manual_seed(seed)
    to_copies = changed.pop("to_copies", False)
    spectrum = fit_spectrum(train.x)
    top = float(spectrum.ln_power.exp().max().sqrt())
    rows = np.random.default_rng(3).permutation(len(heldout.x))[: changed.pop("heldout", 48)]
    judged = heldout.chosen(np.sort(rows))
    data = Data(subset(train, n, seed).x, judged.x, judged.simulation)
    plan = Plan(
        LEVELS,
        changed.pop("generated", 64),
        10 * top,
        0.03,
        14,
        16,
        256,
        gaps,
        4,
        copied if to_copies else _told_enough,
    )
    recipe = constant_rate(
        steps,
        changed.pop("batch", BATCH),
        changed.pop("rate", RATE),
        seed=seed,
        level_distribution=LogNormal(-0.5, 1.4),
    )
    network = UNet(2, width=changed.pop("width", WIDTH), multipliers=changed.pop("multipliers", MULTIPLIERS))
    denoiser = FieldDenoiser(network, spectrum)
    yield {"null": null(data, plan)}
    yield from follow(denoiser, data, recipe, plan, moved if augment else None)


# n, seed, augmented, most steps: those of docs/regimes-fields.md (the first one there went on past overfitting)
TRAININGS = (
    (8, 1, False, 1448),
    (8, 2, False, 512),
    (16, 1, False, 1024),
    (8, 3, False, 512),
    (32, 1, False, 2048),
    (64, 1, False, 4096),
    (8, 2, True, 512),
)


def campaign(
    path: str, trainings: Iterable[tuple[int, int, bool, int]] = TRAININGS, to: Path = RECORD, to_copies: bool = False
) -> None:
    """Every training in turn, written down as it goes; ``path``: the file of ``physgen simulate``."""
    train, heldout = encoded(path)
    settings = {"batch": BATCH, "rate": RATE, "width": WIDTH, "multipliers": MULTIPLIERS, "levels": LEVELS}
    for n, seed, augment, steps in trainings:
        key = {"data": "maps32", "network": f"{WIDTH} x {MULTIPLIERS}", "augment": augment, "n": n, "seed": seed}
        told = course(train, heldout, n, seed, augment, steps, to_copies=to_copies)
        record(to, key, told, {**settings, "most_steps": steps})


def rows() -> list[Row]:
    """A small part again: times of 48 maps of 8 simulations, and the end of the window at n = 8."""
    train, heldout = encoded(None, 32, 10, 8)
    return [*_rows_of_data(train), _row_of_window(train, heldout)]


def _rows_of_data(maps: Maps) -> list[Row]:
    n = len(maps.x)
    about = f"{n} maps 32^2 of {len(np.unique(maps.simulation))} simulations, the unit of the error"
    found = {**speciation(maps.x, maps.simulation), **collapse(maps.x, maps.simulation, "none", 400)}
    latest, error = found["t_C_gaussian"], found["t_C_error"]
    no_later = "rule: not later than that of Gaussian data of these variances by more than 3 errors"
    return [
        Row(f"t_S = 1/2 ln Lambda of N-body maps, n = {n}", found["t_S"], found["t_S_error"], note=about),
        Row(
            f"t_C of N-body maps, n = {n}",
            found["t_C"],
            error,
            latest,
            kept=found["t_C"] < latest + 3 * error,
            note=f"{about}; where Y_2 = .57; {no_later}",
        ),
    ]


def _row_of_window(train: Maps, heldout: Maps) -> Row:
    told = [line for line in course(train, heldout, 8, 1, False, 512) if "step" in line]
    run = Run(("maps32", "", False, 8, 1), {}, told, True)
    note = (
        "U-Net of 105,841 weights; held-out loss at s = 1 twice that of training; one seed, so no error; "
        "docs/regimes-fields.md has the law in n"
    )
    return Row(
        "steps to overfit 8 N-body maps", overfit_step(run, LEVELS.index(1.0), OVERFITTED), float("nan"), note=note
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="file of maps, from `physgen simulate` with the settings of `domain`")
    parser.add_argument("--record", type=Path, default=RECORD, help="file to which lines are added")
    parser.add_argument("--to-copies", action="store_true", help="go on until samples are copies")
    parser.add_argument("training", nargs="*", help="n,seed,augmented,steps")
    given = parser.parse_args()
    chosen = [tuple(int(number) for number in one.split(",")) for one in given.training]
    wanted = [(n, seed, bool(augment), steps) for n, seed, augment, steps in chosen]
    campaign(given.data, wanted or TRAININGS, given.record, given.to_copies)
