"""Speciation and collapse times of n data, as they stand and with all images under the symmetries of their law."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physgen.diagnostics.regimes.collapse import excess_entropy
from physgen.diagnostics.regimes.speciation import spectral_speciation
from physgen.diagnostics.resampling import jackknife_variance
from physgen.lattice import point_group

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
