"""Laws whose denoiser is known: a network's interface, and score, log-density at every noise level, and samples."""

from physgen.diffusion.exact.atoms import EmpiricalMeasure, EnumeratedIsing
from physgen.diffusion.exact.field import GaussianField
from physgen.diffusion.exact.law import ExactLaw
from physgen.diffusion.exact.mixture import GaussianMixture

__all__ = ["EmpiricalMeasure", "EnumeratedIsing", "ExactLaw", "GaussianField", "GaussianMixture"]
