r"""Configurations with the weights that make them exact: paths of a trained network against the law of its domain.

Each condition of a request is a law of its own, with its own norm Z: its draws have independent weights w,
:math:`E[w] = Z` and :math:`E[w f] = Z \langle f \rangle`, at any number of steps and however bad the network is
(:mod:`physgen.diffusion.inference.path_weights`). How bad it is the weights say themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diffusion.inference.path_weights import weighted_sample
from physgen.diffusion.inference.weight_statistics import (
    LONGEST_TAIL,
    WeightStatistics,
    resample,
    summarise_weights,
)
from physgen.ensemble import LOG_WEIGHT, load_ensemble, sample_dims
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.levels import Levels
from physgen.runs.model import Model

if TYPE_CHECKING:
    import xarray as xr

FEWEST = 25  # weights of a law: of fewer the tail cannot be judged
STATISTICS = {
    "log_Z": "ln Z, log-mean-exp of the weights",
    "log_Z_error": "standard error of ln Z, too small where the tail is heavy",
    "log_Z_bound": "mean log-weight, a lower bound of ln Z whatever the tail",
    "effective_fraction": "effective sample size over the number of draws; means nothing where the tail is heavy",
    "path_divergence": "KL of drawn from reversed paths for each site, in nats",
    "path_divergence_error": "standard error of the path divergence for each site, in nats",
    "tail": "Pareto shape of the largest weights; up to 0.7 the effective sample size means something",
}


def draw_weighted(
    model: Model, template: xr.Dataset, seed: int, levels: Levels, progress: Progress | None = None
) -> xr.Dataset:
    r"""Configurations under the conditions of a template, with ``log_weight`` and the statistics of each law.

    ``log_weight`` over the sample dims is :math:`\ln w`; over those that tell laws apart stand ``log_Z`` with
    ``log_Z_error`` and ``log_Z_bound`` :math:`= \langle\ln w\rangle \le \ln Z`, ``effective_fraction``
    :math:`(\sum w)^2/(N \sum w^2)`, ``path_divergence`` :math:`(\ln Z - \langle\ln w\rangle)/N_{sites}` with its error,
    and ``tail``, the Pareto shape of the largest weights.

    Raises InputError where the domain knows no law to weigh against, or a law has fewer than 25 draws.
    """
    encoding, domain = model.encoding, model.domain
    target, how = domain.log_target(template, encoding.domain), domain.values.path_kernel()
    if target is None or how is None:
        raise InputError(
            f"weights need the law itself, which {domain.name} does not know of its data: leave them out (for weights "
            "of a guided law give guidance=W too)"
        )
    condition = dict(domain.condition(template, encoding.domain))
    laws = _Laws(template, encoding.sample_dims, condition)
    if laws.draws < FEWEST:
        raise InputError(
            f"n = {laws.draws} draws of each law are too few to judge the tail of their weights: give at least {FEWEST}"
        )
    streams = domain.streams(template)
    numbers = range(laws.count * laws.draws) if streams is None else streams
    x = torch.empty(laws.count * laws.draws, *encoding.shape)
    log_weight = torch.empty(len(x), dtype=torch.float64)
    for number, rows in enumerate(laws):
        one = {name: value[rows[:1]].expand(len(rows), *value.shape[1:]) for name, value in condition.items()}
        found = weighted_sample(
            model.denoiser, how[0], levels.values, (len(rows), *encoding.shape), seed,
            partial(_at, target, int(rows[0])), readout=how[1], condition=one, device=model.device,
            streams=[int(numbers[row]) for row in rows],
        )  # fmt: skip
        x[rows], log_weight[rows] = found.x.cpu(), found.log_weight.cpu()
        if progress is not None:
            progress((number + 1) * laws.draws, len(x))
    made = domain.decode(x, template, encoding.domain)
    kind = type(how[0]).__name__
    said = {"sampler": f"weighted paths ({kind})", "sampler_steps": len(levels.values) - 1, "seed": seed}
    return _with_weights(made, log_weight.numpy(), laws, math.prod(encoding.shape)).assign_attrs(said | levels.facts())


def _at(target: Any, row: int, x: torch.Tensor) -> torch.Tensor:
    log_density: torch.Tensor = target(x, row)
    return log_density


class _Laws:
    """The laws of a template: samples whose conditions are equal along whole sample dims.

    ``dims`` of ``shape`` tell laws apart; iteration gives the numbers of the flattened samples of each, ``draws`` many.
    """

    def __init__(self, template: xr.Dataset, dims: Sequence[str], condition: Mapping[str, torch.Tensor]) -> None:
        sizes = [int(template.sizes[dim]) for dim in dims]
        apart = [i for i in range(len(dims)) if sizes[i] == 1 or not _is_constant(condition, sizes, i)]
        order = [*apart, *(i for i in range(len(dims)) if i not in apart)]
        self.dims, self.shape = tuple(dims[i] for i in apart), tuple(sizes[i] for i in apart)
        self.rows = np.arange(math.prod(sizes)).reshape(sizes).transpose(order).reshape(math.prod(self.shape), -1)

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def draws(self) -> int:
        return int(self.rows.shape[1])

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.rows)


def _is_constant(condition: Mapping[str, torch.Tensor], sizes: Sequence[int], axis: int) -> bool:
    """Whether all conditions are equal along one of the sample dims."""
    for value in condition.values():
        table = value.reshape(*sizes, -1)
        if not bool((table == table.narrow(axis, 0, 1)).all()):
            return False
    return True


def _with_weights(made: xr.Dataset, log_weight: np.ndarray, laws: _Laws, sites: int) -> xr.Dataset:
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
    import xarray as xr

    laws, dims = made["tail"].dims, made[LOG_WEIGHT].dims
    inner = [dim for dim in dims if dim not in laws]
    if count < 1 or len(inner) != 1:
        raise InputError(f"resample = {count}: give at least 1, of draws that are counted by one dim, here by {inner}")
    rows = made[LOG_WEIGHT].transpose(*laws, *inner).values
    shape, rows = rows.shape[:-1], rows.reshape(-1, rows.shape[-1])
    drawn = [resample(torch.from_numpy(row), count, seed + number).numpy() for number, row in enumerate(rows)]
    where = {inner[0]: xr.Variable((*laws, inner[0]), np.reshape(drawn, (*shape, count)))}
    where |= {dim: xr.Variable(dim, np.arange(made.sizes[dim])) for dim in laws}
    taken = made.drop_vars([LOG_WEIGHT, inner[0]], errors="ignore").isel(where)
    described = made[inner[0]].attrs if inner[0] in made.coords else {"long_name": inner[0], "units": "1"}
    taken = taken.assign_coords({inner[0]: (inner[0], np.arange(count), described)})
    taken = taken.transpose(*dims, ...).assign_attrs(resampled_from=rows.shape[1])
    size = made["effective_fraction"] * rows.shape[1]
    certified = ((made["tail"] <= LONGEST_TAIL) & (size >= count)).astype("int8")
    told = {
        "long_name": "whether the weights allow as many configurations of this law",
        "units": "1",
        "is_condition": 0,
    }
    return taken.assign(certified=certified.assign_attrs(told))


def describe_draws(path: Path) -> str:
    """What the weights of a file are worth, a line for each value of the last dim that tells laws apart.

    Medians over the other laws. No effective sample size and no ln Z of a law whose tail does not allow one.
    """
    made = load_ensemble(path)
    table = {name: made[name].values for name in STATISTICS}
    dims = made["tail"].dims
    if LOG_WEIGHT in made:
        draws, lines = made[LOG_WEIGHT].size // max(made["tail"].size, 1), []
    else:
        draws, lines = int(made.attrs["resampled_from"]), [_certificate(made)]
    if not dims:
        return "\n".join([_line("", {name: values.reshape(1) for name, values in table.items()}, draws), *lines])
    last = made[dims[-1]] if dims[-1] in made.coords else None
    for i in range(made.sizes[dims[-1]]):
        words = f"{dims[-1]} {i if last is None else last.values[i]:g}"
        if last is not None and last.attrs.get("units", "1") != "1":
            words += f" {last.attrs['units']}"
        lines.insert(i, _line(words, {name: values[..., i].reshape(-1) for name, values in table.items()}, draws))
    return "\n".join(lines)


def _certificate(made: xr.Dataset) -> str:
    good, laws = int(made["certified"].sum()), made["certified"].size
    rest = "" if good == laws else "; of the others too few draws count, see `certified`: they are approximate"
    return f"resampled: as many configurations of the law itself in {good} of {laws} laws{rest}"


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
    fraction, error = laws["effective_fraction"][good], laws["log_Z_error"][good]
    spread = f" ({fraction.min():.3f} to {fraction.max():.3f})" if len(fraction) > 1 else ""
    bad = f"; {(~good).sum()} of {len(good)} laws have too heavy a tail for either" if not good.all() else ""
    return (
        f"{head}effective sample size {np.median(fraction):.3f}{spread} of {draws}, ln Z to {np.median(error):.3f}, "
        f"{divergence}{bad}"
    )
