"""The domain: seeds, conditions, symmetries, requests, refusals."""

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.diffusion.draws import SampleDraws
from physgen.domains.spins import Domain, symmetry
from physgen.domains.spins.layout import check_spins
from physgen.errors import InputError

SMALL = {"length": 4, "instances": 5, "replicas": 6, "temperatures": (0.8, 1.6)}


def weight(x, channels, field=None):
    """sum over bonds of beta J s s, once with the bonds up and once with the bonds down; and that of beta h s."""
    sums = [] if field is None else [(x * field).flatten(1).sum(1)]
    for shift, first in ((-1, 0), (1, 1)):
        terms = [x[:, 0] * x[:, 0].roll(shift, axis + 1) * channels[:, 2 * axis + first] for axis in range(x.ndim - 2)]
        sums.append(sum(terms).flatten(1).sum(1))
    return sums


@pytest.mark.parametrize(
    "fields",
    [{}, {"method": "parallel_tempering", "sweeps": 1000}, {"boundary": "periodic"}, {"method": "enumeration"}],
)
def test_an_instance_depends_on_the_seed_and_its_number_alone(fields):
    made = Domain(**SMALL | fields).simulate(seed=3, processes=2)
    xr.testing.assert_equal(made, Domain(**SMALL | fields).simulate(seed=3, processes=1))
    fewer = Domain(**SMALL | fields | {"instances": 3}).simulate(seed=3)
    assert np.array_equal(fewer.field, made.field[:3]) and np.array_equal(fewer.couplings, made.couplings[:3])
    assert not np.array_equal(made.couplings[0], made.couplings[1])
    assert not np.array_equal(Domain(**SMALL | fields).simulate(seed=4).couplings, made.couplings)


@pytest.mark.parametrize("boundary", ["cylinder", "periodic", "free"])
@pytest.mark.parametrize(("model", "law"), [("edwards_anderson", "bimodal"), ("ferromagnet", "gaussian")])
def test_couplings_have_their_law_and_boundary(boundary, model, law):
    domain = Domain(model=model, couplings=law, boundary=boundary, length=6, instances=30, replicas=2)
    couplings = domain.simulate(seed=0).couplings.values
    assert couplings.dtype == np.float32
    cut = {"cylinder": (0,), "periodic": (), "free": (0, 1)}[boundary]
    for axis in (0, 1):
        seam = np.take(couplings[:, axis], -1, axis=axis + 1)
        assert np.all(seam == 0) if axis in cut else np.all(np.abs(seam) == 1)
    inner = couplings[:, :, :-1, :-1]
    assert np.all(np.abs(inner) == 1)
    expected = 1.0 if model == "ferromagnet" else 0.0
    assert abs(inner.mean() - expected) < 4 / np.sqrt(inner.size)


