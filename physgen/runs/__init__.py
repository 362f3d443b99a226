"""Runs: the folder of one experiment, its model, its noise levels and the facts of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.runs.facts import data_facts as data_facts
    from physgen.runs.folder import Run as Run
    from physgen.runs.folder import create_run as create_run
    from physgen.runs.levels import Levels as Levels
    from physgen.runs.levels import choose_levels as choose_levels
    from physgen.runs.levels import sampler_bias as sampler_bias
    from physgen.runs.model import Model as Model
    from physgen.runs.model import draw as draw
    from physgen.runs.model import load_model as load_model

__getattr__, __dir__, __all__ = attach(__name__, __file__)
