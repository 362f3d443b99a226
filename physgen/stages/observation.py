r"""The stage that draws configurations given an observation: fields behind a mask, under noise, blurred, coarse.

The operator acts on the physical field, and so does the noise. Values that were seen as they are, beside cells that
were not, are known in the encoded field, where nothing is approximated but the posterior's covariance; all else is
compared through :class:`physgen.diffusion.inference.measurement.Instrument`.

Shapes: B observations, D draws of each, C channels, \*grid lattice, \*measured that of the observation.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from physgen.diffusion.inference.inverse import OBSERVED, VARIANCE, Observation, PosteriorDenoiser
from physgen.diffusion.inference.measurement import Instrument, Scale, is_elementwise
from physgen.diffusion.sampling.samplers import sample
from physgen.domains.contract import with_units
from physgen.ensemble import load_ensemble, sample_dims, save_ensemble, space_dims
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.runs.folder import Run, open_run
from physgen.runs.levels import choose_levels
from physgen.runs.model import Model, check_sampler, load_model
from physgen.stages.data import check_new
from physgen.stages.observed import Frame, Observed, observe, read_observation, said_operator
from physgen.stages.operators import Operator

if TYPE_CHECKING:
    import xarray as xr

METHOD: Final = "wiener"  # the Jacobian of a small network is no covariance: mmps diverges in some draws
DRAWS, STREAMS = 16, 2**20  # draws of an observation where nothing is said, and at most
SAMPLER = "dpmpp_2m"  # with which coverage was measured
TOLERANCE, EXPANSIONS = 1e-3, 2
DRAW = "draw"


@dataclass(frozen=True)
class PosteriorOptions:
    """What to draw given what was observed. Steps that are left out are the run's; the sampler is dpmpp_2m then."""

    operator: str | None = None
    draws: int = DRAWS
    condition: Mapping[str, float] = field(default_factory=dict)
    sampler: str | None = None
    steps: int | None = None
    seed: int = 0


def sample_given(
    run: str | Path | Run,
    given: str | Path | xr.Dataset | None,
    output: str | Path,
    options: PosteriorOptions | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    truth: str | Path | None = None,
) -> Path:
    """Draw configurations given an observation and write them as an ensemble; see :func:`posterior_ensemble`.

    Without an observation one is made of ``truth`` by the operator.
    """
    output = Path(output)
    run = run if isinstance(run, Run) else open_run(run)
    check_new(output)
    if given is None:
        if truth is None or options is None or options.operator is None:
            raise InputError("there is no observation: give its file, or a truth and the operator that observes it")
        given = observe(run, load_ensemble(truth), options.operator, options.seed)
    return save_ensemble(posterior_ensemble(run, given, options, device=device, progress=progress), output)


