r"""The core: linear SDEs, denoisers, exact solutions and samplers, written once in y = x/alpha and s = sigma/alpha.

Reading order: ``convention`` and ``sde`` (schedules), ``grid`` (noise levels), ``exact`` (laws whose denoiser is
known), ``noise`` and ``sampler`` (drawing), ``denoiser`` and ``training`` (learning). Nothing is imported here: import
the module that you need.
"""
