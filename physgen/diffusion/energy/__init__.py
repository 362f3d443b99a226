r"""Energies: models :math:`p(x) = e^{-E(x)}/Z`, their training, their chains, their normalisation.

``contrastive`` trains them, ``moves`` (real values) and ``flips`` (spins +-1) are exact Markov kernels for any energy,
``chains`` runs them and says what their draws are worth, ``annealing`` finds ln Z. The energy of a diffusion model is
:class:`physgen.diffusion.learning.denoisers.EnergyDenoiser`, at one noise level :class:`EnergyAtLevel`.
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diffusion.energy.annealing import AnnealedZ as AnnealedZ
    from physgen.diffusion.energy.annealing import annealed_log_Z as annealed_log_Z
    from physgen.diffusion.energy.chains import ChainRun as ChainRun
    from physgen.diffusion.energy.chains import autocorrelation_time as autocorrelation_time
    from physgen.diffusion.energy.chains import run_chains as run_chains
    from physgen.diffusion.energy.contrastive import ContrastiveDivergence as ContrastiveDivergence
    from physgen.diffusion.energy.draws import ChainDraws as ChainDraws
    from physgen.diffusion.energy.draws import StreamDraws as StreamDraws
    from physgen.diffusion.energy.draws import TorchDraws as TorchDraws
    from physgen.diffusion.energy.flips import GradientFlips as GradientFlips
    from physgen.diffusion.energy.flips import SiteFlips as SiteFlips
    from physgen.diffusion.energy.laws import Energy as Energy
    from physgen.diffusion.energy.laws import EnergyAtLevel as EnergyAtLevel
    from physgen.diffusion.energy.laws import GaussianStart as GaussianStart
    from physgen.diffusion.energy.laws import SpinStart as SpinStart
    from physgen.diffusion.energy.moves import ChainState as ChainState
    from physgen.diffusion.energy.moves import Langevin as Langevin
    from physgen.diffusion.energy.moves import Move as Move

__getattr__, __dir__, __all__ = attach(__name__, __file__)
