"""Painting particles on a mesh by any of the usual schemes, on one mesh or on two that are interlaced.

Shapes: n particles, positions (3, n) in cells of the mesh, M cells per side; cell i has its centre at coordinate i.
Forces use CIC alone (:mod:`physgen.domains.cosmology.mesh`); what is painted for measurements is the user's choice.
"""

from __future__ import annotations

import itertools

import torch

from physgen.diagnostics.window import SCHEMES, MassAssignment
from physgen.domains.cosmology.mesh import CHUNK, deposit
from physgen.lattice import wavenumbers


def spline_weights(distance: torch.Tensor, order: int) -> torch.Tensor:
    """Weight of a cell at a distance (in cells, at most order / 2): the B-spline of an order 1 to 4 (NGP to PCS)."""
    d = distance.abs()
    if order == 1:
        return torch.ones_like(d)
    if order == 2:
        return 1 - d
    if order == 3:
        return torch.where(d < 0.5, 0.75 - d**2, 0.5 * (1.5 - d).square())
    return torch.where(d < 1, (4 - 6 * d**2 + 3 * d**3) / 6, (2 - d) ** 3 / 6)


def add_points(density: torch.Tensor, positions: torch.Tensor, cells: int, scheme: str = "CIC") -> None:
    """Add particles (3, n), in cells, to ``density`` (cells^3,) by a scheme, in chunks."""
    order = SCHEMES[MassAssignment(scheme).scheme]
    if order == 2:
        deposit(density, positions, cells)
        return
    for chunk in positions.split(CHUNK.get(positions.device.type, CHUNK["cuda"]), dim=1):
        first = (chunk - order / 2).floor() + 1  # lowest of the cells that the spline reaches
        along = [(first + j).long().remainder(cells) for j in range(order)]
        weight = [spline_weights(chunk - (first + j), order) for j in range(order)]
        for x, y, z in itertools.product(range(order), repeat=3):
            place = (along[x][0] * cells + along[y][1]) * cells + along[z][2]
            density.index_add_(0, place, weight[x][0] * weight[y][1] * weight[z][2])


def painted_contrast(
    positions: torch.Tensor, cells: int, scheme: str = "CIC", interlaced: bool = False
) -> torch.Tensor:
    r"""delta = rho / mean - 1 of particles painted by a scheme, (cells, cells, cells) float32.

    Args:
        positions: (3, n) in units of the cells painted.
        cells: cells per side.
        scheme: NGP, CIC, TSC or PCS.
        interlaced: paint a second mesh, half a cell off along every axis, and take the :func:`interlace` of both.
    """
    meshes = []
    for shift in (0.0, 0.5) if interlaced else (0.0,):
        density = torch.zeros(cells**3, device=positions.device)
        add_points(density, positions + shift if shift else positions, cells, scheme)
        meshes.append(density.mul_(cells**3 / positions.shape[1]).sub_(1).view((cells,) * 3))
    return interlace(meshes[0], meshes[1]) if interlaced else meshes[0]


def interlace(first: torch.Tensor, second: torch.Tensor, dimension: int = 3) -> torch.Tensor:
    r"""Field whose modes are :math:`\frac12(\delta_k + \delta'_k e^{i \sum_j k_j a/2})`.

    The images k + 2 k_N n of odd sum of n cancel, those of even sum stay. On the planes of Nyquist, where +k and -k are
    one mode, the first mesh stands alone. Values may fall below -1. Source: Sefusatti et al. 2016 (1512.07295), eq. 24.

    Args:
        first: (..., \*grid) painted at positions x.
        second: the same painted at x + a/2, half a cell on along every axis of the grid.
        dimension: of the grid, the number of trailing axes.
    """
    grid, axes = tuple(first.shape[-dimension:]), tuple(range(-dimension, 0))
    one, two = torch.fft.rfftn(first, dim=axes), torch.fft.rfftn(second, dim=axes)
    phase = torch.zeros((), device=first.device)
    edge = torch.zeros((), dtype=torch.bool, device=first.device)
    for k in wavenumbers(grid, dtype=torch.float32, device=first.device):
        phase, edge = phase + k / 2, edge | (k.abs() > 3.14159)
    both = (one + two * torch.polar(torch.ones_like(phase), phase)) / 2
    return torch.fft.irfftn(torch.where(edge, one, both), s=grid, dim=axes)
