"""The phase-space sheet: its mass and places, and voids without the lattice of the particles."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from physgen.domains.cosmology import Domain, sheet
from physgen.domains.cosmology.background import CosmologyParams
from physgen.domains.cosmology.mesh import density_contrast, lattice_positions
from physgen.domains.cosmology.painting import Painting, project_slabs
from physgen.domains.cosmology.sheet import sheet_contrast
from physgen.domains.cosmology.simulate import SimulationBox, evolve, linear_field

N = 32


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def coarse_and_fine():
    """Positions, in cells of N per side, of N^3 particles and of (2 N)^3 with the same waves, in 64 Mpc/h."""
    boxes = [SimulationBox(box_size=64.0, particles=n, steps=8) for n in (N, 2 * N)]
    fine = linear_field(CosmologyParams(), boxes[1], seed=3)
    n = np.fft.fftfreq(N, 1 / N).astype(int)
    coarse = fine[n[:, None, None], n[None, :, None], np.arange(N // 2 + 1)] / 8
    nyquist = [np.abs(n) == N // 2, np.arange(N // 2 + 1) == N // 2]
    coarse[nyquist[0]] = coarse[:, nyquist[0]] = coarse[:, :, nyquist[1]] = 0
    ends = [evolve(m, CosmologyParams(), box) * (N / 64.0) for m, box in zip((coarse, fine), boxes, strict=True)]
    # the finer lattice begins a quarter of its spacing from its origin, as the coarser does of twice that
    return ends[0], torch.remainder(ends[1] + 0.125, N)


def test_tracers_are_the_trilinear_interpolation_of_the_displacements_and_keep_the_mass(monkeypatch):
    monkeypatch.setattr(sheet, "BATCH", 3 * 8**2)  # batches of 3, 3 and 2 planes
    rest = lattice_positions(8, 16)
    psi = torch.randn(3, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    delta = sheet_contrast(torch.remainder(rest + psi.view(3, -1), 16.0), 8, 16)
    half = np.stack(np.meshgrid(*[np.arange(16) / 2] * 3, indexing="ij"))
    between = np.stack([map_coordinates(p, half, order=1, mode="grid-wrap") for p in psi.double().numpy()])
    tracers = torch.from_numpy((2 * half + 0.5 + between).reshape(3, -1)).float()
    torch.testing.assert_close(delta, density_contrast(tracers, 16), atol=1e-4, rtol=0)
    assert delta.mean().abs() < 1e-6 and delta.min() >= -1


def test_an_expanding_void_has_its_closed_form_density():
    """x = q + A sin q along each axis; in the emptiest 5 % the sheet misses ln density 5 times less than particles."""
    q = torch.arange(N) + 0.25

    def line(points):
        return points + 0.8 * N / (2 * np.pi) * torch.sin(2 * np.pi * points / N)

    # separable, and CIC with it: one dimension at high resolution gives the truth
    dense = line(torch.arange(0, N, 1 / 256, dtype=torch.float64) + 1 / 512)
    low, upper = dense.floor(), dense - dense.floor()
    truth = torch.zeros(N, dtype=torch.float64)
    for shift, weight in ((0, 1 - upper), (1, upper)):
        truth.index_add_(0, (low + shift).long() % N, weight / 256)
    truth = truth[:, None, None] * truth[:, None] * truth
    positions = torch.stack(torch.meshgrid(*[line(q)] * 3, indexing="ij")).reshape(3, -1)
    empty = truth < torch.quantile(truth.flatten(), 0.05)

    def error(delta):
        return torch.log((1 + delta[empty]).clamp_min(1e-2) / truth[empty]).square().mean().sqrt()

    assert error(sheet_contrast(positions, N, N)) < 0.2 * error(density_contrast(positions, N))


def test_void_maps_come_closer_to_a_run_with_eight_times_the_particles(coarse_and_fine):
    """Slabs of 16 Mpc/h, the emptiest 5 % of the smoothed fine map: rms error of ln density, and stripes along rows."""
    coarse, fine = coarse_and_fine
    painting = Painting(N, 2, slab_cells=8, slabs_per_axis=4)
    truth, plain, painted = (
        torch.log((1 + project_slabs(delta, painting)).clamp_min(1e-3))
        for delta in (density_contrast(fine, N), density_contrast(coarse, N), sheet_contrast(coarse, N, N))
    )
    kernel = torch.ones(1, 1, 5, 5) / 25
    around = torch.nn.functional.pad(truth[:, None], (2, 2, 2, 2), mode="circular")
    smooth = torch.nn.functional.conv2d(around, kernel)[:, 0]
    void = smooth < torch.quantile(smooth.flatten(), 0.05)

    def rms(values):
        return values[void].square().mean().sqrt().item()

    def stripes(field):
        return rms((field.roll(1, 2) + field.roll(-1, 2) - 2 * field) / 4)

    assert rms(painted - truth) < 0.4 * rms(plain - truth)
    assert stripes(plain) > 2 * stripes(truth) > 2 * stripes(painted)


def test_both_paintings_can_be_chosen_and_are_recorded():
    tiny = {"cells": 16, "particles": 16, "box_size": 32.0, "thickness": 8.0, "simulations": 1, "steps": 3}
    tiny["linear_power"] = "eisenstein_hu"
    painted, plain = (Domain(**tiny, painting=name).simulate(seed=1) for name in ("sheet", "particles"))
    assert "32^3 tracers" in painted.attrs["mass_assignment"] and "particles" in plain.attrs["mass_assignment"]
    assert float(painted.field.min()) > float(plain.field.min())
    np.testing.assert_allclose(painted.field.mean(), plain.field.mean(), atol=1e-5)
