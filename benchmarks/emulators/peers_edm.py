r"""A peer of the emulators: the plain EDM of Karras et al. around a U-Net that another library gives.

What physgen does of its own is left out: no spectrum in the preconditioning (one sigma_data for all modes), no sampler
in the angles of the modes, no calibration. What is not the question is the same: the encoded maps and labels, the moves
of the lattice, the optimiser with its rate and running average, the clock. One trains by process CPU time:

    python -m benchmarks.emulators.peers_edm train RUN OUT.pt SECONDS [network=azula width=24 rate=3e-3 batch=16]
    python -m benchmarks.emulators.peers_edm draw RUN OUT.pt MAPS.h5 N SAMPLER STEPS

The first trains on the training maps of the folder of a trained run, and leaves the weights in OUT.pt every five CPU
minutes, from which it goes on; the second draws N maps at the conditions of the test part (heun 18: 35 evaluations).

Sources: Karras et al., arXiv:2206.00364 (table 1; P_mean and s_min, s_max in units of sigma_data / 0.5, which their
images have); the U-Nets of diffusers (zeros beyond the box) and azula (periodic).
Shapes: B maps, C channels, \*grid lattice; labels (B, n).
"""

from __future__ import annotations

import functools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from physgen.diffusion.learning.denoisers import FieldDenoiser, LogNormal
from physgen.diffusion.learning.training import Recipe, Step, TrainingState, train
from physgen.diffusion.levels import karras
from physgen.ensemble import save_ensemble
from physgen.runs.encoded import ABOUT, Encoded, open_store, store_folder
from physgen.runs.folder import Run, open_run
from physgen.runs.levels import Levels
from physgen.runs.model import Model, draw

IMAGES = 0.5  # sigma_data of the images for which Karras et al. chose their numbers
P_MEAN, P_STD, S_MIN, S_MAX, RHO = -1.2, 1.2, 0.002, 80.0, 7.0
EMBEDDED = 100.0  # c_noise -> the time steps of order 100 that a sine embedding resolves
BETWEEN_CHECKPOINTS = 300.0  # CPU seconds


@dataclass(frozen=True)
class Timed(Recipe):
    """A recipe whose learning rate ends when a clock does, not after a number of steps.

    Attributes:
        seconds: process CPU time of the training. clock: what was spent so far.
    """

    seconds: float = 60.0
    clock: Callable[[], float] = time.process_time

    def rate(self, step: int) -> float:
        """As :meth:`Recipe.rate`, over the part of the time that is spent."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        part = (1 + math.cos(math.pi * min(1.0, self.clock() / self.seconds))) / 2
        return self.learning_rate * warm * (self.final_fraction + (1 - self.final_fraction) * part)


def timed(recipe: Recipe, seconds: float, spent: float = 0.0) -> Timed:
    """``recipe`` for ``seconds`` of CPU time from now on, of which ``spent`` are gone already."""
    start = time.process_time() - spent
    known = {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__} | {"steps": 10**9}
    return Timed(**known, seconds=seconds, clock=lambda: time.process_time() - start)


def train_for(state: TrainingState, encoded: Encoded, augment: Callable, seen: Callable[[Step], None] | None) -> float:
    """Train until the clock of the recipe (a :class:`Timed`) ends; the CPU seconds that it took."""
    recipe = state.recipe
    assert isinstance(recipe, Timed)
    steps = train(state, encoded.x, encoded.condition, augment)
    while recipe.clock() < recipe.seconds:
        step = next(steps)
        if seen is not None:
            seen(step)
    steps.close()
    return recipe.clock()


class DiffusersUNet(nn.Module):
    """UNet2DModel of diffusers; labels through two layers into its embedding. F(x, c_noise, condition)."""

    def __init__(self, labels: int, width: int = 16, multipliers: tuple[int, ...] = (1, 2, 3), groups: int = 8) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        channels = tuple(width * m for m in multipliers)
        self.network = UNet2DModel(
            in_channels=1,
            out_channels=1,
            block_out_channels=channels,
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * len(channels),
            up_block_types=("UpBlock2D",) * len(channels),
            norm_num_groups=groups,
            class_embed_type="identity",
        )
        self.labels = nn.Sequential(nn.Linear(labels, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))

    def forward(self, x: Tensor, c_noise: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        embedded = self.labels(condition["labels"])
        return self.network(x, EMBEDDED * c_noise, class_labels=embedded).sample


class AzulaUNet(nn.Module):
    """UNet of azula, periodic; noise level and labels modulate its blocks. F(x, c_noise, condition)."""

    def __init__(self, labels: int, width: int = 16, multipliers: tuple[int, ...] = (1, 2, 3)) -> None:
        super().__init__()
        from azula.nn.layers import SineEncoding
        from azula.nn.unet import UNet

        features, channels = 4 * width, tuple(width * m for m in multipliers)
        self.level = SineEncoding(features)
        self.embedding = nn.Sequential(nn.Linear(features + labels, features), nn.SiLU(), nn.Linear(features, features))
        self.network = UNet(
            1,
            1,
            hid_channels=channels,
            hid_blocks=(1,) * len(channels),
            mod_features=features,
            norm="group",
            groups=8,
            periodic=True,
        )

    def forward(self, x: Tensor, c_noise: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        told = torch.cat([self.level(EMBEDDED * c_noise), condition["labels"]], 1)
        return self.network(x, self.embedding(told))


NETWORKS: dict[str, Callable[..., nn.Module]] = {"diffusers": DiffusersUNet, "azula": AzulaUNet}


def edm_recipe(sigma_data: float, seed: int, batch_size: int, learning_rate: float, precision: str) -> Recipe:
    """The law of noise levels of Karras et al.; optimiser, rate and running average are physgen's."""
    law = LogNormal(P_MEAN + math.log(sigma_data / IMAGES), P_STD)
    return Recipe(1, batch_size, learning_rate, seed, law, warmup=100, precision=precision)


