"""The kernel that knows what neighbours share: exact for pairs, exact weights always, less dissipation on a lattice."""

import itertools
import math

import pytest
import torch

from physgen.diffusion.exact import EmpiricalMeasure
from physgen.diffusion.inference.paired_kernel import PairedMixture
from physgen.diffusion.inference.path_weights import noising_log_weight, weighted_sample
from physgen.diffusion.inference.reverse_kernels import Move, SpinMixture
from physgen.diffusion.inference.weight_statistics import summarise_weights
from physgen.diffusion.levels import log_uniform
from physgen.lattice import neighbour

WIDE = {"dtype": torch.float64, "tile": 2000}


class Glass:
    """Bonds up (d, *grid), periodic, enumerated."""

    def __init__(self, bonds):
        self.up, self.grid, dimension = bonds, bonds.shape[1:], bonds.ndim - 1
        states = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=math.prod(self.grid))), dtype=torch.float64)
        self.states = states.reshape(-1, 1, *self.grid)
        channels = []  # up and down along each dim, as conditions hold them
        for axis in range(dimension):
            channels += [bonds[axis], bonds[axis].roll(1, axis)]
        self.condition = {"channels": torch.stack(channels)[None]}
        self.law = EmpiricalMeasure(self.states, self.log_target(self.states))
        self.log_Z = float(torch.logsumexp(self.log_target(self.states), 0))

    def log_target(self, x):
        pairs = [self.up[axis] * x[:, 0] * x[:, 0].roll(-1, axis + 1) for axis in range(self.up.ndim - 1)]
        return sum(pairs).flatten(1).sum(1)

    def denoise(self, y, s, condition=None):
        return self.law(y, s)

    def draw(self, kernel, steps, count, denoiser=None, lowest=0.4):
        given = {name: value.expand(count, *value.shape[1:]) for name, value in self.condition.items()}
        drawn = weighted_sample(
            denoiser or self.denoise, kernel, log_uniform(6.0, lowest, steps), (count, 1, *self.grid), 1,
            self.log_target, readout="bernoulli", condition=given, **WIDE,
        )  # fmt: skip
        return drawn, summarise_weights(drawn.log_weight)


@pytest.fixture(scope="module")
def glass():
    """A 3 x 3 cylinder: the odd length has bonds within a colour, which the kernel does not use."""
    bonds = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * 0.8
    bonds[0, -1] = 0
    return Glass(bonds)


