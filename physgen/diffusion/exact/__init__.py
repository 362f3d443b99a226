r"""Laws whose denoiser is known: a network's interface, and score, log-density at every noise level, and samples.

Example:
    >>> law = GaussianMixture(torch.tensor([[[-1.0]], [[1.0]]]), torch.tensor([0.05, 0.05]))
    >>> x = sample(law, log_uniform(50, 0.01, 20), (1000, 1, 1), seed=0)  # two peaks, with no training
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diffusion.exact import von_mises as von_mises
    from physgen.diffusion.exact.atoms import EmpiricalMeasure as EmpiricalMeasure
    from physgen.diffusion.exact.atoms import EnumeratedIsing as EnumeratedIsing
    from physgen.diffusion.exact.atoms import from_interactions as from_interactions
    from physgen.diffusion.exact.atoms import p_spin as p_spin
    from physgen.diffusion.exact.curie_weiss import CurieWeiss as CurieWeiss
    from physgen.diffusion.exact.entropy import entropy_rates as entropy_rates
    from physgen.diffusion.exact.entropy import field_entropy_production as field_entropy_production
    from physgen.diffusion.exact.entropy import field_entropy_rate as field_entropy_rate
    from physgen.diffusion.exact.entropy import field_KL as field_KL
    from physgen.diffusion.exact.field import GaussianField as GaussianField
    from physgen.diffusion.exact.law import ExactLaw as ExactLaw
    from physgen.diffusion.exact.law_mixture import LawMixture as LawMixture
    from physgen.diffusion.exact.mixture import GaussianMixture as GaussianMixture
    from physgen.diffusion.exact.site import SiteLaw as SiteLaw
    from physgen.diffusion.exact.site import phi4_site as phi4_site
    from physgen.diffusion.exact.spins import SpinLaw as SpinLaw
    from physgen.diffusion.exact.strip import IsingStrip as IsingStrip
    from physgen.diffusion.exact.tree import IsingRing as IsingRing
    from physgen.diffusion.exact.tree import IsingTree as IsingTree
    from physgen.diffusion.exact.tree import tree_chain as tree_chain

__getattr__, __dir__, __all__ = attach(__name__, __file__)
