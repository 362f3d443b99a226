r"""Discretization: the noise levels of least error, and a check of them on the network itself.

``gaussian`` is what a solver makes of a Gaussian law, in closed form; ``search`` minimises that error over the levels,
with a ``hedge`` for laws that are not Gaussian; ``check`` compares the outcome on the denoiser at hand.
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diffusion.discretization.check import Convergence as Convergence
    from physgen.diffusion.discretization.check import candidate_levels as candidate_levels
    from physgen.diffusion.discretization.check import convergence as convergence
    from physgen.diffusion.discretization.check import most_converged as most_converged
    from physgen.diffusion.discretization.gaussian import largest_error as largest_error
    from physgen.diffusion.discretization.gaussian import representative as representative
    from physgen.diffusion.discretization.gaussian import sampled_power as sampled_power
    from physgen.diffusion.discretization.hedge import hedge_errors as hedge_errors
    from physgen.diffusion.discretization.search import adapted_levels as adapted_levels
    from physgen.diffusion.discretization.search import best_log_uniform as best_log_uniform
    from physgen.diffusion.discretization.search import optimal_levels as optimal_levels
    from physgen.diffusion.discretization.search import steps_for as steps_for

__getattr__, __dir__, __all__ = attach(__name__, __file__)
