"""The constants of the encoding, fitted on a training part of any size that is gone through in blocks.

Three passes in single precision: extremes, sums and the first digits of the quantiles; their other digits, so that they
are exact (none of this where no quantile is asked for); moments and spectrum. Blocks are shared out to threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from physgen.domains.cosmology.blocks import BLOCK, Moments, OrderStatistics, Quantiles, map_blocks
from physgen.domains.cosmology.conditions import fixed_labels, label_ranges
from physgen.domains.cosmology.encoding import (
    LOWEST,
    SHELLS,
    check_bound,
    field_kinds,
    field_means,
    transform_values,
)
from physgen.domains.cosmology.gaussianise import knot_scores, place_knots
from physgen.domains.cosmology.geometry import check_layout, is_periodic
from physgen.domains.cosmology.zero_mode import fit_zero_mode
from physgen.ensemble import flatten, sample_blocks, sample_dims, space_dims, spacing
from physgen.errors import InputError
from physgen.lattice import multiplicity, power_by_shell, shells
from physgen.threads import shared_out

# decoded densities above this many times the largest training value are clipped and counted
HEADROOM = 100.0
LOW_SHARE = 1e-3  # quantile of the positive densities of which the floor is a tenth


def fit_encoding(train: xr.Dataset, transform: str, zero_mode: str = "mean") -> dict[str, Any]:
    r"""Constants of the encoding x = (v - mean) / std from a training split, of each component its own.

    Convention: for ``log``, v = ln(u + floor) with u = (field + offset) / scale the density in units of its mean; the
    floor, a tenth of the 0.1 % quantile of the positive u, gives empty cells a finite place near the emptiest ones.
    For ``asinh`` (and for fields without a lower bound), v = asinh(field / scale) with scale the rms. ``gaussian``
    sends either to the normal scores of its training law, v -> Phi^-1(F(v)), by ``knots``: a Gaussian field of the
    right spectrum then has the right one-point law, and its rarest peaks are as rare as its sigmas say.
    Labels map to [-1, 1] over the training range. ``spectrum`` is the isotropic variance of the orthonormal Fourier
    modes of x by shells of width 1/4 in \|n\| = \|k\| L / 2 pi, L the longest side. ``cell_size`` and ``periodic``
    are the geometry that symmetries and padding follow.

    With ``zero_mode = "mean"`` the mode k = 0 of x stands for the mean of the field (constants ``zero_mode``, see
    :mod:`physgen.domains.cosmology.zero_mode`); with ``"encoded"`` it is that of (v - mean) / std.

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
    parts = _fit_components(train, transform, zero_mode, constants["grid"], constants["cell_size"])
    if "component" not in train["field"].dims:
        return constants | parts[0]
    return constants | {"components": parts}


