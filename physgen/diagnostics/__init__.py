"""Measurements of lattice fields with errors, comparisons with floors, and the memorization test.

Array functions need numpy, scipy and torch; functions that take an ensemble need xarray as well.
"""

from physgen.diagnostics.comparison import compare, compare_results
from physgen.diagnostics.result import make_result
from physgen.diagnostics.spectrum import cross_spectrum, power_spectrum

__all__ = ["compare", "compare_results", "cross_spectrum", "make_result", "power_spectrum"]
