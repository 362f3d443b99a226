"""Speciation and collapse times of n data, as they stand and with all images under the symmetries of their law."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.regimes.fields.course import FIELDS, append
from physgen.diagnostics.regimes.collapse import excess_entropy
from physgen.diagnostics.regimes.speciation import spectral_speciation
from physgen.diagnostics.resampling import jackknife_variance
from physgen.lattice import point_group
from physgen.provenance import git_commit

TRAINING = {"maps32": 192, "maps64": 72}  # simulations of the training part, of 240 and 96
GROUPS = 32  # of units, over which errors are taken


def speciation(x: Tensor, unit: np.ndarray) -> dict[str, float]:
    """Of the data as they stand."""
    found = spectral_speciation(x, unit)
    names = ("eigenvalue", "eigenvalue_error", "t_S", "t_S_error", "t_S_exact", "t_S_exact_error", "component_overlap")
    return {name: float(found[name]) for name in names}


def orbit_speciation(x: Tensor, unit: np.ndarray) -> dict[str, float | list[int]]:
    r"""Of the data with all their translations, reflections and exchanges of axes.

    Their covariance is diagonal in Fourier modes, with the mean power of the modes that the point group joins (about
    zero: the mean of all cells is that of the encoding). The largest of few scattered numbers is biased high, so it is
    the mode that leads over all data of the call which is followed.
    """
    modes = torch.fft.fftn(x.double(), dim=(2, 3), norm="ortho").abs().square()
    group = point_group(tuple(x.shape[2:]))
    centre = torch.stack([_turned(modes, g) for g in group]).mean(0)[:, 0]
    names, place = np.unique(np.asarray(unit), return_inverse=True)
    place = place % min(GROUPS, len(names))
    mean = centre.mean(0)
    leading = np.unravel_index(int(mean.argmax()), mean.shape)
    power = centre[:, leading[0], leading[1]].numpy()
    value = float(power.mean())
    without = np.array([power[place != group].mean() for group in np.unique(place)]) if len(names) > 1 else np.zeros(1)
    error = float(np.sqrt(jackknife_variance(without))) if len(names) > 1 else math.nan
    t_s = 0.5 * math.log(value) if value > 0 else math.nan
    return {
        "eigenvalue": value,
        "eigenvalue_error": error,
        "mode": [int(i) for i in leading],
        "t_S": t_s,
        "t_S_error": 0.5 * error / value,
        "t_S_exact": 0.5 * math.log1p(value),
        "t_S_exact_error": 0.5 * error / (1 + value),
    }


def _turned(modes: Tensor, g: Any) -> Tensor:
    """Power of the modes of g x: of k -> g k, where a reflection takes k to -k, which has its power."""
    turned = modes
    for axis in g.mirrored:
        turned = turned.flip(2 + axis).roll(1, 2 + axis)
    return turned.permute(0, 1, *[2 + axis for axis in g.axes]) if g.axes else turned


def collapse(x: Tensor, unit: np.ndarray, orbit: str, draws: int, seed: int = 0) -> dict[str, Any]:
    """Collapse time and the curves about it."""
    found = excess_entropy(x, None, draws, seed, unit, orbit)
    scalars = ("t_C", "t_C_error", "t_C_gaussian", "t_C_gaussian_error", "t_C_held_out", "t_C_held_out_error")
    curves = ("value", "value_error", "order_parameter", "order_parameter_error", "own_weight", "empirical")
    return {
        **{name: float(found[name]) for name in scalars if name in found},
        "t": found["t"].values.tolist(),
        **{name: found[name].values.tolist() for name in curves if name in found},
        "alpha": float(found.attrs.get("alpha", math.nan)),
        "draws": draws,
    }


def measured(x: Tensor, unit: np.ndarray, orbits: Sequence[str], draws: int) -> Iterator[dict[str, Any]]:
    """One line for each orbit of one set of data."""
    for orbit in orbits:
        still = orbit in ("none", "flip")
        times = speciation(x, unit) if still else orbit_speciation(x, unit)
        yield {"n": len(x), "d": x[0].numel(), "orbit": orbit, **times, **collapse(x, unit, orbit, draws)}


def campaign(to: Path, data: str, path: str, counts: Sequence[int], orbits: Sequence[str], draws: int) -> None:
    """Times of n configurations for each n: of "maps32" and "maps64" from a file, of "glass8" made here."""
    from benchmarks.regimes import glasses, maps

    if data == "glass8":
        x, _ = glasses.glass()
        chosen = {n: (x[:n], np.arange(n)) for n in counts}
    else:
        train, _ = maps.encoded(path, int(data[4:]), training=TRAINING[data])
        found = {n: maps.subset(train, n, 1) for n in counts}
        chosen = {n: (some.x, some.simulation) for n, some in found.items()}
    for n, (x, unit) in chosen.items():
        for line in measured(x, unit, orbits, draws):
            append(to, {"data": data, "n": n, "commit": git_commit(), **line})


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=["maps32", "maps64", "glass8"])
    parser.add_argument("--path", default="", help="file of maps, from `physgen simulate`")
    parser.add_argument("--n", type=int, nargs="+", required=True)
    parser.add_argument("--orbits", nargs="+", default=["none"])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--record", type=Path, default=FIELDS / "times.jsonl")
    given = parser.parse_args()
    campaign(given.record, given.data, given.path, given.n, given.orbits, given.draws)
