"""Painting and forces: exact sums, exact waves, no self-force."""

import numpy as np
import pytest
import torch

from physgen.domains.cosmology import mesh
from physgen.domains.cosmology.mesh import ParticleMesh, cloud_in_cell, density_contrast, lattice_positions


def random_positions(n, cells, seed=0):
    return cells * torch.rand(3, n, generator=torch.Generator().manual_seed(seed))


def test_a_particle_is_shared_between_its_eight_cells():
    index, weight = cloud_in_cell(torch.tensor([[1.25], [3.0], [3.5]]), 4)
    cells = {int(i): float(w) for i, w in zip(index[:, 0], weight[:, 0], strict=True) if w > 0}
    assert cells == {1 * 16 + 3 * 4 + 3: 0.375, 2 * 16 + 3 * 4 + 3: 0.125, 1 * 16 + 3 * 4: 0.375, 2 * 16 + 3 * 4: 0.125}


def test_painting_conserves_particles_even_on_the_edge():
    positions = torch.cat([random_positions(1000, 8), torch.full((3, 5), 8.0), torch.zeros(3, 5)], dim=1)
    mesh = ParticleMesh(8)
    assert mesh.paint(mesh.corners(positions)).sum().item() == pytest.approx(1010, rel=1e-6)
    delta = density_contrast(positions, 8)
    assert delta.mean().abs() < 1e-6 and delta.min() >= -1


def test_poisson_particles_have_the_power_of_the_cic_window_over_nbar():
    """P = 1/nbar sum over images W^2; for CIC that sum is prod (1 - 2/3 sin^2 k/2) (Jing 2005)."""
    cells, n = 32, 40_000
    modes = torch.fft.rfftn(density_contrast(random_positions(n, cells), cells))
    power = (modes.abs() ** 2).double() / cells**3 * (n / cells**3)
    k = 2 * np.pi * torch.fft.fftfreq(cells).double()
    one = 1 - 2 / 3 * torch.sin(k / 2) ** 2
    expected = one[:, None, None] * one[None, :, None] * one[None, None, : cells // 2 + 1]
    ratio = (power / expected)[:, :, 1:-1].flatten()
    assert abs(ratio.mean() - 1) < 4 / np.sqrt(len(ratio))


@pytest.mark.parametrize("cells", [24, 36, 48])
def test_forces_conserve_momentum(cells):
    g = ParticleMesh(cells).accelerations(random_positions(5000, cells))
    assert g.sum(1).abs().max() / (g.std() * np.sqrt(5000)) < 1e-3


def test_a_particle_does_not_push_itself():
    mesh = ParticleMesh(16)
    alone = mesh.accelerations(torch.tensor([[3.3], [7.9], [0.2]]))
    pair = mesh.accelerations(torch.tensor([[3.3, 6.3], [7.9, 7.9], [0.2, 0.2]]))
    assert alone.abs().max() < 1e-4 * pair.abs().max()
    assert pair[0, 0] > 0 > pair[0, 1]


@pytest.mark.parametrize(("number", "tolerance"), [(1, 0.001), (2, 0.002), (4, 0.006), (12, 0.07)])
def test_a_plane_wave_on_the_lattice_feels_its_linear_force(number, tolerance):
    """delta = -div u gives g = u: to 0.6 % at k_Nyq / 4 and 7 % at 3/4 k_Nyq, on a mesh of 2N."""
    n, cells = 32, 64
    rest = lattice_positions(n, cells)
    displacement = torch.zeros_like(rest)
    displacement[0] = 0.05 * torch.sin(2 * np.pi * number / cells * rest[0])
    g = ParticleMesh(cells).accelerations((rest + displacement).remainder(cells))
    response = (g[0] * displacement[0]).sum() / displacement[0].square().sum()
    assert response == pytest.approx(1, abs=tolerance)
    assert g[1:].abs().max() < 1e-3 * g[0].abs().max()


def test_the_undisturbed_lattice_rests():
    g = ParticleMesh(32).accelerations(lattice_positions(16, 32))
    assert g.abs().max() < 1e-4


def test_the_compiled_loops_give_the_bits_of_the_tensor_operations(monkeypatch):
    positions = random_positions(40_000, 33)  # more than one chunk
    positions[:, 0], positions[:, 1] = 33.0, -0.25  # on the edge, and outside as tracers of the sheet may be
    found = []
    for loops in (True, False):
        monkeypatch.setattr(mesh, "compiled", lambda positions, loops=loops: loops)
        density = torch.zeros(33**3)
        mesh.deposit(density, positions, 33)
        found.append((density, ParticleMesh(33).accelerations(positions)))
    for compiled, plain in zip(*found, strict=True):
        assert torch.equal(compiled, plain)
