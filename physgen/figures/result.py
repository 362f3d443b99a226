"""The figure of one diagnostic: which one is said by its attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen.figures.curves import curve_comparison
from physgen.figures.matrices import correlation_matrices

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

MATRIX = "matrix"


def result_figure(
    reference: xr.Dataset,
    generated: xr.Dataset,
    comparison: xr.Dataset,
    names: tuple[str, str] = ("reference", "generated"),
) -> Figure:
    """Matrices of results over pairs (:func:`correlation_matrices`), curves of all else (:func:`curve_comparison`).

    ``reference`` and ``generated`` are results of one diagnostic, ``comparison`` what compares them.
    """
    if MATRIX in reference.attrs and reference["value"].ndim == 1:  # of several components: curves over the pairs
        return correlation_matrices(reference, generated, comparison, names)
    return curve_comparison(reference, generated, comparison, names=names)
