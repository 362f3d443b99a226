r"""The core: linear SDEs, denoisers, exact solutions and samplers, written once in y = x/alpha and s = sigma/alpha.

Reading order: ``convention`` and ``sde`` (schedules), ``grid`` (noise levels), ``exact`` (laws whose denoiser is
known); ``noise``, ``solver``, ``sampler`` (drawing; the rules stand in ``flow``, ``stochastic``, ``adaptive``,
``covariance``); ``denoiser``, ``spectrum``, ``training``, ``validation`` (learning; also ``losses``, ``heads``,
``averaging``; ``symmetry`` for group averages); then ``grid_search`` (levels of least error), ``likelihood``,
``path_weights``, ``importance``, ``guidance``, ``inverse`` and ``masked``. Nothing is imported here: import the module
that you need.
"""
