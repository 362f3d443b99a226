"""ln Z from both sides on lattices whose states are enumerated: pulls are standard normal, however bad the network."""

import itertools
import math

import pytest
import torch

from physgen.diffusion.inference.paired_kernel import PairedMixture
from physgen.diffusion.inference.path_weights import noising_log_weight, weighted_sample
from physgen.diffusion.inference.reverse_kernels import SpinMixture
from physgen.diffusion.inference.two_sided import bennett

INSTANCES, DRAWS = 24, 200
LEVELS = torch.tensor([*torch.logspace(math.log10(5.0), math.log10(0.4), 9).tolist(), 0.0])


def log_law(x, bonds):
    """-beta H (B,) of free bonds (2, a, b) / T; those that leave the lattice are 0."""
    return sum((bonds[axis] * x[:, 0] * x[:, 0].roll(-1, axis + 1)).sum((1, 2)) for axis in range(2))


def lattice(shape, seed):
    """Bonds K (2, a, b), all states (2^n, 1, a, b), ln of their law."""
    random = torch.Generator().manual_seed(seed)
    bonds = torch.randn(2, *shape, generator=random, dtype=torch.float64) / 1.5
    bonds[0, -1], bonds[1, :, -1] = 0, 0
    states = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=math.prod(shape))), dtype=torch.float64)
    states = states.reshape(-1, 1, *shape)
    return bonds, states, log_law(states, bonds)


def exact_of(states, log_p):
    def denoiser(y, s, condition=None):
        field = torch.einsum("bcij,ncij->bn", y.double() / s[:, None, None, None] ** 2, states)
        return torch.einsum("bn,ncij->bcij", torch.softmax(log_p + field, 1), states).to(y.dtype)

    return denoiser


def untrained_of(seed):
    """Convolutions of random weights in the place of a network: means that know nothing of the bonds."""
    random = torch.Generator().manual_seed(seed)
    kernel = 0.3 * torch.randn(1, 1, 3, 3, generator=random)

    def denoiser(y, s, condition=None):
        scale = s[:, None, None, None] ** 2
        return torch.tanh(torch.nn.functional.conv2d(y / (1 + scale), kernel.to(y), padding=1) + 0.5 * y / scale)

    return denoiser


@pytest.mark.parametrize(
    ("shape", "network", "paired"),
    [((3, 3), "exact", True), ((3, 3), "untrained", False), ((3, 4), "untrained", True)],
)
def test_pulls_of_ln_z_are_standard_normal(shape, network, paired):
    """chi^2 of 24 instances within [6, 52], quantiles of some 1e-4 and 1e-3; the mean within 4 errors."""
    pulls, counted = [], 0
    for seed in range(INSTANCES):
        bonds, states, log_p = lattice(shape, seed)
        denoiser = exact_of(states, log_p) if network == "exact" else untrained_of(seed)
        ahead = torch.stack([bonds[0], bonds[0].roll(1, 0), bonds[1], bonds[1].roll(1, 1)])[None]
        kernel = PairedMixture() if paired else SpinMixture()
        known = {"readout": "bernoulli", "condition": {"channels": ahead.expand(DRAWS, -1, -1, -1)}}
        random = torch.Generator().manual_seed(100 + seed)
        starts = states[torch.multinomial(log_p.exp(), DRAWS, True, generator=random)]
        target = lambda x, bonds=bonds: log_law(x.double(), bonds)  # noqa: E731
        size = (DRAWS, 1, *shape)
        down = weighted_sample(denoiser, kernel, LEVELS, size, seed, target, **known).log_weight
        up = noising_log_weight(denoiser, kernel, LEVELS, starts, seed, target, **known)
        found = bennett(down, up)
        counted += found.is_closed
        pulls.append((found.log_Z - float(log_p.logsumexp(0))) / found.log_Z_error)
    pulls = torch.tensor(pulls)
    assert 6 < float(pulls.square().sum()) < 52
    assert abs(float(pulls.mean())) < 4 / math.sqrt(INSTANCES)
    assert counted >= INSTANCES // 2
