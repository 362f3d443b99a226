"""Laws whose denoiser is known: a network's interface, and score, log-density at every noise level, and samples."""

from physgen.diffusion.exact.atoms import EmpiricalMeasure, EnumeratedIsing
from physgen.diffusion.exact.curie_weiss import CurieWeiss
from physgen.diffusion.exact.entropy import entropy_rates, field_entropy_production, field_entropy_rate, field_KL
from physgen.diffusion.exact.field import GaussianField
from physgen.diffusion.exact.glass import from_interactions, p_spin
from physgen.diffusion.exact.law import ExactLaw
from physgen.diffusion.exact.mixture import GaussianMixture
from physgen.diffusion.exact.site import SiteLaw, phi4_site
from physgen.diffusion.exact.spins import SpinLaw
from physgen.diffusion.exact.strip import IsingStrip
from physgen.diffusion.exact.tree import IsingRing, IsingTree, tree_chain

__all__ = [
    "CurieWeiss",
    "EmpiricalMeasure",
    "EnumeratedIsing",
    "ExactLaw",
    "GaussianField",
    "GaussianMixture",
    "IsingRing",
    "IsingStrip",
    "IsingTree",
    "SiteLaw",
    "SpinLaw",
    "entropy_rates",
    "field_KL",
    "field_entropy_production",
    "field_entropy_rate",
    "from_interactions",
    "p_spin",
    "phi4_site",
    "tree_chain",
]
