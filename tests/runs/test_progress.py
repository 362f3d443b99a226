"""The bar of a draw counts what was asked for."""

from physgen.runs.model import _in_configurations


def test_evaluations_are_told_as_configurations():
    """A hundred configurations in 4 tiles of 8 evaluations: from 3 to 100, never twice, never back."""
    told = []
    seen = _in_configurations(lambda done, total: told.append((done, total)), 100)
    for done in range(1, 33):
        seen(done, 32)
    assert told[-1] == (100, 100) and told[0] == (3, 100)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_a_bar_that_stands_still_is_not_called():
    told = []
    seen = _in_configurations(lambda done, total: told.append(done), 2)
    for done in range(1, 65):
        seen(done, 64)
    seen(65, 65)  # an adaptive sampler goes on
    assert told == [1, 2]
