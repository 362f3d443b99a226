"""The stages: simulate, import, train, sample, evaluate. Files in, files out; no physics.

Each is imported when it is first used, so that the command line answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.stages.certification import Certificate as Certificate
    from physgen.stages.certification import CertifyOptions as CertifyOptions
    from physgen.stages.certification import certify as certify
    from physgen.stages.combining import CombineOptions as CombineOptions
    from physgen.stages.combining import combine as combine
    from physgen.stages.combining import write_combination as write_combination
    from physgen.stages.data import default_dataset as default_dataset
    from physgen.stages.data import describe_data as describe_data
    from physgen.stages.data import describe_domains as describe_domains
    from physgen.stages.data import domain_of_format as domain_of_format
    from physgen.stages.data import import_files as import_files
    from physgen.stages.data import pair as pair
    from physgen.stages.data import simulate as simulate
    from physgen.stages.distillation import DistillOptions as DistillOptions
    from physgen.stages.distillation import distill as distill
    from physgen.stages.ema import best_width as best_width
    from physgen.stages.ema import compare_widths as compare_widths
    from physgen.stages.ema import describe_average as describe_average
    from physgen.stages.ema import width_table as width_table
    from physgen.stages.evaluation import Evaluation as Evaluation
    from physgen.stages.evaluation import Evaluator as Evaluator
    from physgen.stages.evaluation import evaluate as evaluate
    from physgen.stages.evaluation import evaluate_ensembles as evaluate_ensembles
    from physgen.stages.exporting import Exported as Exported
    from physgen.stages.exporting import export_files as export_files
    from physgen.stages.halves import agreement_of_runs as agreement_of_runs
    from physgen.stages.latents import LatentOptions as LatentOptions
    from physgen.stages.latents import decode_file as decode_file
    from physgen.stages.latents import encode_file as encode_file
    from physgen.stages.latents import information_table as information_table
    from physgen.stages.monitor import why_stopped as why_stopped
    from physgen.stages.monitored import monitor_curves as monitor_curves
    from physgen.stages.monitored import times_of_run as times_of_run
    from physgen.stages.observation import PosteriorOptions as PosteriorOptions
    from physgen.stages.observation import check_posterior as check_posterior
    from physgen.stages.observation import posterior_ensemble as posterior_ensemble
    from physgen.stages.observation import sample_given as sample_given
    from physgen.stages.observed import observe as observe
    from physgen.stages.packing import describe_pack as describe_pack
    from physgen.stages.packing import pack_run as pack_run
    from physgen.stages.packing import packed_config as packed_config
    from physgen.stages.proposals import NetworkMoves as NetworkMoves
    from physgen.stages.proposals import Proposals as Proposals
    from physgen.stages.regimes import find_regimes as find_regimes
    from physgen.stages.regimes import write_regimes as write_regimes
    from physgen.stages.sampling import DrawOptions as DrawOptions
    from physgen.stages.sampling import conditions_without_data as conditions_without_data
    from physgen.stages.sampling import describe_acceptance as describe_acceptance
    from physgen.stages.sampling import extrapolation as extrapolation
    from physgen.stages.sampling import labels_not_held as labels_not_held
    from physgen.stages.sampling import reference_settings as reference_settings
    from physgen.stages.sampling import sample as sample
    from physgen.stages.training import is_complete as is_complete
    from physgen.stages.training import train as train

__getattr__, __dir__, __all__ = attach(__name__, __file__)
