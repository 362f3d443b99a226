"""Short work stays in this process, long work ends there after its first task."""

import pytest

from physgen.processes import spawning


def ran(monkeypatch, seconds, workers):
    """How many of the tasks, of so many CPU seconds each, run here."""
    clock = iter([0.0, *(end for second in seconds for end in (second, 0.0))])
    monkeypatch.setattr(spawning, "process_time", lambda: next(clock))
    return list(spawning.begin_alone(lambda task: 2 * task, range(len(seconds)), workers))


@pytest.mark.parametrize(
    ("seconds", "workers", "here"),
    [
        ([0.5] * 10, 2, 10),  # 8 left of .5 s: two would save 2 s, less than their start
        ([5.0] * 10, 1, 10),
        ([5.0] * 10, 2, 1),  # longer than a start: at once
        ([3.0] + [0.5] * 9, 2, 10),  # the first warmed a cache
        ([2.0] * 10, 2, 2),
        ([1.5] * 6, 2, 6),  # 4 left, 3 s saved
        ([1.5] * 6, 4, 2),  # 4 left, 4.5 s saved
        ([], 2, 0),
    ],
)
def test_it_goes_on_alone_while_a_start_costs_more(monkeypatch, seconds, workers, here):
    assert ran(monkeypatch, seconds, workers) == [2 * task for task in range(here)]
