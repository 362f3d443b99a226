"""Spins in an external field: what the core is told of it, symmetries, exact means, exact weights, refusals."""

import itertools

import numpy as np
import pytest
import torch

from physgen.diffusion.draws import SampleDraws
from physgen.diffusion.inference.paired_kernel import PairedMixture
from physgen.diffusion.inference.path_weights import weighted_sample
from physgen.diffusion.learning.denoisers import SpinDenoiser
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.symmetry import SPIN_FLIP, GroupAverage
from physgen.domains.spins import Domain
from physgen.domains.spins.certificate import spin_identities
from physgen.domains.spins.exact import log_partition
from physgen.domains.spins.features import message_feature_array
from physgen.errors import InputError
from physgen.networks.message_passing import MessagePassing

SMALL = {"length": 4, "instances": 6, "replicas": 8, "temperatures": (0.8, 1.6), "random_field": 0.9}


def data(**fields):
    domain = Domain(**SMALL | fields)
    made = domain.simulate(seed=2)
    return domain, made, *domain.encode(made, domain.fit_encoding(made))


def test_the_condition_is_the_field_over_the_temperature_and_is_not_there_without_one():
    domain, made, _, condition = data()
    beta = 1 / made.temperature.values
    expected = (made.external_field.values[:, None] * beta[:, None, None])[:, :, None].repeat(8, axis=2)
    np.testing.assert_allclose(condition["field"].numpy(), expected.reshape(-1, 1, 4, 4), rtol=1e-6)
    assert set(domain.condition(made.drop_vars("external_field"), {})) == {"channels", "labels"}
    none = made.assign(external_field=made.external_field * 0)
    assert set(domain.condition(none, {})) == {"channels", "labels"}


def augmented(domain, y, condition):
    """One random symmetry of each sample, as training draws it."""
    return domain.augment(y, condition, SampleDraws(3, "augmentation", range(len(y))))


@pytest.mark.parametrize(
    "fields",
    [{}, {"model": "ferromagnet"}, {"model": "ferromagnet", "uniform_field": 0.7, "random_field": 0.0}],
    ids=["glass", "random-field Ising", "ferromagnet in a field"],
)
def test_the_exact_mean_commutes_with_the_augmentation(fields):
    """The mean of the moved sample in its moved couplings and field is the moved mean."""
    domain, made, x, condition = data(**fields)
    exact = domain.exact_denoiser(made, {})
    y = x.double() + 1.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    s = torch.full((len(x),), 1.1, dtype=torch.float64)
    mean = exact(y, s, condition)
    torch.testing.assert_close(exact(y, s), mean)  # it knows the field of its own template
    moved, given = augmented(domain, y, condition)
    assert (moved.sum((1, 2, 3)) * y.sum((1, 2, 3)) < 0).any()  # some were turned
    torch.testing.assert_close(exact(moved, s, given), augmented(domain, mean, condition)[0], rtol=1e-9, atol=1e-9)
    wrong = exact(moved, s, given | {"field": condition["field"]})
    assert (wrong - augmented(domain, mean, condition)[0]).abs().max() > 0.05


def test_averages_over_the_flip_turn_the_field():
    domain, made, x, condition = data()
    exact, s = domain.exact_denoiser(made, {}), torch.full((len(x),), 0.9, dtype=torch.float64)
    given = {name: value.double() for name, value in condition.items()}
    averaged = GroupAverage(exact, SPIN_FLIP)(x.double(), s, given)
    torch.testing.assert_close(averaged, exact(x.double(), s, given), rtol=1e-9, atol=1e-9)


def test_an_odd_network_of_its_own_flip_is_odd_with_its_field():
    network = torch.nn.Module()
    network.weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    network.forward = lambda x, c, given: x.square() + given["field"] + given["field"].square()
    denoiser, y, s = SpinDenoiser(network, antisymmetric=True), torch.randn(2, 1, 4).double(), torch.ones(2).double()
    field = torch.randn(2, 1, 4).double()
    torch.testing.assert_close(denoiser(-y, s, {"field": -field}), -denoiser(y, s, {"field": field}))


