r"""Noise levels for a trained model: chosen on the Gaussian surrogate of its data, checked on the network.

The surrogate is the Gaussian field with the training spectrum; its denoiser is linear, so what a sampler does to each
mode is known exactly. The gain of levels chosen there does not always carry over to the law that was learned. So they
are compared with other levels on the network, from the same noise (:mod:`physgen.diffusion.discretization.check`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from physgen.diffusion.discretization.check import Convergence, candidate_levels, convergence, most_converged
from physgen.diffusion.discretization.dissipation import independent, least_dissipation
from physgen.diffusion.discretization.gaussian import sampled_power
from physgen.diffusion.discretization.search import best_log_uniform, optimal_levels
from physgen.diffusion.inference.path_weights import weighted_sample
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.masked import MaskedDenoiser
from physgen.diffusion.names import DIVERGENCE, OF_STUDENTS, RULES, LevelRule
from physgen.diffusion.sampling.modal import ModalFlow
from physgen.diffusion.sampling.samplers import SAMPLERS
from physgen.diffusion.sampling.solver import Solver
from physgen.runs.encoding import Encoding
from physgen.runs.shipped import is_shipped
from physgen.storage.disk import write_atomically
from physgen.storage.weights import weights_digest

if TYPE_CHECKING:
    from physgen.config import Experiment
    from physgen.diffusion.values import PathMaking

CHECKED, CHOSEN, EVEN = RULES
CHECK_SEED = 30_000  # the same samples for every drawing: the levels are those of the model, not of a request
KEPT_IN, FRACTIONS = "levels.json", "masked fractions"
ALONG = "along the way of the teacher"
LEAST, PILOT = "least dissipation", 24  # levels of weighted paths, and those of the draws on which they are measured
CORNERS = 64
ONE_LEVEL = 1.001  # an energy that was trained at s_min alone is drawn there; levels descend, so by a hair
# of the trained range, 10 sqrt(P) of the largest mode to sqrt(P)/10 of the smallest: the flow in the angles of the
# modes is exact for Gaussian ones from any level; it begins where noise is 4 and ends where it is 1/4 of sqrt(P)
MODAL_START, MODAL_END = 0.4, 2.5
VALUES, FEWEST, MOST = 2**13, 8, 64  # samples of a check, by their size; any 8 of 64^2 took the same levels


class Model(Protocol):
    """What is asked of a trained model (:class:`physgen.runs.model.Model`)."""

    @property
    def denoiser(self) -> torch.nn.Module: ...
    @property
    def experiment(self) -> Experiment: ...
    @property
    def encoding(self) -> Encoding: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def folder(self) -> Path | None: ...
    @property
    def conditions(self) -> Mapping[str, torch.Tensor]: ...


@dataclass(frozen=True)
class Levels:
    """Noise levels (steps + 1,), the last one 0, their name, and the errors of all levels that were compared."""

    values: torch.Tensor
    name: str
    errors: dict[str, Convergence] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What a generated file says of its levels."""
        said: dict[str, Any] = {"levels": self.name}
        if self.name != FRACTIONS:
            said |= {"s_min": float(self.values[-2]), "s_max": float(self.values[0])}
        for name in (self.name, EVEN):
            if name in self.errors:
                prefix = "levels" if name == self.name else "levels_log_uniform"
                said |= {f"{prefix}_{key}": value for key, value in asdict(self.errors[name]).items()}
        return said


