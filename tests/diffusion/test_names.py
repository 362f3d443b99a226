"""The names that a configuration may give are those of the tables."""

from typing import get_args

from physgen.diffusion.names import RULES, LevelRule, SamplerName, SDEName
from physgen.diffusion.sampling.samplers import SAMPLERS
from physgen.diffusion.sde import SDES
from physgen.runs.levels import CHECKED, CHOSEN, EVEN


def test_the_names_are_those_of_the_tables():
    assert get_args(SamplerName) == tuple(SAMPLERS)
    assert get_args(SDEName) == tuple(SDES)
    assert get_args(LevelRule) == RULES == (CHECKED, CHOSEN, EVEN)