def test_mean_weights_of_an_untrained_network_are_z():
    """3 x 3 torus in a random field, Z by enumeration: the read-out, the pairs and the target know the field."""
    generator = torch.Generator().manual_seed(5)
    up = 0.6 * torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    field = 0.8 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    channels = torch.stack([up[0], up[0].roll(1, 0), up[1], up[1].roll(1, 1)])

    def minus_energy(x):
        x = x[:, 0].double()
        return (x * (up[0] * x.roll(-1, 1) + up[1] * x.roll(-1, 2) + field)).flatten(1).sum(1)

    states = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=9))).reshape(-1, 1, 3, 3)
    log_z, count = float(torch.logsumexp(minus_energy(states), 0)), 2000
    given = {
        "channels": channels.float().expand(count, 4, 3, 3),
        "field": field.float().expand(count, 1, 3, 3),
    }
    denoiser = SpinDenoiser(MessagePassing(2, width=16, depth=2))
    found = weighted_sample(
        denoiser, PairedMixture(), log_uniform(20.0, 0.3, 10), (count, 1, 3, 3), 1, minus_energy,
        readout="bernoulli", condition=given, tile=2000,
    )  # fmt: skip
    weights = torch.exp(found.log_weight - log_z)
    error = float(weights.std()) / count**0.5
    assert abs(float(weights.mean()) - 1) < 4 * error < 0.2
    mean = (weights[:, None, None] * found.x[:, 0]).mean(0)
    exact = (torch.softmax(minus_energy(states), 0)[:, None, None] * states[:, 0]).sum(0)
    spread = (weights[:, None, None] * found.x[:, 0]).std(0) / count**0.5
    assert float(((mean - exact) / spread).abs().max()) < 4
    assert float(exact.abs().max()) > 0.3  # the field does act


def test_paths_of_free_spins_in_a_field_dissipate_nothing():
    """The start knows their means, the steps are exact: every weight is Z, at three steps."""
    field = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(1)).expand(64, 1, 4, 4)
    given = {"channels": torch.zeros(64, 4, 4, 4), "field": field}
    found = weighted_sample(
        SpinDenoiser(MessagePassing(2, width=8, depth=1)).double(), PairedMixture(), log_uniform(3.0, 0.5, 3),
        (64, 1, 4, 4), 1, lambda x: (x * field[:1].double()).flatten(1).sum(1), readout="bernoulli", condition=given,
        tile=64, dtype=torch.float64,
    )  # fmt: skip
    log_z = torch.log(2 * torch.cosh(field[0].double())).sum()
    torch.testing.assert_close(found.log_weight, log_z.expand(64), rtol=0, atol=1e-7)


def test_what_networks_take():
    domain, made, _, _ = data()
    bare = made.drop_vars("external_field")
    without, trained = domain.fit_encoding(bare), domain.fit_encoding(made)
    assert "external_field" not in without and len(trained["external_field"]) == 2
    with pytest.raises(InputError, match=r"external fields of .*trained without any.*data.random_field"):
        domain.request(made, 2, {}, without)
    assert domain.request(bare, 2, {}, trained).sizes["replica"] == 2
    assert "external_field" in domain.request(made, 2, {}, trained)
    with pytest.raises(InputError, match=r"beyond 1.5 times that nothing was learned"):
        domain.request(made.assign(external_field=1.6 * made.external_field), 2, {}, trained)
    assert "not_trainable" not in domain.simulate_given(bare.drop_vars(["field", "energy"]), 1).attrs
    domain.network({"kind": "message_passing", "width": 8}, trained)
    with pytest.raises(InputError, match=r"'unet' knows no external field.*message_passing"):
        domain.network({"kind": "unet", "width": 8}, trained)


def test_features_of_the_two_sample_test_see_the_field():
    """Turned with the spins they stay; without its field a configuration has other local energies."""
    rng = np.random.default_rng(1)
    neighbours, strengths = np.array([[1], [0]]), np.array([[0.7], [0.7]])
    spins, field, gauge = rng.choice([-1, 1], (6, 2)), np.array([0.4, -1.1]), np.array([1, -1])
    found = message_feature_array(spins, neighbours, strengths, external_field=field)
    turned = message_feature_array(spins * gauge, neighbours, -strengths, external_field=field * gauge)
    np.testing.assert_allclose(turned, found, atol=1e-6)
    energies = 2 * 0.7 * spins.prod(1) + spins @ field
    np.testing.assert_allclose(found[:, -1], energies / 2 / 0.7, atol=1e-6)


def test_certificates_in_a_field_hold_what_holds_there():
    domain, made, _, _ = data(instances=40)
    rows, absent = spin_identities(made)
    names, missing = {row.name for row in rows}, {one.name for one in absent}
    assert {"flip_balance", "katzgraber_young", "nishimori"} <= missing
    assert {"callen", "callen_spins", "callen_bonds", "drift_1", "energy_ratio"} <= names
    for row in rows:
        z = row.deviations.mean() / (row.deviations.std(ddof=1) / len(row.deviations) ** 0.5)
        assert abs(z) < 4.5, row.name
    rows, _ = spin_identities(made.assign(external_field=-made.external_field))
    callen = next(row for row in rows if row.name == "callen")
    assert abs(callen.deviations.mean()) > 10 * callen.deviations.std(ddof=1) / 40**0.5


def test_ln_z_of_the_transfer_matrix_is_that_of_the_law_that_weights_use():
    domain, made, x, _ = data(instances=1, length=3, temperatures=(1.1,))
    target = domain.log_target(made, {})
    states = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=9))).reshape(-1, 1, 3, 3)
    exact = log_partition(made.couplings.values[0], 1.1, made.external_field.values[0])[0]
    assert float(torch.logsumexp(target(states, 0), 0)) == pytest.approx(exact, abs=1e-9)
