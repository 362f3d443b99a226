r"""The dynamical regimes of diffusion: when classes are decided, when single data are, and what training opens between.

Everything here is in encoded units and on the clock of the Ornstein-Uhlenbeck process, :math:`x_t = e^{-t} x_0 +
\sqrt{1 - e^{-2t}}\,z`; in the core's words :math:`y = e^t x_t = x_0 + s z` with :math:`s^2 = e^{2t} - 1`. Denoisers and
samplers arrive as callables, data as tensors (n, C, \*grid). A result is a Dataset with ``value`` and ``error`` over
``t``, and with ``theory`` where there is a closed form.
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diagnostics.regimes.classes import label_class as label_class
    from physgen.diagnostics.regimes.classes import magnetization_class as magnetization_class
    from physgen.diagnostics.regimes.classes import nearest_class as nearest_class
    from physgen.diagnostics.regimes.classes import overlap_class as overlap_class
    from physgen.diagnostics.regimes.classes import principal_class as principal_class
    from physgen.diagnostics.regimes.clones import clone as clone
    from physgen.diagnostics.regimes.clones import cloning_gap as cloning_gap
    from physgen.diagnostics.regimes.clones import u_turn as u_turn
    from physgen.diagnostics.regimes.closed_forms import gaussian_collapse_time as gaussian_collapse_time
    from physgen.diagnostics.regimes.closed_forms import gaussian_excess_entropy as gaussian_excess_entropy
    from physgen.diagnostics.regimes.closed_forms import mixture_collapse_time as mixture_collapse_time
    from physgen.diagnostics.regimes.collapse import excess_entropy as excess_entropy
    from physgen.diagnostics.regimes.copies import binary_measure as binary_measure
    from physgen.diagnostics.regimes.copies import field_measure as field_measure
    from physgen.diagnostics.regimes.copies import measure_of as measure_of
    from physgen.diagnostics.regimes.copying_measures import copying_metrics as copying_metrics
    from physgen.diagnostics.regimes.copying_measures import copying_p_values as copying_p_values
    from physgen.diagnostics.regimes.denoising_entropy import denoising_excess_entropy as denoising_excess_entropy
    from physgen.diagnostics.regimes.information import class_information as class_information
    from physgen.diagnostics.regimes.information import free_entropy_speciation as free_entropy_speciation
    from physgen.diagnostics.regimes.jacobian import denoiser_jacobian as denoiser_jacobian
    from physgen.diagnostics.regimes.jacobian import intrinsic_dimension as intrinsic_dimension
    from physgen.diagnostics.regimes.jacobian import jacobian_spectrum as jacobian_spectrum
    from physgen.diagnostics.regimes.kinds_of_copies import copy_classes as copy_classes
    from physgen.diagnostics.regimes.linear_score import linear_score_times as linear_score_times
    from physgen.diagnostics.regimes.losses_by_level import loss_gap as loss_gap
    from physgen.diagnostics.regimes.mixture_theory import mixture_cloning as mixture_cloning
    from physgen.diagnostics.regimes.random_features import random_features_spectrum as random_features_spectrum
    from physgen.diagnostics.regimes.random_features_training import random_features_losses as random_features_losses
    from physgen.diagnostics.regimes.random_features_training import random_features_window as random_features_window
    from physgen.diagnostics.regimes.revealed import revealed_collapse_fraction as revealed_collapse_fraction
    from physgen.diagnostics.regimes.revealed import revealed_speciation_fraction as revealed_speciation_fraction
    from physgen.diagnostics.regimes.speciation import spectral_speciation as spectral_speciation
    from physgen.diagnostics.regimes.training_dynamics import collapse_exponent as collapse_exponent
    from physgen.diagnostics.regimes.training_dynamics import learning_times as learning_times
    from physgen.diagnostics.regimes.training_dynamics import predicted_window as predicted_window
    from physgen.diagnostics.regimes.trajectories import PathRecorder as PathRecorder
    from physgen.diagnostics.regimes.trajectories import collapse_of_trajectories as collapse_of_trajectories
    from physgen.diagnostics.regimes.two_models import agreement as agreement
    from physgen.diagnostics.regimes.two_models import sample_agreement as sample_agreement

__getattr__, __dir__, __all__ = attach(__name__, __file__)
