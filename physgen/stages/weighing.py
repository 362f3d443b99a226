r"""Configurations with the weights that make them exact: paths of a trained network against the law of its domain.

Each condition of a request is a law of its own, with its own norm Z: its draws have independent weights w,
:math:`E[w] = Z` and :math:`E[w f] = Z \langle f \rangle`, at any number of steps and however bad the network is
(:mod:`physgen.diffusion.inference.path_weights`). How bad it is the weights say themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from physgen.diffusion.inference.weight_statistics import (
    LONGEST_TAIL,
    WeightStatistics,
    independence_metropolis,
    resample,
    stays,
    summarise_weights,
)
from physgen.ensemble import LOG_WEIGHT, sample_dims
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.levels import Levels
from physgen.runs.model import Model
from physgen.stages.laws import Laws, Weighed
from physgen.stages.paths import Paths
from physgen.stages.weighted_means import with_weighted_means

if TYPE_CHECKING:
    import xarray as xr

STATISTICS = {
    "log_Z": "ln Z, log-mean-exp of the weights",
    "log_Z_error": "standard error of ln Z, too small where the tail is heavy",
    "log_Z_bound": "mean log-weight, a lower bound of ln Z whatever the tail",
    "effective_fraction": "effective sample size over the number of draws; means nothing where the tail is heavy",
    "path_divergence": "KL of drawn from reversed paths for each site, in nats",
    "path_divergence_error": "standard error of the path divergence for each site, in nats",
    "tail": "Pareto shape of the largest weights; up to 0.7 the effective sample size means something",
}
KEPT = ("resampled_from", "metropolis_from")  # attributes: of how many draws of each law these were taken
BURN_IN = 10  # one of so many states of a chain is left out at its start
CHAIN = {
    "acceptance": "accepted fraction of the proposals of the Metropolis chain",
    "longest_stay": "longest stay of the Metropolis chain at one draw, in states",
    "stay_time": "integrated autocorrelation time of the stays of the Metropolis chain after burn-in, in states",
}


def draw_weighted(
    model: Model,
    template: xr.Dataset,
    seed: int,
    levels: Levels,
    progress: Progress | None = None,
    *,
    sweeps: int = 0,
) -> xr.Dataset:
    r"""Configurations under the conditions of a template, with ``log_weight`` and the statistics of each law.

    ``log_weight`` over the sample dims is :math:`\ln w`; over those that tell laws apart stand ``log_Z`` with
    ``log_Z_error`` and ``log_Z_bound`` :math:`= \langle\ln w\rangle \le \ln Z`, ``effective_fraction``
    :math:`(\sum w)^2/(N \sum w^2)`, ``path_divergence`` :math:`(\ln Z - \langle\ln w\rangle)/N_{sites}` with its error,
    and ``tail``, the Pareto shape of the largest weights; and the weighted means of the observables that the domain has
    (:mod:`physgen.stages.weighted_means`). ``sweeps`` of local moves of the domain, which leave its law unchanged, move
    what was drawn before means are taken; weights stay right, :math:`E[w f(x')] = Z \langle f\rangle`.

    Raises InputError where the domain knows no law to weigh against, or a law has fewer than 25 draws.
    """
    encoding, weighed = model.encoding, Weighed.of(model, template)
    laws, paths = weighed.laws, Paths(model, weighed, levels, seed)
    x = torch.empty(laws.count * laws.draws, *encoding.shape)
    log_weight = torch.empty(len(x), dtype=torch.float64)
    for number, rows in enumerate(laws):
        x[rows], log_weight[rows] = paths.drawn(rows, _after(progress, number * laws.draws, len(x)))
    made = model.domain.decode(x, template, encoding.domain)
    if sweeps:
        made = model.domain.local_moves(made, sweeps, seed)
    said = {"sampler": f"weighted paths ({paths.kind})", "sampler_steps": len(levels.values) - 1, "seed": seed}
    made = _with_weights(made, log_weight.numpy(), laws, math.prod(encoding.shape)).assign_attrs(said | levels.facts())
    return with_weighted_means(made, model.domain.observables(made), log_weight.numpy(), laws)


def _after(progress: Progress | None, before: int, total: int) -> Callable[[int, int], None] | None:
    """``progress`` of all laws, told by the draws of one."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _with_weights(made: xr.Dataset, log_weight: np.ndarray, laws: Laws, sites: int) -> xr.Dataset:
    """The ensemble with its log-weights and, over the dims that tell laws apart, what they say."""
    dims = sample_dims(made)
    told = {"long_name": "log-weight, ln of the law over that of the path", "units": "1", "is_condition": 0}
    made[LOG_WEIGHT] = (dims, log_weight.reshape([made.sizes[dim] for dim in dims]), told)
    found = [summarise_weights(torch.from_numpy(log_weight[rows])) for rows in laws]
    for name, long_name in STATISTICS.items():
        values = np.array([_statistic(one, name, sites) for one in found]).reshape(laws.shape)
        made[name] = (laws.dims, values, {"long_name": long_name, "units": "1", "is_condition": 0})
    return made


def _statistic(found: WeightStatistics, name: str, sites: int) -> float:
    if name == "log_Z_bound":
        return found.log_Z - found.path_KL
    if name.startswith("path_divergence"):
        return (found.path_KL_error if name.endswith("error") else found.path_KL) / sites
    return float(getattr(found, name))


