"""The names that a configuration may give are those of the tables."""

from typing import get_args

import pytest

from physgen.config import SamplingConfig
from physgen.diffusion.names import RULES, WITHOUT_RULE, LevelRule, SamplerName, SDEName
from physgen.diffusion.sampling.samplers import SAMPLERS
from physgen.diffusion.sde import SDES
from physgen.runs.levels import CHECKED, CHOSEN, EVEN, takes_levels


def test_the_names_are_those_of_the_tables():
    assert get_args(SamplerName) == tuple(SAMPLERS)
    assert get_args(SDEName) == tuple(SDES)
    assert get_args(LevelRule) == RULES == (CHECKED, CHOSEN, EVEN)


def test_a_rule_of_levels_is_refused_for_the_samplers_that_it_does_not_act_on():
    assert set(WITHOUT_RULE) == {name for name in SAMPLERS if not takes_levels(name)}
    for name in SAMPLERS:
        if name in WITHOUT_RULE:
            with pytest.raises(ValueError, match="has no effect on the sampler"):
                SamplingConfig(sampler=name, levels="chosen")
        assert SamplingConfig(sampler=name, levels="log-uniform").levels == "log-uniform"
