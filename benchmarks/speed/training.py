"""The training step of the demos: its parts, the random numbers and the optimiser beside what they replaced, growth.

Networks and sizes are those of configs/cosmology/demo.yaml (16 maps of 64^2, U-Net of width 16) and
configs/spins/demo.yaml (64 cylinders of 8^2, message passing); the data are noise, of which a step costs as much.
On a GPU ten steps first run where torch makes every wait for the device an error.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.speed.row import Row, growth, race
from physgen.diffusion.learning.batches import Batches
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogNormal, LogUniform, SpinDenoiser
from physgen.diffusion.learning.ema import ema_decay
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.noise import generator_for
from physgen.lattice import Draws, random_moves
from physgen.networks.message_passing import MessagePassing
from physgen.networks.native import without_kernels
from physgen.networks.unet import UNet

COUNT = 1000  # training samples
STEPS = 10**6  # of a recipe: more than any race takes
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Demo:
    """A demo's training, ready to step."""

    def __init__(self, denoiser: nn.Module, x: Tensor, condition: dict[str, Tensor], recipe: Recipe) -> None:
        self.x, self.recipe = x.to(DEVICE), recipe
        self.condition = {name: value.to(DEVICE) for name, value in condition.items()}
        self.state = TrainingState(denoiser.to(DEVICE), recipe)
        self.batches = Batches(self.x, self.condition, recipe, turned, device=DEVICE)
        self.steps = train(self.state, self.x, self.condition, turned)
        next(self.steps)
        self.norm, self.kept = torch.ones((), device=DEVICE), torch.zeros((), device=DEVICE)
        self.draw()
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
            for _ in range(10):
                self.step()
            torch.cuda.set_sync_debug_mode("default")

    def step(self) -> None:
        next(self.steps)

    def on_torch(self) -> None:
        """A step on the kernels of torch."""
        with without_kernels():
            self.step()

    def denoise(self) -> None:
        """The network once, as a sampler calls it."""
        batch = self.batch
        with torch.no_grad():
            self.state.model(batch.x0 + batch.levels[:, None, None, None] * batch.noise, batch.levels, batch.condition)

    def denoise_on_torch(self) -> None:
        with without_kernels():
            self.denoise()

    def draw(self) -> None:
        self.batch = self.batches.at(1)

    def differentiate(self) -> None:
        self.state.optimizer.zero_grad(set_to_none=True)
        batch = self.batch
        self.state.loss(batch.x0, batch.levels, batch.noise, batch.condition).mean().backward()

    def update(self) -> None:
        gradients = [parameter.grad for parameter in self.state.parameters if parameter.grad is not None]
        nn.utils.get_total_norm(gradients)
        self.state.update(1e-9, self.norm, self.kept)


