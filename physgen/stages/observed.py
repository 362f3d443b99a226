r"""Observations of fields: read and held against the run that shall explain them, or made of known fields.

Shapes: B observations, C channels, \*grid lattice, \*measured that of the observation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diffusion.noise import noise_like
from physgen.domains.contract import check_same_domain
from physgen.ensemble import flatten, open_ensemble, sample_count, sample_dims, space_dims, spacing
from physgen.errors import InputError
from physgen.runs.folder import Run
from physgen.runs.model import Model, load_model
from physgen.stages.operators import Operator, parse_operator
from physgen.stages.sources import ARRAYS, read_array

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Frame:
    """What an observation of a run's fields is held against: its test part, its lattice, its way to physical values."""

    run: Run
    model: Model
    like: xr.Dataset

    @classmethod
    def of(cls, run: Run, model: Model) -> Frame:
        """The frame of a run. InputError where its values are not real numbers, which alone are observed here."""
        if not model.domain.values.has_prior:
            raise InputError(
                f"{run.experiment.name} draws {model.domain.values.name} values: only fields of real numbers can be "
                "observed here"
            )
        return cls(run, model, _fields_like(run, model))

    @property
    def constants(self) -> Mapping[str, Any]:
        """Of the encoding."""
        return self.model.encoding.domain

    @property
    def decode(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Physical values of encoded ones, differentiable."""
        return lambda x: self.model.domain.decode_values(x, self.constants)

    @property
    def shift(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """What is added to all cells before :attr:`decode`; None where nothing is."""
        domain, constants = self.model.domain, self.constants
        if domain.decode_shift(torch.zeros(1, *self.model.encoding.shape), constants) is None:
            return None

        def shift(x: torch.Tensor) -> torch.Tensor:
            found = domain.decode_shift(x, constants)
            assert found is not None
            return found

        return shift

    def operator(self, text: str) -> Operator:
        """The operator that was written, on this lattice."""
        dims = space_dims(self.like)
        unit = str(self.like[dims[-1]].attrs.get("units", "cells")) if dims[-1] in self.like.coords else "cells"
        return parse_operator(text, spacing(self.like), unit, bool(self.constants.get("periodic", True)))

    def measured(self, operator: Operator) -> tuple[int, ...]:
        r"""Shape (C, \*measured) of an observation. InputError where blocks do not divide the lattice."""
        channels, *grid = self.model.encoding.shape
        if any(side % operator.factor for side in grid):
            raise InputError(
                f"blocks of {operator.factor} cells do not divide the lattice {tuple(grid)}: choose another factor"
            )
        return (channels, *(side // operator.factor for side in grid))

    def ensemble(self, x: torch.Tensor, template: xr.Dataset) -> xr.Dataset:
        """Encoded fields as an ensemble under the conditions of the template."""
        return self.model.domain.decode(x, template, self.constants)

    def filled(self, values: np.ndarray, template: xr.Dataset) -> xr.Dataset:
        """Physical values (B, C, \\*grid) as an ensemble under the conditions of the template."""
        made = self.ensemble(torch.zeros(len(values), *self.model.encoding.shape), template)
        shape, dtype = made["field"].shape, made["field"].dtype
        return made.assign(field=made["field"].copy(data=values.reshape(shape).astype(dtype)))


# --- reading ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Observed:
    r"""Observed physical values (B, C, \*measured), NaN where nothing was seen, and the conditions they go with."""

    values: np.ndarray
    template: xr.Dataset


def read_observation(given: Any, frame: Frame, operator: Operator, condition: Mapping[str, float]) -> Observed:
    """What was observed, checked against the run. Raises InputError."""
    shape = frame.measured(operator)
    if isinstance(given, str | Path) and Path(given).suffix.lower() not in ARRAYS:
        with open_ensemble(given) as opened:
            given = opened.load()
    elif isinstance(given, str | Path):
        given = read_array(Path(given))
    if hasattr(given, "data_vars"):
        values, template = _of_ensemble(given, frame, condition)
    else:
        values = np.asarray(given, dtype=np.float64)
        values = values.reshape(-1, *shape) if values.shape[-len(shape) + 1 :] == shape[1:] else values
        template = _labelled(frame, len(values), condition)
    if values.shape[1:] != shape:
        raise InputError(
            f"the observation has fields of shape {values.shape[1:]}, {operator.text!r} makes {shape} of those of the "
            "run: give the observation as the operator leaves it"
        )
    seen = np.isfinite(values)
    if not seen.any(axis=tuple(range(1, values.ndim))).all():
        raise InputError("an observation has no value at all: leave it out")
    if operator.is_direct and seen.all():
        raise InputError(
            "every cell was seen and nothing was done to it: mark missing cells by NaN or by a variable mask (0), or "
            "name the operator"
        )
    return Observed(values, template)


def _of_ensemble(given: xr.Dataset, frame: Frame, condition: Mapping[str, float]) -> tuple[np.ndarray, xr.Dataset]:
    check_same_domain(given, frame.run.experiment.domain, "the observation", "the run")
    if "field" not in given:
        raise InputError(f"the observation has no variable 'field', only {sorted(map(str, given.data_vars))}")
    if "mask" in given.variables:
        given = given.assign(field=given["field"].astype(np.float64).where(given["mask"] != 0))
    _check_frame(given, frame)
    samples, like = sample_dims(given), frame.like
    template = given.drop_dims([d for d in space_dims(given)])
    template = template.assign_coords({d: like[d] for d in (*space_dims(like), "component") if d in like.coords})
    for dim in samples:  # a template counts by its dims
        if dim not in template.dims:
            template = template.assign_coords({dim: (dim, np.arange(given.sizes[dim]))})
    frame.run.domain.request(like, 1, condition, frame.constants)  # refuses labels that were not learned
    for name, value in condition.items():
        dims = template[name].dims if name in template.variables else samples[:1]
        template[name] = (dims, np.full([given.sizes[d] for d in dims], float(value)))
    return flatten(given).astype(np.float64), template.assign_attrs({**like.attrs, **given.attrs})


def _check_frame(given: xr.Dataset, frame: Frame) -> None:
    """Refuse another unit, or a box of another side, than the run's."""
    like, units = frame.like, [str(e["field"].attrs.get("units", "1")) for e in (given, frame.like)]
    if units[0] != units[1]:
        raise InputError(f"the observation has the units {units[0]!r}, the run {units[1]!r}: convert it")
    for mine, theirs, dim in zip(spacing(given), spacing(like), space_dims(like), strict=False):
        sides = [mine * given.sizes[dim], theirs * like.sizes[dim]]
        if dim in given.coords and abs(sides[0] / sides[1] - 1) > 1e-3:
            raise InputError(f"the observation is {sides[0]:g} wide along {dim}, the fields of the run {sides[1]:g}")


def _labelled(frame: Frame, count: int, condition: Mapping[str, float]) -> xr.Dataset:
    """The template of an array, whose labels are all given by hand."""
    from physgen.diagnostics.conditions import condition_names

    like = frame.like
    dims = sample_dims(like)
    varying = [n for n in condition_names(like, dims[0]) if np.ptp(np.asarray(like[n].values, float)) > 0]
    missing = [name for name in varying if name not in condition]
    if missing or len(dims) > 1:
        raise InputError(
            f"an array says nothing of its labels: give {', '.join(missing) or 'an ensemble file'}"
            + (" by --condition NAME=VALUE" if missing else "")
        )
    return frame.run.domain.request(like, count, condition, frame.constants)


def _fields_like(run: Run, model: Model) -> xr.Dataset:
    """The test part; of a packed run, which has its conditions alone, with one field for all to show the frame."""
    conditions = run.open_conditions("test")
    if "field" in conditions:
        conditions.close()
        return run.part("test")
    dims, encoding = model.encoding.sample_dims, model.encoding
    one = conditions.load().isel({dim: [0] for dim in dims})
    field = model.domain.decode(torch.zeros(1, *encoding.shape), one, encoding.domain)["field"]
    shown = field.isel(dict.fromkeys(dims, 0)).expand_dims({dim: conditions.sizes[dim] for dim in dims})
    return conditions.assign(field=shown.transpose(*field.dims))


def said_operator(given: Any) -> str:
    """The operator that a file names, else a mask."""
    if isinstance(given, str | Path) and Path(given).suffix.lower() not in ARRAYS:
        with open_ensemble(given) as opened:
            return str(opened.attrs.get("observation_operator", "mask"))
    return str(getattr(given, "attrs", {}).get("observation_operator", "mask"))


# --- making an observation --------------------------------------------------------------------------


def observe(run: Run, truth: xr.Dataset, operator: str, seed: int = 0, model: Model | None = None) -> xr.Dataset:
    """What an instrument would see of known fields: blurred, averaged, with noise, NaN behind a mask.

    Args:
        truth: fields of the run's physics, on its lattice. operator: as of :func:`parse_operator`; a mask takes
            ``hole`` or ``share``. seed: of noise and mask; each field has its own.
    """
    frame = Frame.of(run, model or load_model(run.folder / "model", "cpu"))
    found = frame.operator(operator)
    shape = frame.measured(found)
    numbers = range(sample_count(truth))
    a = found.linear(torch.from_numpy(flatten(truth)).double())
    if a.shape[1:] != shape:
        raise InputError(f"the truth gives an observation of shape {tuple(a.shape[1:])}, the run {shape}: give its own")
    if found.sigma:
        a = a + found.sigma * noise_like(seed, "observation noise", numbers, shape, dtype=torch.float64)
    hidden = torch.zeros_like(a, dtype=torch.bool)
    if found.share:
        normal = noise_like(seed, "observation mask", numbers, shape[1:], dtype=torch.float64)
        hidden = hidden | (torch.special.ndtr(normal) < found.share)[:, None]
    if found.hole:
        inside = [slice(round(n * (1 - found.hole) / 2), round(n * (1 + found.hole) / 2)) for n in shape[1:]]
        hidden[(slice(None), slice(None), *inside)] = True
    return _as_observation(truth, torch.where(hidden, torch.nan, a).numpy(), found)


def _as_observation(truth: xr.Dataset, a: np.ndarray, operator: Operator) -> xr.Dataset:
    field, samples, space = truth["field"], sample_dims(truth), space_dims(truth)
    coords = {
        d: (d, truth[d].values.reshape(-1, operator.factor).mean(1), truth[d].attrs) for d in space if d in truth.coords
    }
    channel = ["component"] if "component" in field.dims else []
    sizes = [*(truth.sizes[d] for d in (*samples, *channel)), *a.shape[2:]]
    bare = truth.drop_dims(space)
    made = bare.assign_coords(coords).assign(field=((*samples, *channel, *space), a.reshape(sizes), field.attrs))
    return made.assign_attrs(observation_operator=operator.text)