def _fit_components(
    train: xr.Dataset, transform: str, zero_mode: str, grid: Sequence[int], cells: Sequence[float]
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
    spectra = {id(fit): _ShellSpectrum(grid, cells, zero_mode == "mean") for fit in fits}
    go_through(lambda fit, values: spectra[id(fit)].add(values, fit.transform, field_means(values, fit.part)))
    return [fit.part | spectra[id(fit)].constants() for fit in fits]


class _ComponentFit:
    """What is known of one component so far; ``part`` becomes its constants."""

    def __init__(self, kind: str, transform: str, dtype: np.dtype) -> None:
        bounded = transform != "asinh" and np.isfinite(LOWEST[kind])
        self.part: dict[str, Any] = {"field_kind": kind, "transform": "log" if bounded else "asinh"}
        self.part |= {"mean": 0.0, "std": 1.0}
        self._gaussian, self.order = transform == "gaussian", OrderStatistics(dtype)
        self._seen, self._count, self._empty = 0, 0, 0
        self._low, self._high, self._sum, self._square = np.inf, -np.inf, 0.0, 0.0

    def survey(self, values: np.ndarray) -> None:
        """First pass: bounds, extremes, sums, first digits."""
        from physgen.domains.cosmology.block_kernels import sums

        kind, single = self.part["field_kind"], values.dtype.kind == "f" and values.dtype.itemsize <= 4
        flat = np.ascontiguousarray(values, dtype=np.float32 if single else np.float64).reshape(-1)
        check_bound(values, kind, self._seen)
        self._seen, self._count = self._seen + len(values), self._count + values.size
        lowest = float(np.asarray(LOWEST[kind], flat.dtype))

        def some(start: int) -> tuple[float, float, float, float, int]:
            part = flat[start : start + BLOCK]
            return (float(part.min()), float(part.max()), *sums(part, lowest))

        for low, high, total, square, empty in shared_out(some, range(0, flat.size, BLOCK)):
            self._low, self._high = min(self._low, low), max(self._high, high)
            self._sum, self._square, self._empty = self._sum + total, self._square + square, self._empty + empty
        if self.part["transform"] == "log" or self._gaussian:
            self.order.add(flat)

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
        if asked:
            self.order.ask(np.concatenate([ranks.ravel() for ranks in asked]))
            self.order.narrow()

    def ordered(self) -> None:
        """After the passes of the order statistics: the floor, the knots."""
        if self.part["transform"] == "log":
            offset, scale = self.part["offset"], self.part["scale"]
            self.part["floor"] = 0.1 * float(self._lowest.of(self.order, lambda v: (v + offset) / scale)[0])
        if self._gaussian:
            plain = dict(self.part)
            value = self._knots.of(self.order, lambda v: transform_values(v, plain))
            ends = transform_values(np.array([self._low, self._high]), plain)
            self.part["knots"] = place_knots(value, self._score[0], *ends.tolist())

    def transform(self, values: np.ndarray) -> np.ndarray:
        """v of values as far as it is known."""
        return transform_values(values, self.part)


class _ShellSpectrum:
    """Moments of v, and the spectrum of x = (v - mean)/std by shells, in one pass: only k = 0 knows of the mean.

    ``mean_mode``: whether the zero mode stands for the mean of the field.
    """

    def __init__(self, grid: Sequence[int], cells: Sequence[float], mean_mode: bool) -> None:
        self._mean_mode = mean_mode
        self._shell = torch.from_numpy(shells(grid, cells, SHELLS))
        self._modes = multiplicity(tuple(grid)).double().expand(self._shell.shape)
        self._power, self._moments = torch.zeros(int(self._shell.max()) + 1, dtype=torch.float64), Moments()
        self._means = Moments()  # of the mean of each sample
        self._field_means: list[np.ndarray] = []

    def add(self, values: np.ndarray, transform: Callable[[np.ndarray], np.ndarray], field_means: np.ndarray) -> None:
        rows = max(1, BLOCK // values[0].size)

        def some(start: int) -> tuple[Moments, np.ndarray, torch.Tensor]:
            v, found = map_blocks(values[start : start + rows], transform), Moments()
            found.add(v)
            means = v.reshape(len(v), -1).mean(axis=1)
            single = (v - means.reshape(-1, *[1] * (v.ndim - 1))).astype(np.float32)
            return found, means, power_by_shell(torch.from_numpy(single), self._shell).sum(0)

        starts = range(0, len(values), rows)  # of one large sample the blocks are shared out, in map_blocks
        for moments, means, power in shared_out(some, starts) if len(starts) > 1 else [some(0)]:
            self._moments.merge(moments)
            self._means.add(means)
            self._power += power
        self._field_means.append(field_means)

    def constants(self) -> dict[str, Any]:
        """``mean``, ``std``, ``spectrum``, and ``zero_mode`` where it stands for the mean of the field."""
        mean, std, samples = self._moments.mean, self._moments.std, self._means.count
        count = torch.bincount(self._shell.flatten(), self._modes.flatten()).numpy()
        power = (self._power / samples).numpy()
        cells = self._moments.count // samples
        # the same with the zero mode of the mean of the field, which is made as large
        power[0] = cells * (self._means.std**2 + (self._means.mean - mean) ** 2)
        constants: dict[str, Any] = {"mean": mean, "std": std}
        if self._mean_mode:
            constants["zero_mode"] = fit_zero_mode(np.concatenate(self._field_means), self._means.std / std)
        filled = np.divide(power, count * std**2, out=np.zeros_like(power), where=count > 0)
        return constants | {"spectrum": filled.tolist()}
