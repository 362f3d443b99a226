"""What weighted draws are worth, in words: a line for each value of a condition, a table of ln Z law by law."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physgen.diffusion.inference.two_sided import FEWEST_COUNT
from physgen.diffusion.inference.weight_statistics import LONGEST_TAIL
from physgen.ensemble import LOG_WEIGHT, load_ensemble
from physgen.stages.reverse_paths import OWN
from physgen.stages.weighing import KEPT, STATISTICS
from physgen.stages.weighted_means import ERROR, MEAN, NAMES

if TYPE_CHECKING:
    import xarray as xr

LONGEST_TABLE = 24  # rows that are printed
ONE_SIDED = "ln Z is one-sided: modes that the network never visits do not show (no reverse paths)"


def describe_draws(path: Path) -> str:
    """What the weights of a file are worth, a line for each value of the last dim that tells laws apart.

    Medians over the other laws. No effective sample size and no ln Z of a law whose tail does not allow one. A line of
    weighted means follows each, over the laws whose tail allows an error. Where reverse paths were drawn, a table of
    ln Z follows; else words that ln Z is one-sided.
    """
    made = load_ensemble(path)
    table = {name: made[name].values for name in STATISTICS}
    dims = made["tail"].dims
    draws, lines = _draws(made), []
    if not dims:
        lines.append(_line("", {name: values.reshape(1) for name, values in table.items()}, draws))
        lines.extend(_means(made))
    else:
        for i in range(made.sizes[dims[-1]]):
            one = {name: values[..., i].reshape(-1) for name, values in table.items()}
            lines.append(_line(_place(made, str(dims[-1]), i), one, draws))
            lines.extend(_means(made.isel({dims[-1]: i})))
    if "log_Z_closed" in made:
        lines.append(table_of_both_sides(made))
    else:
        lines.append(ONE_SIDED)
    if LOG_WEIGHT not in made:
        lines.append(_certificate(made))
    return "\n".join(lines)


def _means(made: xr.Dataset) -> list[str]:
    """Weighted means over laws with the error of the weights alone; no line where no tail allows one."""
    names, good = str(made.attrs.get(NAMES, "")).split(), made["tail"].values.reshape(-1) <= LONGEST_TAIL
    if not names or not good.any():
        return []
    said = []
    for name in names:
        mean = made[f"{MEAN}{name}"]
        values, errors = (made[f"{MEAN}{name}{end}"].values.reshape(-1)[good] for end in ("", ERROR))
        units = str(mean.attrs.get("units", "1"))
        measured = f"{name} {values.mean():.4f} +- {np.sqrt(np.square(errors).sum()) / len(errors):.4f}"
        said.append(measured + ("" if units == "1" else f" {units}"))
    over = f", over {good.sum()} of {len(good)} laws, errors those of the draws alone" if len(good) > 1 else ""
    return [f"  weighted means{over}: {', '.join(said)}"]


def table_of_both_sides(made: xr.Dataset) -> str:
    """ln Z of each law from below, from above and joined, a row a law, and in how many laws both sides meet."""
    dims, draws = [str(dim) for dim in made["log_Z"].dims], _draws(made)
    laws = list(np.ndindex(*made["log_Z"].shape))
    rows = [("law", "draws count", "ln Z both sides", "from below", "from above", "gap", "")]
    for place in laws[:LONGEST_TABLE]:
        law = made.isel(dict(zip(dims, place, strict=True)))
        value = {str(name): float(law[name]) for name in law.data_vars if law[name].ndim == 0}
        closed = bool(value["log_Z_closed"])
        short = [value["tail"] <= LONGEST_TAIL, value["reverse_tail"] <= LONGEST_TAIL]
        rows.append((
            ", ".join(_place(made, dim, i) for dim, i in zip(dims, place, strict=True)) or "the one",
            f"{value['effective_fraction'] * draws:.0f}" if short[0] else "-",
            _measured(value["log_Z_two_sided"], value["log_Z_two_sided_error"], closed),
            _measured(value["log_Z"], value["log_Z_error"], short[0]),
            _measured(value["log_Z_reverse"], value["log_Z_reverse_error"], short[1]),
            _measured(value["log_Z_gap"], value["log_Z_gap_error"], all(short)),
            "" if closed else f"open: {_reason(value)}",
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(laws) > LONGEST_TABLE:
        lines.append(f"... and {len(laws) - LONGEST_TABLE} more, see `log_Z_two_sided`")
    met = int(made["log_Z_closed"].sum())
    starts = f"{made.attrs['reverse_paths']} reverse paths each, from {made.attrs['reverse_starts']}"
    own = (
        ": not independent evidence, modes that the network never visits do not show"
        if made.attrs["reverse_starts"] == OWN
        else ""
    )
    lines.append(
        f"both sides of ln Z meet in {met} of {len(laws)} laws ({starts}{own}); in brackets: no error is known"
    )
    return "\n".join(lines)


def _reason(value: Mapping[str, float]) -> str:
    tail, counts = value["two_sided_tail"], value["two_sided_counts"]
    if tail <= LONGEST_TAIL and counts >= FEWEST_COUNT:
        return "the two sides disagree: the starts are not of this law, or a mode is missing"
    what = [f"too little overlap, {counts:.0f} paths count"] if counts < FEWEST_COUNT else []
    what += (
        [f"a heavy tail of the weights, Pareto shape {tail:.2f} above {LONGEST_TAIL}"] if tail > LONGEST_TAIL else []
    )
    what += ["too few paths to judge the tail of their weights"] if math.isnan(tail) else []
    low, high = value["log_Z_bound"], value["log_Z_upper_bound"]
    return f"{' and '.join(what)}; ln Z between {low:.1f} and {high:.1f} in the mean"


def _measured(value: float, error: float, known: bool) -> str:
    return f"{value:.2f} +- {error:.2f}" if known else f"({value:.2f})"


def _draws(made: xr.Dataset) -> int:
    if LOG_WEIGHT in made:
        return int(made[LOG_WEIGHT].size // max(made["tail"].size, 1))
    return int(made.attrs[next(name for name in KEPT if name in made.attrs)])


def _place(made: xr.Dataset, dim: str, i: int) -> str:
    """Which value of a dim, in its units."""
    if dim not in made.coords:
        return f"{dim} {i}"
    units = made[dim].attrs.get("units", "1")
    return f"{dim} {made[dim].values[i]:g}" + ("" if units == "1" else f" {units}")


def _certificate(made: xr.Dataset) -> str:
    good, laws = int(made["certified"].sum()), made["certified"].size
    rest = "" if good == laws else "; of the others too few draws count, see `certified`: they are approximate"
    if "acceptance" in made:
        draws, burnt = (made.attrs[name] for name in ("metropolis_from", "metropolis_burn_in"))
        kept = f"as many independent states as are kept in {good} of {laws} laws{rest}"
        return (
            f"Metropolis: accepted {_range(made, 'acceptance', '.2f')} of proposals, longest stay "
            f"{_range(made, 'longest_stay', '.0f')} of {draws} states, {burnt} of them burn-in, autocorrelation time "
            f"of the stays {_range(made, 'stay_time', '.1f')}; {kept}"
        )
    return f"resampled: as many configurations of the law itself in {good} of {laws} laws{rest}"


def _range(made: xr.Dataset, name: str, digits: str) -> str:
    """Median over laws, and the smallest to the largest."""
    values = made[name].values.reshape(-1)
    spread = f" ({values.min():{digits}} to {values.max():{digits}})" if len(values) > 1 else ""
    return f"{np.median(values):{digits}}{spread}"


def _line(words: str, laws: Mapping[str, np.ndarray], draws: int) -> str:
    good = laws["tail"] <= LONGEST_TAIL
    divergence = f"path divergence {np.median(laws['path_divergence']):.4f} nats a site"
    head = f"{words}: " if words else ""
    if not good.any():
        return (
            f"{head}{divergence}; the tail of the weights allows no effective sample size in any of {len(good)} laws "
            f"(Pareto shape {laws['tail'].min():.2f} at least, up to 0.7 would): ln Z is known from below alone, by "
            "log_Z_bound; take more --steps, draw many more, or train longer"
        )
    counts, error = laws["effective_fraction"][good] * draws, laws["log_Z_error"][good]
    spread = f" ({counts.min():.0f} to {counts.max():.0f})" if len(counts) > 1 else ""
    bad = f"; {(~good).sum()} of {len(good)} laws have too heavy a tail for either" if not good.all() else ""
    log_z = f"to {np.median(error):.3f}"
    if len(good) == 1:  # one law has a value
        log_z = f"{laws['log_Z'][0]:.3f} +- {error[0]:.3f}"
    return f"{head}{np.median(counts):.0f}{spread} of {draws} draws count, ln Z {log_z}, {divergence}{bad}"
