"""One line of the table: ours | paper | truth or bound | cost."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A figure beside that of the paper.

    Attributes:
        quantity: what it is, with its unit.
        measured, error: ours and its standard error; error 0 for a deterministic one.
        paper: what the paper prints, "" where it prints none.
        truth, truth_error: the exact value or the bound; None where there is none.
        cost: CPU seconds of one thread, training and measuring; None where another row states it.
        kept: whether the rule in ``note`` holds; None where nothing is claimed.
        note: rule, settings, what the figure must not be taken for.
    """

    quantity: str
    measured: float
    error: float
    paper: str = ""
    truth: float | None = None
    truth_error: float = 0.0
    cost: float | None = None
    kept: bool | None = None
    note: str = ""


class Clock:
    """CPU seconds of this process since it was made, or since it was last read."""

    def __init__(self):
        self.began = time.process_time()

    def read(self):
        """Seconds, and begin again."""
        now = time.process_time()
        spent, self.began = now - self.began, now
        return spent
