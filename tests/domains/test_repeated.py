"""Rows that repeat: an ordinary tensor to whoever asks, the different rows alone in memory."""

import numpy as np
import pytest
import torch

from physgen.domains.repeated import Repeated, equal_rows

TABLE = torch.arange(12.0).reshape(3, 4)
ROWS = torch.tensor([0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    "asked",
    [
        lambda x: x[torch.tensor([1, 5, 1])],
        lambda x: x[np.array([3])],
        lambda x: x[[1, 2]],
        lambda x: x[2:5],
        lambda x: x[4],
        lambda x: x[torch.tensor([True, False, True, False, False, True])],
        lambda x: x.index_select(0, torch.tensor([4, 0])),
        lambda x: torch.index_select(x, 0, torch.tensor([4, 0]), out=torch.empty(2, 4)),
        lambda x: x[:, 1],
        lambda x: x[torch.tensor([1, 2]), torch.tensor([3, 0])],
        lambda x: x.reshape(2, 3, 4),
        lambda x: x.repeat_interleave(2, 0),
        lambda x: torch.cat([x, x]),
        lambda x: x.double() * 2,
        lambda x: x.to("cpu", torch.float64),
        lambda x: torch.from_numpy(x.numpy()),
        lambda x: torch.tensor(x.tolist()),
        lambda x: torch.from_numpy(np.asarray(x)),
    ],
)
def test_every_question_has_the_answer_of_the_whole_tensor(asked):
    found, expected = asked(Repeated(TABLE, ROWS)), asked(TABLE[ROWS])
    assert found.dtype == expected.dtype and torch.equal(found + 0, expected)


@pytest.mark.parametrize("asked", [lambda x: x[torch.tensor([1, 5])], lambda x: x[:2], lambda x: x.double()[3]])
def test_no_more_rows_are_made_than_are_asked_for(asked, monkeypatch):
    monkeypatch.setattr(Repeated, "whole", lambda self: pytest.fail("the whole tensor was made"))
    billions = Repeated(TABLE, torch.zeros(1, dtype=torch.long).expand(10**9))
    assert billions.shape == (10**9, 4) and type(asked(billions)) is torch.Tensor
    assert equal_rows(billions, torch.tensor([1, 2]), torch.tensor([7, 8]))


def test_equal_rows_are_those_of_equal_numbers():
    table = torch.tensor([[1.0], [1.0], [2.0]])
    for value in (Repeated(table, ROWS), table[ROWS]):
        assert equal_rows(value, torch.tensor([0, 4]), torch.tensor([2, 5]))
        assert not equal_rows(value, torch.tensor([0, 4]), torch.tensor([4, 5]))


def test_nothing_is_changed_in_place():
    """The change would be one of a copy, and lost."""
    repeated = Repeated(TABLE, ROWS)
    with pytest.raises(RuntimeError, match="clone"):
        repeated[2] = 0
    with pytest.raises(RuntimeError, match="clone"):
        repeated.mul_(2)
    assert torch.equal(repeated.clone().mul_(2), 2 * TABLE[ROWS])
