"""One line of the table of regimes: what was measured, what theory says, what the paper printed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measured figure beside theory and paper.

    Attributes:
        quantity: what it is, with its settings.
        measured, error: the figure and its standard error; error 0 for a deterministic one.
        theory: the exact or asymptotic value; None where there is none.
        paper: what was published and where, e.g. "0.775 (2402.18491, Fig. 2)"; "" where nobody has.
        kept: whether measured and theory agree, by the rule that ``note`` states; None where nothing is claimed.
        note: rule, sample sizes, seeds, what the figure must not be taken for.
    """

    quantity: str
    measured: float
    error: float
    theory: float | None = None
    paper: str = ""
    kept: bool | None = None
    note: str = ""
