r"""Learning: denoisers, losses, the training loop of one process, EMA and validation.

``denoisers`` turns a network into D(y, s); ``training`` is the loop, a generator of steps; ``prior_spectrum`` is the
P(k) that a field denoiser starts from; ``losses`` has other objectives; ``ema`` makes an EMA of any width;
``validation`` is the loss by noise level.
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diffusion.learning.categorical import CategoricalDenoiser as CategoricalDenoiser
    from physgen.diffusion.learning.circle import CircleDenoiser as CircleDenoiser
    from physgen.diffusion.learning.denoisers import FieldDenoiser as FieldDenoiser
    from physgen.diffusion.learning.denoisers import LevelDistribution as LevelDistribution
    from physgen.diffusion.learning.denoisers import LogNormal as LogNormal
    from physgen.diffusion.learning.denoisers import LogUniform as LogUniform
    from physgen.diffusion.learning.denoisers import SpinDenoiser as SpinDenoiser
    from physgen.diffusion.learning.denoisers import denoising_loss as denoising_loss
    from physgen.diffusion.learning.ema import PowerEMA as PowerEMA
    from physgen.diffusion.learning.ema import Snapshot as Snapshot
    from physgen.diffusion.learning.ema import exponent_of as exponent_of
    from physgen.diffusion.learning.ema import synthesis_coefficients as synthesis_coefficients
    from physgen.diffusion.learning.ema import synthesize as synthesize
    from physgen.diffusion.learning.ema import width_of as width_of
    from physgen.diffusion.learning.heads import EnergyDenoiser as EnergyDenoiser
    from physgen.diffusion.learning.heads import PredictionDenoiser as PredictionDenoiser
    from physgen.diffusion.learning.losses import ConditionalMeanLoss as ConditionalMeanLoss
    from physgen.diffusion.learning.losses import ImplicitScoreMatching as ImplicitScoreMatching
    from physgen.diffusion.learning.losses import LearnedWeight as LearnedWeight
    from physgen.diffusion.learning.losses import SlicedScoreMatching as SlicedScoreMatching
    from physgen.diffusion.learning.losses import WeightedDenoising as WeightedDenoising
    from physgen.diffusion.learning.losses import likelihood_weight as likelihood_weight
    from physgen.diffusion.learning.losses import min_snr_weight as min_snr_weight
    from physgen.diffusion.learning.losses import unit_weight as unit_weight
    from physgen.diffusion.learning.path_variance import PathVariance as PathVariance
    from physgen.diffusion.learning.prior_spectrum import Spectrum as Spectrum
    from physgen.diffusion.learning.prior_spectrum import fit_spectrum as fit_spectrum
    from physgen.diffusion.learning.training import Recipe as Recipe
    from physgen.diffusion.learning.training import Step as Step
    from physgen.diffusion.learning.training import TrainingState as TrainingState
    from physgen.diffusion.learning.training import train as train
    from physgen.diffusion.learning.validation import ValidationLoss as ValidationLoss
    from physgen.diffusion.learning.validation import sample_losses as sample_losses
    from physgen.diffusion.learning.validation import summarise_losses as summarise_losses
    from physgen.diffusion.learning.validation import validation_loss as validation_loss

__getattr__, __dir__, __all__ = attach(__name__, __file__)
