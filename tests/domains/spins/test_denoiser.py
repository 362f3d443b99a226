"""The exact denoiser against enumeration, its limits, and Bayes."""

import numpy as np
import pytest
import torch

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import Domain
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.denoiser import TransferMatrixDenoiser
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.errors import InputError


def data(seed=0, **fields):
    domain = Domain(**fields)
    made = domain.simulate(seed)
    return domain, made, *domain.encode(made, domain.fit_encoding(made))


def noisy(x, s, seed=0):
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.double() + s * z, torch.full((len(x),), s, dtype=torch.float64)


@pytest.mark.parametrize("s", [0.02, 0.3, 1.0, 5.0, 100.0])
@pytest.mark.parametrize(
    "fields",
    [{"length": 4}, {"length": 3, "boundary": "free"}, {"dimension": 3, "length": 2}, {"dimension": 1, "length": 11}],
)
def test_posterior_mean_equals_enumeration(fields, s):
    domain, made, x, condition = data(instances=2, replicas=2, temperatures=(0.4, 1.3), **fields)
    y, level = noisy(x, s)
    found = domain.exact_denoiser(made, {})(y, level, condition).reshape(len(x), -1).numpy()
    grid, every = x.shape[2:], enumerate_spins(x[0].numel()).numpy()
    bonds = condition["channels"][:, ::2].double().numpy()
    for i in range(len(x)):
        law = enumerate_graph(every.shape[1], lattice_edges(grid), bonds[i].reshape(-1), 1.0, y[i].numpy() / s**2)
        np.testing.assert_allclose(found[i], law.probabilities @ every, atol=1e-12)


def test_error_of_the_denoiser_is_the_posterior_variance():
    """Bayes: E|x - D|^2 = E(1 - D^2) for data from the law; 10x10, so that several chunks and both halves work."""
    domain, made, x, condition = data(length=10, instances=40, replicas=10, temperatures=(1.0,))
    y, level = noisy(x, 1.2)
    means = domain.exact_denoiser(made, {})(y, level, condition)
    per_instance = ((x - means) ** 2 - (1 - means**2)).reshape(40, -1).mean(dim=1)
    assert abs(per_instance.mean()) < 4 * per_instance.std() / np.sqrt(40)
    assert 0.05 < (1 - means**2).mean() < 0.95


def test_the_answer_to_one_sample_does_not_depend_on_the_others():
    domain, made, x, condition = data(length=8, instances=3, replicas=100, temperatures=(0.8,))
    y, level = noisy(x, 0.7)
    denoiser = domain.exact_denoiser(made, {})
    whole = denoiser(y, level, condition)
    alone = denoiser(y[41:42], level[41:42], {"channels": condition["channels"][41:42]})
    torch.testing.assert_close(whole[41:42], alone, rtol=1e-12, atol=1e-12)
    assert denoiser(y.float(), level.float(), condition).dtype == torch.float32


def test_couplings_that_it_cannot_solve_are_refused():
    with pytest.raises(InputError, match="free boundary"):
        TransferMatrixDenoiser(torch.ones(1, 4, 4, 4))(torch.ones(1, 1, 4, 4), torch.ones(1))
    with pytest.raises(InputError, match="layer of 21 spins is too wide"):
        TransferMatrixDenoiser()(torch.ones(1, 1, 4, 21), torch.ones(1), {"channels": torch.zeros(1, 4, 4, 21)})
    with pytest.raises(InputError, match="channels"):
        TransferMatrixDenoiser()(torch.ones(2, 1, 4, 4), torch.ones(2))


def test_sampling_with_the_exact_denoiser_gives_the_law_of_held_out_couplings():
    """No training: the whole road from noise to spins; the energy within 4 standard errors, P(q) by its p-value."""
    from physgen.diagnostics.comparison import compare
    from physgen.diffusion.levels import log_uniform
    from physgen.diffusion.sampling.samplers import sample

    domain, reference, _, _ = data(length=6, instances=12, replicas=64, temperatures=(0.7, 1.5))
    template = domain.request(reference, 64, {})
    condition = domain.condition(template, {})
    shape = (len(condition["labels"]), 1, 6, 6)
    levels = log_uniform(20.0, 0.2, 24)
    x = sample(domain.exact_denoiser(template, {}), levels, shape, seed=1, condition=condition, tile=512)
    drawn = domain.decode(x, template, {})
    off = drawn.energy.mean("replica") - reference.exact_energy
    error = drawn.energy.std("replica", ddof=1) / 8
    assert np.all(np.abs(off.sum("disorder")) < 4 * np.sqrt((error**2).sum("disorder")))
    for name in ("overlap", "link_overlap"):
        assert float(compare(reference, drawn, domain.diagnostics()[name]).p_value) > 1e-3


def test_the_last_level_is_refused_where_the_nearest_vertex_is_no_longer_a_drawn_one():
    """Exact spins s, y = s + s_min z, signs of E[s | y]: energies stay at .4 (the largest allowed) and fall at .7.

    Drawing each spin from its mean errs as much the other way: the spins of a posterior are not independent.
    """
    from physgen.diffusion.values import BINARY_LARGEST_S_MIN, Binary, Real
    from physgen.domains.spins.layout import with_spins

    domain, made, _, condition = data(length=6, instances=20, replicas=100, temperatures=(1.0,))
    spins = domain.encode(made, {})[0].double()
    noise = torch.randn(spins.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bare = made.drop_vars(["field", "energy"])

    def shift(s_min, drawn):
        mean = domain.exact_denoiser(made, {})(spins + s_min * noise, torch.full((len(spins),), s_min), condition)
        threshold = torch.rand(mean.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1 if drawn else 0.0
        end = torch.where(mean >= threshold, 1, -1).numpy().astype(np.int8).reshape(made.field.shape)
        change = (with_spins(bare, end).energy - made.energy).mean(["temperature", "replica"])
        return float(change.mean()), float(change.std(ddof=1)) / 20**0.5

    allowed, low, high = shift(BINARY_LARGEST_S_MIN, False), shift(0.7, False), shift(0.7, True)
    assert abs(allowed[0]) < 0.003 + 3 * allowed[1]  # 1 % in temperature is .003
    assert low[0] < -0.005 and low[0] < -5 * low[1] and high[0] > 0.005 and high[0] > 5 * high[1]
    x = spins.float()
    assert Binary().noise_range(x, s_min=0.4)[0] == 0.4
    with pytest.raises(InputError, match="s_min=0.7 is too large .* 0.4 or less"):
        Binary().noise_range(x, s_min=0.7)
    assert Real().noise_range(x, s_min=0.7)[0] == 0.7
