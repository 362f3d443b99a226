"""Initial conditions, 2LPT, linear growth, and the non-linear power of the simulator."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from physgen import lattice
from physgen.domains.cosmology.background import CosmologyParams, growth_factor
from physgen.domains.cosmology.linear_power import linear_power
from physgen.domains.cosmology.mesh import density_contrast, lattice_positions
from physgen.domains.cosmology.sheet import sheet_contrast
from physgen.domains.cosmology.simulate import (
    SimulationBox,
    displacements,
    evolve,
    linear_field,
    simulate_particles,
    simulation_seed,
    snapshot_redshifts,
    snapshots,
)

TABLE = np.loadtxt(Path(__file__).with_name("nonlinear_mead2020.txt"))
PARAMS = CosmologyParams()


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def wavenumber(n, box_size):
    k = lattice.wavenumber((n,) * 3, (box_size / n,) * 3)
    k[0, 0, 0] = 1e-3
    return k


def linear_variance(n, box_size):
    """<|delta_k|^2> = P(k) N^6 / V of the unnormalised transform."""
    return linear_power(wavenumber(n, box_size), PARAMS) * n**6 / box_size**3


def shell_mean(values, n):
    """Mean of a half-complex array over integer shells of |n|, from 1 to below n/2, and independent modes in each."""
    weight = np.full(values.shape, 2.0)
    weight[..., [0, -1]] = 1.0
    shell = (wavenumber(n, 2 * np.pi) + 1e-5).astype(int).ravel()
    keep = (shell > 0) & (shell < n // 2)
    total = np.bincount(shell[keep], weight.ravel()[keep])[1:]
    return np.bincount(shell[keep], (weight * values).ravel()[keep])[1:] / total, total / 2


def square(modes):
    return (modes.abs() ** 2).double().numpy()


def test_initial_conditions_have_the_input_power():
    """Shell means of |delta_k|^2 / expected are 1 within their mode-counting error 1/sqrt(modes), 8 boxes."""
    n, box = 32, SimulationBox(box_size=100.0, particles=32)
    fields = [linear_field(PARAMS, box, seed) for seed in range(8)]
    assert all(modes[0, 0, 0] == 0 for modes in fields)
    ratio, modes = shell_mean(np.mean([square(f) for f in fields], axis=0) / linear_variance(n, 100.0), n)
    z = (ratio - 1) * np.sqrt(8 * modes)
    assert np.abs(z).max() < 4
    assert 0.25 < np.mean(z**2) < 2.5


def test_crossed_plane_waves_have_their_closed_form_displacements():
    """phi1 = A cos x + B cos y: psi1 = (A sin x, B sin y, 0), laplacian(phi2) = A B cos x cos y."""
    n, A, B = 16, 0.3, -0.2
    x = 2 * np.pi * torch.arange(n) / n
    # laplacian(phi1) = delta with x = 2 pi i / n: unit wavenumber is 2 pi / n cells
    unit = 2 * np.pi / n
    delta = -(unit**2) * (A * torch.cos(x)[:, None, None] + B * torch.cos(x)[None, :, None]).expand(n, n, n)
    first, second = displacements(torch.fft.rfftn(delta))
    expected = unit * A * torch.sin(x)[:, None, None].expand(n, n, n)
    torch.testing.assert_close(first[0], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(first[2], torch.zeros(n, n, n), atol=1e-6, rtol=0)
    # phi2 = -(A B unit^2 / 2) cos x cos y
    gradient = A * B * unit**3 / 2 * (torch.sin(x)[:, None, None] * torch.cos(x)[None, :, None]).expand(n, n, n)
    torch.testing.assert_close(second[0], gradient, atol=1e-6, rtol=0)


def test_a_single_plane_wave_follows_zeldovich_until_it_crosses():
    """In one dimension x = q + D psi is exact before shell crossing; steps and forces keep it within 3 %."""
    n, box = 32, SimulationBox(box_size=32.0, particles=32, steps=10)
    q = torch.arange(n).float()
    psi = 3.0 * torch.sin(2 * np.pi * q / n)  # crosses at 3 * 2 pi / 32 = 0.59 < 1
    delta = -(3.0 * 2 * np.pi / n * torch.cos(2 * np.pi * q / n))[:, None, None].expand(n, n, n)
    end = evolve(torch.fft.rfftn(delta), PARAMS, box)
    rest = lattice_positions(n, box.mesh_cells) / box.mesh_factor
    moved = torch.remainder(end[0] - rest[0] + n / 2, n) - n / 2
    expected = psi[:, None, None].expand(n, n, n).reshape(-1)
    assert (moved - expected).abs().max() < 0.03 * 3.0
    assert (end[1] - rest[1]).abs().max() < 1e-3


@pytest.mark.parametrize("redshift", [0.0, 1.0])
def test_large_scales_grow_linearly(redshift):
    """A quiet universe (sigma_8 = 0.1): density modes below k_Nyq / 4 are D times the initial ones within 1.5 %."""
    params = CosmologyParams(sigma_8=0.1)
    box = SimulationBox(box_size=200.0, particles=32, steps=10, redshift=redshift)
    modes = linear_field(params, box, 5)
    particles = evolve(modes, params, box)
    final = torch.fft.rfftn(density_contrast(particles / 200.0 * 32, 32))
    # the lattice is half a mesh cell off the cells: undo that phase, and the CIC window
    k = lattice.wavenumbers((32,) * 3)
    phase, window = 1.0, 1.0
    for component in k:
        phase = phase * torch.exp(0.5j * component / box.mesh_factor)
        window = window * torch.sinc(component / (2 * np.pi)) ** 2
    final = final * phase / window
    cross, _ = shell_mean((final * modes.conj()).real.double().numpy(), 32)
    auto, _ = shell_mean(square(modes), 32)
    growth = growth_factor(1 / (1 + redshift), params.Omega_m)
    np.testing.assert_allclose((cross / auto)[:4], growth, rtol=0.015)


def test_particles_stay_in_the_box_and_none_is_lost():
    box = SimulationBox(box_size=50.0, particles=16, steps=4)
    particles = simulate_particles(PARAMS, box, seed=3)
    assert particles.shape == (3, 16**3) and torch.isfinite(particles).all()
    assert particles.min() >= 0 and particles.max() <= 50.0
    assert density_contrast(particles / 50.0 * 16, 16).mean().abs() < 1e-5
    assert torch.equal(particles, simulate_particles(PARAMS, box, seed=3))


def test_seeds_of_simulations_are_distinct_and_fixed():
    seeds = {simulation_seed(s, i) for s in range(5) for i in range(200)}
    assert len(seeds) == 1000
    assert simulation_seed(0, 0) == simulation_seed(0, 0) != simulation_seed(0, 1)


def test_the_non_linear_power_follows_mead2020():
    """P / P_linear against CAMB's boost: within 7 % in bands up to k_Nyq / 2, a smooth loss beyond; the sheet has more.

    64^3 particles in 128 Mpc/h, mesh 2N, 20 steps. Amplitudes are fixed to the linear power and each phase is run with
    its opposite (Angulo & Pontzen 2016): 4 pairs of boxes have errors of 2 % where free ones have 5 to 10 %.
    """
    n, box = 64, SimulationBox()
    amplitude = torch.from_numpy(np.sqrt(linear_variance(n, box.box_size))).float()
    amplitude[0, 0, 0] = 0.0
    linear, _ = shell_mean(linear_variance(n, box.box_size), n)
    k, _ = shell_mean(wavenumber(n, box.box_size), n)
    window = np.prod(
        np.broadcast_arrays(*[torch.sinc(c / (2 * np.pi)).numpy() ** 4 for c in lattice.wavenumbers((128,) * 3)]),
        axis=0,
    )
    power = []
    for seed in range(1, 5):
        phases = torch.sgn(linear_field(PARAMS, box, seed))
        for sign in (1, -1):
            particles = evolve(sign * amplitude * phases, PARAMS, box).mul_(128 / box.box_size)
            painted = density_contrast(particles, 128), sheet_contrast(particles, n, 128)
            final = [square(torch.fft.rfftn(delta)) / window for delta in painted]
            power.append([shell_mean(f, 128)[0][: len(k)] / 8**2 for f in final])
    boost = np.mean(power, axis=0) / linear
    expected = np.exp(np.interp(np.log(k), np.log(TABLE[:, 0]), np.log(TABLE[:, 2] / TABLE[:, 1])))
    scaled = k / (np.pi * n / box.box_size)
    bands = [(0.04, 0.2), (0.2, 0.35), (0.35, 0.5), (0.5, 1.0)]
    plain, sheet = ([(b / expected)[(scaled > low) & (scaled <= high)].mean() for low, high in bands] for b in boost)
    np.testing.assert_allclose(plain[:3], 1, atol=0.07)
    np.testing.assert_allclose(sheet[:3], 1, atol=0.07)
    assert 0.75 < plain[3] < sheet[3] < 0.95
    gain = boost[1] / boost[0]
    assert np.all(gain > 1) and gain[scaled <= 0.5].max() < 1.03 and gain.max() < 1.1


def test_snapshots_of_one_run_are_the_ends_of_runs_to_their_redshifts():
    """The last to the last bit; one between steps within a few hundredths of a cell of a run that ends there."""
    box = SimulationBox(box_size=64.0, particles=32, steps=20)
    modes = linear_field(PARAMS, box, 2)
    early, late = snapshots(modes.clone(), PARAMS, box, (0.0, 1.1))
    assert torch.equal(late, evolve(modes.clone(), PARAMS, box))
    alone = evolve(modes.clone(), PARAMS, dataclasses.replace(box, redshift=1.1))
    apart = torch.remainder(early - alone + 32, 64) - 32
    moved = torch.remainder(alone - evolve(modes, PARAMS, dataclasses.replace(box, redshift=1.5)) + 32, 64) - 32
    assert apart.square().mean().sqrt() < 0.05 * moved.square().mean().sqrt()


def test_redshifts_of_snapshots_fill_their_range():
    several = np.array([snapshot_redshifts(0.0, 2.0, 3, seed) for seed in range(400)])
    assert (np.diff(several, axis=1) < 0).all() and several.min() >= 0 and several.max() <= 2
    scale_factors = (1 / (1 + several) - 1 / 3) / (2 / 3) * 3 - np.arange(3)  # uniform in [0, 1] in each stratum
    assert scale_factors.min() >= 0 and scale_factors.max() <= 1
    assert abs(scale_factors.mean() - 0.5) < 4 / np.sqrt(12 * 1200)
    assert snapshot_redshifts(0.5, 2.0, 1, 3) == (0.5,)
