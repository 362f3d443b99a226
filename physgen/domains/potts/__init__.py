"""Potts models: sites of one of q states on a lattice, ferromagnets and glasses."""

from physgen.domains.potts.domain import Potts

Domain = Potts

__all__ = ["Domain", "Potts"]
