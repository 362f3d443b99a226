r"""ln Z of each law from both sides: reverse paths beside those that the network drew.

A reverse path is a configuration of the law, noised up the levels, with the weight that the same path has when the
network draws it (:mod:`physgen.diffusion.inference.two_sided`). Its start decides what agreement proves: configurations
made without the model show what the model never visits, its own draws do not.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from physgen.diffusion.inference.two_sided import TwoSided, bennett
from physgen.diffusion.inference.weight_statistics import resample
from physgen.ensemble import LOG_WEIGHT
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.levels import Levels
from physgen.runs.model import Model
from physgen.stages.laws import FEWEST, Weighed, digests
from physgen.stages.paths import Paths

INDEPENDENT, OWN = "configurations of the ensemble of like", "own draws, taken by their weights"
MADE_BY_A_MODEL = ("run", LOG_WEIGHT)  # of such an ensemble nobody has shown that it is in equilibrium
BOTH_SIDES = {  # variable -> what of TwoSided, long_name
    "log_Z_two_sided": ("log_Z", "ln Z, Bennett's acceptance ratio of drawn and reverse paths"),
    "log_Z_two_sided_error": ("log_Z_error", "standard error of the two-sided ln Z where log_Z_closed is 1"),
    "log_Z_reverse": ("reverse", "ln Z, minus log-mean-exp of minus the log-weights of reverse paths"),
    "log_Z_reverse_error": ("reverse_error", "standard error of the reverse ln Z, too small where its tail is heavy"),
    "log_Z_upper_bound": ("upper", "mean log-weight of reverse paths, an upper bound of ln Z whatever the tail"),
    "log_Z_gap": ("gap", "ln Z of reverse paths minus that of drawn paths"),
    "log_Z_gap_error": ("gap_error", "standard error of the gap, too small where one of the tails is heavy"),
    "reverse_tail": ("reverse_tail", "Pareto shape of the largest inverse weights of reverse paths"),
    "two_sided_tail": ("tail", "Pareto shape of the summands of the two-sided ln Z, the larger of both sides"),
    "two_sided_counts": ("counts", "effective number of summands of the two-sided ln Z, the smaller of both sides"),
    "log_Z_closed": (
        "is_closed",
        "1 where both sides meet and the two-sided error is one; 0 open: too little overlap, a heavy tail of the "
        "weights, or sides that disagree",
    ),
}


def with_reverse_paths(
    made: xr.Dataset,
    model: Model,
    template: xr.Dataset,
    like: xr.Dataset,
    levels: Levels,
    wanted: int | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Weighted draws with ln Z of each law from both sides, the variables of ``BOTH_SIDES``.

    Args:
        made: what ``draw_weighted`` made of the template with these levels.
        like: the ensemble whose conditions were taken. Where it holds at least 25 configurations of each law, not made
            by a model, they are the starts; they are taken to be of the law and independent of each other.
        wanted: reverse paths of each law; None for as many as there are starts, up to the number of draws. Without
            starts in ``like`` None is none, and a number takes the model's own draws, chosen by their weights.
        progress: called with (paths done, all).

    Returns:
        The ensemble; its attribute ``reverse_starts`` says what the starts were, ``reverse_paths`` how many.

    Raises:
        InputError: fewer than 25 reverse paths of a law were asked for, or more than there are draws.
    """
    weighed = Weighed.of(model, template)
    if wanted == 0:
        return made
    if wanted is not None and not FEWEST <= wanted <= weighed.laws.draws:
        raise InputError(
            f"reverse = {wanted}: give 0, or {FEWEST} at least, of fewer no tail can be judged, and at most n = "
            f"{weighed.laws.draws}, the draws of each law"
        )
    starts, kind = _given_starts(like, model, weighed, wanted), INDEPENDENT
    if starts is None and wanted is None:
        return made
    if starts is None:
        starts, kind = _own_starts(made, model, weighed, int(wanted or 0)), OWN
    found, paths = [], Paths(model, weighed, levels, int(made.attrs["seed"]))
    for number, (rows, x) in enumerate(zip(weighed.laws, starts, strict=True)):
        found.append(bennett(_log_weights(made)[rows], paths.reversed(rows, x)))
        if progress is not None:
            progress((number + 1) * len(x), weighed.laws.count * len(x))
    told = {"reverse_starts": kind, "reverse_paths": min(len(x) for x in starts)}
    return _described(made, found, weighed).assign_attrs(told)


def _log_weights(made: xr.Dataset) -> torch.Tensor:
    return torch.from_numpy(made[LOG_WEIGHT].values.reshape(-1))


def _given_starts(like: xr.Dataset, model: Model, weighed: Weighed, wanted: int | None) -> list[torch.Tensor] | None:
    """Configurations of ``like`` under the condition of each law, spread evenly over those; None where too few."""
    if "field" not in like or any(name in like.attrs or name in like for name in MADE_BY_A_MODEL):
        return None
    x, condition = model.domain.encode(like, model.encoding.domain)
    places: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests(condition, range(len(x)))):
        places.setdefault(digest, []).append(row)
    starts = []
    for digest in digests(weighed.condition, [int(rows[0]) for rows in weighed.laws]):
        here = places.get(digest, [])
        taken = min(len(here), wanted or weighed.laws.draws)
        if taken < FEWEST:
            return None
        starts.append(x[[here[i] for i in np.linspace(0, len(here) - 1, taken).round().astype(int)]])
    return starts


def _own_starts(made: xr.Dataset, model: Model, weighed: Weighed, count: int) -> list[torch.Tensor]:
    x, logs, seed = model.domain.encode(made, model.encoding.domain)[0], _log_weights(made), int(made.attrs["seed"])
    return [x[rows][resample(logs[rows], count, seed + number)] for number, rows in enumerate(weighed.laws)]


def _described(made: xr.Dataset, found: list[TwoSided], weighed: Weighed) -> xr.Dataset:
    for name, (attribute, long_name) in BOTH_SIDES.items():
        values = np.array([getattr(one, attribute) for one in found], dtype=np.float64).reshape(weighed.laws.shape)
        if name == "log_Z_closed":
            values = values.astype(np.int8)
        told = {"long_name": long_name, "units": "1", "is_condition": 0}
        made = made.assign({name: (weighed.laws.dims, values, told)})
    return made