def choose_levels(
    model: Model, sampler: str, steps: int, rule: LevelRule | None = None, observed: bool = False
) -> Levels:
    r"""Levels within the range that was trained.

    Args:
        rule: "checked", the default: those of :func:`physgen.diffusion.discretization.check.candidate_levels` that are
            most converged on the network itself, at conditions that were trained (those kept beside the weights, or
            label values spread over their range); "chosen": of least error on the surrogate, unchecked; "log-uniform":
            the best of these on the surrogate.
        observed: whether samples are drawn given an observation: their mean is not that of the prior, and a flow in the
            angles of the modes begins where noise drowns it.

    For denoisers without a prior spectrum, and for samplers that choose their own, the levels are log-uniform over the
    trained range, for one that is exact for Gaussian modes over a part of it; for stochastic samplers, whose samples do
    not follow the noise of the start, and where conditions are needed of which none were kept, "checked" is "chosen".
    The outcome is stored beside the weights, where that is possible: a training does so for the configured sampler and
    steps, a request for others pays once.
    """
    if isinstance(model.denoiser, MaskedDenoiser):
        return masked_fractions(math.prod(model.encoding.shape), steps)
    if sampler in OF_STUDENTS:
        return Levels(model.denoiser.levels(steps), ALONG)  # type: ignore[operator]  # of a flow map, as is checked
    s_min, s_max = trained = model.encoding.s_min, model.encoding.s_max
    if model.experiment.diffusion.loss == DIVERGENCE:
        return Levels(log_uniform(ONE_LEVEL * s_min, s_min, steps), "one level")
    spectra, solver = surrogate_spectra(model), _solver(sampler)
    if spectra is not None and isinstance(SAMPLERS[sampler], ModalFlow):
        start = 1.0 if observed else MODAL_START
        return Levels(log_uniform(start * s_max, MODAL_END * s_min, steps), EVEN)
    if spectra is None or solver is None:
        return Levels(log_uniform(s_max, s_min, steps), EVEN)
    if rule != EVEN:
        rule = CHOSEN if rule == CHOSEN or solver.draws or not _knows_conditions(model) else CHECKED
    # other weights, an EMA of another width say, have levels of their own; the digest of 400 MB takes 0.3 s, their
    # reading more
    key = f"{weights_digest(model.denoiser.state_dict())[:16]}/{sampler}/{steps}/{rule}"
    levels = _recall(model.folder, key)
    if levels is None:
        if rule == CHECKED:
            levels = _checked(model, spectra, sampler, steps)
        else:
            search = best_log_uniform if rule == EVEN else optimal_levels
            levels = Levels(search(spectra, steps, sampler, trained, trained)[0], rule)
        _keep(model.folder, key, levels)
    return levels


def masked_fractions(sites: int, steps: int) -> Levels:
    """The masked fraction before each of ``steps`` groups of sites, from 1 to 0; one site a step at most."""
    groups = min(steps, sites)
    return Levels(1 - torch.arange(groups + 1, dtype=torch.float64) / groups, FRACTIONS)


def path_levels(
    model: Model, how: PathMaking | None, steps: int, trained_on: Callable[[], Mapping[str, torch.Tensor]]
) -> Levels:
    """Levels for paths with weights, drawn by ``how``: of least dissipation for values +-1, else log-uniform.

    :func:`physgen.diffusion.discretization.dissipation.least_dissipation`, on configurations that the model draws under
    the conditions that ``trained_on`` reads, of the kind it was trained on; stored beside the weights.
    """
    if isinstance(model.denoiser, MaskedDenoiser):
        return masked_fractions(math.prod(model.encoding.shape), steps)
    trained = model.encoding.s_max, model.encoding.s_min
    if how is None or how[1] == "gaussian":
        return Levels(log_uniform(*trained, steps), EVEN)
    key = f"{weights_digest(model.denoiser.state_dict())[:16]}/{type(how[0]).__name__}/{steps}"
    levels = _recall(model.folder, key)
    if levels is None:
        condition = trained_on()
        count = len(next(iter(condition.values()))) if condition else MOST
        rows = torch.linspace(0, count - 1, min(count, MOST)).long()  # spread over what was trained
        some = {name: value[rows].to(model.device) for name, value in condition.items()} or None
        drawn = weighted_sample(
            model.denoiser, how[0], log_uniform(*trained, PILOT), (len(rows), *model.encoding.shape), CHECK_SEED,
            lambda x: x.flatten(1).sum(1), readout=how[1], condition=some, device=model.device,
        )  # fmt: skip
        known = getattr(how[0].given(some), "covariance_times", independent)
        found = least_dissipation(model.denoiser, drawn.x, steps, trained, some, CHECK_SEED, known)
        levels = Levels(found, LEAST)
        _keep(model.folder, key, levels)
    return levels