def edm_levels(sigma_data: float, steps: int) -> Tensor:
    """The levels of Karras et al. for data of this standard deviation, (steps + 1,)."""
    return karras(S_MAX * sigma_data / IMAGES, S_MIN * sigma_data / IMAGES, steps, RHO)


def edm_state(encoded: Encoded, network: str, recipe: Recipe, width: int = 16) -> TrainingState:
    """An untrained EDM denoiser of these data."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        made = NETWORKS[network](encoded.condition["labels"].shape[1], width)
    return TrainingState(FieldDenoiser(made, None, spread(encoded)), recipe)


def spread(encoded: Encoded) -> float:
    """sigma_data: the standard deviation of the encoded cells, of at most 2000 maps."""
    return float(encoded.x[:: max(1, len(encoded.x) // 2000)].std())


def training_maps(run: Run) -> Encoded:
    """The encoded training part that a finished training left in its folder, whatever its commit."""
    store = store_folder(run.folder) / "train"
    found = open_store(store, json.loads((store / ABOUT).read_text())["key"], verify=False)
    if found is None:
        raise SystemExit(f"{store} holds no encoded maps: train the run first")
    return found


def campaign(folder: Path, out: Path, seconds: float, network: str = "azula", **options: float) -> None:
    """Train on the maps of a run; weights, spent time and losses go to ``out``, from which it continues."""
    run = open_run(folder)
    encoded, constants = training_maps(run), run.encoding().domain
    recipe = edm_recipe(spread(encoded), 1, int(options.get("batch", 32)), options.get("rate", 1e-3), "bfloat16")
    state, spent, losses = edm_state(encoded, network, recipe, int(options.get("width", 16))), 0.0, []
    if out.exists():
        kept = torch.load(out, weights_only=True)
        state.load_state_dict(kept["state"])
        spent, losses = kept["seconds"], kept["losses"]
    state.recipe = clock = timed(recipe, seconds, spent)
    count = sum(p.numel() for p in state.parameters)
    print(f"{network}: {count} parameters, {len(encoded.x)} maps, from {spent:.0f} s", flush=True)

    def keep() -> None:
        facts = {"network": network, "width": int(options.get("width", 16)), "sigma_data": spread(encoded)}
        made = {"state": state.state_dict(), "seconds": clock.clock(), "losses": losses, **facts}
        torch.save(made, out.with_suffix(".part"))
        out.with_suffix(".part").replace(out)
        print(f"{clock.clock():.0f} s, step {state.step}, loss {losses[-1]:.4f}", flush=True)

    held, due = [], [spent + min(BETWEEN_CHECKPOINTS, seconds / 4)]

    def seen(step: Step) -> None:
        held.append(step.loss)
        if clock.clock() >= due[0]:
            losses.append(sum(held) / len(held))
            held.clear()
            keep()
            due[0] = clock.clock() + min(BETWEEN_CHECKPOINTS, seconds / 4)

    train_for(state, encoded, functools.partial(run.domain.augment, constants=constants), seen)
    losses.append(sum(held) / max(1, len(held)))
    keep()


def draw_maps(folder: Path, weights: Path, out: Path, count: int, sampler: str, steps: int) -> None:
    """Maps of a :func:`campaign` at the conditions of the test part of its run; its costs are attributes."""
    run, kept = open_run(folder), torch.load(weights, weights_only=True)
    encoding, encoded = run.encoding(), training_maps(run)
    recipe = edm_recipe(kept["sigma_data"], 1, 1, 1e-3, "float32")
    state = edm_state(encoded, kept["network"], recipe, kept["width"])
    state.load_state_dict(kept["state"])
    model = Model(state.ema.eval(), run.experiment, encoding, torch.device("cpu"))
    template = run.domain.request(run.open_conditions("test"), count, {}, encoding.domain)
    levels, start = Levels(edm_levels(kept["sigma_data"], steps), "karras"), time.process_time()
    maps = draw(model, template, seed=0, sampler=sampler, levels=levels)
    costs = {
        "training_cpu_s": kept["seconds"],
        "steps": state.step,
        "parameters": sum(p.numel() for p in state.parameters),
        "evaluations": 2 * steps - 1 if sampler == "heun" else steps,
        "draw_cpu_s_per_100": 100 * (time.process_time() - start) / count,
    }
    save_ensemble(maps.assign_attrs({f"peer_{key}": value for key, value in costs.items()}), out)


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    what, run, weights, *rest = words
    if what == "draw":
        draw_maps(Path(run), Path(weights), Path(rest[0]), int(rest[1]), rest[2], int(rest[3]))
        return
    named = dict(word.split("=", 1) for word in rest[1:])
    numbers = {key: float(value) for key, value in named.items() if key != "network"}
    campaign(Path(run), Path(weights), float(rest[0]), named.get("network", "azula"), **numbers)


if __name__ == "__main__":
    main(sys.argv[1:])
