"""How the core computes, as opposed to what: bits, precision, compilation."""

import math

import torch
from torch._dynamo.utils import counters

from benchmarks.conformance.row import Row
from physgen.diffusion.learning.denoisers import FieldDenoiser, SpinDenoiser
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import noise_like
from physgen.diffusion.sampling.samplers import sample
from physgen.networks.message_passing import MessagePassing
from physgen.networks.unet import UNet

LEVELS = log_uniform(20.0, 0.05, 6)
COUNT = 37  # no multiple of a tile


def rows():
    cases = {
        "U-Net, 64^2": (field_denoiser(2), (1, 64, 64)),
        "U-Net, 16^3": (field_denoiser(3), (1, 16, 16, 16)),
        "message passing, 8^2": (spin_denoiser(), (1, 8, 8)),
    }
    for name, (denoiser, site) in cases.items():
        yield from bits(name, denoiser, site)
    denoiser, site = cases["U-Net, 64^2"]
    yield from precision(denoiser, site)
    yield compiled(denoiser, site)


def filled(network, seed=0):
    """The network with no parameter at zero, as after training."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network


def field_denoiser(dimension):
    network = filled(UNet(dimension, width=16, multipliers=(1, 2, 3), labels=2))
    return FieldDenoiser(network).eval().requires_grad_(False)


def spin_denoiser():
    network = filled(MessagePassing(2, condition_channels=4, width=16))
    return SpinDenoiser(network).eval().requires_grad_(False)


def condition(site):
    shape = (2,) if site != (1, 8, 8) else (4, 8, 8)
    return {"labels" if len(shape) == 1 else "channels": noise_like(1, "condition", range(COUNT), shape)}


def draw(denoiser, site, first=0, last=COUNT, **options):
    given = {name: value[first:last] for name, value in condition(site).items()}
    return sample(denoiser, LEVELS, (last - first, *site), 3, given, start_index=first, **options)


def bits(name, denoiser, site):
    """Requests of other sizes and places, as of several processes, against one request."""
    whole = draw(denoiser, site)
    parts = torch.cat([draw(denoiser, site, a, b) for a, b in ((0, 1), (1, 8), (8, 30), (30, COUNT))])
    differ = int((whole != parts).sum())
    law = "one request = four requests, bit for bit"
    yield Row("execution", f"{name}: values that differ", law, differ, 0, 0, differ == 0, cost=f"{COUNT} samples")
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    other = draw(denoiser, site)
    torch.set_num_threads(threads)
    apart = float((whole - other).abs().max() / whole.std())
    law = "one thread against two: rounding, in units of the spread"
    yield Row("execution", f"{name}: largest change", law, apart, 0, 1e-4, apart < 1e-4, cost=f"{COUNT} samples")


def precision(denoiser, site):
    """bf16 and float32 against float64, from the same noise."""
    wide = draw(denoiser.double(), site, dtype=torch.float64)
    denoiser.float()
    narrow = draw(denoiser, site)

    def rounded(y, s, given):
        with torch.autocast("cpu", torch.bfloat16):
            return denoiser(y, s, given)

    half = draw(rounded, site)
    for name, found, unit in (("float32", narrow, 2**-23), ("bf16 autocast of the network", half, 2**-8)):
        apart = float((found - wide).square().mean().sqrt() / wide.std())
        # some tens of roundings in each of the layers, which add up as a random walk over the levels
        bound = unit * 10 * math.sqrt(len(LEVELS))
        law = "float64 from the same noise, root mean square, in units of the spread"
        yield Row(
            "execution", f"U-Net, 64^2, {name}", law, apart, 0, bound, apart < bound and found.dtype == narrow.dtype
        )


def compiled(denoiser, site):
    """torch.compile with the default backend: other levels, samplers and numbers of samples, one graph."""
    torch._dynamo.reset()
    counters.clear()
    fast = torch.compile(denoiser, dynamic=False)
    apart = float((draw(fast, site) - draw(denoiser, site)).abs().max())
    given = {"labels": condition(site)["labels"][:5]}
    for sampler, levels in (("heun", log_uniform(7.0, 0.3, 4)), ("ancestral", log_uniform(50.0, 0.01, 9))):
        sample(fast, levels, (5, *site), 4, given, sampler)
    graphs = counters["stats"]["unique_graphs"]
    name = f"U-Net, 64^2, torch.compile (inductor): graphs for three grids and samplers; largest change {apart:.1g}"
    return Row("execution", name, "compiled once", graphs, 1, 0, graphs == 1 and apart < 1e-3)
