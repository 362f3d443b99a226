"""The evaluation report: one self-contained HTML page, and the same numbers as summary.json.

It is made from plain data: verdicts, metrics, results of diagnostics, facts. It knows neither runs nor domains.
No number stands in the report without its error, no distance without its floor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.report.combination import Combination as Combination
    from physgen.report.comparison import Comparison as Comparison
    from physgen.report.evaluation import Evaluation as Evaluation
    from physgen.report.evaluation import Training as Training
    from physgen.report.fidelity import metric_rows as metric_rows
    from physgen.report.fidelity import overall_status as overall_status
    from physgen.report.fidelity import strip as strip
    from physgen.report.fidelity import verdict_sentence as verdict_sentence
    from physgen.report.fidelity import verdict_table as verdict_table
    from physgen.report.page import flat_summary as flat_summary
    from physgen.report.page import write_report as write_report
    from physgen.report.page import write_summary as write_summary
    from physgen.report.regimes import Finding as Finding
    from physgen.report.regimes import Regimes as Regimes
    from physgen.report.sections import Picture as Picture
    from physgen.report.sections import Section as Section
    from physgen.report.sections import Table as Table
    from physgen.report.sections import diagnostic_section as diagnostic_section

__getattr__, __dir__, __all__ = attach(__name__, __file__)
