"""Angles against Bessel functions and quadrature: transfer matrix, chains, energies, the conditions of a network."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import special

from physgen.diffusion.draws import SampleDraws
from physgen.domains.contract import get_domain
from physgen.domains.lattice_bonds import couplings_of, lattice_couplings
from physgen.domains.xy.chains import chain, run, start, tables_of, von_mises_angle
from physgen.domains.xy.encoding import conditions, encode_angles, random_symmetry
from physgen.domains.xy.integration import integrated_log_partition
from physgen.domains.xy.lattice import energy_per_site
from physgen.domains.xy.statistics import DIAGNOSTICS
from physgen.domains.xy.strip import log_partition
from physgen.domains.xy.target import conditional_mean, log_boltzmann
from physgen.errors import InputError

XY = get_domain("xy")


def random_bonds(grid, boundary, seed=3, law="gaussian"):
    return lattice_couplings(grid, law, boundary, seed, 1)[0].astype(np.float64)


@pytest.mark.parametrize("strength", [0.3, -1.5])
def test_chains_of_sites_have_their_bessel_functions(strength):
    ring = np.full((1, 7), strength)
    chain_ = ring.copy()
    chain_[0, -1] = 0
    n = np.arange(-30, 31)
    exact = np.log(((2 * np.pi * special.iv(n, strength)) ** 7).sum())
    assert log_partition(ring, points=28) == pytest.approx(exact, abs=1e-10)
    exact = math.log(2 * np.pi) + 6 * math.log(2 * np.pi * special.i0(strength))
    assert log_partition(chain_, points=28) == pytest.approx(exact, abs=1e-10)
    if strength < 0:  # with an odd number of sites the ring is frustrated: its sign counts, the chain's does not
        assert log_partition(-ring, points=28) > log_partition(ring, points=28) + 0.1
        assert log_partition(-chain_, points=28) == pytest.approx(exact, abs=1e-10)


@pytest.mark.parametrize("boundary", ["cylinder", "periodic", "free"])
def test_the_transfer_matrix_is_the_sum_over_all_directions(boundary):
    """2 x 2 sites on 6 directions each, all 1296 written down; a turn of the whole lattice is none."""
    bonds, points = random_bonds((2, 2), boundary), 6
    angles = np.stack(np.meshgrid(*[2 * np.pi * np.arange(points) / points] * 4, indexing="ij"))
    angles = angles.reshape(2, 2, -1)
    exponent = sum(bonds[axis][:, :, None] * np.cos(angles - np.roll(angles, -1, axis)) for axis in range(2)).sum(
        (0, 1)
    )
    exact = np.log(np.exp(exponent).sum()) + 4 * math.log(2 * np.pi / points)
    assert log_partition(bonds, points=points) == pytest.approx(exact, abs=1e-10)
    turned = np.zeros_like(bonds)
    turned[0, 0, 0] += 0.4  # a gauge: both ends' bonds of one site turned by its new direction
    turned[0, 1, 0] -= 0.4
    turned[1, 0, 0] += 0.4
    turned[1, 0, 1] -= 0.4
    assert log_partition(bonds, turned, 24) == pytest.approx(log_partition(bonds, points=24), abs=1e-9)


def test_the_high_temperature_series():
    r"""Square lattice: :math:`\ln Z/N = \ln 2\pi + 2 \ln I_0(K) + 2 t^4 + \dots`, :math:`t = I_1/I_0`."""
    strength, grid = 0.2, (5, 5)
    rng = np.random.default_rng(1)
    found = integrated_log_partition(np.ones((2, *grid)), (strength,), 400, seed=2, nodes=3)
    ratio = special.i1(strength) / special.i0(strength)
    exact = 25 * (math.log(2 * np.pi) + 2 * math.log(special.i0(strength)) + 2 * ratio**4)
    assert found.error[0] < 0.04 and abs(found.log_partition[0] - exact) < 4 * found.error[0] + 1e-3
    angles = [von_mises_angle(1.7, rng) for _ in range(4000)]
    mean = special.i1(1.7) / special.i0(1.7)
    assert abs(np.cos(angles).mean() - mean) < 4 * np.cos(angles).std() / math.sqrt(4000)
    assert abs(np.sin(angles).mean()) < 4 * np.sin(angles).std() / math.sqrt(4000)


@pytest.mark.parametrize(("law", "boundary"), [("ferromagnet", "periodic"), ("gaussian", "cylinder")])
def test_chains_have_the_energy_and_the_stiffness_of_the_transfer_matrix(law, boundary):
    r"""3 x 3 sites: :math:`\langle\sum K\cos\rangle = d\ln Z/d\lambda` and :math:`\Upsilon = -T\,\partial^2\ln Z/N`."""
    bonds, step = random_bonds((3, 3), boundary, law=law), 1e-2
    scaled = [log_partition(bonds * (1 + d), points=12) for d in (-step, step)]
    expected = (scaled[1] - scaled[0]) / (2 * step)
    rng = np.random.default_rng(4)
    vectors = start(9, False, rng)
    tables = tables_of(bonds)
    run(vectors, *tables, 200, rng)
    series = run(vectors, *tables, 4000, rng).reshape(40, -1).mean(1)
    assert abs(series.mean() - expected) < 4 * series.std(ddof=1) / math.sqrt(40)


def test_the_helicity_modulus_is_the_second_derivative_by_a_twist():
    temperature, twist = 0.9, 0.02
    domain = XY(length=3, temperatures=(temperature,), instances=20, replicas=60, sweeps=20)
    made = domain.simulate(seed=3)
    bonds = couplings_of(made)[0].astype(np.float64) / temperature
    phases = np.zeros_like(bonds)
    phases[0] = twist
    middle, side = log_partition(bonds, points=12), log_partition(bonds, phases, 12)
    expected = -2 * (side - middle) / twist**2 * temperature / 9  # even in the twist
    found = DIAGNOSTICS["helicity_modulus"](made)
    error = float(found.error.values[0])
    assert error < 0.03 and abs(float(found.value.values[0]) - expected) < 4 * error
    energy = DIAGNOSTICS["energy"](made)
    scaled = [log_partition(bonds * (1 + d), points=12) for d in (-0.01, 0.01)]
    expected = -(scaled[1] - scaled[0]) / 0.02 * temperature / 9
    assert abs(float(energy.value.values[0]) - expected) < 4 * float(energy.error.values[0])


def test_the_law_and_its_conditional_mean():
    domain = XY(couplings="gaussian", length=2, temperatures=(0.7, 1.3), instances=4, replicas=4, sweeps=5)
    made = domain.simulate(seed=2)
    target, x = log_boltzmann(made), encode_angles(made).double()
    energies = energy_per_site(made.field.values, couplings_of(made))
    np.testing.assert_allclose(made.energy.values, energies)
    for row in range(len(x)):
        i, t, r = np.unravel_index(row, (4, 2, 4))
        expected = -4 * energies[i, t, r] / made.temperature.values[t]
        np.testing.assert_allclose(target(x[row : row + 1], row).numpy(), expected, rtol=1e-5, atol=1e-5)
    x = x[::8]
    given = {name: value.double()[::8] for name, value in conditions(made).items()}
    y, s = x + 0.8, torch.full((len(x),), 0.8, dtype=torch.float64)
    mean = conditional_mean(x, y, s, given)[:, :, 0, 1]
    angles = torch.arange(32, dtype=torch.float64) * (2 * np.pi / 32)
    e = torch.stack([angles.cos(), angles.sin()], dim=1)
    found = []
    for direction in e:  # Bayes at one site, all others held
        changed = x.clone()
        changed[:, :, 0, 1] = direction
        likelihood = (y[:, :, 0, 1] @ direction) / 0.64
        found.append(torch.stack([target(changed[r : r + 1], 8 * r)[0] for r in range(len(x))]) + likelihood)
    torch.testing.assert_close(mean, torch.stack(found, 1).softmax(1) @ e, rtol=1e-5, atol=1e-6)


def test_equilibrium_is_demanded():
    cold = {"length": 16, "temperatures": (0.3,), "instances": 2, "replicas": 16}
    with pytest.raises(InputError, match="this is not equilibrium"):
        XY(sweeps=1, **cold).simulate(seed=1)
    with pytest.raises(InputError, match="too few to show equilibrium"):
        XY(**(cold | {"replicas": 2})).simulate(seed=1)
    made = XY(length=8, temperatures=(0.8,), instances=2, replicas=12, sweeps=30).simulate(seed=1)
    assert "hot less cold" in made.attrs["equilibration"] and made.field.attrs["units"] == "rad"
    assert made.field.attrs["period"] == pytest.approx(2 * np.pi)
    assert -np.pi <= made.field.values.min() and made.field.values.max() <= np.float32(np.pi)


def test_diagnostics_of_angles_that_are_known():
    domain = XY(length=4, temperatures=(1.0,), instances=2, replicas=8, sweeps=5)
    made = domain.simulate(seed=1)
    wave = np.broadcast_to(np.pi / 2 * np.arange(4), (2, 1, 8, 4, 4))  # a quarter of a turn from site to site along x
    made["field"] = (made.field.dims, wave.astype(np.float32), made.field.attrs)
    found = {name: diagnostic(made).value.values for name, diagnostic in DIAGNOSTICS.items()}
    assert found["energy"].item() == pytest.approx(-1, abs=1e-6)  # all bonds along y, none along x
    assert found["magnetisation"].item() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(found["correlation"][0], [0.5, 0], atol=1e-6)  # (1 + 0)/2 and (1 - 1)/2
    # all of the power at k = 2 pi/4 along x; its bin holds four modes of this length and four on the diagonals
    assert found["structure_factor"][0, 0] == pytest.approx(16 / 8, rel=1e-5)
    np.testing.assert_allclose(found["structure_factor"][0, 1:], 0, atol=1e-6)
    # along y: 1; along x: no cosine, and a current of 16 sines of -1: -16^2/16
    assert found["helicity_modulus"].item() == pytest.approx((1 - 16) / 2, rel=1e-5)
    assert found["vortex_density"].item() == 0


def test_independent_angles_have_a_vortex_in_a_third_of_the_squares():
    made = XY(length=12, temperatures=(1.0,), instances=2, replicas=8, sweeps=1, couplings="bimodal").simulate(seed=1)
    angles = np.random.default_rng(1).uniform(-np.pi, np.pi, made.field.shape).astype(np.float32)
    found = DIAGNOSTICS["vortex_density"](made.assign(field=(made.field.dims, angles, made.field.attrs)))
    assert abs(found.value.item() - 1 / 3) < 4 * math.sqrt(2 / 9 / angles.size)
    around, z = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], np.exp(1j * angles.astype(float))
    corners = [np.roll(z, (-a, -b), (3, 4)) for a, b in around]
    turns = sum(np.angle(after / before) for before, after in itertools.pairwise(corners)) / (2 * np.pi)
    assert found.value.item() == pytest.approx((np.abs(turns) > 0.5).mean(), abs=1e-12)
    assert np.abs(turns.sum((3, 4))).max() < 1e-9  # as many one way as the other on a torus


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("couplings", "gaussian"), ("dimension", 1), ("length", 5), ("boundary", "free"), ("temperatures", (1.0, 2.1)),
        ("instances", 9), ("replicas", 9), ("sweeps", 21),
    ],
)  # fmt: skip
def test_a_key_of_the_data_changes_the_data(changed, value):
    base = {"length": 4, "temperatures": (1.0, 2.0), "instances": 8, "replicas": 4, "sweeps": 20}
    one, other = (XY(**(base | more)).simulate(seed=1) for more in ({}, {changed: value}))
    assert not one.equals(other)


def test_symmetries_leave_the_law_as_it_is():
    made = XY(couplings="gaussian", length=4, temperatures=(1.0,), instances=8, replicas=2, sweeps=3).simulate(seed=2)
    x, given = encode_angles(made).double(), {k: v.double() for k, v in conditions(made).items()}
    moved, changed = random_symmetry(x, given, SampleDraws(1, "test", range(len(x))), True)

    def exponent(vectors, bonds):
        ahead = [(vectors * vectors.roll(-1, axis)).sum(1) for axis in (2, 3)]
        return sum((bonds[:, 2 * axis] * ahead[axis]).flatten(1).sum(1) for axis in (0, 1))

    torch.testing.assert_close(
        exponent(moved, changed["channels"]), exponent(x, given["channels"]), rtol=1e-6, atol=1e-6
    )
    assert (moved - x).abs().amax((1, 2, 3)).min() > 1e-3
    determinant = moved[:, 0] * moved.roll(1, 2)[:, 1] - moved[:, 1] * moved.roll(1, 2)[:, 0]
    assert torch.isfinite(determinant).all()


def test_files_that_break_the_rules_are_refused():
    made = XY(length=2, temperatures=(1.0,), instances=8, replicas=2, sweeps=3).simulate(seed=2)
    degrees = made.assign(field=made.field * 180 / np.pi + 180)
    for wrong, words in (
        (degrees, "give finite angles in radians"),
        (made.assign(field=made.field.assign_attrs(units="deg")), "units 'rad'"),
        (made.drop_vars("couplings"), "needs 'couplings'"),
        (made.assign_coords(temperature=[-1.0]), "positive, in units of J"),
    ):
        with pytest.raises(InputError, match=words):
            XY.adopt(wrong)
    with pytest.raises(InputError, match="must be positive and increase"):
        integrated_log_partition(np.ones((1, 4)), (1.0, 0.5), 100, seed=1)
    with pytest.raises(InputError, match="too wide for the transfer matrix"):
        log_partition(np.ones((2, 8, 8)))
    with pytest.raises(InputError, match="must be positive and increase"):
        XY(temperatures=(1.0, 0.5))
    one = chain(np.full((1, 6), 0.5), 3, True, np.random.default_rng(1))
    assert one.shape == (6,) and np.abs(one).max() <= np.pi
