"""The table of the inventions: each method spends at most what it was given, on levels within the trained range."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks.inventions.methods import METHODS, even_times
from benchmarks.inventions.table import markdown, shown
from physgen.diffusion.sampling import evaluations
from physgen.diffusion.sde import VP
from physgen.errors import InputError

MODEL = SimpleNamespace(encoding=SimpleNamespace(s_max=40.0, s_min=0.01))
BY_RULE = [method for method in METHODS if not method.sampler.startswith("modal")]  # those choose on a network


@pytest.mark.parametrize("method", BY_RULE, ids=lambda method: method.name)
def test_a_method_spends_what_it_was_given_and_no_step_more_would_fit(method):
    for most in (4, 7, 16):
        levels, cost = method.within(MODEL, most)
        assert cost <= most and cost == evaluations(method.sampler, levels.values)
        assert evaluations(method.sampler, torch.linspace(1, 0, len(levels.values) + 1)) > most
        assert float(levels.values[0]) == pytest.approx(40) and float(levels.values[-2]) == pytest.approx(0.01)
    with pytest.raises(InputError, match="more than 1"):
        method.within(MODEL, 1)


def test_even_times_are_even_in_the_process_of_ddpm():
    times = VP().t_of_s(even_times(MODEL, "euler", 9)[:-1])
    assert torch.allclose(times.diff(), times.diff()[0].expand(8), rtol=1e-9)


def test_the_table_says_every_distance_with_its_error_and_floor():
    row = {
        "method": "DDIM", "most": 8, "evaluations": 8, "failed": ["one_point"], "of": 9, "agreement": [0.9, 0.01, 0.96],
        "distances": {"one_point/distance_tv": [0.5, 0.01, 0.02], "other/distance_w1": [1.0, 0.1, 0.1]},
    }  # fmt: skip
    assert shown([row]) == ["one_point/distance_tv"]
    head, _, line = markdown([row])
    assert "class as asked (data: 0.960)" in head
    assert line == "| 8 | DDIM | 0.500 ± 0.010 (0.020) | 0.900 ± 0.010 | 1 of 9 |"
    assert "class" not in markdown([row | {"agreement": None}])[0]