def test_channels_hold_the_bonds_around_each_site():
    domain = Domain(**SMALL)
    made = domain.simulate(seed=0)
    x, condition = domain.encode(made, domain.fit_encoding(made))
    up, down = weight(x, condition["channels"])
    energy = made.energy.values * 16 / made.temperature.values[:, None]
    np.testing.assert_allclose(-up, energy.reshape(-1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(down, up, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(condition["labels"][:6, 0], np.log(1 / 0.8), rtol=1e-6)
    assert np.array_equal(domain.decode(x, made, {}).field, made.field)


MAPS = ("random_moves", "random_symmetry", "without gauge")


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_symmetries_leave_the_weight_of_each_sample_unchanged(name, dimension):
    generator, draws = torch.Generator().manual_seed(0), SampleDraws(0, "symmetries", range(40))
    x = torch.randint(2, (40, 1, *[4] * dimension), generator=generator).float() * 2 - 1
    bonds = torch.randn(40, dimension, *[4] * dimension, generator=generator)
    channels = torch.stack([b for a in range(dimension) for b in (bonds[:, a], bonds[:, a].roll(1, a + 1))], dim=1)
    field = torch.randn(x.shape, generator=generator) if name != "random_moves" else None
    if field is not None:
        given = {"channels": channels, "labels": x[:, 0], "field": field}
        gauged = name == "random_symmetry"
        y, condition = symmetry.random_symmetry(x, given, draws, gauged=gauged, boundary="periodic")
        moved = y, condition["channels"], condition["field"]
        assert condition["labels"] is not None
        assert ((moved[1].sort(1).values - channels.sort(1).values).abs().max() > 0.1) or not gauged
        turned = (y.flatten(1).sum(1) - x.flatten(1).sum(1)).abs() > 0
        assert turned.any() and not torch.equal(moved[2], field)
    else:
        moves = symmetry.random_moves((4,) * dimension, draws, "periodic")
        moved = moves.move(x), moves.move_bonds(channels), None
    assert not torch.equal(moved[1], channels)
    for before, after in zip(weight(x, channels, field), weight(*moved), strict=True):
        torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_augmentation_keeps_the_seam_of_the_cylinder_and_the_law_of_the_ferromagnet():
    domain = Domain(**SMALL)
    made = domain.simulate(seed=0)
    x, condition = domain.encode(made, {})
    _, moved = domain.augment(x, condition, SampleDraws(1, "augmentation", range(len(x))))
    assert not moved["channels"][:, 0, -1].any() and not moved["channels"][:, 1, 0].any()
    magnet = Domain(**SMALL, model="ferromagnet")
    x, condition = magnet.encode(magnet.simulate(seed=0), {})
    _, moved = magnet.augment(x, condition, SampleDraws(1, "augmentation", range(len(x))))
    assert (moved["channels"] >= 0).all()


def test_a_request_keeps_the_couplings_and_takes_a_temperature():
    domain = Domain(**SMALL)
    made = domain.simulate(seed=0)
    template = domain.request(made, 9, {"temperature": 1.1})
    assert template.sizes["replica"] == 9 and template.temperature.values.tolist() == [1.1]
    assert "field" not in template and np.array_equal(template.couplings, made.couplings)
    drawn = domain.decode(torch.randn(5 * 9, 1, 4, 4), template, {})
    check_spins(drawn)
    assert drawn.field.dims == made.field.dims and drawn.field.dtype == np.int8
    with pytest.raises(InputError, match="only 'temperature'"):
        domain.request(made, 2, {"Omega_m": 0.3})
    with pytest.raises(InputError, match="must be given and positive"):
        domain.request(made, 2, {"temperature": -1.0})
    low, high = float(made.temperature.min()), float(made.temperature.max())
    trained = domain.fit_encoding(made)
    assert domain.request(made, 2, {"temperature": high}, trained).temperature == high
    for temperature in (0.5 * low, 2 * high):
        with pytest.raises(InputError, match="outside those of the training data"):
            domain.request(made, 2, {"temperature": temperature}, trained)
    with pytest.raises(InputError, match="do not fill"):
        domain.decode(torch.randn(3, 1, 4, 4), template, {})
    with pytest.raises(InputError, match="not finite"):
        domain.decode(torch.full((45, 1, 4, 4), torch.nan), template, {})


@pytest.mark.parametrize("kind", ["unet", "message_passing"])
def test_networks_run_on_the_conditions(kind):
    domain = Domain(**SMALL)
    made = domain.simulate(seed=0)
    constants = domain.fit_encoding(made)
    x, condition = domain.encode(made, constants)
    options = {"kind": kind, "width": 8} | ({"multipliers": [1, 2]} if kind == "unet" else {})
    network = domain.network(options, constants)
    part = {name: value[:7] for name, value in condition.items()}
    assert network(x[:7], torch.zeros(7), part).shape == x[:7].shape
    with pytest.raises(InputError):
        domain.network({"kind": "transformer"}, constants)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperatures": (1.0, 0.5)}, "increase"),
        ({"temperatures": (0.0,)}, "positive"),
        ({"model": "sherrington_kirkpatrick", "method": "transfer_matrix"}, "needs a lattice"),
        ({"length": 5, "method": "enumeration"}, "at most 20 spins"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Domain(**fields)


def test_sherrington_kirkpatrick_has_its_high_temperature_energy():
    """e = -1/(2T) for T > 1 up to O(1/N)."""
    domain = Domain(model="sherrington_kirkpatrick", length=12, instances=200, replicas=2, temperatures=(4.0,))
    energies = domain.simulate(seed=0).exact_energy.values
    expected = -(1 - 1 / 12) / (2 * 4.0)
    assert abs(energies.mean() - expected) < 4 * energies.std() / np.sqrt(200) + 1 / (12 * 4.0**3)


def test_foreign_ensembles_with_other_dims_are_refused():
    made = Domain(**SMALL).simulate(seed=0)
    with pytest.raises(InputError, match="needs 'couplings'"):
        check_spins(made.drop_vars("couplings"))
    with pytest.raises(InputError, match="expand_dims or transpose"):
        check_spins(made.transpose("temperature", ...))
    wrong = made.copy(deep=True)
    wrong["field"].values[1, 1, 2, 3, 0] = 0
    with pytest.raises(InputError, match=r"spin 0 at index \(1, 1, 2, 3, 0\).*map 0 to -1"):
        check_spins(wrong)
