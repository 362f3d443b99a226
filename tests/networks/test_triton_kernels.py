"""The very text of the Triton kernels of a U-Net, run in numpy program by program: what it computes is torch's.

What Triton itself makes of it only a GPU can tell: tests/gpu.
"""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from physgen.networks import fused_launch, fused_triton, gpu, streams_triton
from physgen.networks.fused import composed
from physgen.networks.unet import UNet

ROUNDING = 2**-23


class Block(np.ndarray):
    """What the kernels ask of a Triton tensor; a number is one of shape (1,)."""

    def to(self, dtype):
        return self.astype(dtype)

    def __index__(self):
        return int(self.reshape(-1)[0])


def block(values):
    return np.atleast_1d(values).view(Block)


class Pointer:
    def __init__(self, array, offsets=0):
        self.array, self.offsets = array, offsets
        self.dtype = SimpleNamespace(element_ty=array.dtype)

    def __add__(self, offsets):
        return Pointer(self.array, self.offsets + offsets)


def load(pointer, mask=True, other=0):
    offsets, mask = np.broadcast_arrays(pointer.offsets, mask)
    return np.where(mask, pointer.array[np.where(mask, offsets, 0)], pointer.array.dtype.type(other)).view(Block)


def store(pointer, value, mask=True):
    offsets, mask, value = np.broadcast_arrays(pointer.offsets, mask, value)
    pointer.array[offsets[mask]] = value[mask]


def language(program, programs):
    """``triton.language`` in numpy, for one program of a launch."""
    return SimpleNamespace(
        int32=np.int32, int64=np.int64, float32=np.float32, float64=np.float64, static_range=range,
        program_id=lambda axis: block(np.int32(program)),
        num_programs=lambda axis: programs,
        arange=lambda start, stop: block(np.arange(start, stop, dtype=np.int32)),
        zeros=lambda shape, dtype: np.zeros(shape, dtype).view(Block),
        sum=lambda x, axis: block(np.sum(x, axis=axis)),
        where=lambda which, x, y: block(np.where(which, x, y)),
        exp=np.exp, sqrt=np.sqrt, load=load, store=store,
    )  # fmt: skip


class Kernel:
    """A kernel that runs in numpy, launched as Triton's are."""

    def __init__(self, module, function, monkeypatch):
        self.module, self.function, self.monkeypatch = module, function, monkeypatch

    def __getitem__(self, grid):
        def launch(*arguments, **constants):
            given = [argument(value) for value in arguments]
            for program in range(grid[0]):
                self.monkeypatch.setattr(self.module, "tl", language(program, grid[0]))
                with np.errstate(over="ignore"):
                    self.function(*given, **constants)

        return launch


def argument(value):
    if not isinstance(value, torch.Tensor):
        return block(value)
    return Pointer(torch.empty(0, dtype=value.dtype).set_(value.detach().untyped_storage()).numpy())


@pytest.fixture(autouse=True)
def in_numpy(monkeypatch):
    def made(module, *names):
        return {name: Kernel(module, getattr(module, name), monkeypatch) for name in names}

    fused = made(fused_triton, "add_moments", "normalise", "activate", "add_slopes", "combine", "slope_of_x")
    streams = made(streams_triton, "add", "repeat", "add_blocks", "add_sites")
    monkeypatch.setattr(fused_launch, "kernels", lambda: fused)
    monkeypatch.setattr(streams_triton, "kernels", lambda: streams)


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CASES = [  # grid, channels, padding, periodic
    ((6, 10), 8, 1, True),
    ((5, 7), 24, 2, True),
    ((20, 30), 16, 1, True),  # more than one piece of the sums
    ((6, 4), 8, 1, False),
    ((3, 5), 32, 0, True),
    ((4, 3, 6), 8, 1, True),
    ((2, 3, 4), 8, 1, False),
]


@pytest.mark.parametrize(("grid", "channels", "width", "periodic"), CASES)
@pytest.mark.parametrize("modulated", [True, False])
def test_the_fused_layer_and_its_gradient(grid, channels, width, periodic, modulated):
    x = 3 + draw(2, channels, *grid)
    given = [x, *([draw(2, channels, seed=2), draw(2, channels, seed=3), draw(channels, seed=4)] if modulated else [])]
    single, double = ([t.to(d).requires_grad_() for t in given] for d in (torch.float32, torch.float64))
    y = gpu.activated(*single, width=width, periodic=periodic)
    gain, bias, offset = double[1:] if modulated else (None, None, None)
    wanted = composed(double[0], gain, bias, width, periodic, offset)
    weights = draw(*y.shape, seed=5)
    found = [y, *torch.autograd.grad(y, single, weights.float())]
    for one, other in zip(found, [wanted, *torch.autograd.grad(wanted, double, weights)], strict=True):
        assert (one.double() - other).abs().max() < 20 * ROUNDING * other.abs().max()


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_unet_is_that_of_torch(dimension, monkeypatch):
    torch.manual_seed(0)
    network = UNet(dimension, labels=1, width=8, multipliers=(1, 2))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    given, found = (draw(2, 1, *[4] * dimension), draw(2, seed=2) / 4, draw(2, 1, seed=3)), []
    for dtype, ours in ((torch.float32, True), (torch.float64, False)):
        for name in ("here", "fits", "halves"):
            monkeypatch.setattr(gpu, name, lambda *_, ours=ours: ours)
        model = copy.deepcopy(network).to(dtype)
        x, c_noise, labels = (tensor.to(dtype).requires_grad_() for tensor in given)
        y = model(x, c_noise, {"labels": labels})
        y.square().sum().backward()
        found.append([y, x.grad, c_noise.grad, labels.grad, *(p.grad for p in model.parameters())])
    for one, other in zip(*found, strict=True):
        assert (one.double() - other).abs().max() < 1e-4 * other.abs().max()
