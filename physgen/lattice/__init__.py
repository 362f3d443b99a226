"""The hypercubic lattice: its symmetries, how they move fields and bonds, and its Fourier modes. Torch and numpy only.

Every room that needs a point group, a wavenumber or a shell of modes takes it from here; so may any domain.
"""

from physgen.lattice.modes import (
    ModeBins,
    bin_edges,
    half_grid,
    increasing_edges,
    mirrored,
    mode_bins,
    multiplicity,
    nyquist,
    octant_bins,
    shells,
    unfolded,
    wavenumber,
    wavenumbers,
)
from physgen.lattice.moves import (
    Draws,
    Moves,
    Symmetry,
    equal_axes,
    neighbour,
    point_group,
    random_moves,
    translations,
    whole_numbers,
)
from physgen.lattice.power import power_by_shell

__all__ = [
    "Draws",
    "ModeBins",
    "Moves",
    "Symmetry",
    "bin_edges",
    "equal_axes",
    "half_grid",
    "increasing_edges",
    "mirrored",
    "mode_bins",
    "multiplicity",
    "neighbour",
    "nyquist",
    "octant_bins",
    "point_group",
    "power_by_shell",
    "random_moves",
    "shells",
    "translations",
    "unfolded",
    "wavenumber",
    "wavenumbers",
    "whole_numbers",
]
