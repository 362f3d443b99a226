"""Potts states against enumeration: transfer matrix, clusters, heat bath, energies, the conditions of a network."""

import itertools
import math

import numpy as np
import pytest
import torch

from physgen.domains.contract import get_domain
from physgen.domains.potts.clusters import chain, mean_bonds, neighbours_up
from physgen.domains.potts.encoding import conditions, encode_states
from physgen.domains.potts.integration import integrated_from_order, integrated_log_partition
from physgen.domains.potts.lattice import couplings_of, energy_per_site, lattice_couplings
from physgen.domains.potts.statistics import DIAGNOSTICS, order_of
from physgen.domains.potts.strip import chain_of, solve
from physgen.domains.potts.target import ExactDenoiser, conditional_mean, log_boltzmann
from physgen.errors import InputError

POTTS = get_domain("potts")


def every(states, grid):
    """All configurations (q^N, *grid)."""
    return np.array(list(itertools.product(range(states), repeat=math.prod(grid)))).reshape(-1, *grid)


def exponents(colours, bonds):
    """-beta H of colours (n, *grid), counted bond by bond."""
    grid, total = colours.shape[1:], np.zeros(len(colours))
    for axis in range(len(grid)):
        for site in np.ndindex(*grid):
            other = list(site)
            other[axis] = (other[axis] + 1) % grid[axis]
            same = colours[(slice(None), *site)] == colours[(slice(None), *other)]
            total += bonds[(axis, *site)] * same
    return total


def random_bonds(grid, boundary, seed=3):
    return torch.from_numpy(lattice_couplings(grid, "gaussian", boundary, seed, 1)[0].astype(np.float64))


@pytest.mark.parametrize("boundary", ["cylinder", "periodic", "free"])
@pytest.mark.parametrize(("states", "grid"), [(3, (3, 2)), (2, (4, 3)), (4, (3, 2)), (3, (7,)), (2, (3, 2, 2))])
def test_the_transfer_matrix_is_enumeration(states, grid, boundary):
    bonds = random_bonds(grid, boundary)
    log_z, drawn = solve(bonds, states, 4000, torch.Generator().manual_seed(0))
    colours = every(states, grid)
    weights = exponents(colours, bonds.numpy())
    assert log_z == pytest.approx(np.logaddexp.reduce(weights), abs=1e-11)
    p = np.exp(weights - np.logaddexp.reduce(weights))
    mean, spread = p @ weights, math.sqrt(p @ weights**2 - (p @ weights) ** 2)
    found = exponents(drawn.numpy(), bonds.numpy()).mean()
    assert abs(found - mean) < 4.5 * spread / math.sqrt(4000)
    # one site: all its states, and that both ends of the first layers are drawn together
    pair = (colours.reshape(len(p), -1)[:, [0, -1]] == 0).all(1) @ p
    seen = (drawn.reshape(4000, -1)[:, [0, -1]] == 0).all(1).double().mean()
    assert abs(float(seen) - pair) < 4.5 * math.sqrt(pair / 4000)


