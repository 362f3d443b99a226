"""physgen: score-based diffusion models for physical configurations, judged with error bars.

A *domain* makes an *ensemble*; the core trains a *denoiser* under an *SDE* and draws with a *sampler*;
*diagnostics* compare the result with a reference; a *run* records everything.

The public names below are imported when they are first used, so ``import physgen`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen import config as config
    from physgen import diagnostics as diagnostics
    from physgen import diffusion as diffusion
    from physgen import domains as domains
    from physgen import ensemble as ensemble
    from physgen import figures as figures
    from physgen import networks as networks
    from physgen import report as report
    from physgen import runs as runs
    from physgen import stages as stages
    from physgen import tracking as tracking
    from physgen.config import DiffusionConfig as DiffusionConfig
    from physgen.config import Experiment as Experiment
    from physgen.config import JudgingConfig as JudgingConfig
    from physgen.config import NetworkConfig as NetworkConfig
    from physgen.config import SamplingConfig as SamplingConfig
    from physgen.config import SplitConfig as SplitConfig
    from physgen.config import TrackingConfig as TrackingConfig
    from physgen.config import TrainingConfig as TrainingConfig
    from physgen.config import load_config as load_config
    from physgen.diagnostics.memorization import memorization as memorization
    from physgen.diagnostics.spectrum import power_spectrum as power_spectrum
    from physgen.diffusion import exact as exact
    from physgen.diffusion.convention import Denoiser as Denoiser
    from physgen.diffusion.levels import karras as karras
    from physgen.diffusion.levels import log_uniform as log_uniform
    from physgen.diffusion.sampling.samplers import sample as sample
    from physgen.diffusion.sde import OU as OU
    from physgen.diffusion.sde import VE as VE
    from physgen.diffusion.sde import VP as VP
    from physgen.diffusion.sde import Cosine as Cosine
    from physgen.diffusion.sde import RectifiedFlow as RectifiedFlow
    from physgen.diffusion.sde import SubVP as SubVP
    from physgen.diffusion.sde import s_of_t_OU as s_of_t_OU
    from physgen.diffusion.sde import t_OU as t_OU
    from physgen.domains.contract import get_domain as get_domain
    from physgen.domains.contract import list_domains as list_domains
    from physgen.ensemble.files import load_ensemble as load_ensemble
    from physgen.ensemble.files import open_ensemble as open_ensemble
    from physgen.ensemble.files import save_ensemble as save_ensemble
    from physgen.ensemble.from_array import from_array as from_array
    from physgen.ensemble.split import split as split
    from physgen.errors import InputError as InputError
    from physgen.figures.value import Value as Value
    from physgen.figures.value import values as values
    from physgen.networks import MLP as MLP
    from physgen.networks import MessagePassing as MessagePassing
    from physgen.networks import UNet as UNet
    from physgen.session.inferring import infer as infer
    from physgen.session.inferring import likelihood as likelihood
    from physgen.session.judging import certify as certify
    from physgen.session.judging import combine as combine
    from physgen.session.judging import compare as compare
    from physgen.session.judging import evaluate as evaluate
    from physgen.session.judging import regimes as regimes
    from physgen.session.making import export as export
    from physgen.session.making import import_files as import_files
    from physgen.session.making import simulate as simulate
    from physgen.session.making import train as train
    from physgen.session.run import open_run as open_run

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(__name__, __file__)
