"""Disordered spins: glasses and ferromagnets on lattices and complete graphs."""

from physgen.domains.spins.domain import Spins

Domain = Spins

__all__ = ["Domain", "Spins"]