@pytest.mark.parametrize("boundary", ["cylinder", "free"])
def test_the_exact_denoiser_is_bayes(boundary):
    states, grid, s = 3, (3, 2), torch.tensor([0.4, 1.5])
    bonds = torch.stack([random_bonds(grid, boundary, seed) for seed in (1, 2)])
    y = torch.randn(2, states, *grid, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    down = [bonds[:, axis].roll(1, axis + 1) for axis in range(2)]
    channels = torch.stack([bonds[:, 0], down[0], bonds[:, 1], down[1]], dim=1)
    found = ExactDenoiser()(y, s, {"channels": channels})
    colours = torch.from_numpy(every(states, grid))
    x = torch.nn.functional.one_hot(colours, states).movedim(-1, 1).double()
    for b in range(2):
        log_p = torch.from_numpy(exponents(colours.numpy(), bonds[b].numpy()))
        log_p = log_p - ((y[b] - x) ** 2).flatten(1).sum(1) / (2 * s[b].double() ** 2)
        exact = torch.tensordot(log_p.softmax(0), x, 1)
        torch.testing.assert_close(found[b], exact, rtol=0, atol=1e-12)


def test_the_law_and_its_conditional_mean():
    domain = POTTS(states=3, couplings="gaussian", length=2, temperatures=(0.7, 1.3), instances=2, replicas=3)
    made = domain.simulate(seed=2)
    target, x = log_boltzmann(made), encode_states(made).double()
    colours, bonds = made.field.values.reshape(-1, 2, 2), couplings_of(made)
    for row in range(len(x)):
        i, t, _ = np.unravel_index(row, (2, 2, 3))
        expected = exponents(colours[row : row + 1], bonds[i] / made.temperature.values[t])
        np.testing.assert_allclose(target(x[row : row + 1], row).numpy(), expected, atol=1e-12)
    energies = energy_per_site(made.field.values, bonds)
    np.testing.assert_allclose(made.energy.values, energies)
    given = {name: value.double() for name, value in conditions(made).items()}
    y, s = x + 0.8, torch.full((len(x),), 0.8, dtype=torch.float64)
    mean = conditional_mean(x, y, s, given)
    found = []
    for a in range(3):  # Bayes at one site, all others held
        changed = x.clone()
        changed[:, :, 0, 1] = torch.nn.functional.one_hot(torch.tensor(a), 3).double()
        found.append(torch.stack([target(changed[r : r + 1], r)[0] for r in range(len(x))]) + y[:, a, 0, 1] / s**2)
    torch.testing.assert_close(mean[:, :, 0, 1], torch.stack(found, 1).softmax(1), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("clusters", [True, False])
def test_chains_draw_the_law(clusters):
    """Free 2 x 3 lattice in couplings that differ, negative ones too for the heat bath; cold starts alone."""
    bonds = random_bonds((2, 3), "free").numpy()
    bonds = np.abs(bonds) if clusters else bonds
    count, rng = 2000, np.random.default_rng(5)
    drawn = np.stack([chain(bonds, 3, 12 if clusters else 20, True, clusters, rng) for _ in range(count)])
    weights = exponents(every(3, (2, 3)), bonds)
    p = np.exp(weights - np.logaddexp.reduce(weights))
    places = np.ravel_multi_index(drawn.reshape(count, -1).T, (3,) * 6)
    kinds = np.argsort(p)[::-1]
    kinds = kinds[: int((p * count > 8).sum())]
    seen, expected = np.bincount(places, minlength=len(p))[kinds], p[kinds] * count
    rest = count - seen.sum(), count - expected.sum()
    chi_square = ((seen - expected) ** 2 / expected).sum() + (rest[0] - rest[1]) ** 2 / rest[1]
    assert abs(chi_square - len(kinds)) < 4.5 * math.sqrt(2 * len(kinds))


def test_the_critical_ferromagnet_has_the_exact_energy():
    r"""Infinite lattice, q = 3: :math:`e_c = -(1 + 1/\sqrt q)`; by duality also the mean of both sides of a torus."""
    beta, length, rng = math.log(1 + math.sqrt(3)), 32, np.random.default_rng(1)
    up = neighbours_up((length, length))
    colours = np.zeros(length**2, dtype=np.int8)
    join = np.full(up.shape, -math.expm1(-beta))
    series = mean_bonds(colours, up, join, 3, 3000, rng)[200:] / length**2
    blocks = series[: len(series) // 20 * 20].reshape(20, -1).mean(1)
    error = blocks.std(ddof=1) / math.sqrt(20)
    shift = (
        0.25 * length**-0.8
    )  # finite size: e_L - e_inf ~ L^(1/nu - d), 1/nu = 6/5, measured amplitude .2 at L = 8, 16
    assert error < 0.01
    assert abs(series.mean() - (1 + 1 / math.sqrt(3))) < shift + 4 * error
    assert series.mean() > 1 + 1 / math.sqrt(3)


def test_equilibrium_is_demanded():
    cold = {"length": 16, "temperatures": (0.5,), "instances": 2, "replicas": 12}
    with pytest.raises(InputError, match="this is not equilibrium"):
        POTTS(method="heat_bath", sweeps=2, **cold).simulate(seed=1)
    with pytest.raises(InputError, match="too few to show equilibrium"):
        POTTS(**(cold | {"replicas": 2})).simulate(seed=1)
    with pytest.raises(InputError, match="clusters need couplings that are not negative"):
        POTTS(couplings="gaussian", method="cluster", **cold).simulate(seed=1)
    with pytest.raises(InputError, match="too many for the transfer matrix"):
        POTTS(method="transfer_matrix", **cold).simulate(seed=1)
    made = POTTS(length=16, temperatures=(1.0,), instances=2, replicas=12, sweeps=60).simulate(seed=1)
    assert made.attrs["method"] == "cluster" and "hot less cold" in made.attrs["equilibration"]


def test_diagnostics_of_states_that_are_known():
    domain = POTTS(states=3, length=4, temperatures=(1.0,), instances=2, replicas=2)
    made = domain.simulate(seed=1)
    stripes = np.broadcast_to(np.arange(4) % 2, (2, 1, 2, 4, 4)).astype(np.int8)  # along x: 0 1 0 1
    made["field"] = (made.field.dims, stripes, made.field.attrs)
    found = {name: float(diagnostic(made).value.values.reshape(-1)[0]) for name, diagnostic in DIAGNOSTICS.items()}
    assert found["energy"] == pytest.approx(-1)  # all bonds along y, none along x
    assert found["order"] == pytest.approx((3 / 2 - 1) / 2)
    assert found["correlation"] == pytest.approx((3 / 2 - 1) / 2)
    np.testing.assert_allclose(DIAGNOSTICS["balance"](made).value.values.reshape(-1), [0.5, 0.5, 0])
    humps = DIAGNOSTICS["order_distribution"](made).value.values.reshape(-1)
    np.testing.assert_allclose(humps, 10 * (np.arange(10) == 2))  # all at m = .25
    assert order_of(np.array([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3]]), 3) == pytest.approx([1, 0])


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("states", 4), ("couplings", "gaussian"), ("dimension", 1), ("length", 5), ("boundary", "free"),
        ("temperatures", (1.0, 2.1)), ("instances", 9), ("replicas", 9), ("method", "heat_bath"),
    ],
)  # fmt: skip
def test_a_key_of_the_data_changes_the_data(changed, value):
    base = {"length": 4, "temperatures": (1.0, 2.0), "instances": 8, "replicas": 4}
    one, other = (POTTS(**(base | more)).simulate(seed=1) for more in ({}, {changed: value}))
    assert not one.equals(other) or one.attrs["states"] != other.attrs["states"]


