r"""The core: linear SDEs, denoisers, exact laws and samplers, written once in y = x/alpha and s = sigma/alpha.

A reading path, six files: ``convention`` (y, s, D and the way down), ``sde`` (schedules are clocks of s), ``levels``
(noise levels), ``exact/field`` (a law whose denoiser is known), ``sampling/solver`` (the loop of a solver) and
``learning/training`` (the loop of training). The rest is behind folders:

- ``exact``: laws with the interface of a network, to prove samplers, likelihoods and diagnostics with;
- ``sampling``: solvers of stated order, and :func:`sample`;
- ``discretization``: noise levels of least error, and their check on the denoiser at hand;
- ``learning``: denoisers made of networks, losses, training, EMA, validation;
- ``inference``: likelihoods, path weights, guidance, inverse problems;
- ``latent``: autoencoders on the torus, and what they lose of each Fourier mode;
- ``energy``: models e^-E/Z, contrastive divergence, exact Markov chains, ln Z by annealing;
- ``masked`` (diffusion of spins by unmasking), ``symmetry`` (exact equivariance), ``noise`` (random numbers that belong
  to a sample) and ``traces`` (Jacobians).

Names are imported when they are first used.

Example:
    >>> from physgen.diffusion import exact, log_uniform, sample
    >>> law = exact.GaussianField(torch.ones(1, 64, 64))
    >>> x = sample(law, log_uniform(50, 0.01, 20), (8, 1, 64, 64), seed=0)
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diffusion import discretization as discretization
    from physgen.diffusion import energy as energy
    from physgen.diffusion import exact as exact
    from physgen.diffusion import inference as inference
    from physgen.diffusion import latent as latent
    from physgen.diffusion import learning as learning
    from physgen.diffusion import sampling as sampling
    from physgen.diffusion.convention import Condition as Condition
    from physgen.diffusion.convention import Denoiser as Denoiser
    from physgen.diffusion.discretization.check import candidate_levels as candidate_levels
    from physgen.diffusion.discretization.check import most_converged as most_converged
    from physgen.diffusion.discretization.search import optimal_levels as optimal_levels
    from physgen.diffusion.inference.likelihood import log_likelihood as log_likelihood
    from physgen.diffusion.inference.path_weights import weighted_sample as weighted_sample
    from physgen.diffusion.learning.denoisers import FieldDenoiser as FieldDenoiser
    from physgen.diffusion.learning.denoisers import LogNormal as LogNormal
    from physgen.diffusion.learning.denoisers import LogUniform as LogUniform
    from physgen.diffusion.learning.denoisers import SpinDenoiser as SpinDenoiser
    from physgen.diffusion.learning.training import Recipe as Recipe
    from physgen.diffusion.learning.training import TrainingState as TrainingState
    from physgen.diffusion.learning.training import train as train
    from physgen.diffusion.learning.validation import validation_loss as validation_loss
    from physgen.diffusion.levels import check_levels as check_levels
    from physgen.diffusion.levels import karras as karras
    from physgen.diffusion.levels import levels_from as levels_from
    from physgen.diffusion.levels import log_uniform as log_uniform
    from physgen.diffusion.masked import MaskedDenoiser as MaskedDenoiser
    from physgen.diffusion.masked import MaskedLoss as MaskedLoss
    from physgen.diffusion.masked import sample_masked as sample_masked
    from physgen.diffusion.noise import Stream as Stream
    from physgen.diffusion.noise import generator_for as generator_for
    from physgen.diffusion.noise import noise_like as noise_like
    from physgen.diffusion.noise import uniform_like as uniform_like
    from physgen.diffusion.sampling.samplers import SAMPLERS as SAMPLERS
    from physgen.diffusion.sampling.samplers import sample as sample
    from physgen.diffusion.sde import OU as OU
    from physgen.diffusion.sde import SDE as SDE
    from physgen.diffusion.sde import VE as VE
    from physgen.diffusion.sde import VP as VP
    from physgen.diffusion.sde import Cosine as Cosine
    from physgen.diffusion.sde import RectifiedFlow as RectifiedFlow
    from physgen.diffusion.sde import SubVP as SubVP
    from physgen.diffusion.sde import s_of_t_OU as s_of_t_OU
    from physgen.diffusion.sde import t_OU as t_OU
    from physgen.diffusion.symmetry import GroupAverage as GroupAverage

__getattr__, __dir__, __all__ = attach(__name__, __file__)
