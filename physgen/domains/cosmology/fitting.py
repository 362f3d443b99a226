"""The constants of the encoding, fitted on a training part of any size that is gone through in blocks.

Five passes in single precision, one less without Gaussianisation: extremes and sums; two for the quantiles, exact; the
spread, by which knots are told apart; moments and spectrum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.fft import rfftn

from physgen.domains.cosmology.blocks import BLOCK, Moments, OrderStatistics, Quantiles, flat_blocks, map_blocks
from physgen.domains.cosmology.conditions import fixed_labels, label_ranges
from physgen.domains.cosmology.encoding import LOWEST, SHELLS, check_bound, field_kinds, transform_values
from physgen.domains.cosmology.gaussianise import knot_scores, place_knots
from physgen.domains.cosmology.geometry import check_layout, is_periodic
from physgen.ensemble import flatten, sample_blocks, sample_dims, space_dims, spacing
from physgen.errors import InputError
from physgen.lattice import multiplicity, shells

# decoded densities above this many times the largest training value are clipped and counted
HEADROOM = 100.0
LOW_SHARE = 1e-3  # quantile of the positive densities of which the floor is a tenth


def fit_encoding(train: xr.Dataset, transform: str) -> dict[str, Any]:
    r"""Constants of the encoding x = (v - mean) / std from a training split, of each component its own.

    Convention: for ``log``, v = ln(u + floor) with u = (field + offset) / scale the density in units of its mean; the
    floor, a tenth of the 0.1 % quantile of the positive u, gives empty cells a finite place near the emptiest ones.
    For ``asinh`` (and for fields without a lower bound), v = asinh(field / scale) with scale the rms. ``gaussian``
    sends either to the normal scores of its training law, v -> Phi^-1(F(v)), by ``knots``: a Gaussian field of the
    right spectrum then has the right one-point law, and its rarest peaks are as rare as its sigmas say.
    Labels map to [-1, 1] over the training range. ``spectrum`` is the isotropic variance of the orthonormal Fourier
    modes of x by shells of width 1/4 in \|n\| = \|k\| L / 2 pi, L the longest side. ``cell_size`` and ``periodic``
    are the geometry that symmetries and padding follow.

    A field with the dim ``component`` has a list ``components`` of such constants, else they stand beside the others.
    The training part may be one that was opened lazily; its numbers have the same bits then.

    Raises:
        InputError: unknown kind, values below the kind's bound, or a layout that cannot be learned.
    """
    check_layout(train)
    constants: dict[str, Any] = {
        "field_attrs": {name: str(train["field"].attrs.get(name, "")) for name in ("units", "long_name")},
        "grid": [int(train.sizes[dim]) for dim in space_dims(train)],
        "cell_size": list(spacing(train)),
        "periodic": is_periodic(train),
        "sample_dims": list(sample_dims(train)),
        "labels": label_ranges(train),
        "fixed_labels": fixed_labels(train),
    }
    parts = _fit_components(train, transform, constants["grid"], constants["cell_size"])
    if "component" not in train["field"].dims:
        return constants | parts[0]
    return constants | {"components": parts}


def _fit_components(
    train: xr.Dataset, transform: str, grid: Sequence[int], cells: Sequence[float]
) -> list[dict[str, Any]]:
    fits = [_ComponentFit(kind, transform, train["field"].dtype) for kind in field_kinds(train)]

    def go_through(of: Callable[[_ComponentFit, np.ndarray], None]) -> None:
        for block in sample_blocks(train[["field"]]):
            values = flatten(block)
            for c, fit in enumerate(fits):
                of(fit, values[:, c])

    go_through(_ComponentFit.survey)
    for fit in fits:
        fit.surveyed()
    while any(fit.order.is_open for fit in fits):
        go_through(lambda fit, values: fit.order.add(values))
        for fit in fits:
            fit.order.narrow()
    for fit in fits:
        fit.ordered()
    if transform == "gaussian":
        spreads = {id(fit): Moments() for fit in fits}
        go_through(lambda fit, values: spreads[id(fit)].add(map_blocks(values, fit.transform)))
        for fit in fits:
            fit.place(spreads[id(fit)].std)
    spectra = {id(fit): _ShellSpectrum(grid, cells) for fit in fits}
    go_through(lambda fit, values: spectra[id(fit)].add(values, fit.transform))
    return [fit.part | spectra[id(fit)].constants() for fit in fits]


class _ComponentFit:
    """What is known of one component so far; ``part`` becomes its constants."""

    def __init__(self, kind: str, transform: str, dtype: np.dtype) -> None:
        bounded = transform != "asinh" and np.isfinite(LOWEST[kind])
        self.part: dict[str, Any] = {"field_kind": kind, "transform": "log" if bounded else "asinh"}
        self.part |= {"mean": 0.0, "std": 1.0}
        self._gaussian, self._dtype = transform == "gaussian", dtype
        self._seen, self._count, self._low, self._high, self._sum, self._square, self._empty = (
            0,
            0,
            np.inf,
            -np.inf,
            0.0,
            0.0,
            0,
        )

    def survey(self, values: np.ndarray) -> None:
        """First pass: bounds, extremes, sums."""
        kind = self.part["field_kind"]
        check_bound(values, kind, self._seen)
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        self._seen, self._count = self._seen + len(values), self._count + values.size
        for block in flat_blocks(values):
            self._sum += float(block.sum())
            self._square += float(np.square(block).sum())
        if self.part["transform"] == "log":
            self._empty += int(np.count_nonzero(values <= np.asarray(LOWEST[kind], values.dtype)))

    def surveyed(self) -> None:
        """After the first pass: scales, and the ranks that the quantiles rest on."""
        if self._low == self._high:
            raise InputError(
                f"the training field is {self._low:g} everywhere: there is nothing to learn, check the import"
            )
        kind, positive = self.part["field_kind"], self._count - self._empty
        if self.part["transform"] == "log":
            offset, scale = -LOWEST[kind] + 0.0, 1.0 if kind == "delta" else self._sum / self._count
            ceiling = HEADROOM * (self._high + offset) / scale
            self.part |= {"offset": offset, "scale": scale, "floor": 0.0, "ceiling": ceiling}
        else:
            scale = float(np.sqrt(self._square / self._count)) or 1.0
            self.part |= {"scale": scale, "ceiling": HEADROOM * max(abs(self._low), abs(self._high)) / scale}
        self._lowest = Quantiles(positive, np.array([LOW_SHARE]), self._empty)
        self._score = knot_scores(self._count)
        self._knots = Quantiles(self._count, self._score[1])
        asked = [self._lowest.ranks] if self.part["transform"] == "log" else []
        asked += [self._knots.ranks] if self._gaussian else []
        self.order = OrderStatistics(self._dtype, np.concatenate([r.ravel() for r in asked]) if asked else np.empty(0))

    def ordered(self) -> None:
        """After the passes of the order statistics: the floor."""
        if self.part["transform"] == "log":
            offset, scale = self.part["offset"], self.part["scale"]
            self.part["floor"] = 0.1 * float(self._lowest.of(self.order, lambda v: (v + offset) / scale)[0])

    def place(self, spread: float) -> None:
        """After the pass of the spread: the knots."""
        plain = dict(self.part)
        value = self._knots.of(self.order, lambda v: transform_values(v, plain))
        self.part["knots"] = place_knots(value, self._score[0], spread)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """v of values as far as it is known."""
        return transform_values(values, self.part)


class _ShellSpectrum:
    """Moments of v, and the spectrum of x = (v - mean)/std by shells, in one pass: only k = 0 knows of the mean."""

    def __init__(self, grid: Sequence[int], cells: Sequence[float]) -> None:
        self._shell = shells(grid, cells, SHELLS).ravel()
        weight = multiplicity(tuple(grid)).double().numpy()
        self._weight = np.broadcast_to(weight, (*grid[:-1], grid[-1] // 2 + 1)).ravel()
        self._power, self._moments = np.zeros(self._shell.max() + 1), Moments()
        self._means = Moments()  # of the mean of each sample

    def add(self, values: np.ndarray, transform: Callable[[np.ndarray], np.ndarray]) -> None:
        rows = max(1, BLOCK // values[0].size)
        for start in range(0, len(values), rows):
            v = map_blocks(values[start : start + rows], transform)
            self._moments.add(v)
            self._means.add(v.reshape(len(v), -1).mean(axis=1))
            modes = rfftn(v, axes=tuple(range(1, v.ndim)), norm="ortho", overwrite_x=True).reshape(len(v), -1)
            power = (np.square(modes.real) + np.square(modes.imag)).sum(axis=0)
            self._power += np.bincount(self._shell, weights=power * self._weight, minlength=len(self._power))

    def constants(self) -> dict[str, Any]:
        """``mean``, ``std`` and ``spectrum``."""
        mean, std, samples = self._moments.mean, self._moments.std, self._means.count
        count = np.bincount(self._shell, weights=self._weight, minlength=len(self._power))
        power = self._power / samples
        cells = self._moments.count // samples
        power[0] = cells * (self._means.std**2 + (self._means.mean - mean) ** 2)
        filled = np.divide(power, count * std**2, out=np.zeros_like(power), where=count > 0)
        return {"mean": mean, "std": std, "spectrum": filled.tolist()}
