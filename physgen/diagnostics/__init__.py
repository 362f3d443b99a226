"""Measurements of lattice fields with errors, comparisons with floors, and the memorization test.

Array functions need numpy, scipy and torch; functions that take an ensemble need xarray as well.
"""

from physgen.diagnostics.band_moments import band_moments
from physgen.diagnostics.bispectrum import bispectrum
from physgen.diagnostics.chi_square import left_out_chi_square
from physgen.diagnostics.comparison import compare, compare_results
from physgen.diagnostics.correlation import two_point_correlation
from physgen.diagnostics.covariance import off_diagonal_correlation, power_covariance
from physgen.diagnostics.distribution import moments, one_point
from physgen.diagnostics.isosceles import isosceles_bispectrum
from physgen.diagnostics.memorization import memorization
from physgen.diagnostics.metrics import metrics_of
from physgen.diagnostics.morphology import extrema, minkowski
from physgen.diagnostics.multipoles import power_multipoles
from physgen.diagnostics.response import response
from physgen.diagnostics.result import make_result
from physgen.diagnostics.scatter import power_correlation, power_scatter
from physgen.diagnostics.scattering import scattering
from physgen.diagnostics.spectrum import cross_spectrum, power_spectrum
from physgen.diagnostics.verdict import Verdict, judge
from physgen.diagnostics.window import Correction, deconvolved

__all__ = [
    "Correction",
    "Verdict",
    "band_moments",
    "bispectrum",
    "compare",
    "compare_results",
    "cross_spectrum",
    "deconvolved",
    "extrema",
    "isosceles_bispectrum",
    "judge",
    "left_out_chi_square",
    "make_result",
    "memorization",
    "metrics_of",
    "minkowski",
    "moments",
    "off_diagonal_correlation",
    "one_point",
    "power_correlation",
    "power_multipoles",
    "power_covariance",
    "power_scatter",
    "power_spectrum",
    "response",
    "scattering",
    "two_point_correlation",
]
