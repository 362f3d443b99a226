r"""Collapse trajectory by trajectory: when the nearest training configuration changes for the last time.

The collapse time of one backward trajectory is the last time at which the nearest training configuration changes
(Biroli et al., arXiv:2402.18491, section on real data). It needs no score of the model and no density, but the
path: :class:`PathRecorder` wraps a denoiser and notes the nearest training configuration at each call, so that no
sampler has to know of it. The other measure of collapse, the probability :math:`\varphi_C(t)` that two clones which
part at t end at the same training configuration, is :func:`physgen.diagnostics.regimes.clones.clone` with
:func:`physgen.diagnostics.regimes.classes.nearest_class`; of the exact empirical score it is Y2(t).

Every trajectory has such a time, also of a model that memorizes nothing: a configuration must come to rest somewhere
in the Voronoi cells of the training set. So a t_C says something only beside that of a law which has never
seen the training set, and together with the distance at the end.

Legend: B trajectories, L levels of the path, descending; s^2 = e^{2t} - 1.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physgen.diagnostics.regimes.classes import Classify
from physgen.diagnostics.regimes.unit_means import frequency_and_error, unit_index, unit_sums, without_each
from physgen.diagnostics.resampling import jackknife_variance
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


class PathRecorder:
    """A denoiser that notes, at each call, which training configuration is nearest.

    Rows of a call must share their level, as those of all samplers here do. Calls of one tile of samples come with
    falling levels, those of the next begin anew at the top; where a level is met more than once (solvers of several
    evaluations a step) its last call counts. Use one worker: calls from several threads are refused.

    Args:
        denoiser: D(y, s, condition).
        classify: x -> number (B,), such as ``nearest_class(train)``.
        of: "denoised", the nearest to D(y, s), or "noisy", the nearest to y.

    Example:
        >>> path = PathRecorder(law, nearest_class(train))
        >>> drawn = sample(path, levels, shape, seed, sampler="ancestral")
        >>> collapse_of_trajectories(*path.indices(len(drawn)))["t_C"]
    """

    def __init__(self, denoiser: Any, classify: Classify, of: str = "denoised") -> None:
        if of not in ("denoised", "noisy"):
            raise InputError(f'the nearest to "denoised" or "noisy" states is recorded, got {of!r}')
        self._denoiser, self._classify, self._of = denoiser, classify, of
        self._tiles: list[dict[float, np.ndarray]] = []
        self._last = -np.inf
        self._thread = threading.get_ident()

    def __call__(self, y: Tensor, s: Tensor, condition: Any = None) -> Tensor:
        found = self._denoiser(y, s, condition)
        if threading.get_ident() != self._thread:
            raise InputError("a path is recorded with one worker: sample with workers=1")
        levels = s.detach().double().reshape(-1)
        level = float(levels[0])
        if bool((levels != levels[0]).any()):
            raise InputError("a path is recorded where all rows of a call have one noise level")
        if not self._tiles or level > self._last * (1 + 1e-9):
            self._tiles.append({})
        self._last = level
        with torch.no_grad():
            self._tiles[-1][level] = self._classify(found if self._of == "denoised" else y).cpu().numpy()
        return found

    def indices(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The path of the first ``count`` trajectories: times t (L,), descending, and numbers (L, count).

        Raises:
            InputError: nothing recorded, fewer trajectories than asked for, or tiles that took different levels.
        """
        if not self._tiles:
            raise InputError("no path was recorded: pass the recorder to a sampler as its denoiser")
        levels = list(self._tiles[0])
        if any(list(tile) != levels for tile in self._tiles):
            raise InputError(
                "the tiles took different noise levels: an adaptive sampler's path is recorded tile by tile"
            )
        path = np.concatenate([np.stack([tile[s] for s in levels]) for tile in self._tiles], axis=1)
        if path.shape[1] < count:
            raise InputError(f"{path.shape[1]} trajectories were recorded, {count} asked for")
        return 0.5 * np.log1p(np.square(levels)), path[:, :count]


def collapse_of_trajectories(times: ArrayLike, indices: ArrayLike, unit: ArrayLike | None = None) -> xr.Dataset:
    r"""The last change of the nearest training configuration along each trajectory.

    A change between two neighbouring times is put at their mean; a trajectory without any change is put at the first
    time, and counted in ``unchanged``: its own time lies above.

    Args:
        times: t (L,), descending, L >= 2.
        indices: number of the nearest training configuration, (L, B).
        unit: (B,) independent unit of each trajectory; None: every one.

    Returns:
        Dataset over ``t``: ``value``, part of the trajectories that are at their last training configuration from t on
        down, and ``error`` (jackknife over units, never 0); ``at_last`` and ``at_last_error``, part whose nearest one
        at t is the last one, whatever comes between (for the exact empirical score and the nearest to the noisy state
        that is :math:`E \max_\mu w_\mu(x_t)`); 0-d ``t_C`` mean of the last changes, ``t_C_error`` (jackknife over
        units), ``t_C_std``, standard deviation over trajectories, ``resolution``, mean distance of the two times
        between which a last change lies, ``unchanged``, part of the trajectories; ``t_C_each`` and ``last`` (number of
        the final one) over ``trajectory``.

    Raises:
        InputError: times that do not descend, shapes that do not fit.

    Source: arXiv:2402.18491.
    """
    import xarray as xr

    ts, path = np.asarray(times, dtype=float), np.asarray(indices)
    if ts.ndim != 1 or len(ts) < 2 or not (np.diff(ts) < 0).all() or path.ndim != 2 or len(path) != len(ts):
        raise InputError(
            f"a path is at least 2 descending times (L,) and numbers (L, B), got shapes {ts.shape} and {path.shape}"
        )
    index = unit_index(unit, path.shape[1])
    same = path == path[-1]
    settled = np.logical_and.accumulate(same[::-1], axis=0)[::-1]  # (L, B)
    first = settled.argmax(axis=0)  # the largest time from which on nothing changes
    each = np.where(first > 0, 0.5 * (ts[first] + ts[first - 1]), ts[0])
    value, error = frequency_and_error(settled.T, index)
    last, last_error = frequency_and_error(same.T, index)
    sums, counts = unit_sums(each, index)
    columns = {
        "t_C": each.mean(),
        "t_C_error": np.sqrt(jackknife_variance(without_each(sums, counts))) if len(counts) > 1 else np.nan,
        "t_C_std": each.std(ddof=1) if len(each) > 1 else np.nan,
        "resolution": np.mean((ts[:-1] - ts[1:])[np.maximum(first - 1, 0)]),
        "unchanged": np.mean(first == 0),
    }
    return xr.Dataset(
        {
            "value": ("t", value, _named("part of the trajectories at their last training configuration")),
            "error": ("t", error, _named("standard error of the value")),
            "at_last": ("t", last, _named("part whose nearest one is the last one")),
            "at_last_error": ("t", last_error, _named("standard error")),
            "t_C_each": ("trajectory", each, _named("collapse time of each trajectory")),
            "last": ("trajectory", path[-1]),
        }
        | {name: ((), float(number)) for name, number in columns.items()},
        coords={"t": ("t", ts, _named("Ornstein-Uhlenbeck time"))},
        attrs={"diagnostic": "collapse_of_trajectories", "n": path.shape[1], "n_independent": len(counts)},
    )


def _named(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}
