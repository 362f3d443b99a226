r"""Paths of angles: densities against quadrature, and weights that are exact whatever the denoiser is."""

import math

import pytest
import torch

from physgen.diffusion.exact import von_mises
from physgen.diffusion.inference.circle_kernel import CircleMixture, log_density_of
from physgen.diffusion.inference.circle_pairs import CirclePairs, message
from physgen.diffusion.inference.path_weights import noising_log_weight, weighted_sample
from physgen.diffusion.inference.reverse_kernels import Move, Noise
from physgen.diffusion.inference.weight_statistics import summarise_weights
from physgen.diffusion.learning.circle import CircleDenoiser
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import Stream
from physgen.networks.vector_passing import VectorPassing

WIDE = {"dtype": torch.float64}
GRID, STRENGTH, POINTS = (2, 2), 0.6, 24
LEVELS = log_uniform(4.0, 0.3, 8)
N = 600
ANGLES = torch.arange(POINTS, **WIDE) * (2 * math.pi / POINTS)
CIRCLE = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)  # (M, 2)
TURN = ANGLES[:, None] - ANGLES[None]


def log_target(x):
    """Strength times the cosines of a torus of 2 x 2: two bonds between neighbours."""
    return STRENGTH * sum((x * x.roll(-1, axis)).flatten(1).sum(1) for axis in (2, 3))


def log_norm():
    """Z of four sites on M directions each: a ring of four bonds of twice the strength."""
    bond = torch.exp(2 * STRENGTH * TURN.cos())
    return float(torch.linalg.matrix_power(bond, 4).diagonal().sum().log() + 4 * math.log(2 * math.pi / POINTS))


LOG_Z = log_norm()


def exact(y, s, condition=None):
    """Mean vectors given y by quadrature over all four angles, sites 00 01 11 10 a ring."""
    h = y / s.reshape(-1, 1, 1, 1) ** 2
    ring = torch.stack([h[:, :, 0, 0], h[:, :, 0, 1], h[:, :, 1, 1], h[:, :, 1, 0]], dim=1)  # (B, 4, 2)
    local = ring @ CIRCLE.T
    weight = (local - local.amax(2, keepdim=True)).exp()  # (B, 4, M)
    bond = torch.exp(2 * STRENGTH * (TURN.cos() - 1))
    steps = weight[:, :, :, None] * bond  # T_i[a, b] = w_i(a) bond(a, b)
    means: list[torch.Tensor] = [torch.empty(0)] * 4
    for i in (0, 1):  # the trace of a ring opened at site i, and of the same ring opened at site i + 2
        half = steps[:, i] @ steps[:, i + 1], steps[:, i + 2] @ steps[:, (i + 3) % 4]
        both = half[0] * half[1].transpose(1, 2)
        for site, p in ((i, both.sum(2)), (i + 2, both.sum(1))):
            means[site] = p @ CIRCLE / p.sum(1, keepdim=True)
    a, b, c, d = means
    return torch.stack([torch.stack([a, b], 2), torch.stack([d, c], 2)], 2)


def free(y, s, condition=None):
    return von_mises.mean_of(y / s.reshape(-1, 1, 1, 1) ** 2)


def crude(y, s, condition=None):
    """The neighbours taken at what they are without bonds: wrong, and cheap."""
    seen = free(y, s)
    around = sum(seen.roll(step, axis) for step in (-1, 1) for axis in (2, 3))
    return von_mises.mean_of(y / s.reshape(-1, 1, 1, 1) ** 2 + 0.7 * STRENGTH * around)


def untrained():
    torch.manual_seed(0)
    return CircleDenoiser(VectorPassing(2, width=4, depth=1, iterations=3).double())


BONDS = torch.full((1, 4, *GRID), STRENGTH, **WIDE)
DENOISERS = {"exact": exact, "crude": crude, "free": free, "untrained": untrained()}


def drawn(denoiser, kernel=None, n=N):
    return weighted_sample(
        denoiser, kernel or CircleMixture(), LEVELS, (n, 2, *GRID), 3, log_target, readout="angle",
        condition={"channels": BONDS.expand(n, -1, -1, -1)}, **WIDE,
    )  # fmt: skip


def z_of(log_weight):
    """Standard errors of the mean weight from Z; a mean of independent numbers."""
    ratio = (log_weight - LOG_Z).exp()
    return float((ratio.mean() - 1) / (ratio.std() / math.sqrt(len(ratio))))


