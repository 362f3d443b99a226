"""The U-Net's training step beside other codes' U-Nets and torch's matrix product, per floating-point operation.

Operations are counted alike for all by torch.utils.flop_counter, on torch's own operations: forward and backward of the
network alone, without the optimiser. A competitor's costs are divided by its operations over those of physgen.
Sizes: 16 fields of 64^2 on a CPU, 16 of 256^2 on a GPU, levels of 32, 64 and 96 channels, one block each.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.row import Row, race
from physgen.diffusion.recording import Recording
from physgen.networks.native import without_kernels
from physgen.networks.unet import UNet
from physgen.processes.memory import keep_freed_memory

CHANNELS = (32, 64, 96)
GOAL = "1.5 x the better peer per operation"
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bfloat16 operations per second, from the data sheets


def rows() -> Iterator[Row]:
    keep_freed_memory()  # as a training does; the peers have it too
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for half in (False, True):
        yield step(device, half)
    if device.type == "cpu":
        yield demo()


def step(device: torch.device, half: bool) -> Row:
    """Forward and backward of the networks, and a matrix product of as many operations."""
    shape = (16, 1, 256, 256) if device.type == "cuda" else (16, 1, 64, 64)
    x = torch.randn(shape, device=device, generator=torch.Generator(device).manual_seed(1))
    x, c_noise = x.contiguous(memory_format=torch.channels_last), torch.zeros(len(x), device=device)
    networks: dict[str, nn.Module | None] = {"physgen": ours(32), "diffusers": diffusers(shape[-1]), "azula": azula()}
    present = {name: perturbed(network, device) for name, network in networks.items() if network is not None}
    runs: dict[str, Callable[[], object] | None] = {name: None for name in networks}
    runs |= {name: training(network, x, c_noise, half) for name, network in present.items()}
    work = {name: operations(network, shape) for name, network in present.items()}
    if device.type == "cuda":
        for name in present:
            runs[f"{name}, recorded"], work[f"{name}, recorded"] = replayed(runs[name]), work[name]
    else:
        runs["physgen on torch's kernels"] = plain(runs["physgen"])
        work["physgen on torch's kernels"] = work["physgen"]
    size = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16 if half else torch.float32)
    runs["matrix product"] = lambda: matrix @ matrix
    work["matrix product"] = 2 * size**3
    name = f"U-Net training step, {len(x)} x {shape[-1]}^2, {'bfloat16' if half else 'float32'}"
    row = race(name, runs, GOAL, repeats=7, share={key: count / work["physgen"] for key, count in work.items()})
    return replace(row, note=speeds(row, work["physgen"], device, half))


def speeds(row: Row, work: float, device: torch.device, half: bool) -> str:
    """Operations per second of all competitors, and on a GPU the share of what it could do."""
    if device.type == "cpu":
        found = ", ".join(f"{name} {work / cost.cpu / 1e9:.0f}" for name, cost in row.costs.items())
        return f"{work / 1e9:.1f} GFLOP; GFLOP per CPU second: {found}. {row.note}".strip()
    found = ", ".join(f"{name} {work / cost.wall / 1e12:.1f}" for name, cost in row.costs.items())
    peak = next((value for name, value in PEAK.items() if name in torch.cuda.get_device_name()), None)
    best = work / min(cost.wall for name, cost in row.costs.items() if name.startswith("physgen"))
    share = f"; model FLOP utilisation {best / peak:.0%}" if peak and half else ""
    return f"{work / 1e12:.2f} TFLOP; TFLOP/s: {found}{share}. {row.note}".strip()


def demo() -> Row:
    """The network of configs/cosmology/demo.yaml: what it cost in float32 on torch's kernels, and in bfloat16 now."""
    network = perturbed(ours(16), torch.device("cpu"))
    x, c_noise = torch.randn(16, 1, 64, 64, generator=torch.Generator().manual_seed(1)), torch.zeros(16)
    single, half = (training(network, x, c_noise, half) for half in (False, True))
    runs = {
        "physgen": half,
        "bfloat16 on torch's kernels": plain(half),
        "float32": single,
        "float32 on torch's kernels": plain(single),
    }
    return race("network of the demo, a training step of 16 x 64^2", runs, "0.4 of float32 on torch's", repeats=7)


def training(network: nn.Module, x: Tensor, c_noise: Tensor, half: bool) -> Callable[[], None]:
    parameters = [p for p in network.parameters() if p.requires_grad]

    def run() -> None:
        for parameter in parameters:
            parameter.grad = None
        with torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext():
            y = network(x, c_noise)
        y.float().square().mean().backward()

    return run


def plain(run: Callable[[], object] | None) -> Callable[[], None]:
    def on_the_kernels_of_torch() -> None:
        assert run is not None
        with without_kernels():
            run()

    return on_the_kernels_of_torch


def replayed(run: Callable[[], object]) -> Callable[[], object]:
    """As a CUDA graph, as physgen trains on a GPU."""
    recording = Recording(run, [])
    return lambda: recording.replay([])


def operations(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Of forward and backward, counted where nothing is computed and no kernel of ours or of a GPU plays a part."""
    ghost = copy.deepcopy(network).to("meta")
    run = training(ghost, torch.empty(shape, device="meta"), torch.empty(shape[0], device="meta"), half=False)
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def perturbed(network: nn.Module, device: torch.device) -> nn.Module:
    """With no parameter at zero, where a network starts and a processor may be faster than later."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network.to(device)


def ours(width: int) -> nn.Module:
    return UNet(2, width=width, multipliers=(1, 2, 3))


def diffusers(size: int) -> nn.Module | None:
    try:
        from diffusers import UNet2DModel
    except ImportError:
        return None
    network = UNet2DModel(
        sample_size=size, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D",) * 3, up_block_types=("UpBlock2D",) * 3, norm_num_groups=8,
        add_attention=False,
    )  # fmt: skip
    return Field(network.to(memory_format=torch.channels_last))


class Field(nn.Module):
    """A model of diffusers, whose output is an object, with the call of the others."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        return self.network(x, c_noise).sample


def azula() -> nn.Module | None:
    try:
        from azula.nn.unet import UNet as Network
    except ImportError:
        return None
    return Unconditioned(Network(1, 1, hid_channels=CHANNELS, hid_blocks=(1, 1, 1), mod_features=0, periodic=True))


class Unconditioned(Field):
    """A model of azula without an embedding of the noise level, whose cost is next to nothing."""

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        return self.network(x)
