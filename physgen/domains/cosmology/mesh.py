"""Particle-mesh operations on a periodic cube, on any torch device.

Shapes: n particles, positions (3, n) in cells of the mesh, M cells per side; cell i has its centre at coordinate i.
Cloud-in-cell (CIC) assignment and its adjoint; both sides of the force use it, so that a particle does not push itself.
"""

from __future__ import annotations

import math

import torch

from physgen.domains.cosmology.mesh_kernels import CHUNK as SHORT
from physgen.domains.cosmology.mesh_kernels import kernels
from physgen.lattice import wavenumbers

# 32768 particles x 8 corners stay in a core's cache; a GPU wants long kernels
CHUNK = {"cpu": SHORT, "cuda": 1 << 22}


def gradient_wavenumbers(cells: int, device: torch.device | str = "cpu") -> list[torch.Tensor]:
    """i k_x, i k_y, i k_z (complex64) with the Nyquist plane set to zero: a real field has no odd derivative there."""
    components = []
    for k in wavenumbers((cells,) * 3, dtype=torch.float32, device=device):
        keep = k.abs() < math.pi * (1 - 1e-6)
        components.append(1j * k * keep)
    return components


def inverse_laplacian(cells: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """-1/k^2 (float32) in half-complex layout, zero at k = 0 (the mean density does not gravitate)."""
    kx, ky, kz = wavenumbers((cells,) * 3, dtype=torch.float32, device=device)
    k2 = kx**2 + ky**2 + kz**2
    k2[0, 0, 0] = 1.0
    kernel = -1.0 / k2
    kernel[0, 0, 0] = 0.0
    return kernel


def cloud_in_cell(positions: torch.Tensor, cells: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat indices (8, n) int32 and weights (8, n) of the eight cells around each particle.

    Args:
        positions: (3, n) in cells; the mesh is periodic.
        cells: M, at most 1290 (flat indices are 32-bit).
    """
    lower = positions.floor()
    upper_weight = positions - lower
    lower_weight = 1 - upper_weight
    # float32 rounding can put a wrapped particle exactly on the edge M
    low = lower.to(torch.int32).remainder_(cells)
    high = torch.where(low == cells - 1, 0, low + 1)
    stride = torch.tensor([[cells * cells], [cells], [1]], dtype=torch.int32, device=positions.device)
    index_of = (low * stride, high * stride)
    weight_of = (lower_weight, upper_weight)
    count = positions.shape[1]
    index = torch.empty(8, count, dtype=torch.int32, device=positions.device)
    weight = torch.empty(8, count, dtype=positions.dtype, device=positions.device)
    for x in range(2):
        for y in range(2):
            index_xy = index_of[x][0] + index_of[y][1]
            weight_xy = weight_of[x][0] * weight_of[y][1]
            for z in range(2):
                corner = 4 * x + 2 * y + z
                torch.add(index_xy, index_of[z][2], out=index[corner])
                torch.mul(weight_xy, weight_of[z][2], out=weight[corner])
    return index, weight


def lattice_positions(particles: int, cells: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Positions (3, particles^3) of the undisturbed lattice in mesh cells, half a cell off the cell centres."""
    line = torch.arange(particles, device=device, dtype=torch.float32) * (cells / particles) + 0.5
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij")).reshape(3, -1)


class ParticleMesh:
    """Mesh of M^3 cells with its buffers and force kernel, made once and reused at every step.

    Fresh memory for each transform costs more than the transform (page faults), hence the buffers.

    Args:
        cells: M.
        device: torch device of mesh and particles.
    """

    def __init__(self, cells: int, device: torch.device | str = "cpu"):
        self.cells = cells
        self.device = torch.device(device)
        self.chunk = CHUNK.get(self.device.type, CHUNK["cuda"])
        self._real = torch.empty((cells,) * 3, device=self.device)
        half = (cells, cells, cells // 2 + 1)
        self._modes = torch.empty(half, dtype=torch.complex64, device=self.device)
        self._potential = torch.empty((cells,) * 3, device=self.device)
        self._padded: torch.Tensor | None = None  # made where no compiled loop takes its place
        self._laplacian = inverse_laplacian(cells, self.device)

    def corners(self, positions: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Indices and weights of ``cloud_in_cell``, chunk by chunk: 64 bytes a particle, shared by paint and gather."""
        return [cloud_in_cell(chunk, self.cells) for chunk in positions.split(self.chunk, dim=1)]

    def paint(self, corners: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        """Number of particles per cell, (M, M, M) float32. The result is a buffer: it lives until the next call."""
        flat = self._real.zero_().view(-1)
        for index, weight in corners:
            flat.index_add_(0, index.view(-1), weight.view(-1))
        return self._real

    def _painted(self, positions: torch.Tensor) -> torch.Tensor:
        deposit(self._real.zero_().view(-1), positions, self.cells)
        return self._real

    def accelerations(self, positions: torch.Tensor) -> torch.Tensor:
        r"""g = -grad phi at the particles, laplacian(phi) = delta, in cells; (3, n).

        Decisions: exact Green's function -1/k^2, four-point difference for the gradient, CIC windows not deconvolved,
        as in FastPM. On a mesh of 2N with particles staggered by half a cell (``lattice_positions``) a plane wave then
        feels its linear force within 0.6 % to k_Nyq / 4 and 7 % to 3 k_Nyq / 4. The exact derivative i k and any
        deconvolution amplify the lattice images instead: 40 % too fast for the longest waves in the worst case.
        """
        corners = None if compiled(positions) else self.corners(positions)
        torch.fft.rfftn(self._painted(positions) if corners is None else self.paint(corners), out=self._modes)
        self._modes *= self._laplacian
        torch.fft.irfftn(self._modes, s=(self.cells,) * 3, out=self._potential)
        result = torch.empty_like(positions)
        for axis in range(3):
            self._difference(axis)
            if corners is None:
                kernels().gather(positions.numpy(), self.cells, self._real.view(-1).numpy(), result[axis].numpy())
            else:
                self._gather(corners, result[axis])
        # delta is the density over the mean number per cell; the mean itself drops out with the k = 0 kernel
        return result.mul_(-(self.cells**3) / positions.shape[1])

    def _difference(self, axis: int) -> None:
        # (8 (phi[i+1] - phi[i-1]) - (phi[i+2] - phi[i-2])) / 12 into the real buffer
        cells, phi = self.cells, self._potential
        if compiled(phi):
            kernels().difference(phi.numpy(), axis, self._real.numpy())
            return
        if self._padded is None:
            self._padded = torch.empty((cells + 4) * cells**2, device=self.device)
        shape = [cells + 4 if i == axis else cells for i in range(3)]
        wide = self._padded.view(shape)
        torch.cat([phi.narrow(axis, cells - 2, 2), phi, phi.narrow(axis, 0, 2)], axis, out=wide)
        torch.sub(wide.narrow(axis, 3, cells), wide.narrow(axis, 1, cells), out=self._real)
        self._real.mul_(2 / 3).sub_(wide.narrow(axis, 4, cells), alpha=1 / 12).add_(
            wide.narrow(axis, 0, cells), alpha=1 / 12
        )

    def _gather(self, corners: list[tuple[torch.Tensor, torch.Tensor]], out: torch.Tensor) -> None:
        flat = self._real.view(-1)
        for (index, weight), target in zip(corners, out.split(self.chunk), strict=True):
            torch.sum(flat.index_select(0, index.view(-1)).view_as(weight).mul_(weight), 0, out=target)


def compiled(values: torch.Tensor) -> bool:
    """Whether the loops of :mod:`physgen.domains.cosmology.mesh_kernels` take these positions or this field."""
    return values.device.type == "cpu" and values.dtype == torch.float32


def deposit(density: torch.Tensor, positions: torch.Tensor, cells: int) -> None:
    """Add particles (3, n), in cells, to ``density`` (cells^3,) with CIC, in chunks."""
    if compiled(positions) and density.dtype == torch.float32:
        kernels().paint(positions.numpy(), cells, density.numpy())
        return
    for chunk in positions.split(CHUNK.get(positions.device.type, CHUNK["cuda"]), dim=1):
        index, weight = cloud_in_cell(chunk, cells)
        density.index_add_(0, index.view(-1), weight.view(-1))


def density_contrast(positions: torch.Tensor, cells: int) -> torch.Tensor:
    """delta = rho / mean - 1 of particles painted with CIC; (cells, cells, cells) float32.

    Args:
        positions: (3, n) in units of the cells painted.
        cells: cells per side.
    """
    density = torch.zeros(cells**3, device=positions.device)
    deposit(density, positions, cells)
    return density.mul_(cells**3 / positions.shape[1]).sub_(1).view((cells,) * 3)