def test_the_norm_is_that_of_bessel_functions():
    n = torch.arange(-30, 31)
    bessel = torch.tensor([float(torch.exp(2 * STRENGTH * TURN[0].cos()) @ torch.cos(k * ANGLES)) / POINTS for k in n])
    assert pytest.approx(float((2 * math.pi * bessel[abs(n) < POINTS // 2]).pow(4).sum().log()), abs=1e-6) == LOG_Z


@pytest.mark.parametrize(
    ("which", "kernel"),
    [
        ("crude", CircleMixture()), ("untrained", CircleMixture()), ("exact", CirclePairs()), ("crude", CirclePairs()),
        ("free", CirclePairs()),
    ],
)  # fmt: skip
def test_the_mean_weight_is_the_norm_whatever_the_denoiser(which, kernel):
    found = drawn(DENOISERS[which], kernel)
    torch.testing.assert_close(found.x.square().sum(1), torch.ones(N, *GRID, **WIDE))
    statistics = summarise_weights(found.log_weight)
    assert statistics.effective_fraction > {"exact": 0.5, "crude": 0.2, "untrained": 0.4, "free": 0.02}[which]
    assert abs(z_of(found.log_weight)) < 4
    weights, energies = found.log_weight.softmax(0), log_target(found.x)  # and so is a reweighted mean
    value = float(weights @ energies)
    error = float((weights.square() @ (energies - value).square()).sqrt())
    bond = torch.exp(2 * STRENGTH * TURN.cos())
    around = torch.linalg.matrix_power(bond, 3)
    pair = (TURN.cos() * bond * around.T).sum() / (bond * around.T).sum()
    assert abs(value - 8 * STRENGTH * float(pair)) < 4 * error


class NoNorm(CircleMixture):
    """The norm of the read-out left out."""

    def log_density(self, move, y_next):
        missing = von_mises.log_bessel(von_mises.vector_of(move.denoised)).flatten(1).sum(1)
        return super().log_density(move, y_next) + (missing if move.s_next == 0 else 0)


class Wider(CircleMixture):
    """Weighs steps with a density of a fifth too large a variance: a density, but not that of the draws."""

    def log_density(self, move, y_next):
        if move.s_next == 0:
            return super().log_density(move, y_next)
        mean = move.toward(move.denoised)
        closer = super().log_density(move, mean + (y_next - mean) / 1.2**0.5)
        return closer - 0.5 * y_next[0].numel() * math.log(1.2)


@pytest.mark.parametrize("kernel", [NoNorm(), Wider()])
def test_wrong_densities_are_seen(kernel):
    assert abs(z_of(drawn(crude, kernel, 2000).log_weight)) > 6


def test_what_neighbours_have_in_common_makes_paths_better():
    """The exact denoiser, so that all of the divergence is the kernel's: a sixth of it where pairs are known."""
    apart, together = (summarise_weights(drawn(exact, kernel, 300).log_weight) for kernel in (None, CirclePairs()))
    assert together.path_KL + 4 * together.path_KL_error < 0.5 * apart.path_KL


def test_paths_upwards_know_the_norm_from_the_other_side():
    generator = torch.Generator().manual_seed(5)
    bond = torch.exp(2 * STRENGTH * TURN.cos())  # the ring site by site, on directions turned as one by any angle
    power = [torch.linalg.matrix_power(bond, k) for k in range(4)]
    kinds = torch.zeros(N, 4, dtype=torch.long)
    for i in range(1, 4):
        kinds[:, i] = torch.multinomial(bond[kinds[:, i - 1]] * power[4 - i][:, 0], 1, generator=generator)[:, 0]
    angles = ANGLES[kinds] + 2 * math.pi * torch.rand(N, 1, generator=generator, **WIDE)
    e = torch.stack([angles.cos(), angles.sin()], dim=1)  # sites 00 01 11 10
    x = torch.stack([torch.stack([e[..., 0], e[..., 1]], 2), torch.stack([e[..., 3], e[..., 2]], 2)], 2)
    up = noising_log_weight(
        crude, CirclePairs(), LEVELS, x, 7, log_target, readout="angle",
        condition={"channels": BONDS.expand(N, -1, -1, -1)}, **WIDE,
    )  # fmt: skip
    ratio = (LOG_Z - up).exp()
    assert abs(float((ratio.mean() - 1) / (ratio.std() / math.sqrt(N)))) < 4


def test_the_density_of_a_step_is_the_integral_over_the_circle():
    """The closed form against 96 directions, for laws and increments of any size."""
    directions = torch.arange(96, **WIDE) * (2 * math.pi / 96)
    e = torch.stack([directions.cos(), directions.sin()], dim=1)
    generator = torch.Generator().manual_seed(1)
    for step in (0.05, 1.0, 20.0):
        laws, added = (4 * torch.randn(50, 2, 1, generator=generator, **WIDE) for _ in range(2))
        log_p = (e @ laws[:, :, 0].T).T - von_mises.log_bessel(laws)[:, :, 0]
        distance = (added.transpose(1, 2) - step * e).square().sum(2)
        each = log_p - distance / (2 * step) - math.log(2 * math.pi * step)
        expected = each.logsumexp(1) - math.log(96)
        torch.testing.assert_close(log_density_of(laws, added, step), expected, rtol=0, atol=1e-10)
        read = (e @ laws[:, :, 0].T).T - (e @ laws[:, :, 0].T).T.logsumexp(1, keepdim=True)
        read = read - math.log(2 * math.pi / 96)
        found = log_density_of(laws, e[:50, :, None], None)
        torch.testing.assert_close(found, read[torch.arange(50), torch.arange(50)], rtol=0, atol=1e-10)


def test_draws_of_a_step_have_its_moments():
    count = 20000
    kernel, noise = CircleMixture(), Noise(Stream(1, "test"), range(count), (2, 1))
    y = torch.tensor([0.7, -0.4], **WIDE).reshape(1, 2, 1).expand(count, -1, -1)
    d = torch.tensor([0.5, 0.3], **WIDE).reshape(1, 2, 1).expand(count, -1, -1)
    move = Move(y, d, 1.0, 0.6)
    made = kernel.draw(move, noise)[:, :, 0]
    rho = 1 - 0.36
    v = torch.eye(2, **WIDE)
    own = torch.stack([kernel.covariance_times(d[:1], v[i].reshape(1, 2, 1))[0, :, 0] for i in range(2)])
    expected = 0.36 * rho * v + rho**2 * own
    assert (made.mean(0) - move.toward(d)[0, :, 0]).abs().max() < 4 * math.sqrt(float(expected.max()) / count)
    spread = made.T.cov() - expected
    assert spread.abs().max() < 4.5 * math.sqrt(2 / count) * float(expected.max())
    read = kernel.draw(Move(y, d, 1.0, 0.0), noise)
    assert (read.mean(0) - d[0]).abs().max() < 4 * math.sqrt(0.5 / count)


def test_a_message_has_the_first_harmonic_of_the_bond_and_its_limits():
    field = torch.tensor([[1.2, -0.7], [0.01, 0.0], [300.0, 400.0]], **WIDE)[:, :, None]
    bond = torch.full((3, 1, 1), 0.8, **WIDE)
    sent = message(bond, field)
    length = von_mises.size(sent)
    mean = von_mises.algebraic_length(bond) * von_mises.algebraic_length(von_mises.size(field))
    torch.testing.assert_close(von_mises.algebraic_length(length), mean)
    torch.testing.assert_close(sent[2], 0.8 * field[2] / 500, rtol=3e-3, atol=0)  # a certain neighbour: K e_j
    torch.testing.assert_close(message(-bond, field), -sent)
    kernel = CirclePairs().given({"channels": torch.full((3, 2, 2), 0.8, **WIDE)})
    laws = torch.cat([field, field.flip(0)], dim=2)
    added = torch.cat([field / 500, torch.zeros_like(field)], dim=2)
    first = torch.tensor([True, False]).expand(3, 1, 2)
    known = kernel._updated(laws, added, None, first)
    assert torch.equal(known[:, :, 0], laws[:, :, 0])
    assert (known[:, :, 1] - laws[:, :, 1]).abs().max() > 0.1


def test_the_covariance_of_a_pair_is_nearly_that_of_its_law():
    """One bond between two angles, by quadrature: off by .04 to .09 of it at these K, by .27 at K = 1.5."""
    generator = torch.Generator().manual_seed(2)
    fields = 1.5 * torch.randn(4, 2, 2, generator=generator, **WIDE)  # (B, components, site)
    strength = torch.tensor([0.8, -0.8, 0.5, 0.3], **WIDE)
    local = torch.einsum("mc,bcs->bsm", CIRCLE, fields)
    joint = (local[:, 0, :, None] + local[:, 1, None] + strength[:, None, None] * TURN.cos()).flatten(1).softmax(1)
    joint = joint.reshape(4, POINTS, POINTS)
    mean = torch.stack([joint.sum(2) @ CIRCLE, joint.sum(1) @ CIRCLE], dim=2)
    bonds = torch.zeros(4, 2, 2, **WIDE)
    bonds[:, 0, 0] = bonds[:, 1, 1] = strength
    kernel, columns = CirclePairs().given({"channels": bonds}), []
    for component in range(2):
        v = torch.zeros(4, 2, 2, **WIDE)
        v[:, component, 1] = 1
        columns.append(kernel.covariance_times(mean, v)[:, :, 0])
    shared = torch.einsum("bmn,mi,nj->bij", joint, CIRCLE, CIRCLE) - mean[:, :, None, 0] * mean[:, None, :, 1]
    missed = (torch.stack(columns, dim=2) - shared).flatten(1).norm(dim=1) / shared.flatten(1).norm(dim=1)
    assert missed.max() < 0.2 and shared.flatten(1).norm(dim=1).min() > 0.02
