"""The evaluation report: one self-contained HTML page, and the same numbers as summary.json.

A summary is flat: diagnostic -> {metric: {"value", "error"[, "floor", "floor_error", "null", "units"]}}, and under
``"verdicts"`` a list of :class:`physgen.diagnostics.verdict.Verdict` as plain data.
No number stands in the report without its error, no distance without its floor.
"""

from physgen.report.fidelity import fidelity_rows, strip, verdict_sentence, verdict_table
from physgen.report.page import write_report, write_summary
from physgen.report.sections import Picture, Section, Table, diagnostic_section

__all__ = [
    "Picture", "Section", "Table", "diagnostic_section", "fidelity_rows", "strip", "verdict_sentence",
    "verdict_table", "write_report", "write_summary",
]  # fmt: skip
