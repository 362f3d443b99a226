"""The evaluation report: one self-contained HTML page, and the same numbers as summary.json.

A summary is flat: diagnostic -> {metric: {"value", "error"[, "floor", "floor_error", "null", "units"]}}, and under
``"verdicts"`` a list of {"diagnostic", "metric", "passed": True | False | None, "threshold": text or number}.
No number stands in the report without its error, no distance without its floor.
"""

from physgen.report.fidelity import fidelity_rows, strip, verdict_sentence
from physgen.report.page import write_report, write_summary
from physgen.report.sections import Picture, Section, Table, diagnostic_section

__all__ = [
    "Picture", "Section", "Table", "diagnostic_section", "fidelity_rows", "strip", "verdict_sentence",
    "write_report", "write_summary",
]  # fmt: skip
