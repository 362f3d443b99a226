"""Disordered spins: glasses and ferromagnets on lattices and complete graphs."""

from physgen.domains.spins.domain import Spins as Domain

__all__ = ["Domain"]