def posterior_ensemble(
    run: Run,
    given: Any,
    options: PosteriorOptions | None = None,
    *,
    device: str = "auto",
    model: Model | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Draws of p(field | observation, labels), an ensemble with the dim ``draw`` that keeps the observation.

    Args:
        given: observed fields: an ensemble or its file, or an array (B, \\*measured) or its .npy file. NaN, or 0 in a
            variable ``mask``, marks what was not seen.
        options: operator, number of draws, labels in place of those of the file.

    Raises:
        InputError: values that no observation of this run can have, labels that are missing, an unknown operator.
    """
    options = options or PosteriorOptions()
    _check(options)
    model = model or load_model(run.folder / "model", device)
    model.check_noise("drawing given an observation")
    frame = Frame.of(run, model)
    operator = frame.operator(options.operator or said_operator(given))
    observed = read_observation(given, frame, operator, options.condition)
    settings = run.experiment.sampling
    sampler, steps = options.sampler or SAMPLER, options.steps or settings.steps
    levels = choose_levels(model, sampler, steps, settings.levels, observed=True)
    observation, condition = _observation(frame, operator, observed)
    posterior = PosteriorDenoiser(model.denoiser, observation, METHOD, tolerance=TOLERANCE)
    count, draws = len(observed.values), options.draws
    rows = {name: value.repeat_interleave(draws, 0) for name, value in condition.items()}
    started = time.perf_counter()
    x = _drawn(
        posterior,
        levels.values,
        (count * draws, *model.encoding.shape),
        rows,
        options.seed,
        sampler,
        draws,
        model,
        progress,
    )
    made = {
        "sampler": sampler,
        "sampler_steps": len(levels.values) - 1,
        "seed": options.seed,
        "domain": run.experiment.domain,
        "run": run.experiment.name,
        "draw_seconds": round(time.perf_counter() - started, 2),
        "draw_device": str(model.device),
        "observation_operator": operator.text,
        "observation_noise": operator.sigma,
        "posterior_method": METHOD,
        **levels.facts(),
    }
    return _assembled(frame, observed, x.reshape(count, draws, *x.shape[1:])).assign_attrs(made)


def _drawn(
    posterior: PosteriorDenoiser, levels: torch.Tensor, shape: tuple[int, ...], rows: Mapping[str, torch.Tensor],
    seed: int, sampler: str, draws: int, model: Model, progress: Progress | None,
) -> torch.Tensor:  # fmt: skip
    """Encoded draws; draw d of observation b has a noise stream of its own, whatever else is drawn."""
    streams = [b * STREAMS + d for b in range(shape[0] // draws) for d in range(draws)]
    try:
        return sample(
            posterior, levels, shape, seed, rows, sampler,
            device=model.device, home="cpu", progress=progress, streams=streams,
        )  # fmt: skip
    except ValueError as error:
        raise InputError(f"{error}: check the labels and the units of the observation, or take more steps") from None


def check_posterior(path: str | Path, truth: str | Path) -> str:
    """Coverage of the draws in a file, beside it: ``<stem>-coverage`` with ``coverage.nc`` and figures; a table."""
    from physgen.diagnostics.posterior_coverage import coverage_table, posterior_coverage
    from physgen.figures import coverage_panel, posterior_panel, save_figure

    path = Path(path)
    posterior, known = load_ensemble(path), load_ensemble(truth)
    found = posterior_coverage(known, posterior)
    folder = path.with_name(f"{path.stem}-coverage")
    for name, figure in (("posterior", posterior_panel(posterior, known)), ("coverage", coverage_panel(found))):
        save_figure(figure, folder, name)
    found.to_netcdf(folder / "coverage.nc", engine="h5netcdf")
    return f"{coverage_table(found)}\nwrote {folder}/coverage.nc, coverage.png and posterior.png"


def _check(options: PosteriorOptions) -> None:
    if not 1 <= options.draws < STREAMS:
        raise InputError(f"n = {options.draws} draws of each observation: give from 1 to {STREAMS - 1}")
    if options.steps is not None and options.steps < 2:
        raise InputError(f"steps = {options.steps} is too few: give at least 2, or leave it out for the run's own")
    if options.sampler is not None:
        check_sampler(options.sampler)


# --- the core's view --------------------------------------------------------------------------------


def _observation(frame: Frame, operator: Operator, observed: Observed) -> tuple[Observation, dict[str, torch.Tensor]]:
    """The observation and the condition (B, ...) that carries its values beside the labels."""
    values = torch.from_numpy(observed.values)
    if not is_elementwise(frame.decode, frame.model.encoding.shape):
        raise InputError(
            "the encoding of this run joins the cells of a field by more than a shift, so that an observation of one "
            "is none of its encoded value: train with an encoding of single cells to draw given an observation"
        )
    seen = torch.isfinite(values)
    shift = frame.shift
    if operator.is_direct and shift is None:
        middle = frame.decode(torch.zeros(1, *frame.model.encoding.shape, dtype=torch.float64))
        full = frame.filled(torch.where(seen, values, middle).numpy(), observed.template)
        x, condition = frame.model.domain.encode(full, frame.constants)
        known = {OBSERVED: torch.where(seen, x, torch.nan), VARIANCE: torch.zeros_like(x)}
        return Observation(lambda x: x), {**condition, **known}
    scale = Scale.of(frame.decode, frame.model.encoding.shape, operator.sigma)
    instrument = Instrument(frame.decode, operator.linear, operator.sigma, scale, shift)
    empty = frame.filled(np.zeros((len(values), *frame.model.encoding.shape)), observed.template)
    condition = frame.model.domain.condition(empty, frame.constants)
    expansions = EXPANSIONS if operator.sigma else 1
    return Observation(instrument, expansions=expansions), {**condition, OBSERVED: values.float()}


def _assembled(frame: Frame, observed: Observed, x: torch.Tensor) -> xr.Dataset:
    """The draws (B, D, C, \\*grid) as an ensemble with the dim ``draw`` after those of the observation."""
    import xarray as xr

    parts = [frame.ensemble(x[:, d], observed.template) for d in range(x.shape[1])]
    fields = xr.concat([part["field"] for part in parts], dim=xr.Variable(DRAW, np.arange(len(parts))))
    samples = sample_dims(parts[0])
    rest = [d for d in parts[0]["field"].dims if d not in samples]
    made = parts[0].assign(field=fields.transpose(*samples, DRAW, *rest))
    made = with_units(made, frame.run.domain)
    exchangeable = str(made.attrs.get("exchangeable", "sample" if "sample" in samples else ""))
    seen = np.isfinite(observed.values)
    sizes = [made.sizes[d] for d in samples]
    channel = ["component"] if "component" in made["field"].dims else []
    space = space_dims(parts[0])
    grid = [d if made.sizes[d] == n else f"{d}_observed" for d, n in zip(space, observed.values.shape[2:], strict=True)]
    shape = [*sizes, *([x.shape[2]] if channel else []), *observed.values.shape[2:]]
    layout = (*samples, *channel, *grid)
    units = made["field"].attrs.get("units", "1")
    told = {"long_name": "what was observed, 0 where nothing was", "units": units, "is_condition": 0}
    flags = {"long_name": "1 where a value was observed", "units": "1", "is_condition": 0}
    return made.assign(
        observation=(layout, np.where(seen, observed.values, 0.0).reshape(shape).astype(np.float32), told),
        observation_seen=(layout, seen.reshape(shape).astype(np.int8), flags),
    ).assign_attrs(exchangeable=f"{exchangeable} {DRAW}".strip())
