"""Levels of least dissipation: the metric against enumeration, and what the levels gain for an exact denoiser."""

import itertools

import pytest
import torch

from physgen.diffusion.discretization.dissipation import least_dissipation, shared_covariance
from physgen.diffusion.exact import EmpiricalMeasure
from physgen.diffusion.inference.path_weights import weighted_sample
from physgen.diffusion.inference.reverse_kernels import SpinMixture
from physgen.diffusion.inference.weight_statistics import summarise_weights
from physgen.diffusion.levels import check_levels, log_uniform

BONDS = torch.tensor([1.0, -0.8, 1.2, 0.9, 1.1, -1.0, 0.7, 0.8], dtype=torch.float64)  # of a ring, frustrated or not


def energy_weights(spins):
    """-beta H of a ring of eight at T = 1, (B,)."""
    return (BONDS * spins * spins.roll(-1, 1)).sum(1)


@pytest.fixture(scope="module")
def ring():
    states = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=8)), dtype=torch.float64)
    return EmpiricalMeasure(states[:, None], energy_weights(states))


@pytest.mark.parametrize("s", [3.0, 0.8])
def test_the_metric_is_what_the_sites_of_the_posterior_share(ring, s):
    y = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * s
    probability, states = ring.posterior(y, torch.tensor([s]))[0], ring.data[:, 0]
    centred = states - probability @ states
    covariance = (centred * probability[:, None]).T @ centred
    off = covariance - torch.diag(covariance.diagonal())
    probes = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=8)), dtype=torch.float64)[:, None]
    variance = covariance.diagonal().expand_as(probes)
    found = shared_covariance(ring, y.expand_as(probes), s, variance * probes, None, probes).mean()
    assert float(found) == pytest.approx(float(off.square().sum()), rel=5e-3)  # D is differenced over 4 % of s


def test_at_equal_steps_the_paths_dissipate_less_and_ln_z_stays(ring):
    exact = float(torch.logsumexp(energy_weights(ring.data[:, 0]), 0))
    x = ring.sample(256, torch.Generator().manual_seed(2))
    found = {}
    for name, levels in (("even", log_uniform(10.0, 0.2, 12)), ("least", least_dissipation(ring, x, 12, (10.0, 0.2)))):
        assert len(check_levels(levels)) == 13 and levels[-1] == 0 and 0.2 <= levels[-2] < levels[0] <= 10
        drawn = weighted_sample(
            ring, SpinMixture(), levels, (2000, 1, 8), 3, lambda x: energy_weights(x[:, 0]), readout="bernoulli"
        )
        found[name] = summarise_weights(drawn.log_weight)
        assert abs(found[name].log_Z - exact) < 4 * found[name].log_Z_error
    gain = found["even"].path_KL - found["least"].path_KL
    error = (found["even"].path_KL_error ** 2 + found["least"].path_KL_error ** 2) ** 0.5
    assert gain > 4 * error


def test_where_nothing_is_shared_the_levels_are_even(ring):
    def free(y, s, condition=None):
        return torch.tanh(y / s.reshape(-1, 1, 1) ** 2)

    x = torch.ones(8, 1, 8, dtype=torch.float64)
    found = least_dissipation(free, x, 4, (1.0, 0.3))
    assert len(check_levels(found)) == 5 and found[-1] == 0


def test_many_steps_begin_at_the_highest_level_and_keep_equal_shares(ring):
    """Equal shares from s = infinity would put several levels above s_max; even levels in their place waste steps."""
    x = ring.sample(256, torch.Generator().manual_seed(4))
    few, many = (least_dissipation(ring, x, steps, (1.5, 0.2)) for steps in (12, 48))
    assert len(check_levels(many)) == 49 and float(many[0]) == float(few[0]) == pytest.approx(1.5)
    steps = -many[:-1].log().diff()
    assert float(steps.max() / steps.min()) > 2  # log-uniform ones are equal
    assert torch.allclose(many[:48:4], few[:12], rtol=0.02)  # the shares of four steps are those of one
