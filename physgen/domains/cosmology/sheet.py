"""The phase-space sheet of cold matter between the particles, painted by interpolated tracers.

Particles start on a lattice, and where matter thins out they stay on one: stretched, wider than a cell, it shows in the
map. The matter is not there but on the sheet x(q), which the particles sample.
Sources: Abel, Hahn & Kaehler 2012 (1111.3944); Hahn & Angulo 2016 (1501.01959).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from physgen.domains.cosmology.assignment import add_points

# particles refined at a time, as whole planes of the lattice: 12 bytes for each of their eight tracers
BATCH = 1 << 15


def sheet_contrast(positions: torch.Tensor, particles: int, cells: int, scheme: str = "CIC") -> torch.Tensor:
    r"""delta = rho / mean - 1 of the sheet, (cells, cells, cells) float32, of (2 N)^3 tracers of a mass 1/8 each.

    Convention: :math:`x(q) = q + \psi(q)` with psi trilinear between the particles (mod the box), taken at every half
    step of the lattice. In the emptiest 5 % of slabs of 32 Mpc/h (N = 64 in 128 Mpc/h) ln density is off by 0.13 rms
    from a run of eight times the particles, where the particles alone are off by 0.31. Power gains 2.5 % at k_Nyq / 2
    and 9 % at k_Nyq, towards that of better simulations, though in part because chords of the folded sheet cut inside
    the orbits of haloes.

    Args:
        positions: (3, N^3) in units of the cells painted, in the order of ``lattice_positions``.
        particles: N, particles per side.
        cells: cells per side.
        scheme: mass assignment of the tracers.
    """
    density = torch.zeros(cells**3, device=positions.device)
    for tracers in _tracers(positions.view(3, particles, particles, particles), cells):
        add_points(density, tracers, cells, scheme)
    return density.mul_(cells**3 / (8 * particles**3)).sub_(1).view((cells,) * 3)


def _tracers(lattice: torch.Tensor, cells: int) -> Iterator[torch.Tensor]:
    # (3, 8 n) for n particles of some whole planes at a time
    particles = lattice.shape[1]
    planes = max(1, BATCH // particles**2)
    for first in range(0, particles, planes):
        some = lattice[:, first : first + planes]
        following = lattice[:, (torch.arange(some.shape[1], device=lattice.device) + first + 1) % particles]
        some = _insert_midpoints(some, following, 1, cells)
        for axis in (2, 3):
            some = _insert_midpoints(some, some.roll(-1, axis), axis, cells)
        yield some.reshape(3, -1)


def _insert_midpoints(points: torch.Tensor, following: torch.Tensor, axis: int, cells: int) -> torch.Tensor:
    # each point and its midpoint with the following one, along the shorter way round the box
    step = (following - points).add_(cells / 2).remainder_(cells).sub_(cells / 2)
    return torch.stack([points, torch.add(points, step, alpha=0.5)], axis + 1).flatten(axis, axis + 1)