def _checked(model: Model, spectra: torch.Tensor, sampler: str, steps: int) -> Levels:
    s_min, s_max = trained = model.encoding.s_min, model.encoding.s_max
    candidates = candidate_levels(spectra, steps, sampler, trained, trained)
    site = model.encoding.shape
    count = min(max(VALUES // math.prod(site), FEWEST), MOST)
    errors = convergence(
        model.denoiser, candidates, (count, *site), CHECK_SEED,
        ends=(s_max, s_min), condition=_spread_conditions(model, count), sampler=sampler, tile=count,
        device=model.device,
    )  # fmt: skip
    name = most_converged(errors)
    return Levels(candidates[name], name, errors)


def _spread_conditions(model: Model, count: int) -> dict[str, torch.Tensor] | None:
    """Conditions of ``count`` samples: those that were kept of the training, in turn, where there are any.

    Else labels (count, n) spread evenly over [-1, 1]^n, the range that was trained (a Sobol sequence).
    """
    if model.conditions:
        return {name: value[torch.arange(count) % len(value)] for name, value in model.conditions.items()}
    labels = model.encoding.labels
    if not labels:
        return None
    points = torch.quasirandom.SobolEngine(labels).draw(count + 1)[1:]  # the first one is a corner
    return {"labels": 2 * points - 1}


def _knows_conditions(model: Model) -> bool:
    """Whether conditions of every kind that the denoiser needs can be had."""
    return set(model.encoding.condition_shapes) <= {"labels", *model.conditions}


def surrogate_spectra(model: Model) -> torch.Tensor | None:
    """P of the surrogate at the middle and at each corner of the label range, (1 + 2^n, C, *rfft);
    None for a denoiser without a prior spectrum.

    Of more than CORNERS corners that many, spread evenly, represent all.
    """
    spectrum = getattr(model.denoiser, "spectrum", None)
    if spectrum is None:
        return None
    count = model.encoding.labels
    labels = torch.cat([torch.zeros(1, count), _corners(count)]) if count else torch.zeros(1, 0)
    return spectrum({"labels": labels.to(model.device)}).double().cpu()


def _corners(count: int) -> torch.Tensor:
    if 2**count <= CORNERS:
        return torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * count).reshape(-1, count)
    points = torch.quasirandom.SobolEngine(count).draw(CORNERS + 1)[1:]  # the first one is the corner of all zeros
    return torch.where(points < 0.5, -1.0, 1.0)


def sampler_bias(model: Model, sampler: str, levels: torch.Tensor) -> dict[str, float]:
    r"""Largest and mean relative error of P(k) that the sampler itself makes on the Gaussian surrogate of the data.

    The surrogate at the middle of the label range: the variance of each mode after the last step is known exactly.
    Empty for a denoiser without a prior spectrum.
    """
    spectra = surrogate_spectra(model)
    solver = None if spectra is None else _solver(sampler)
    if spectra is None or solver is None:
        return {}
    power = spectra[0].flatten()
    error = (sampled_power(solver, levels, power) / power - 1).abs()
    return {"sampler_bias_max": float(error.max()), "sampler_bias_mean": float(error.mean())}


def takes_levels(sampler: str) -> bool:
    """Whether the levels of a sampler are chosen by its error on the Gaussian surrogate."""
    return _solver(sampler) is not None


def _solver(sampler: str) -> Solver | None:
    """The sampler, if it takes each noise level once at a stated order; else, its error having no closed form, None."""
    found = SAMPLERS[sampler]
    return found if isinstance(found, Solver) and found.order > 0 else None


# --- stored beside the weights ----------------------------------------------------------------------


def _entries(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {}
    with suppress(OSError, ValueError):
        return dict(json.loads((folder / KEPT_IN).read_text()))
    return {}


def _recall(folder: Path | None, key: str) -> Levels | None:
    entry = _entries(folder).get(key)
    with suppress(KeyError, TypeError):  # of a file that is not ours: check anew
        if entry is not None:
            errors = {name: Convergence(**values) for name, values in entry["errors"].items()}
            return Levels(torch.tensor(entry["values"], dtype=torch.float64), entry["name"], errors)
    return None


def _keep(folder: Path | None, key: str, levels: Levels) -> None:
    """Add to the file of the model folder; nothing is stored in a folder that cannot be written."""
    if folder is None or is_shipped(folder):
        return
    errors = {name: asdict(value) for name, value in levels.errors.items()}
    entries = _entries(folder) | {key: {"name": levels.name, "values": levels.values.tolist(), "errors": errors}}
    with suppress(OSError):
        write_atomically(folder / KEPT_IN, json.dumps(entries, indent=1))
