"""Disordered spins: glasses and ferromagnets on lattices and complete graphs."""

from physgen.domains.spins.crossings import crossings
from physgen.domains.spins.domain import Spins
from physgen.domains.spins.from_arrays import from_arrays
from physgen.domains.spins.ultrametricity import ultrametricity, ultrametricity_law

Domain = Spins

__all__ = ["Domain", "Spins", "crossings", "from_arrays", "ultrametricity", "ultrametricity_law"]
