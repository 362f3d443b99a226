r"""Inference: likelihoods, path weights, guidance, linear inverse problems.

``likelihood`` integrates the probability flow (``flow_ode``); ``reversed_paths`` bound ln p of the stochastic chain, by
levels and by paths (``masked_orders`` that of masked sites); ``path_weights`` weighs stochastic paths, made of
``reverse_kernels``, against a known energy, with ``weight_statistics`` and ``two_sided`` to judge them; ``guidance``
and ``inverse`` make denoisers of denoisers.
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diffusion.inference.categorical_kernel import CategoricalMixture as CategoricalMixture
    from physgen.diffusion.inference.categorical_pairs import CategoricalPairs as CategoricalPairs
    from physgen.diffusion.inference.circle_kernel import CircleMixture as CircleMixture
    from physgen.diffusion.inference.circle_pairs import CirclePairs as CirclePairs
    from physgen.diffusion.inference.guidance import ClassifierGuided as ClassifierGuided
    from physgen.diffusion.inference.guidance import Guided as Guided
    from physgen.diffusion.inference.guidance import Particles as Particles
    from physgen.diffusion.inference.guidance import Product as Product
    from physgen.diffusion.inference.guidance import classifier_free as classifier_free
    from physgen.diffusion.inference.guidance import sample_guided as sample_guided
    from physgen.diffusion.inference.guidance import tempered as tempered
    from physgen.diffusion.inference.guidance import with_condition as with_condition
    from physgen.diffusion.inference.inverse import Observation as Observation
    from physgen.diffusion.inference.inverse import PosteriorDenoiser as PosteriorDenoiser
    from physgen.diffusion.inference.inverse import dps as dps
    from physgen.diffusion.inference.inverse import mmps as mmps
    from physgen.diffusion.inference.inverse import pigdm as pigdm
    from physgen.diffusion.inference.inverse import repaint as repaint
    from physgen.diffusion.inference.inverse import wiener as wiener
    from physgen.diffusion.inference.kernel_sampler import KernelSampler as KernelSampler
    from physgen.diffusion.inference.likelihood import Likelihood as Likelihood
    from physgen.diffusion.inference.likelihood import log_likelihood as log_likelihood
    from physgen.diffusion.inference.likelihood import sample_with_log_density as sample_with_log_density
    from physgen.diffusion.inference.masked_orders import masked_bounds as masked_bounds
    from physgen.diffusion.inference.path_moves import PathMove as PathMove
    from physgen.diffusion.inference.path_moves import PathProposal as PathProposal
    from physgen.diffusion.inference.path_weights import Chain as Chain
    from physgen.diffusion.inference.path_weights import WeightedSamples as WeightedSamples
    from physgen.diffusion.inference.path_weights import noising_log_weight as noising_log_weight
    from physgen.diffusion.inference.path_weights import weighted_sample as weighted_sample
    from physgen.diffusion.inference.posterior_weights import weighted_posterior as weighted_posterior
    from physgen.diffusion.inference.reverse_kernels import Ancestral as Ancestral
    from physgen.diffusion.inference.reverse_kernels import EulerMaruyama as EulerMaruyama
    from physgen.diffusion.inference.reverse_kernels import FourierCovariance as FourierCovariance
    from physgen.diffusion.inference.reverse_kernels import Kernel as Kernel
    from physgen.diffusion.inference.reverse_kernels import LocalCovariance as LocalCovariance
    from physgen.diffusion.inference.reverse_kernels import PathKernel as PathKernel
    from physgen.diffusion.inference.reverse_kernels import SpinMixture as SpinMixture
    from physgen.diffusion.inference.reversed_paths import ChainBounds as ChainBounds
    from physgen.diffusion.inference.reversed_paths import chain_bounds as chain_bounds
    from physgen.diffusion.inference.spectrum_kernel import SpectrumCovariance as SpectrumCovariance
    from physgen.diffusion.inference.two_sided import TwoSided as TwoSided
    from physgen.diffusion.inference.two_sided import bennett as bennett
    from physgen.diffusion.inference.weight_statistics import WeightStatistics as WeightStatistics
    from physgen.diffusion.inference.weight_statistics import effective_fraction as effective_fraction
    from physgen.diffusion.inference.weight_statistics import independence_metropolis as independence_metropolis
    from physgen.diffusion.inference.weight_statistics import jackknife_error as jackknife_error
    from physgen.diffusion.inference.weight_statistics import log_mean_exp as log_mean_exp
    from physgen.diffusion.inference.weight_statistics import resample as resample
    from physgen.diffusion.inference.weight_statistics import reweighted_jackknife as reweighted_jackknife
    from physgen.diffusion.inference.weight_statistics import reweighted_mean as reweighted_mean
    from physgen.diffusion.inference.weight_statistics import reweighted_pair_mean as reweighted_pair_mean
    from physgen.diffusion.inference.weight_statistics import stays as stays
    from physgen.diffusion.inference.weight_statistics import summarise_weights as summarise_weights
    from physgen.diffusion.inference.weight_statistics import tail_shape as tail_shape

__getattr__, __dir__, __all__ = attach(__name__, __file__)
