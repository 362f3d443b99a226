"""Cosmology: simulate, read, encode and judge density fields of the large-scale structure. Lengths in Mpc/h."""

from physgen.domains.cosmology.astropy_cosmology import cosmology_of
from physgen.domains.cosmology.background import CosmologyParams
from physgen.domains.cosmology.domain import Cosmology

Domain = Cosmology

__all__ = ["Cosmology", "CosmologyParams", "Domain", "cosmology_of"]
