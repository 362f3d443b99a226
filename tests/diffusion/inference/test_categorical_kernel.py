r"""Paths of sites with q kinds: weights are exact on a lattice that can be enumerated, whatever the denoiser is."""

import itertools
import math

import pytest
import torch

from physgen.diffusion.inference.categorical_kernel import CategoricalMixture, probabilities
from physgen.diffusion.inference.categorical_pairs import CategoricalPairs
from physgen.diffusion.inference.path_weights import noising_log_weight, weighted_sample
from physgen.diffusion.inference.reverse_kernels import Move, Noise
from physgen.diffusion.inference.weight_statistics import summarise_weights
from physgen.diffusion.learning.categorical import CategoricalDenoiser
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import Stream
from physgen.diffusion.values import Categorical
from physgen.networks.colour_passing import ColourPassing

GRID, KINDS, STRENGTH = (2, 3), 3, 0.9
WIDE = {"dtype": torch.float64}
LEVELS = log_uniform(4.0, 0.4, 8)
COLOURS = torch.tensor(list(itertools.product(range(KINDS), repeat=6))).reshape(-1, *GRID)
VECTORS = torch.nn.functional.one_hot(COLOURS, KINDS).movedim(-1, 1).double()
N = 1500


def log_target(x):
    """Strength times the equal bonds of a torus of 2 x 3."""
    return STRENGTH * sum((x * x.roll(-1, axis)).flatten(1).sum(1) for axis in (2, 3))


LOG_P = log_target(VECTORS)
LOG_Z = float(LOG_P.logsumexp(0))


def exact(y, s, condition=None):
    log_p = LOG_P + y.flatten(1) @ VECTORS.flatten(1).T / s[:, None] ** 2
    return torch.tensordot(log_p.softmax(1), VECTORS, 1)


def free(y, s, condition=None):
    return (y / s.reshape(-1, 1, 1, 1) ** 2).softmax(1)


def crude(y, s, condition=None):
    """The neighbours taken at what they are without bonds: wrong, and cheap."""
    seen = free(y, s)
    around = sum(seen.roll(step, axis) for step in (-1, 1) for axis in (2, 3))
    return (y / s.reshape(-1, 1, 1, 1) ** 2 + 0.6 * STRENGTH * around).softmax(1)


def untrained():
    torch.manual_seed(0)
    return CategoricalDenoiser(ColourPassing(2, width=4, depth=1, iterations=3).double())


BONDS = torch.full((1, 4, *GRID), STRENGTH, **WIDE)
DENOISERS = {"exact": exact, "crude": crude, "free": free, "untrained": untrained()}


def drawn(denoiser, kernel=None, n=N):
    return weighted_sample(
        denoiser, kernel or CategoricalMixture(), LEVELS, (n, KINDS, *GRID), 3, log_target, readout="categorical",
        condition={"channels": BONDS.expand(n, -1, -1, -1)}, **WIDE,
    )  # fmt: skip


def z_of(log_weight):
    """Standard errors of the mean weight from Z; a mean of independent numbers."""
    ratio = (log_weight - LOG_Z).exp()
    return float((ratio.mean() - 1) / (ratio.std() / math.sqrt(len(ratio))))


@pytest.mark.parametrize("kernel", [CategoricalMixture(), CategoricalPairs()])
@pytest.mark.parametrize("which", DENOISERS)
def test_the_mean_weight_is_the_norm_whatever_the_denoiser(which, kernel):
    found = drawn(DENOISERS[which], kernel)
    assert torch.equal(found.x.sum(1), torch.ones(N, *GRID, **WIDE)) and set(found.x.unique().tolist()) == {0.0, 1.0}
    statistics = summarise_weights(found.log_weight)
    assert statistics.effective_fraction > {"exact": 0.4, "crude": 0.1, "untrained": 0.15, "free": 0.002}[which]
    assert abs(z_of(found.log_weight)) < 4
    weights, energies = found.log_weight.softmax(0), log_target(found.x)  # and so is a reweighted mean
    value = float(weights @ energies)
    error = float((weights.square() @ (energies - value).square()).sqrt())
    assert abs(value - float(LOG_P.softmax(0) @ LOG_P)) < 4 * error


class NoNorm(CategoricalMixture):
    """The density of the read-out left out: what a sampler without it would weigh."""

    def log_density(self, move, y_next):
        return torch.zeros(len(y_next), **WIDE) if move.s_next == 0 else super().log_density(move, y_next)


class TooWide(CategoricalMixture):
    """Weighs steps with a density of a fifth too large a variance: a density, but not that of the draws."""

    def log_density(self, move, y_next):
        if move.s_next == 0:
            return super().log_density(move, y_next)
        mean = move.toward(probabilities(move.denoised))
        closer = super().log_density(move, mean + (y_next - mean) / 1.2**0.5)
        return closer - 0.5 * y_next[0].numel() * math.log(1.2)