def resampled(made: xr.Dataset, count: int, seed: int) -> xr.Dataset:
    r"""``count`` configurations of each law, drawn with its weights: those of the law itself as the draws grow many.

    Systematic resampling: a draw appears count w / sum(w) times, rounded up or down. ``certified`` over the laws is 1
    where the tail of the weights allows an effective sample size, and that is ``count`` at least: as many draws count
    as are kept, though one of large weight may stand twice; elsewhere 0, and the configurations are the best there are.
    """
    rows = _rows_of_laws(made, count, "resample")
    drawn = [resample(torch.from_numpy(row), count, seed + number).numpy() for number, row in enumerate(rows)]
    draws = rows.shape[1]
    return _kept(made, drawn, made["effective_fraction"] * draws).assign_attrs(resampled_from=draws)


def metropolised(made: xr.Dataset, count: int, seed: int) -> xr.Dataset:
    r"""``count`` states of an independence-Metropolis chain through the draws of each law, in their order.

    A draw replaces the state with probability min(1, w'/w), w the weights of whole paths: the chain is stationary for
    the exact law (:func:`physgen.diffusion.inference.independence_metropolis`). It starts at a draw of the network, so
    the first tenth of its N states is burn-in, of which none is kept; ``count`` are taken at equal distances from the
    rest, in their order. They are of the law up to what the burn-in does not forget: a longest stay as long as the
    burn-in says that it was short. Kept states of one stay are copies.

    Over the laws stand ``acceptance``, the accepted fraction of proposals, ``longest_stay`` in states, ``stay_time``,
    the integrated autocorrelation time of the stays after burn-in (:func:`physgen.diffusion.inference.stays`), and
    ``certified``: 1 where the tail of the weights allows an effective sample size and the chain after burn-in is
    ``count`` times its autocorrelation time at least: as many independent states as are kept.

    Raises InputError where ``count`` is below 1 or more than the states after burn-in.
    """
    rows = _rows_of_laws(made, count, "metropolis")
    draws = rows.shape[1]
    burnt = draws // BURN_IN
    if count > draws - burnt:
        raise InputError(
            f"metropolis = {count}: of the chain through {draws} draws the first {burnt} states are burn-in, give at "
            f"most {draws - burnt}, or draw more"
        )
    places = burnt + np.arange(1, count + 1) * (draws - burnt) // count - 1
    drawn, found = [], []
    for number, row in enumerate(rows):
        states, accepted = independence_metropolis(torch.from_numpy(row), seed, number)
        after = stays(states[burnt:]).double()
        drawn.append(states.numpy()[places])
        found.append((accepted, float(stays(states).max()), float(after.square().sum() / after.sum())))
    laws = made["tail"]
    for (name, long_name), values in zip(CHAIN.items(), np.transpose(found), strict=True):
        told = {"long_name": long_name, "units": "1", "is_condition": 0}
        made = made.assign({name: (laws.dims, values.reshape(laws.shape), told)})
    kept = _kept(made, drawn, (draws - burnt) / made["stay_time"])
    return kept.assign_attrs(metropolis_from=draws, metropolis_burn_in=burnt)


def _rows_of_laws(made: xr.Dataset, count: int, name: str) -> np.ndarray:
    """Log-weights (laws, draws) of an ensemble whose draws of a law are counted by one dim."""
    laws, inner = made["tail"].dims, _inner(made)
    if count < 1 or len(inner) != 1:
        raise InputError(f"{name} = {count}: give at least 1, of draws that are counted by one dim, here by {inner}")
    rows = made[LOG_WEIGHT].transpose(*laws, *inner).values
    return np.asarray(rows.reshape(-1, rows.shape[-1]))


def _inner(made: xr.Dataset) -> list[str]:
    """Sample dims that count the draws of a law."""
    return [str(dim) for dim in made[LOG_WEIGHT].dims if dim not in made["tail"].dims]


def _kept(made: xr.Dataset, drawn: list[np.ndarray], independent: xr.DataArray) -> xr.Dataset:
    """Of each law the draws with these numbers, and ``certified``: whether so many ``independent`` ones stand behind
    them and the tail allows to say so.
    """
    import xarray as xr

    laws, dims, (inner,), count = made["tail"].dims, made[LOG_WEIGHT].dims, _inner(made), len(drawn[0])
    where = {inner: xr.Variable((*laws, inner), np.reshape(drawn, (*made["tail"].shape, count)))}
    where |= {str(dim): xr.Variable(dim, np.arange(made.sizes[dim])) for dim in laws}
    taken = made.drop_vars([LOG_WEIGHT, inner], errors="ignore").isel(where)
    described = made[inner].attrs if inner in made.coords else {"long_name": inner, "units": "1"}
    taken = taken.assign_coords({inner: (inner, np.arange(count), described)}).transpose(*dims, ...)
    taken.attrs = {name: value for name, value in taken.attrs.items() if name not in KEPT}  # those of like
    certified = ((made["tail"] <= LONGEST_TAIL) & (independent >= count)).astype("int8")
    told = {
        "long_name": "whether the weights allow as many configurations of this law",
        "units": "1",
        "is_condition": 0,
    }
    return taken.assign(certified=certified.assign_attrs(told))
