"""Which precision a network trains in, where the configuration leaves it to the machine; and its compilation.

Half precision is for training alone: the weights, what stands outside the network, the statistics of its
normalisations, the loss and the optimiser are float32, and so are validation, sampling and likelihoods.
"""

import functools
import logging
import shutil
import time

import torch
from torch import nn
from torch.nn import functional as F

from physgen.networks.native import COMPILERS

SMALLEST = 16  # channels below which half of the tiles of a matrix unit are empty
GAIN = 1.5  # how much faster bfloat16 must be: below it one machine would choose now this, now that
SITES = {"cpu": 2**16, "cuda": 2**20}
log = logging.getLogger(__name__)


def fitting_precision(network: nn.Module, device: torch.device) -> str:
    """bfloat16 where this device convolves in it at least 1.5 times as fast as in float32, else float32.

    Only for a network that says with an attribute ``half_precision_channels`` (at least 16) that it bears half
    precision, and how many channels its widest fields have; all others train in float32.
    """
    channels = getattr(network, "half_precision_channels", 0)
    if channels < SMALLEST:
        return "float32"
    return "bfloat16" if _gain(channels, device.type) >= GAIN else "float32"


@functools.cache
def _gain(channels: int, kind: str) -> float:
    """Time of a 3x3 convolution in float32 over that in bfloat16, each the least of five; tens of milliseconds."""
    if kind not in SITES or (kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)):
        return 1.0
    batch = SITES[kind] // 64**2
    shapes = (batch, channels, 64, 64), (channels, channels, 3, 3)
    pairs = [
        [torch.ones(*shape, device=kind, dtype=dtype).contiguous(memory_format=torch.channels_last) for shape in shapes]
        for dtype in (torch.float32, torch.bfloat16)
    ]
    with torch.no_grad():  # in turn: what else the machine does slows down both
        rounds = [[_seconds(*pair) for pair in pairs] for _ in range(5)]
    single, half = map(min, zip(*rounds, strict=True))
    return single / half


def _seconds(x: torch.Tensor, kernel: torch.Tensor) -> float:
    if x.device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    F.conv2d(x, kernel)
    if x.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compile_network(network: nn.Module, device: torch.device) -> bool:
    """torch.compile with static shapes, in place; whether it was done (else one line says why not)."""
    if device.type == "cpu":
        if not any(map(shutil.which, COMPILERS)):
            log.warning("training.compile: no C++ compiler here, the network stays as it is")
            return False
        log.warning("training.compile: on a CPU the U-Net is faster without it, on kernels of its own")
    network.compile(dynamic=False)
    return True