def turned(x: Tensor, condition: dict[str, Tensor], draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
    """A random symmetry of each field, and of the bonds where there are some."""
    moves = random_moves(x.shape[2:], draws)
    if "channels" in condition:
        condition = {**condition, "channels": moves.move_bonds(condition["channels"])}
    return moves.move(x), condition


def cosmology(batch: int = 16, cells: int = 64) -> Demo:
    torch.manual_seed(0)
    x, labels = torch.randn(COUNT, 1, cells, cells), torch.rand(COUNT, 2) * 2 - 1
    denoiser = FieldDenoiser(UNet(2, labels=2, width=16, multipliers=(1, 2, 3)), fit_spectrum(x[:100], labels[:100]))
    recipe = Recipe(STEPS, batch, learning_rate=3e-3, level_distribution=LogNormal(-0.5, 1.4))
    return Demo(denoiser, x, {"labels": labels}, recipe)


def spins(batch: int = 64) -> Demo:
    torch.manual_seed(0)
    x, bonds = torch.randn(COUNT, 1, 8, 8).sign(), torch.randn(COUNT, 2, 8, 8)
    channels = torch.stack([b for a in (0, 1) for b in (bonds[:, a], bonds[:, a].roll(1, a + 1))], dim=1)
    denoiser = SpinDenoiser(MessagePassing(2, condition_channels=4, labels=1, width=32, depth=6))
    recipe = Recipe(STEPS, batch, learning_rate=2e-3, level_distribution=LogUniform(0.05, 20.0))
    return Demo(denoiser, x, {"channels": channels, "labels": torch.randn(COUNT, 1)}, recipe)


# --- what was replaced --------------------------------------------------------------------------------


def generator_per_sample(demo: Demo) -> Callable[[], object]:
    """Noise, levels and order of a step as of version 0.1.0: a hash and a generator on the CPU for each number."""
    recipe, shape = demo.recipe, demo.x.shape[1:]
    numbers = range(recipe.batch_size, 2 * recipe.batch_size)

    def generator(stream: str, number: int) -> torch.Generator:
        digest = hashlib.blake2b(f"{recipe.seed}/{stream}/{number}/0".encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)

    def draw() -> None:
        noise = torch.empty((len(numbers), *shape), dtype=torch.float64)
        for row, number in zip(noise, numbers, strict=True):
            row.normal_(generator=generator("training noise", number))
        noise.to(DEVICE, torch.float32)
        jitter = torch.cat([torch.rand(1, generator=generator("training level", number)) for number in numbers])
        u = (torch.arange(len(numbers)) + jitter.double()) / len(numbers)
        recipe.level_distribution(u.clamp(1e-6, 1 - 1e-6)).float().to(DEVICE)
        order = torch.randperm(len(demo.x), generator=generator_for(recipe.seed, "training order", 0, 0))
        demo.x[order[: len(numbers)].to(DEVICE)]

    return draw


def plain_optimizer(demo: Demo) -> Callable[[], object]:
    """Clip, AdamW and average of version 0.1.0: a loop over tensors each."""
    parameters = [nn.Parameter(p.detach().clone()) for p in demo.state.parameters]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    averages = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=1e-9, betas=(0.9, 0.99), foreach=False, fused=False)

    def update() -> None:
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=False)
        optimizer.step()
        with torch.no_grad():
            for average, parameter in zip(averages, parameters, strict=True):
                average.lerp_(parameter, 1 - ema_decay(1000, 6.94))

    return update


# --- rows ---------------------------------------------------------------------------------------------


def rows() -> Iterator[Row]:
    """Parts of a step, before and after, growth over batch and size."""
    for name, demo in (("cosmology demo, 16 x 64^2", cosmology()), ("spins demo, 64 x 8^2", spins())):
        parts = {"physgen, whole step": demo.step, "forward and backward": demo.differentiate}
        parts |= {"order, levels, symmetries, noise": demo.draw, "clip, optimiser, average": demo.update}
        yield race(f"training step of the {name}", parts, "device busy > 90 % of a step", repeats=9)
        unmoved = Batches(demo.x, demo.condition, demo.recipe, device=DEVICE)
        runs = {"physgen, by counter": functools.partial(unmoved.at, 1)}
        runs |= {"a hash and a generator for each sample (0.1.0)": generator_per_sample(demo)}
        size = (demo.recipe.batch_size, *demo.x.shape[1:])
        runs |= {"torch.randn of the same size": functools.partial(torch.randn, size, device=DEVICE)}
        yield race(f"order, levels and noise of the {name}", runs, "noise <= 2 x torch.randn", repeats=9)
        fused = {"physgen, fused and foreach": demo.update, "loops over tensors (0.1.0)": plain_optimizer(demo)}
        yield race(f"clip, AdamW and average of the {name}", fused, "< 1", repeats=9)
    demo = spins()
    whole = {"physgen": demo.step, "physgen on torch's kernels": demo.on_torch}
    yield race("message passing, a training step of 64 x 8^2", whole, "0.4 of torch's", repeats=9)
    once = {"physgen": demo.denoise, "physgen on torch's kernels": demo.denoise_on_torch}
    yield race("message passing, 64 x 8^2 without gradient", once, "0.4 of torch's", repeats=9)
    by_batch = {batch: cosmology(batch=batch).step for batch in (4, 8, 16, 32)}
    yield growth("training step of the cosmology demo over the batch", "batch", by_batch, "exponent 1")
    by_size = {cells: cosmology(batch=4, cells=cells).step for cells in (32, 64, 128)}
    yield growth("training step of the cosmology demo, batch 4, over the side", "side", by_size, "exponent 2")
