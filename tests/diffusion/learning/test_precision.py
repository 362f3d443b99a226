"""The choice of a precision and the compilation of a network."""

import pytest
import torch

from physgen.diffusion.learning import precision
from physgen.diffusion.learning.precision import compile_network, fitting_precision
from physgen.networks.message_passing import MessagePassing
from physgen.networks.unet import UNet

CPU = torch.device("cpu")


@pytest.mark.parametrize(("gain", "chosen"), [(1.4, "float32"), (1.6, "bfloat16")])
def test_bfloat16_must_be_faster_by_half_on_this_device(gain, chosen, monkeypatch):
    asked = []
    monkeypatch.setattr(precision, "_gain", lambda channels, kind: asked.append((channels, kind)) or gain)
    assert fitting_precision(UNet(2, width=32), CPU) == chosen
    assert asked == [(32, "cpu")]


@pytest.mark.parametrize("network", [UNet(2, width=8), MessagePassing(2, width=32), torch.nn.Linear(64, 64)])
def test_networks_that_do_not_ask_for_it_train_in_float32(network, monkeypatch):
    monkeypatch.setattr(precision, "_gain", lambda channels, kind: 100.0)
    assert fitting_precision(network, CPU) == "float32"


def test_the_gain_is_a_ratio_of_times_and_one_where_nothing_is_known():
    assert 0.01 < precision._gain.__wrapped__(16, "cpu") < 1000
    assert precision._gain.__wrapped__(16, "xpu") == 1


def test_the_network_trains_in_bfloat16_close_to_float32():
    """Under autocast fields are bfloat16: 8 bits, so values move by a percent or so, and parameters stay float32."""
    torch.manual_seed(0)
    network = UNet(2, width=16, multipliers=(1, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    x, c_noise, found = torch.randn(4, 1, 16, 16), torch.zeros(4), []
    for half in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = network(x, c_noise)
        y.float().square().mean().backward()
        assert all(parameter.grad.dtype == torch.float32 for parameter in network.parameters())
        found.append(torch.cat([y.float().flatten(), *[p.grad.flatten() for p in network.parameters()]]))
    apart = float((found[1] - found[0]).detach().norm() / found[0].detach().norm())
    # a dozen roundings of relative size 2^-9 in a row, gradients as many again
    assert 1e-4 < apart < 0.05


def test_compilation_needs_a_compiler_on_a_cpu_and_says_so(monkeypatch, caplog):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network, **options: asked.append(options))
    monkeypatch.setattr(precision.shutil, "which", lambda name: None)
    assert not compile_network(UNet(2, width=8), CPU)
    assert asked == [] and "no C++ compiler" in caplog.text
    monkeypatch.setattr(precision.shutil, "which", lambda name: f"/bin/{name}")
    assert compile_network(UNet(2, width=8), CPU)
    assert asked == [{"dynamic": False}] and "faster without" in caplog.text


def test_under_the_compiler_the_step_is_one_graph():
    torch.manual_seed(0)
    network = UNet(2, width=8, multipliers=(1, 2))
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph

    x, c_noise = torch.randn(2, 1, 8, 8), torch.zeros(2)
    wanted = network(x, c_noise)
    y = torch.compile(network, backend=count, dynamic=False)(x, c_noise)
    y.square().sum().backward()
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-5)
    assert len(graphs) == 1
