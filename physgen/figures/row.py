"""Several results side by side in one figure, each with its pull: the Minkowski functionals."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from physgen.figures.curves import LOWER, chosen_panels, draw_lower, draw_main, finish_column
from physgen.figures.panels import panel_grid
from physgen.figures.style import label, styled

if TYPE_CHECKING:
    import xarray as xr

    Three = tuple[xr.Dataset, xr.Dataset, xr.Dataset]  # of the reference, of the generated, their comparison

WIDTH = 2.35  # inches of a panel
LONGEST = 34  # characters of a title


@styled
def curve_row(results: Sequence[Three], names: tuple[str, str] = ("reference", "generated")) -> Figure:
    """One panel for each result, its name above it, and the pull below; abscissae are those of the results.

    Args:
        results: (of the reference, of the generated, comparison), as :func:`curve_comparison` takes them; of further
            dims the first place is shown.
        names: of the two ensembles.
    """
    titles = ["\n".join(wrap(label(reference["value"]), LONGEST)) for reference, _, _ in results]
    lines = 1 + max(title.count("\n") for title in titles)
    figure, grid = panel_grid(
        [1.9, 0.75], len(results), WIDTH, label_lines=1, title_lines=lines, gap=0.55, share_ordinate=False
    )
    for column, (reference, generated, comparison), title in zip(grid.T, results, titles, strict=True):
        where = chosen_panels(reference["value"], 1)[0]
        draw_main(column[0], reference.isel(where), generated.isel(where), names)
        column[0].set_title(title, fontsize=10.5)
        draw_lower(column[1], comparison, where, "pull")
        finish_column(column, reference)
    grid[1, 0].set_ylabel(LOWER["pull"][0])
    grid[0, -1].legend(loc="best")
    return figure
