"""The stage of likelihoods: ln p of each configuration of a file under a trained network, with its errors.

:func:`write_likelihood` takes the folder of a run and a file, and writes; :func:`find_likelihood` writes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from physgen.errors import InputError
from physgen.progress import Progress
from physgen.report.found import Found
from physgen.runs.folder import Run, open_run, result_folder
from physgen.runs.model import Model, load_model
from physgen.stages.encoded_data import EncodedData, encoded_data, noise_levels, noised

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.figures.style import Figure

Method = Literal["hutchinson", "exact", "jacobian", "bound"]
METHODS = ("hutchinson", "exact", "jacobian", "bound")
STEPS = {"hutchinson": 24, "exact": 24, "jacobian": 24, "bound": 32}
FOLDER, SECOND = "likelihood", 2**20
LN_2 = math.log(2)


@dataclass(frozen=True)
class LikelihoodOptions:
    """How ln p is found.

    Args:
        method: ``hutchinson`` (probability flow, trace by probes), ``exact`` (its exact trace, as many backward passes
            as there are values), ``jacobian`` (of the discrete steps of Heun's method themselves, as dear), ``bound``
            (from denoising errors, no gradients; a lower bound unless the denoiser is exact).
        probes: of ``hutchinson``; draws of ``bound``.
        steps: of the flow; noise levels of each draw of ``bound``. None for 24 and 32.
        seed: of the noise that the data get, of probes and draws.
    """

    method: Method = "hutchinson"
    probes: int = 8
    steps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method = {self.method!r} is unknown: choose one of {', '.join(METHODS)}")
        if self.probes < 2:
            raise InputError(f"probes = {self.probes} give no error: take at least 2")
        if self.steps is not None and self.steps < 2:
            raise InputError(f"steps = {self.steps} are too few: take at least 2, or leave it out")

    @property
    def count(self) -> int:
        """Steps, or noise levels of a draw."""
        return self.steps or STEPS[self.method]


@dataclass(frozen=True, repr=False)
class LikelihoodOfData(Found):
    """ln p of each configuration under a run, with its errors.

    Attributes:
        subject: what was measured, in words.
        values: Dataset over the sample dims: ``ln_p`` in nats, ``ln_p_error``, ``bits_per_dimension`` of the encoded
            field at the noise level ``s_min`` (attribute); ``ln_p_field`` and ``bits_per_dimension_field`` in units of
            the field where the domain knows its Jacobian; the labels that were used.
        summary: name -> {"value", "error"}, means over independent units; settings and caveats.
        folder: where it was written; None before.
    """

    stem: ClassVar[str] = "likelihood"
    columns: ClassVar[tuple[int, int]] = (28, 18)
    subject: str
    values: xr.Dataset
    summary: dict[str, Any]
    folder: Path | None = None

    @property
    def figure(self) -> Figure:
        """Bits per dimension of each configuration with its error, and their histogram."""
        from physgen.figures.posteriors import likelihood_panel

        return likelihood_panel(self.values)

    @property
    def groups(self) -> dict[str, xr.Dataset]:
        """``likelihood``."""
        return {"likelihood": self.values}


def write_likelihood(
    run: str | Path,
    source: str | Path,
    options: LikelihoodOptions | None = None,
    output: str | Path | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> LikelihoodOfData:
    """ln p of a file under a run, written into a folder (``RUN/likelihood`` where ``output`` is None).

    Raises:
        InputError: no run, a file that is not of its physics and lattice, a folder name that is taken.
    """
    found_run = open_run(run)
    folder = result_folder(found_run, output, FOLDER)
    return find_likelihood(found_run, source, options, device=device, progress=progress).write(folder)


def find_likelihood(
    run: Run,
    source: Any,
    options: LikelihoodOptions | None = None,
    *,
    device: str = "auto",
    model: Model | None = None,
    progress: Progress | None = None,
) -> LikelihoodOfData:
    """ln p of an ensemble, an array or a file under a run, unwritten.

    The density is that of the encoded field with noise of the smallest level that was trained, s_min: each
    configuration gets noise that belongs to (seed, its number). Where the domain knows the Jacobian of its encoding,
    the density in units of the field is given too.
    """
    plan = options or LikelihoodOptions()
    model = model or load_model(run.folder / "model", device)
    data = encoded_data(run, model, source)
    measured = _measure(model, data, plan, progress)
    values = _values(run, model, data, measured, plan)
    summary = _summary(values, data, model, plan)
    subject = f"ln p of {len(data.x)} configurations under {run.experiment.name}, {plan.method}"
    return LikelihoodOfData(subject, values, summary)


# --- measuring ----------------------------------------------------------------------------------------


def _measure(
    model: Model, data: EncodedData, plan: LikelihoodOptions, progress: Progress | None
) -> dict[str, np.ndarray]:
    """``ln_p`` and the parts of its error, (N,)."""
    numbers = list(range(len(data.x)))
    given = {name: value.to(model.device) for name, value in data.condition.items()} or None
    if plan.method == "bound":
        from physgen.diffusion.inference.bound import BoundSettings, denoising_bound

        settings = BoundSettings(plan.probes, plan.count, plan.seed)
        drawn = denoising_bound(
            model.denoiser, noise_levels(model), data.x.to(model.device), given, numbers, settings, progress
        ).numpy()
        return {"ln_p": drawn.mean(0), "draw_error": drawn.std(0, ddof=1) / math.sqrt(len(drawn))}
    found = flow_likelihood(model, data.x, given, numbers, plan, progress)
    parts = {"ln_p": found.nats, "probe_error": found.probe_error}
    parts |= {"step_error": found.step_error, "prior_error": found.prior_error}
    return {name: value.cpu().numpy() for name, value in parts.items()}


def flow_likelihood(
    model: Model, x: torch.Tensor, condition: Any, numbers: list[int], plan: LikelihoodOptions, progress: Any = None
) -> Any:
    """ln p by the probability flow from s_min to s_max, of x with its noise; probes and noise by ``numbers``."""
    from physgen.diffusion.inference.likelihood import Divergence, log_likelihood
    from physgen.diffusion.levels import log_uniform
    from physgen.diffusion.sampling.tiles import tile_of

    s_min, s_max = noise_levels(model)
    y = noised(model, x, numbers, plan.seed).to(model.device)
    divergence: Divergence = "hutchinson" if plan.method == "bound" else plan.method
    return log_likelihood(
        model.denoiser, log_uniform(s_max, s_min, plan.count + 1), y, condition,
        method="heun" if divergence == "jacobian" else "rk4", divergence=divergence, probes=plan.probes, seed=plan.seed,
        batch=tile_of(tuple(x.shape[1:]), model.device.type), dtype=_working_dtype(model), streams=numbers,
        progress=progress,
    )  # fmt: skip


def _working_dtype(model: Model) -> torch.dtype:
    return next(iter(model.denoiser.parameters())).dtype


def _values(
    run: Run, model: Model, data: EncodedData, measured: dict[str, np.ndarray], plan: LikelihoodOptions
) -> xr.Dataset:
    from physgen.ensemble import sample_dims

    dims = sample_dims(data.ensemble)
    shape = tuple(data.ensemble.sizes[d] for d in dims)
    size = data.x[0].numel()
    errors = [value for name, value in measured.items() if name.endswith("_error")]
    total = np.sqrt(sum(value**2 for value in errors))
    columns = {"ln_p": measured["ln_p"], "ln_p_error": total}
    columns |= {name: value for name, value in measured.items() if name.endswith("_error")}
    columns |= {"bits_per_dimension": -measured["ln_p"] / (size * LN_2), "bits_error": total / (size * LN_2)}
    jacobian = run.domain.log_jacobian(data.ensemble, model.encoding.domain)
    if jacobian is not None:
        columns["ln_p_field"] = measured["ln_p"] + jacobian
        columns["bits_per_dimension_field"] = -columns["ln_p_field"] / (size * LN_2)
    kept = data.ensemble.drop_vars("field")
    kept = kept.drop_dims([d for d in kept.dims if d not in dims])
    names = {"ln_p": "ln p of the encoded field", "ln_p_field": "ln p of the field"}
    made = {
        name: (dims, np.reshape(value, shape), {"long_name": names.get(name, name.replace("_", " ")), "units": "nat"})
        for name, value in columns.items()
    }
    for name in made.keys() & {"bits_per_dimension", "bits_per_dimension_field", "bits_error"}:
        made[name][2]["units"] = "bit"
    attrs = {"run": run.experiment.name, "method": plan.method, "probes": plan.probes, "steps": plan.count}
    attrs |= {"seed": plan.seed, "s_min": model.encoding.s_min, "dimension": size}
    attrs["units_of_the_field"] = str(data.ensemble["field"].attrs.get("units", "1"))
    found = kept.assign(made)
    found.attrs = attrs
    return found


def _summary(values: xr.Dataset, data: EncodedData, model: Model, plan: LikelihoodOptions) -> dict[str, Any]:
    from physgen.diagnostics.result import units

    group = units(data.ensemble)
    meanings = {
        "ln_p": "nats, encoded field at the noise level s_min",
        "bits_per_dimension": "bits, the same",
        "ln_p_field": f"nats, in units of the field ({values.attrs['units_of_the_field']})",
        "bits_per_dimension_field": "bits, the same",
        "ln_p_error": "nats, mean error of one configuration",
    }
    found: dict[str, Any] = {}
    for name, meaning in meanings.items():
        if name in values:
            per_unit = group.mean(values[name].values.reshape(-1)).reshape(group.count, -1).mean(1)
            error = per_unit.std(ddof=1) / math.sqrt(group.count) if group.count > 1 else math.nan
            found[name] = {"value": float(per_unit.mean()), "error": float(error), "meaning": meaning}
    found |= {"configurations": len(data.x), "independent_units": group.count, **values.attrs}
    found["notes"] = _notes(values, data, model, plan)
    return found


def _notes(values: xr.Dataset, data: EncodedData, model: Model, plan: LikelihoodOptions) -> list[str]:
    s_min = model.encoding.s_min
    notes = [f"each configuration carries noise of s_min = {s_min:.3g} of the encoded field, as a sampler's last step"]
    lost = smoothing(model, data)
    if lost is not None:
        notes.append(f"that noise raises the entropy of the Gaussian surrogate by {lost:.3g} nats a configuration")
    if "ln_p_field" not in values:
        notes.append("this domain states no Jacobian of its encoding: the density is that of the encoded field alone")
    if plan.method == "bound":
        notes.append("the bound is ln p of an exact denoiser, and at most that of the stochastic sampler of any other")
    return notes


def smoothing(model: Model, data: EncodedData) -> float | None:
    r"""Entropy :math:`\tfrac12 \sum_k \ln(1 + s_{min}^2/P_k)` that the noise adds, nats; None without a spectrum."""
    import torch

    spectrum = getattr(model.denoiser, "spectrum", None)
    if spectrum is None:
        return None
    with torch.no_grad():
        power = spectrum({name: value.to(model.device) for name, value in data.condition.items()})
        gained = 0.5 * torch.log1p(model.encoding.s_min**2 / power)
        return float(spectrum.mean_over_modes(gained).mean()) * data.x[0].numel()
