"""How particles become fields: boxes or slabs, by any scheme, in real or in redshift space, interlaced or not.

Shapes: n particles, positions (3, n) in cells of the painted mesh; axes of a box are z, y, x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from physgen.domains.cosmology.assignment import interlace, painted_contrast
from physgen.domains.cosmology.sheet import sheet_contrast

LINE_OF_SIGHT = 0  # axis of a box along which redshift space is: z


@dataclass(frozen=True)
class Painting:
    """How particles become fields.

    Attributes:
        cells: cells per side of the painted mesh.
        dimension: 2 for slabs, 3 for the box.
        slab_cells: cells averaged along the line of sight.
        slabs_per_axis: slabs taken along each of the three axes, spread evenly over the box.
        sheet: paint the phase-space sheet between the particles instead of the particles.
        scheme: mass assignment, NGP, CIC, TSC or PCS.
        interlaced: mean with a second mesh, half a cell off along the axes of the field (those across a slab).
        redshift_space: particles stand where their velocities put them, along z in boxes, along the line of sight of
            each slab in slabs.
    """

    cells: int
    dimension: int
    slab_cells: int = 1
    slabs_per_axis: int = 1
    sheet: bool = False
    scheme: str = "CIC"
    interlaced: bool = False
    redshift_space: bool = False

    @property
    def maps_per_simulation(self) -> int:
        """Configurations that one simulation gives."""
        return 1 if self.dimension == 3 else 3 * self.slabs_per_axis


def slabs_along(delta: Any, painting: Painting, axis: int) -> Any:
    """Means over slabs along one axis: (slabs_per_axis, cells, cells), the other axes in order."""
    available = painting.cells // painting.slab_cells
    chosen = [available * i // painting.slabs_per_axis for i in range(painting.slabs_per_axis)]
    moved = delta.movedim(axis, 0)
    stacked = moved[: available * painting.slab_cells].reshape(available, painting.slab_cells, *moved.shape[1:])
    return stacked.mean(1)[chosen]


def project_slabs(delta: Any, painting: Painting) -> Any:
    """Means over slabs along each axis: (3 slabs_per_axis, cells, cells), axis by axis, the others in order.

    The cosmic (box) mean is kept: a slab's own mean is a physical, fluctuating number and is not subtracted.
    """
    return torch.cat([slabs_along(delta, painting, axis) for axis in range(3)])


def paint(
    positions: torch.Tensor, painting: Painting, particles: int, shifts: torch.Tensor | None = None
) -> torch.Tensor:
    r"""Density contrast of one snapshot: (maps, cells, cells), or (1, cells, cells, cells) of a box.

    Args:
        positions: (3, n) in cells of the painted mesh, in the order of ``lattice_positions``.
        painting: what to make of them.
        particles: N, particles per side.
        shifts: (3, n) in cells, what the velocity along each axis adds in redshift space; None in real space.
    """
    if painting.dimension == 3:
        place = positions if shifts is None else _shifted(positions, shifts, LINE_OF_SIGHT)
        return _interlaced(place, painting, particles, (0, 1, 2))[None]
    if shifts is None and not painting.interlaced:
        return project_slabs(_contrast(positions, painting, particles), painting)
    maps = []
    for axis in range(3):
        place = positions if shifts is None else _shifted(positions, shifts, axis)
        across = tuple(other for other in range(3) if other != axis)
        maps.append(_interlaced(place, painting, particles, across, axis))
    return torch.cat(maps)


def _shifted(positions: torch.Tensor, shifts: torch.Tensor, axis: int) -> torch.Tensor:
    moved = positions.clone()
    moved[axis] += shifts[axis]
    return moved


def _interlaced(
    positions: torch.Tensor, painting: Painting, particles: int, off: tuple[int, ...], slabs: int | None = None
) -> torch.Tensor:
    """One mesh, or the interlacing of two that are half a cell apart along ``off``; projected along ``slabs``."""

    def mesh(place: torch.Tensor) -> torch.Tensor:
        delta = _contrast(place, painting, particles)
        return delta if slabs is None else slabs_along(delta, painting, slabs)

    first = mesh(positions)
    if not painting.interlaced:
        return first
    half = torch.zeros(3, 1, device=positions.device)
    half[list(off)] = 0.5
    return interlace(first, mesh(positions + half), len(off))


def _contrast(positions: torch.Tensor, painting: Painting, particles: int) -> torch.Tensor:
    if painting.sheet:
        return sheet_contrast(positions, particles, painting.cells, painting.scheme)
    return painted_contrast(positions, painting.cells, painting.scheme)
