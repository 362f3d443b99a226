"""The evaluation report: one self-contained HTML page, and the same numbers as summary.json.

It is made from plain data: verdicts, metrics, results of diagnostics, facts. It knows neither runs nor domains.
No number stands in the report without its error, no distance without its floor.
"""

from physgen.report.evaluation import Evaluation, Training
from physgen.report.fidelity import metric_rows, overall_status, strip, verdict_sentence, verdict_table
from physgen.report.page import flat_summary, write_report, write_summary
from physgen.report.sections import Picture, Section, Table, diagnostic_section

__all__ = [
    "Evaluation", "Picture", "Section", "Table", "Training", "diagnostic_section", "flat_summary", "metric_rows",
    "overall_status", "strip", "verdict_sentence", "verdict_table", "write_report", "write_summary",
]  # fmt: skip
