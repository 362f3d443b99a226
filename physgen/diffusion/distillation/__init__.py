r"""Distillation: students that draw in a few evaluations, flow maps that are exact for the Gaussian part at one.

``flow_map`` is the student X(y, s -> r), ``losses`` the four ways to teach it, ``state`` what its training changes;
:mod:`physgen.diffusion.sampling.flow_map` draws with it.
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diffusion.distillation.flow_map import FlowMap as FlowMap
    from physgen.diffusion.distillation.flow_map import teachers_way as teachers_way
    from physgen.diffusion.distillation.losses import METHODS as METHODS
    from physgen.diffusion.distillation.losses import Consistency as Consistency
    from physgen.diffusion.distillation.losses import ConsistencyTraining as ConsistencyTraining
    from physgen.diffusion.distillation.losses import MeanFlow as MeanFlow
    from physgen.diffusion.distillation.losses import Progressive as Progressive
    from physgen.diffusion.distillation.losses import StudentLoss as StudentLoss
    from physgen.diffusion.distillation.posterior_variance import CovarianceSteps as CovarianceSteps
    from physgen.diffusion.distillation.posterior_variance import measured_variance as measured_variance
    from physgen.diffusion.distillation.state import StudentState as StudentState

__getattr__, __dir__, __all__ = attach(__name__, __file__)
