"""One trajectory of a backward process, frame by frame, with the nearest training sample beside its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from physgen.diagnostics.nearest import Search, nearest_binary, nearest_euclidean, nearest_field
from physgen.diagnostics.regimes.alignment import aligned
from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.exact.atoms import EmpiricalMeasure
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample

if TYPE_CHECKING:
    import xarray as xr

    from physgen.stages.regimes_data import Samples

FRAMES, STEPS = 8, 64
Visit = tuple[Tensor, float, Tensor]  # y, s, D(y, s)


def recorded_descent(
    denoiser: Denoiser, levels: Tensor, shape: tuple[int, ...], seed: int, condition: Condition = None,
    device: torch.device | str = "cpu",
) -> tuple[list[Visit], Tensor]:  # fmt: skip
    """Every (y, s, D) that an ancestral sampler goes through, from the highest level down, and where it ends."""
    visits: list[Visit] = []

    def watched(y: Tensor, s: Tensor, given: Condition = None) -> Tensor:
        mean = denoiser(y, s, given)
        visits.append((y[: shape[0]].cpu(), float(s.flatten()[0]), mean[: shape[0]].cpu()))
        return mean

    end = sample(watched, levels, shape, seed, condition, "ancestral", tile=shape[0], device=device, home="cpu")
    return visits, end


def film_of_data(train: Samples, t_s: float, t_c: float, seed: int) -> xr.Dataset:
    """A film of the exact score of the samples, which can only return them; ``t_c`` without symmetries."""
    top = math.sqrt(math.expm1(2 * (1.3 * max(t_s, t_c, 0.3) + 1.0)))
    levels = log_uniform(top, 0.02, STEPS)
    visits, end = recorded_descent(EmpiricalMeasure(train.x), levels, (1, *train.x.shape[1:]), seed)
    return film(visits, end, train, t_s, t_c, "collapsed")


def film(visits: list[Visit], end: Tensor, train: Samples, t_s: float, t_c: float, below: str) -> xr.Dataset:
    """Frames of the first trajectory, equally spaced in time from above both t_S and t_C to the end.

    Args:
        visits, end: of :func:`recorded_descent`.
        train: the training samples, of which the nearest is shown.
        t_s, t_c: they say in which regime a frame is; ``below`` is the word for times under t_C.
    """
    import xarray as xr

    times = np.array([0.5 * math.log1p(s * s) for _, s, _ in visits])
    top = min(1.25 * max(t_s, t_c, 0.3) + 0.2, times.max())
    chosen = [int(np.abs(times - t).argmin()) for t in np.linspace(top, max(times.min(), 0.04 * top), FRAMES)]
    shown = _picture(train)
    y, s, mean = (
        torch.stack([visits[i][0][0] for i in chosen]),
        torch.tensor([visits[i][1] for i in chosen]),
        torch.stack([visits[i][2][0] for i in chosen]),
    )
    state = y / torch.sqrt(1 + s**2).reshape(-1, *[1] * (y.ndim - 1))
    found = {
        "state": (("frame", "a", "b"), shown(state)),
        "mean": (("frame", "a", "b"), shown(mean)),
        "last": (("a", "b"), shown(end[:1])[0]),
        "nearest": (("a", "b"), shown(nearest_sample(end[:1], train))[0]),
        "t": ("frame", times[chosen]),
        "regime": ("frame", [regime_at(t, t_s, t_c, below) for t in times[chosen]]),
    }
    if _is_points(train):
        found["cloud"] = (("sample", "axis"), shown(train.x)[:2000, 0])
    return xr.Dataset(found)


def regime_at(t: float, t_s: float, t_c: float, below: str) -> str:
    """The regime of a time in words; unknown times of transition are passed over."""
    if t < t_c:
        return below
    return "speciated" if t < t_s else "trivial"


def nearest_search(train: Samples) -> Search:
    """The search for the nearest training sample modulo the symmetries of the law."""
    if train.orbit in ("translations", "point_group"):
        group = "point" if train.orbit == "point_group" else "none"
        return partial(nearest_field, group=group, spacing=train.cell_size)
    return nearest_binary if train.orbit == "flip" else nearest_euclidean


def nearest_sample(end: Tensor, train: Samples) -> Tensor:
    r"""The training sample nearest to ``end`` (1, C, \*grid), moved onto it by the symmetries of the law."""
    index = nearest_search(train)(end, train.x).index[0, 0]
    found = train.x[index : index + 1]
    if train.orbit == "flip":
        return found if float((found * end).sum()) >= 0 else -found
    if train.orbit == "none":
        return found
    return aligned(found, end, "point" if train.orbit == "point_group" else "none", train.cell_size)


def _is_points(train: Samples) -> bool:
    return train.x.ndim < 4


def _picture(train: Samples) -> Callable[[Tensor], np.ndarray]:
    """x (B, C, *grid) -> (B, a, b): the plane of a lattice, the middle one of 3-D; of vectors their principal axes."""
    if not _is_points(train):

        def plane(x: Tensor) -> np.ndarray:
            one = x[:, 0]
            while one.ndim > 3:
                one = one[:, one.shape[1] // 2]
            return one.numpy()

        return plane
    rows = train.x.flatten(1).double()
    centre = rows.mean(0)
    axes = torch.linalg.svd(rows - centre, full_matrices=False)[2][:2]

    def plane_of_points(x: Tensor) -> np.ndarray:
        place = (x.flatten(1).double() - centre) @ axes.T
        return np.pad(place.numpy(), ((0, 0), (0, 2 - place.shape[1])))[:, None]

    return plane_of_points
