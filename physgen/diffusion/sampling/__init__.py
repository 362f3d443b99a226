r"""Sampling: solvers of stated order, and the one function that draws with them.

:func:`sample` draws with a solver of ``SAMPLERS``. ``solver`` is the loop of all solvers on given noise levels,
``deterministic`` and ``stochastic`` are their rules, ``metropolis`` accepts Langevin steps by an energy,
``adaptive`` leaves the steps to torchdiffeq; ``tiles`` says how the same samples get the same bits.
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diffusion.sampling.adaptive import AdaptiveFlow as AdaptiveFlow
    from physgen.diffusion.sampling.deterministic import dpmpp_2m as dpmpp_2m
    from physgen.diffusion.sampling.deterministic import euler as euler
    from physgen.diffusion.sampling.deterministic import exponential_multistep as exponential_multistep
    from physgen.diffusion.sampling.deterministic import heun as heun
    from physgen.diffusion.sampling.metropolis import AnnealedMetropolis as AnnealedMetropolis
    from physgen.diffusion.sampling.samplers import SAMPLERS as SAMPLERS
    from physgen.diffusion.sampling.samplers import evaluations as evaluations
    from physgen.diffusion.sampling.samplers import find_sampler as find_sampler
    from physgen.diffusion.sampling.samplers import sample as sample
    from physgen.diffusion.sampling.solver import Churn as Churn
    from physgen.diffusion.sampling.solver import Sampler as Sampler
    from physgen.diffusion.sampling.solver import Solver as Solver
    from physgen.diffusion.sampling.solver import Step as Step
    from physgen.diffusion.sampling.solver import StepNoise as StepNoise
    from physgen.diffusion.sampling.stochastic import ancestral as ancestral
    from physgen.diffusion.sampling.stochastic import annealed_langevin as annealed_langevin
    from physgen.diffusion.sampling.stochastic import dpmpp_2m_sde as dpmpp_2m_sde
    from physgen.diffusion.sampling.stochastic import euler_maruyama as euler_maruyama
    from physgen.diffusion.sampling.stochastic import heun_churn as heun_churn
    from physgen.diffusion.sampling.stochastic import langevin_step as langevin_step
    from physgen.diffusion.sampling.stochastic import predictor_corrector as predictor_corrector
    from physgen.diffusion.sampling.tiles import Execution as Execution
    from physgen.diffusion.sampling.tiles import tile_of as tile_of

__getattr__, __dir__, __all__ = attach(__name__, __file__)
