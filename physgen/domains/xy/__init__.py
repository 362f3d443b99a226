"""XY models: an angle on each site of a lattice, ferromagnets and glasses."""

from physgen.domains.xy.domain import XY

Domain = XY

__all__ = ["XY", "Domain"]
