"""One line of the conformance table: a claim of the core, held against a law that is known."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measurement beside its law.

    Attributes:
        topic: solvers, likelihood, weights, guidance, losses, ...
        name: what was tested, with its settings.
        law: the exact law or identity, in words.
        measured, expected: the number and what it should be.
        error: error bar of ``measured``; for a deterministic figure, the bound that its docstring states.
        order: measured order of convergence, where one is claimed.
        cost: denoiser evaluations, or what else was paid.
        passed: whether the row keeps what was claimed; None where nothing is claimed and the figure is only stated.
        code: "physgen", or the peer that ran the same law.
    """

    topic: str
    name: str
    law: str
    measured: float
    expected: float
    error: float
    passed: bool | None
    order: float | None = None
    cost: str = ""
    code: str = "physgen"