def test_more_sweeps_are_other_data():
    base = {"length": 4, "temperatures": (1.0,), "instances": 4, "replicas": 8, "method": "cluster"}
    one, other = (POTTS(**base, sweeps=sweeps).simulate(seed=1) for sweeps in (40, 41))
    assert not np.array_equal(one.field.values, other.field.values)


def test_bonds_close_into_a_ring_where_they_should():
    for boundary, ends in (("periodic", True), ("cylinder", False)):
        bonds = torch.from_numpy(lattice_couplings((3, 3), "ferromagnet", boundary, 1, 1))
        assert bool(chain_of(bonds, 3)[1].any()) == ends


def test_integration_over_clusters_gives_the_norm_of_the_transfer_matrix():
    betas = (0.88, 1.005)
    found = integrated_log_partition((4, 3), 3, betas, 2000, seed=4, boundary="cylinder", nodes=6)
    bonds = torch.from_numpy(lattice_couplings((4, 3), "ferromagnet", "cylinder", 0, 1)[0].astype(np.float64))
    for i, beta in enumerate(betas):
        log_z, _ = solve(beta * bonds, 3, 0, torch.Generator())
        assert found.error[i] < 0.05 and abs(found.log_partition[i] - log_z) < 4 * found.error[i]
        step = [solve((beta + d) * bonds, 3, 0, torch.Generator())[0] for d in (-1e-4, 1e-4)]
        assert abs(found.energy[i] + (step[1] - step[0]) / 2e-4 / 12) < 4.5 * found.energy_error[i]
    with pytest.raises(InputError, match="must be positive and increase"):
        integrated_log_partition((4, 3), 3, (1.0, 0.5), 100, seed=1)
    for i, beta in enumerate(betas):  # from the other end
        log_z, error = integrated_from_order((4, 3), 3, beta, 6000, 5 + i, "cylinder")
        exact, _ = solve(beta * bonds, 3, 0, torch.Generator())
        assert error < 0.05 and abs(log_z - exact) < 4 * error
    with pytest.raises(InputError, match="be 200 at least"):
        integrated_from_order((4, 3), 3, 1.0, 100, 1)


@pytest.mark.parametrize(("temperature", "copied", "verdicts"), [
    (0.7, 0, {"open", "pass"}),  # ordered: configurations repeat by themselves
    (0.995, 0, {"open", "pass"}),
    (1.5, 0, {"open", "pass"}),
    (1.5, 2, {"fail"}),
    (0.995, 60, {"fail"}),
])  # fmt: skip
def test_repetition_in_equilibrium_is_no_copying_and_copying_is(temperature, copied, verdicts):
    domain = POTTS(length=6, boundary="periodic", temperatures=(temperature,), instances=6, replicas=80, sweeps=100,
                   method="cluster")  # fmt: skip
    data = domain.simulate(seed=4)
    made, train, held = (data.isel(disorder=slice(2 * i, 2 * i + 2)) for i in range(3))
    made = made.copy(deep=True)
    flat = made["field"].values.reshape(160, 6, 6)
    flat[:copied] = train["field"].values.reshape(160, 6, 6)[:copied]
    assert domain.memorization(made, train, held).attrs["verdict"] in verdicts
