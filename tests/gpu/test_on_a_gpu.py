"""On a CUDA device: the numbers of the processor to rounding, steps without a wait, recordings, samples of any request.

Skipped without one; `make test-gpu` runs them alone (torch, numpy, scipy, numba, triton, xarray and pytest suffice).
"""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch

from physgen.diffusion import philox, philox_numba, philox_triton
from physgen.diffusion.learning.batches import Batches
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogUniform, SpinDenoiser
from physgen.diffusion.learning.gradients import Gradients
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState, _finish, train
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import Stream
from physgen.diffusion.recording import RecordedDenoiser, recorded
from physgen.diffusion.sampling.samplers import sample
from physgen.lattice import random_moves
from physgen.networks import gpu
from physgen.networks.fused import composed
from physgen.networks.layers import ResidualBlock
from physgen.networks.message_passing import MessagePassing
from physgen.networks.resolution import downsample, upsample
from physgen.networks.unet import UNet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
GPU = torch.device("cuda")
GRID = (16, 16)
RECIPE = Recipe(steps=12, batch_size=8, warmup=2, level_distribution=LogUniform(0.1, 10.0))
ROUNDING = {torch.float32: 2**-23, torch.bfloat16: 2**-8}


@pytest.fixture(autouse=True)
def exact_float32(monkeypatch):
    """Products of float32 in float32, to compare with the processor; the default lets convolutions take TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- noise -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 1023, 1024, 1025, 2**15 + 2])
def test_noise_has_the_bits_of_the_processor(count):
    index = torch.tensor([0, 5, -1, 2**63 - 1, 2**32 + 5])
    engine = philox_triton.engine()
    assert engine.name == "triton"
    for key, second in itertools.product([(0, 0), (0xFFFFFFFF, 0x12345678)], [0, 7, 2**31, 2**32 - 1]):
        for made in ("words", "normals"):
            on_gpu = getattr(engine, made)(key, index.to(GPU), second, count)
            assert torch.equal(on_gpu.cpu(), getattr(philox_numba.engine(), made)(key, index, second, count))
        on_gpu, on_cpu = engine.wide(key, index.to(GPU), second, count), philox.TORCH.wide(key, index, second, count)
        assert float(((on_gpu.cpu() - on_cpu) / on_cpu).abs().max()) < 8 * 2**-52


def test_uniform_and_whole_numbers_too():
    here, there = Stream(3, "test"), Stream(3, "test", device=GPU)
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(here.uniform(range(9), (50,), dtype), there.uniform(range(9), (50,), dtype).cpu())
    assert torch.equal(here.integers(1000, range(9), (50,)), there.integers(1000, range(9), (50,)).cpu())


# --- the fused layer ---------------------------------------------------------------------------------

LAYERS = [  # grid, channels, padding, periodic
    ((6, 10), 8, 1, True),
    ((5, 7), 24, 2, True),
    ((64, 64), 48, 1, True),
    ((33, 65), 64, 1, True),
    ((6, 4), 8, 1, False),
    ((3, 5), 32, 0, True),
    ((4, 3, 6), 8, 1, True),
    ((4, 2, 2), 16, 1, True),
    ((16, 12, 20), 96, 1, True),
    ((2, 3, 4), 8, 1, False),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("grid", "channels", "width", "periodic"), LAYERS)
@pytest.mark.parametrize("modulated", [True, False])
def test_kernels_are_the_composition_in_double(grid, channels, width, periodic, modulated, dtype):
    x = (3 + draw(3, channels, *grid)).to(dtype)
    modulation = [draw(3, channels, seed=2), draw(3, channels, seed=3), draw(channels, seed=4)] if modulated else []
    given = [x, *(tensor.float() for tensor in modulation)]
    exact = [tensor.double().requires_grad_() for tensor in given]
    given = [tensor.to(GPU).requires_grad_() for tensor in given]
    assert gpu.fits(given[0], width, periodic)
    y = gpu.activated(*given, width=width, periodic=periodic)
    gain, bias, offset = exact[1:] if modulated else (None, None, None)
    wanted = composed(exact[0], gain, bias, width, periodic, offset)
    weights = draw(*y.shape, seed=5).to(dtype)
    found = [y, *torch.autograd.grad(y, given, weights.to(GPU))]
    wanted = [wanted, *torch.autograd.grad(wanted, exact, weights.double())]
    for one, other in zip(found, wanted, strict=True):
        assert (one.double().cpu() - other).abs().max() < 20 * ROUNDING[dtype] * other.abs().max()


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("blocks", [1, 2])
def test_a_unet_is_that_of_the_processor_in_double(dimension, blocks):
    torch.manual_seed(0)
    network = UNet(dimension, labels=1, width=16, multipliers=(1, 3, 2), blocks=blocks)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, c_noise, labels = draw(2, 1, *[16] * dimension), draw(2, seed=2) / 4, draw(2, 1, seed=3)
    found = []
    for device, dtype in ((GPU, torch.float32), ("cpu", torch.float64)):
        model = copy.deepcopy(network).to(device, dtype)
        given = [tensor.to(device, dtype).requires_grad_() for tensor in (x, c_noise, labels)]
        y = model(given[0], given[1], {"labels": given[2]})
        y.square().sum().backward()
        found.append([y, *(t.grad for t in given), *(p.grad for p in model.parameters())])
    for one, other in zip(*found, strict=True):
        assert (one.cpu().double() - other).abs().max() < 1e-4 * other.abs().max()


def test_one_image_of_a_site_along_an_axis_or_none_of_our_kernels():
    assert not gpu.fits(torch.zeros(2, 8, 1, 4, device=GPU), 1)
    assert not gpu.fits(torch.zeros(2, 8, 4, 4, device=GPU, dtype=torch.float64), 1)
    assert not gpu.halves(torch.zeros(2, 8, 3, 4, device=GPU))


def test_the_batch_changes_no_bit_of_a_layer():
    x = draw(5, 24, 40, 36).float().to(GPU)
    assert torch.equal(gpu.activated(x, width=1)[2:3], gpu.activated(x[2:3], width=1))


def test_second_derivatives_and_transformations_are_those_of_the_composition():
    torch.manual_seed(0)
    block = ResidualBlock(2, (8, 16), 4, 0.0)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, modulation, seconds = draw(2, 8, 6, 4), (draw(2, 16, seed=2), draw(2, 16, seed=3)), []
    for device, dtype in ((GPU, torch.float32), ("cpu", torch.float64)):
        layer, point = copy.deepcopy(block).to(device, dtype), x.to(device, dtype).requires_grad_()
        y = layer(downsample(upsample(point)), tuple(value.to(device, dtype) for value in modulation))
        (slope,) = torch.autograd.grad(y.square().sum(), point, create_graph=True)
        seconds.append(torch.autograd.grad(slope.square().sum(), point)[0])
    assert (seconds[0].cpu() - seconds[1]).abs().max() < 1e-3 * seconds[1].abs().max()
    layer, field, gain, bias = (value.float().to(GPU) for value in (block, x, *modulation))
    rows = torch.func.vmap(lambda t, g, b: layer(t[None], (g[None], b[None]))[0])(field, gain, bias)
    torch.testing.assert_close(rows, layer(field, (gain, bias)), rtol=1e-4, atol=1e-4)


# --- training ----------------------------------------------------------------------------------------


def field_state(device, precision="float32", dropout=0.0):
    x, labels = draw(20, 1, *GRID).float(), torch.linspace(-1, 1, 20)[:, None]
    torch.manual_seed(0)
    network = UNet(2, labels=1, width=16, multipliers=(1, 2), dropout=dropout)
    denoiser = FieldDenoiser(network, fit_spectrum(x, labels)).to(device)
    return TrainingState(denoiser, dataclasses.replace(RECIPE, precision=precision)), x, {"labels": labels}


def spin_state(device):
    x, bonds = draw(20, 1, *GRID).float().sign(), draw(20, 4, *GRID, seed=2).float()
    torch.manual_seed(0)
    network = MessagePassing(2, width=8, depth=2)
    return TrainingState(SpinDenoiser(network).to(device), RECIPE), x, {"channels": bonds}


def turned(x, condition, draws):
    return random_moves(GRID, draws).move(x), condition


@pytest.mark.parametrize("state_of", [field_state, spin_state])
def test_losses_are_those_of_the_processor(state_of):
    losses = []
    for device in ("cpu", GPU):
        state, x, condition = state_of(device)
        losses.append([step.loss for step in train(state, x, condition, turned if state_of is field_state else None)])
    torch.testing.assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]), rtol=2e-4, atol=0)


@pytest.mark.parametrize("state_of", [field_state, spin_state])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_recording_does_what_single_operations_do(state_of, precision):
    if state_of is spin_state and precision == "bfloat16":
        pytest.skip("message passing trains in float32")
    found = []
    for record in (False, True):
        state, x, condition = state_of(GPU) if state_of is spin_state else state_of(GPU, precision)
        gradients, batches = Gradients(state, record=record), Batches(x, condition, RECIPE, device=GPU)
        reports = []
        for step in range(RECIPE.steps):
            done = _finish(state, gradients.of(batches.at(step), step), 1)
            reports.append(torch.tensor([done.loss, done.grad_norm]))
        assert gradients.recorded == record
        found.append((torch.stack(reports), torch.cat([p.detach().flatten() for p in state.parameters])))
    tolerance = 1e-5 if precision == "float32" else 2e-2  # sums of weight gradients in another order
    torch.testing.assert_close(found[1][0], found[0][0], rtol=tolerance, atol=0)
    assert (found[1][1] - found[0][1]).norm() < tolerance * found[0][1].norm()


def test_what_draws_random_numbers_is_not_recorded():
    for dropout in (0.0, 0.5):
        state, x, condition = field_state(GPU, dropout=dropout)
        gradients = Gradients(state)
        batches = Batches(x, condition, RECIPE, device=GPU)
        for step in range(2):
            gradients.of(batches.at(step), step)
        assert gradients.recorded == (dropout == 0)


def test_a_step_that_is_not_finite_changes_nothing_in_a_recording_either():
    state, x, condition = field_state(GPU)
    steps = train(state, x.index_fill(0, torch.arange(20), float("nan")), condition, record=True)
    before = [p.clone() for p in state.parameters]
    for _ in range(4):
        assert not next(steps).accepted
    assert all(map(torch.equal, before, state.parameters))


@pytest.mark.parametrize("state_of", [field_state, spin_state])
def test_between_logs_nobody_waits_for_the_device(state_of):
    state, x, condition = state_of(GPU)
    steps = train(state, x, condition, turned if state_of is field_state else None)
    for _ in range(3):
        next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        reports = [next(steps) for _ in range(4)]  # within an epoch and across its end
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(report.accepted for report in reports)


def test_data_sent_ahead_give_the_bits_of_resident_data():
    _, x, condition = field_state("cpu")
    drawn = []
    for resident in (True, False):
        source = Batches(x, condition, RECIPE, turned, device=GPU, resident=resident)
        steps = [source.at(step) for step in range(RECIPE.steps)]
        drawn.append([t for b in steps for t in (b.x0, b.levels, b.noise, b.condition["labels"])])
        source.close()
    assert all(map(torch.equal, *drawn))


# --- sampling ----------------------------------------------------------------------------------------


def test_a_sample_does_not_depend_on_the_request_and_is_that_of_the_processor():
    state, _, _ = field_state("cpu")
    torch.manual_seed(1)
    for parameter in state.model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    denoiser = state.model.eval().requires_grad_(False)
    levels, labels = log_uniform(50.0, 0.02, 6), torch.zeros(9, 1)

    def drawn(first, last, device, tile=None):
        return sample(
            denoiser.to(device), levels, (last - first, 1, *GRID), 0, {"labels": labels[first:last]}, tile=tile,
            start_index=first, device=device,
        )  # fmt: skip

    assert isinstance(recorded(denoiser.to(GPU), GPU), RecordedDenoiser)
    whole = drawn(0, 9, GPU)
    assert torch.equal(whole[3:5], drawn(3, 5, GPU))
    # the first evaluation of a request goes operation by operation, those of later tiles are replayed
    assert torch.equal(drawn(0, 9, GPU, tile=2)[4:8], drawn(4, 8, GPU, tile=2))
    torch.testing.assert_close(whole.cpu(), drawn(0, 9, "cpu"), rtol=0, atol=1e-3)


# --- diagnostics; spins: tests/domains/spins/test_multispin.py ------------------------------------------


@pytest.mark.parametrize("group", ["none", "point"])
def test_the_nearest_fields_are_those_of_the_processor(group):
    nearest_field = pytest.importorskip("physgen.diagnostics.nearest").nearest_field
    smooth = torch.fft.rfft2(draw(410, 1, 32, 32).float())
    k = torch.hypot(torch.fft.fftfreq(32)[:, None], torch.fft.rfftfreq(32)[None])
    maps = torch.fft.irfft2(smooth / (0.05 + k) ** 2)
    query, train_maps = torch.cat([maps[:9], maps[50:51].roll((3, 5), (2, 3))]), maps[10:]
    every = nearest_field(query, train_maps, group=group, prune=False)
    for prune in (True, False):
        found = nearest_field(query.to(GPU), train_maps.to(GPU), group=group, prune=prune)
        assert found.index[-1, 0] == 40 and found.duplicate.tolist() == 9 * [False] + [True]
        assert np.array_equal(found.index, every.index)
        np.testing.assert_allclose(found.similarity, every.similarity, atol=1e-5)
