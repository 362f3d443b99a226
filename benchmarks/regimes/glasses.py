"""The regimes on 2-D Edwards-Anderson glasses: one instance, whose equilibrium law is known exactly.

8 x 8 spins with Gaussian couplings on a cylinder at T = 1 J, independent configurations and the exact denoiser from the
transfer matrix. The configuration is the independent unit. ``campaign`` writes ``fields/glasses.jsonl``, from which
docs/regimes-fields.md is made; ``rows`` measures a small part of it again.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.regimes.fields.course import FIELDS, Data, Plan, constant_rate, copied, follow, null, record
from benchmarks.regimes.fields.timescales import collapse, speciation
from benchmarks.regimes.fields.windows import Run, memorized
from benchmarks.regimes.row import Row
from physgen.diagnostics.nearest import nearest_binary
from physgen.diffusion.learning.denoisers import LogUniform, SpinDenoiser
from physgen.domains.spins.denoiser import TransferMatrixDenoiser
from physgen.domains.spins.domain import Spins
from physgen.lattice import Draws
from physgen.networks.mlp import MLP

RECORD = FIELDS / "glasses.jsonl"
BATCH, RATE, WIDTH, BLOCKS = 32, 3e-4, 128, 3
LEVELS = (0.5, 1.0, 2.0, 4.0)
HELD_OUT = 512


@functools.cache
def glass(replicas: int = 4096, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Configurations (replicas, 1, 8, 8) of one instance, and its bonds beta J (1, 4, 8, 8) around each site."""
    physics = Spins(
        model="edwards_anderson",
        couplings="gaussian",
        dimension=2,
        length=8,
        boundary="cylinder",
        temperatures=(1.0,),
        instances=1,
        replicas=replicas,
    )
    ensemble = physics.simulate(seed)
    x, condition = physics.encode(ensemble, physics.fit_encoding(ensemble))
    return x, condition["channels"][:1].clone()


def gaps(generated: Tensor, train: Tensor) -> Mapping[str, np.ndarray]:
    """Euclidean d1/d2 to the nearest training configurations, as they stand and modulo the flip of all spins."""
    spins = generated.sign()
    return {
        "in_place": np.sqrt(nearest_binary(spins, train, fold=False).gap),
        "orbit": np.sqrt(nearest_binary(spins, train).gap),
    }


def flipped(x: Tensor, condition: Mapping[str, Tensor], draws: Draws) -> tuple[Tensor, Mapping[str, Tensor]]:
    """All spins of a configuration or none: the symmetry of one instance without a field."""
    sign = 1 - 2 * draws.integers(2).to(x.dtype)
    return x * sign.reshape(-1, *[1] * (x.ndim - 1)), condition


def course(
    x: Tensor, bonds: Tensor, n: int, seed: int, augment: bool, steps: int, **changed: Any
) -> Iterator[dict[str, Any]]:
    """Null, then the measurements of one training; losses are in units of the exact denoiser's."""
    torch.manual_seed(seed)
    rows = torch.from_numpy(np.random.default_rng([seed, 78]).permutation(len(x) - HELD_OUT)[:n])
    heldout = x[-HELD_OUT:][: changed.pop("heldout", 128)]

    data = Data(x[rows], heldout, np.arange(len(heldout)))
    plan = Plan(
        LEVELS, changed.pop("generated", 256), 20.0, 0.3, 12, 16, 64, gaps, 1, copied, TransferMatrixDenoiser(bonds)
    )
    batch, rate = changed.pop("batch", BATCH), changed.pop("rate", RATE)
    recipe = constant_rate(steps, batch, rate, seed=seed, level_distribution=LogUniform(0.3, 20.0))
    network = MLP(64, width=changed.pop("width", WIDTH), blocks=changed.pop("blocks", BLOCKS))
    yield {"null": null(data, plan)}
    yield from follow(SpinDenoiser(network), data, recipe, plan, flipped if augment else None)


# n, seed, augmented, most steps: those of docs/regimes-fields.md
TRAININGS = (
    *((8, seed, False, 2048) for seed in (1, 2, 3)),
    *((16, seed, False, 4096) for seed in (1, 2)),
    *((32, seed, False, 8192) for seed in (1, 2)),
    (8, 1, True, 2896),
    *((64, seed, False, 5793) for seed in (1, 2)),
    (16, 1, True, 4096),
)


def campaign(trainings: Iterable[tuple[int, int, bool, int]] = TRAININGS, to: Path = RECORD) -> None:
    """Every training in turn, written down as it goes."""
    x, bonds = glass()
    settings = {"batch": BATCH, "rate": RATE, "width": WIDTH, "blocks": BLOCKS, "levels": LEVELS}
    for n, seed, augment, steps in trainings:
        key = {"data": "glass8", "augment": augment, "n": n, "seed": seed}
        record(to, key, course(x, bonds, n, seed, augment, steps), {**settings, "most_steps": steps})


def rows() -> list[Row]:
    """A small part again: times of 256 configurations, and memorization of 8."""
    x, bonds = glass(1024)
    found = {**speciation(x[:256], np.arange(256)), **collapse(x[:256], np.arange(256), "none", 400)}
    told = [line for line in course(x, bonds, 8, 1, False, 724, generated=128) if "step" in line]
    step, about = memorized(Run(("glass8", "", False, 8, 1), {}, told, True)), "8 x 8 glass at T = 1 J, one instance"
    network = "residual network of 3 blocks of width 128; half of the samples are copies; one seed, so no error"
    return [
        Row("t_S of a 2-D glass, n = 256", found["t_S"], found["t_S_error"], note=about),
        Row("t_C of a 2-D glass, n = 256", found["t_C"], found["t_C_error"], note=f"{about}; where Y_2 = .57"),
        Row("steps to memorize 8 configurations of a glass", step, float("nan"), note=f"{about}; {network}"),
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, default=RECORD, help="file to which lines are added")
    parser.add_argument("training", nargs="*", help="n,seed,augmented,steps")
    given = parser.parse_args()
    chosen = [tuple(int(number) for number in one.split(",")) for one in given.training]
    campaign([(n, seed, bool(augment), steps) for n, seed, augment, steps in chosen] or TRAININGS, given.record)
