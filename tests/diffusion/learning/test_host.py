"""Between the steps that are logged the host asks the device for nothing.

Shown on the device "meta", of which no number can be read and nothing copied to the host: both are errors there. Data
whose number depends on values (a mask as index, nonzero) do not exist on it either.
"""

import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from physgen.diffusion.learning.denoisers import FieldDenoiser, LogUniform, SpinDenoiser
from physgen.diffusion.learning.ema import PowerEMA
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.lattice import random_moves
from physgen.networks.message_passing import MessagePassing
from physgen.networks.unet import UNet

GRID = (8, 8)
RECIPE = Recipe(steps=12, batch_size=4, warmup=2, level_distribution=LogUniform(0.1, 10.0))
META = torch.device("meta")


class Copies(TorchDispatchMode):
    """Counts copies of tensors with numbers to the device without any: the host waits for those it sends, too."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
        if tensors and isinstance(result, torch.Tensor) and result.device == META:
            self.count += any(a.device != META and a.ndim > 0 for a in tensors)
        return result


@pytest.fixture
def meta(monkeypatch):
    """The fused optimizer on the device "meta"; torch's list of devices leaves it out, the kernel does not."""
    optimizer = sys.modules["torch.optim.optimizer"]
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["cpu", "meta"])
    return META


def field_state(device="cpu", dropout=0.0):
    x = torch.randn(20, 1, *GRID, generator=torch.Generator().manual_seed(0))
    labels = torch.linspace(-1, 1, 20)[:, None]
    torch.manual_seed(0)
    network = UNet(2, labels=1, width=8, multipliers=(1, 2), dropout=dropout)
    denoiser = FieldDenoiser(network, fit_spectrum(x, labels)).to(device)
    return TrainingState(denoiser, RECIPE), x.to(device), {"labels": labels.to(device)}


def spin_state(device="cpu"):
    x = torch.randn(20, 1, *GRID, generator=torch.Generator().manual_seed(0)).sign()
    return TrainingState(SpinDenoiser(UNet(2, width=8, multipliers=(1, 2))).to(device), RECIPE), x.to(device), {}


def glass_state(device="cpu"):
    _, x, _ = spin_state()
    condition = {"channels": torch.ones(20, 4, *GRID), "labels": torch.zeros(20, 1)}
    network = MessagePassing(2, condition_channels=4, labels=1, width=8, depth=2)
    condition = {name: value.to(device) for name, value in condition.items()}
    return TrainingState(SpinDenoiser(network).to(device), RECIPE), x.to(device), condition


def moved(x, condition, draws):
    moves = random_moves(GRID, draws)
    bonds = {name: moves.move_bonds(value) for name, value in condition.items() if name == "channels"}
    return moves.move(x), {**condition, **bonds}


@pytest.mark.parametrize("make", [field_state, spin_state, glass_state])
def test_a_step_reads_nothing_from_the_device_and_sends_nothing_to_it(make, meta):
    state, x, condition = make(meta)
    averages = PowerEMA(state.model)
    steps = train(state, x, condition, moved)
    averages.update(state.model, next(steps).report[2])  # constants of the lattice are sent once
    with Copies() as copies:
        for step in steps:
            averages.update(state.model, step.report[2])
    assert step.step == state.step == RECIPE.steps and copies.count == 0
    with pytest.raises((RuntimeError, NotImplementedError)):
        step.loss  # noqa: B018


@pytest.mark.parametrize(
    "read", [float, torch.Tensor.tolist, torch.Tensor.cpu, lambda t: t[t > 0], bool, torch.nonzero]
)
def test_the_device_of_the_check_refuses_every_read(read):
    with pytest.raises((RuntimeError, NotImplementedError)):
        read(torch.zeros(1, device=META))


def test_the_check_sees_what_is_sent():
    with Copies() as copies:
        torch.zeros(3).to(META)
    assert copies.count == 1


def test_a_report_keeps_the_numbers_of_its_own_step():
    """Read late, after further steps, it says what it said at once."""
    at_once = [(step.loss, step.grad_norm, step.skipped) for step in train(*field_state())]
    late = list(train(*field_state()))
    assert [(step.loss, step.grad_norm, step.skipped) for step in late] == at_once


def test_torchs_generators_are_seeded_for_a_loss_that_draws_and_left_alone_for_others(monkeypatch):
    """One that draws nothing costs one seeding, in its first step; one with dropout needs it in every step."""
    manual_seed = torch.manual_seed
    for dropout, expected in ((0.0, 1), (0.2, RECIPE.steps)):
        state, x, condition = field_state(dropout=dropout)
        seeds = []
        monkeypatch.setattr(torch, "manual_seed", lambda seed: seeds.append(seed) or manual_seed(seed))  # noqa: B023
        for _ in train(state, x, condition):
            pass
        monkeypatch.setattr(torch, "manual_seed", manual_seed)
        assert len(seeds) == len(set(seeds)) == expected