@pytest.mark.parametrize("kernel", [NoNorm(), TooWide()])
def test_wrong_densities_are_seen(kernel):
    assert abs(z_of(drawn(crude, kernel, 6000).log_weight)) > 6


def test_what_neighbours_have_in_common_makes_paths_better():
    """The exact denoiser, so that all of the divergence is the kernel's: less of it where pairs are known."""
    apart, together = (summarise_weights(drawn(exact, kernel).log_weight) for kernel in (None, CategoricalPairs()))
    assert together.path_KL + 4 * together.path_KL_error < 0.8 * apart.path_KL


def test_a_pair_has_its_margins_and_its_law():
    """One bond in a free strip of two sites: the kernel's covariance is that of the posterior, by enumeration."""
    y = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(2), **WIDE)
    strength = torch.tensor([0.9, -1.2], **WIDE)
    joint = (y[:, :, None, 0] + y[:, None, :, 1] + strength[:, None, None] * torch.eye(3, **WIDE)).flatten(1).softmax(1)
    joint = joint.reshape(2, 3, 3)
    p = torch.stack([joint.sum(2), joint.sum(1)], dim=2)
    bonds = torch.zeros(2, 2, 2, **WIDE)
    bonds[:, 0, 0] = bonds[:, 1, 1] = strength
    v = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(3), **WIDE)
    found = CategoricalPairs().given({"channels": bonds}).covariance_times(p, v)
    own = p * (v - (p * v).sum(1, keepdim=True))
    across = torch.einsum("bij,bj->bi", joint - p[:, :, None, 0] * p[:, None, :, 1], v[:, :, 1])
    torch.testing.assert_close(found[:, :, 0], own[:, :, 0] + across, rtol=0, atol=2e-4)
    assert across.abs().max() > 0.05


def test_paths_upwards_know_the_norm_from_the_other_side():
    rows = torch.multinomial(LOG_P.softmax(0), N, True, generator=torch.Generator().manual_seed(5))
    up = noising_log_weight(
        crude,
        CategoricalPairs(),
        LEVELS,
        VECTORS[rows],
        7,
        log_target,
        readout="categorical",
        condition={"channels": BONDS.expand(N, -1, -1, -1)},
        **WIDE,
    )
    ratio = (LOG_Z - up).exp()
    assert abs(float((ratio.mean() - 1) / (ratio.std() / math.sqrt(N)))) < 4


def test_the_density_of_a_step_has_the_norm_one_and_its_draws_the_moments():
    kernel, noise = CategoricalMixture(), Noise(Stream(1, "test"), range(20000), (3, 1))
    y = torch.tensor([0.7, -0.4, 0.3], **WIDE).reshape(1, 3, 1).expand(20000, -1, -1)
    p = torch.tensor([0.6, 0.3, 0.1], **WIDE).reshape(1, 3, 1).expand(20000, -1, -1)
    move = Move(y, p, 1.0, 0.6)
    made = kernel.draw(move, noise)
    assert (made.mean(0) - move.toward(p)[0]).abs().max() < 4 * 0.7 / math.sqrt(20000)
    # E_N[p/N] = 1 with N a wide Gaussian around the mean
    white = noise.normal()
    wide = move.toward(p) + 1.0 * white
    log_n = -0.5 * (white.square() + math.log(2 * math.pi)).flatten(1).sum(1)
    ratio = (kernel.log_density(move, wide) - log_n).exp()
    assert abs(float((ratio.mean() - 1) / (ratio.std() / math.sqrt(20000)))) < 4
    read = kernel.draw(Move(y, p, 1.0, 0.0), noise)
    assert (read.mean(0) - p[0]).abs().max() < 4 * 0.5 / math.sqrt(20000)
    probe = torch.tensor([1.0, -1.0, 1.0], **WIDE).reshape(1, 3, 1)
    covariance = torch.diag(p[0, :, 0]) - p[0] @ p[0].T
    torch.testing.assert_close(kernel.covariance_times(p[:1], probe)[0, :, 0], covariance @ probe[0, :, 0])


def test_the_kind_of_value_names_its_parts():
    values = Categorical()
    kernel, readout = values.path_kernel()
    assert isinstance(Categorical(bonds="channels").path_kernel()[0], CategoricalPairs)
    assert isinstance(CategoricalPairs().given(None), CategoricalMixture)
    assert isinstance(kernel, CategoricalMixture) and readout == "categorical"
    snapped = values.to_allowed(torch.tensor([[[0.2], [0.9], [0.3]]]).numpy())
    assert snapped.reshape(-1).tolist() == [0, 1, 0]
    with pytest.raises(Exception, match="too large for values of one of q kinds"):
        values.check_smallest_level(0.5)
