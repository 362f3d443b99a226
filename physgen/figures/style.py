"""Colours, fonts and labels shared by every figure, and the way figures reach the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from physgen.figures.notation import latex_units

if TYPE_CHECKING:
    import xarray as xr

# Okabe and Ito's colours, told apart by every eye and on grey paper
REFERENCE, GENERATED, THIRD, FOURTH = "#3b3b3b", "#0072b2", "#d55e00", "#009e73"
# its keys are literals for the type checker, but not all are listed there. Small ticks are those of logarithmic axes: a
# tick costs as much as a point
STYLE: Any = {
    "font.family": "STIXGeneral", "mathtext.fontset": "stix", "font.size": 11, "axes.labelsize": 12,
    "axes.titlesize": 11.5, "legend.fontsize": 10.5, "legend.frameon": False, "axes.linewidth": 0.7,
    "axes.edgecolor": "#333333", "axes.labelcolor": "#1a1a1a", "text.color": "#1a1a1a",
    "xtick.direction": "in", "ytick.direction": "in", "xtick.top": True, "ytick.right": True,
    "xtick.labelsize": 10, "ytick.labelsize": 10,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "xtick.minor.width": 0.5, "ytick.minor.width": 0.5,
    "lines.linewidth": 1.3, "lines.markersize": 3.6, "errorbar.capsize": 0, "figure.dpi": 100,
    "svg.fonttype": "path", "svg.hashsalt": "physgen", "savefig.facecolor": "white", "image.interpolation": "nearest",
}  # fmt: skip
styled = matplotlib.rc_context(STYLE)
DOTS_PER_INCH = 200


GREEK = {"alpha", "beta", "gamma", "delta", "kappa", "lambda", "mu", "nu", "sigma", "tau", "phi", "Lambda", "Omega"}


def symbol_of(variable: xr.DataArray) -> str:
    r"""Mathtext of attr ``symbol``; else of a name that spells one (``chi_2`` is :math:`\chi_2`); else empty."""
    if "symbol" in variable.attrs:
        return f"${variable.attrs['symbol']}$"
    return symbol_named(str(variable.name))


def symbol_named(name: str) -> str:
    r"""Mathtext of a name that spells a Greek letter, with its index: ``chi_2`` is :math:`\chi_2`; else empty."""
    letter, _, index = name.partition("_")
    if letter not in GREEK:
        return ""
    return rf"$\{letter}_{{{index}}}$" if index else rf"$\{letter}$"


def label(variable: xr.DataArray, short: bool = False) -> str:
    """Axis label from attrs: ``long_name $symbol$ [units]``; ``short`` prefers the symbol to the long name."""
    symbol, units = symbol_of(variable), latex_units(variable.attrs.get("units"))
    name = str(variable.attrs.get("long_name", str(variable.name or "").replace("_", " ")))
    parts = [name if not (short and symbol) else "", symbol, f"[{units}]" if units else ""]
    return " ".join(filter(None, parts))


def save_figure(figure: Figure, folder: str | Path, name: str) -> tuple[Path, Path]:
    """Write ``name.png`` (200 dots per inch) and ``name.svg`` (text as outlines, no date) into ``folder``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with matplotlib.rc_context(STYLE), _remembered_ticks(figure):
        _lay_out(figure, DOTS_PER_INCH)
        figure.savefig(png, dpi=DOTS_PER_INCH)
        figure.savefig(svg, dpi=DOTS_PER_INCH, metadata={"Date": None})
    return png, svg


def _lay_out(figure: Figure, dots_per_inch: float) -> None:
    """Place the axes for good: a figure with a layout engine is drawn twice each time that it is saved."""
    engine = figure.get_layout_engine()
    if engine is None:
        return
    usual, figure.dpi = figure.dpi, dots_per_inch
    engine.execute(figure)
    figure.set_layout_engine(None)
    figure.dpi = usual


@contextmanager
def _remembered_ticks(figure: Figure) -> Iterator[None]:
    """Keep the ticks of each axis while nothing that moves them changes: layout and labels ask for them many times.

    ``_update_ticks`` is matplotlib's own: where a version has no such name, figures are the same and take longer.
    """
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis) if hasattr(axis, "_update_ticks")]
    for axis in axes:
        vars(axis)["_update_ticks"] = _remembered(axis, getattr(axis, "_update_ticks"))  # noqa: B009
    try:
        yield
    finally:
        for axis in axes:
            del vars(axis)["_update_ticks"]


def _remembered(axis: Axis, update: Callable[[], Any]) -> Callable[[], Any]:
    """The ticks of the call before, if the interval in view and the place of the axis in dots are the same."""
    last: list[Any] = [None, None]

    def ticks() -> Any:
        state = (*axis.get_view_interval(), *axis.axes.bbox.bounds, axis.axes.figure.dpi)
        if state != last[0]:
            last[:] = state, update()
        return last[1]

    return ticks


def condition_title(data: xr.Dataset, where: Mapping[str, int]) -> str:
    """The coordinates at a place (dim -> index), as ``symbol = value units``, joined by commas."""
    parts = []
    for dim, i in where.items():
        if dim in data.coords:
            coordinate = data[dim]
            point = coordinate.values[i]
            if coordinate.dtype.kind in "UO":  # a word says of itself what it is
                parts.append(symbol_named(str(point)) or str(point).replace("_", " "))
                continue
            text = f"{point:.3g}" if np.issubdtype(coordinate.dtype, np.floating) else str(point)
            name = symbol_of(coordinate) or str(coordinate.attrs.get("long_name", dim))
            parts.append(f"{name} = {text} {latex_units(coordinate.attrs.get('units'))}".strip())
    return ", ".join(parts)


def abscissa(value: xr.DataArray) -> np.ndarray:
    """Values of the last coordinate of a result; a single 0 for a bare number."""
    return np.asarray(value[value.dims[-1]].values, dtype=float) if value.ndim else np.zeros(1)


def plain_log_ticks(axis: Axis) -> None:
    """Write a short logarithmic axis as 0.2, 0.5, 1, 2 ...; a long one keeps its powers of ten."""
    low, high = sorted(axis.get_view_interval())
    if low > 0 and high / low < 300:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 60 else (1.0, 3.0)))
        axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axis.set_minor_formatter(NullFormatter())
