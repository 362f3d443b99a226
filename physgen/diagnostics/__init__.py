"""Measurements of lattice fields with errors, comparisons with floors, and the memorization test.

Array functions need numpy, scipy and torch; functions that take an ensemble need xarray as well.
"""

from physgen.diagnostics.comparison import compare, compare_results
from physgen.diagnostics.correlation import two_point_correlation
from physgen.diagnostics.distribution import moments, one_point
from physgen.diagnostics.memorization import memorization
from physgen.diagnostics.result import make_result
from physgen.diagnostics.spectrum import cross_spectrum, power_spectrum
from physgen.diagnostics.verdict import judge

__all__ = [
    "compare",
    "compare_results",
    "cross_spectrum",
    "judge",
    "make_result",
    "memorization",
    "moments",
    "one_point",
    "power_spectrum",
    "two_point_correlation",
]