def test_the_directions_of_this_test_are_those_of_the_house(glass):
    x = torch.randn(1, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    bonds = glass.condition["channels"]
    local = sum(bonds[:, k, None] * neighbour(x, k, 2) for k in range(4))
    assert float((local * x).sum() / 2) == pytest.approx(float(glass.log_target(x)), rel=1e-12)


@pytest.mark.parametrize("steps", [2, 6])
def test_pairs_are_drawn_exactly_at_any_number_of_steps(steps):
    """Bonds that meet nowhere: every log weight is ln Z, from the first level to the read-out."""
    bonds = torch.zeros(2, 2, 4, dtype=torch.float64)
    bonds[1, :, 0], bonds[1, :, 2] = torch.tensor([0.8, -0.4]), torch.tensor([-0.9, 0.2])
    pairs = Glass(bonds)
    drawn, _ = pairs.draw(PairedMixture(), steps, 200, lowest=1.0)  # below, float64 has no digits left of 1 - |m|
    assert float((drawn.log_weight - pairs.log_Z).abs().max()) < 1e-7
    apart, _ = pairs.draw(SpinMixture(), steps, 200)
    assert float((apart.log_weight - pairs.log_Z).abs().max()) > 0.1  # what independent sites miss
    x = drawn.x[:, 0]
    shared = (x[:, 0, 0] * x[:, 0, 1]).mean()
    assert abs(float(shared) - math.tanh(0.8)) < 4 / math.sqrt(200)


def test_ln_z_is_unbiased_and_less_than_half_is_dissipated(glass):
    drawn, paired = glass.draw(PairedMixture(), 12, 3000)
    _, apart = glass.draw(SpinMixture(), 12, 3000)
    for found in (paired, apart):
        assert found.log_Z_error < 0.05
        assert abs(found.log_Z - glass.log_Z) < 4 * found.log_Z_error
    assert paired.path_KL < apart.path_KL / 2


def test_weights_repair_a_wrong_denoiser(glass):
    def free(y, s, condition=None):
        return 0.9 * torch.tanh(0.8 * y / s.reshape(-1, 1, 1, 1) ** 2)

    _, found = glass.draw(PairedMixture(), 6, 8000, free)
    assert 0.02 < found.log_Z_error < 0.3
    assert abs(found.log_Z - glass.log_Z) < 4 * found.log_Z_error


def test_upward_paths_enclose_ln_z(glass):
    x = glass.law.sample(2000, torch.Generator().manual_seed(3))
    given = {"channels": glass.condition["channels"].expand(2000, -1, -1, -1)}
    upward = noising_log_weight(
        glass.denoise, PairedMixture(), log_uniform(6.0, 0.4, 12), x, 5, glass.log_target, readout="bernoulli",
        condition=given, **WIDE,
    )  # fmt: skip
    backward = summarise_weights(-upward)
    assert abs(-backward.log_Z - glass.log_Z) < 4 * backward.log_Z_error
    downward, _ = glass.draw(PairedMixture(), 12, 2000)
    assert float(downward.log_weight.mean()) < glass.log_Z < float(upward.mean())


@pytest.mark.parametrize("s_next", [0.7, 0.0])
def test_the_density_of_a_step_is_normalised(glass, s_next):
    """Weighed by the independent kernel's density, its draws integrate the other one to 1."""
    count, generator = 20_000, torch.Generator().manual_seed(7)
    y = torch.randn(1, 1, 3, 3, generator=generator, dtype=torch.float64).expand(count, -1, -1, -1) * 1.2
    given = {"channels": glass.condition["channels"] * 0.5}
    move = Move(y, glass.denoise(y[:1], torch.tensor([1.2])).expand_as(y), 1.2, s_next)

    class Source:
        def uniform(self):
            return torch.rand(y.shape, generator=generator, dtype=torch.float64)

        def normal(self):
            return torch.randn(y.shape, generator=generator, dtype=torch.float64)

    drawn = SpinMixture().draw(move, Source())
    ratio = (PairedMixture().given(given).log_density(move, drawn) - SpinMixture().log_density(move, drawn)).exp()
    error = float(ratio.std()) / math.sqrt(count)
    assert 1e-4 < error < 0.02
    assert abs(float(ratio.mean()) - 1) < 4 * error


def test_what_the_kernel_takes_for_the_covariance_is_that_of_a_pair():
    bonds = torch.zeros(2, 1, 4, dtype=torch.float64)
    bonds[1, 0, 0], bonds[1, 0, 2] = 0.9, -1.7
    pairs = Glass(bonds)
    y, s = torch.tensor([[[[0.4, -1.0, 0.2, 0.7]]]], dtype=torch.float64), torch.tensor([0.9])
    probability, states = pairs.law.posterior(y, s)[0], pairs.states.flatten(1)
    centred = states - probability @ states
    exact = (centred * probability[:, None]).T @ centred
    kernel = PairedMixture().given(pairs.condition)
    found = torch.stack(
        [kernel.covariance_times(pairs.law(y, s), v.reshape(1, 1, 1, 4)).flatten() for v in torch.eye(4).double()]
    )
    assert float((found - exact).abs().max()) < 1e-9


def test_without_bonds_the_sites_are_independent_and_before_them_it_is_said():
    assert isinstance(PairedMixture().given({"matrix": torch.zeros(1, 3, 3)}), SpinMixture)
    with pytest.raises(ValueError, match="no bonds yet"):
        PairedMixture().covariance_times(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
