"""The evaluation report: one self-contained HTML page, and the same numbers as summary.json.

A summary is flat: diagnostic -> {metric: {"value", "error"[, "floor", "floor_error", "null", "units"]}}, and under
``"verdicts"`` a list of :class:`physgen.diagnostics.verdict.Verdict` as plain data.
No number stands in the report without its error, no distance without its floor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen.lazy import lazy_names

if TYPE_CHECKING:
    from physgen.report.fidelity import fidelity_rows as fidelity_rows
    from physgen.report.fidelity import strip as strip
    from physgen.report.fidelity import verdict_sentence as verdict_sentence
    from physgen.report.fidelity import verdict_table as verdict_table
    from physgen.report.page import write_report as write_report
    from physgen.report.page import write_summary as write_summary
    from physgen.report.sections import Picture as Picture
    from physgen.report.sections import Section as Section
    from physgen.report.sections import Table as Table
    from physgen.report.sections import diagnostic_section as diagnostic_section

_NAMES = {
    "physgen.report.fidelity": ("fidelity_rows", "strip", "verdict_sentence", "verdict_table"),
    "physgen.report.page": ("write_report", "write_summary"),
    "physgen.report.sections": ("Picture", "Section", "Table", "diagnostic_section"),
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _NAMES)
