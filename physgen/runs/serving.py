r"""A model folder as a service: seeds and conditions by their physical names in, configurations in physical units out.

``model/`` alone is enough. Beside the weights it holds ``template.h5``, one training configuration nearest to the
middle of the trained range: what a request leaves out (labels, quenched fields) is that of the template.
``conditions.json`` says the same for readers: each condition with its default, and the units of the output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.ensemble import SPACE, flatten, load_ensemble, sample_dims, save_ensemble
from physgen.errors import InputError
from physgen.runs.levels import Levels, choose_levels
from physgen.runs.model import Model, draw, load_model
from physgen.storage.disk import write_atomically

TEMPLATE, DESCRIPTION = "template.h5", "conditions.json"
NOISE_SEED = 0  # a served seed is a sample number under this seed of `physgen sample`


def save_template(folder: Path, domain: Any, train: xr.Dataset, constants: Mapping[str, Any], steps: int) -> None:
    """Write the training configuration whose labels lie nearest to the middle of their range, and what it offers.

    ``steps`` are those of the sampler where a request names none. Once: a folder that has them is left as it is.
    """
    if (folder / DESCRIPTION).exists():
        return
    dims = sample_dims(train)
    labels = dict(domain.condition(train, constants)).get("labels")
    nearest = 0
    if labels is not None:
        middle = (labels.amax(0) + labels.amin(0)) / 2
        nearest = int((labels - middle).square().sum(1).argmin())
    place = np.unravel_index(nearest, [train.sizes[dim] for dim in dims])
    template = train.isel({dim: [int(i)] for dim, i in zip(dims, place, strict=True)})
    save_ensemble(template, folder / TEMPLATE)
    field = template["field"].attrs
    described = {
        "steps": steps,
        "conditions": _conditions(domain, constants, template),
        "output": {key: str(field[key]) for key in ("long_name", "units") if key in field},
    }
    write_atomically(folder / DESCRIPTION, json.dumps(described, indent=1))


class ServedSampler:
    r"""Draws one configuration for each seed, with the sampler of the run's configuration.

    Sample k depends on seed k and the condition alone, bit for bit. Where the domain numbers its noise streams by the
    sample index, the configuration of seed k is sample number k of ``physgen sample --seed 0`` under the same
    condition, up to rounding.

    Each is computed alone: in a tile it would stand at a place that depends on the request. A batch thus costs two to
    five times what `physgen sample` takes on a CPU for as many.
    """

    def __init__(self, model: Model, template: xr.Dataset, conditions: Mapping[str, Any]):
        self.model, self.template, self.conditions = model, template, dict(conditions)
        self._levels = cache(self._choose)

    def __call__(
        self, seeds: Sequence[int] | np.ndarray, steps: int | None = None, condition: Mapping[str, Any] | None = None
    ) -> np.ndarray:
        r"""float32 (N, C, \*grid) in physical units.

        Args:
            seeds: N whole numbers.
            steps: of the sampler; None for those of the run's configuration, whose noise levels are in store.
            condition: physical name -> number, or nested list of the shape that ``conditions`` shows.

        Raises:
            InputError: a name that the model has no condition of, or a value that it was not trained for.
        """
        numbers = {name: float(value) for name, value in (condition or {}).items() if np.ndim(value) == 0}
        arrays = {name: value for name, value in (condition or {}).items() if np.ndim(value) > 0}
        like = _with_arrays(self.template, arrays, self.conditions)
        template = self.model.domain.request(like, len(seeds), numbers, self.model.encoding.domain)
        settings = self.model.experiment.sampling
        levels = self._levels(settings.steps if steps is None else int(steps))
        made = draw(
            self.model, template, seed=NOISE_SEED, sampler=settings.sampler, levels=levels,
            streams=[int(seed) for seed in seeds], tile=1,
        )  # fmt: skip
        return flatten(made).astype(np.float32)

    def _choose(self, steps: int) -> Levels:
        settings = self.model.experiment.sampling
        return choose_levels(self.model, settings.sampler, steps, settings.levels)


def load_sampler(folder: Path) -> ServedSampler:
    """The sampler of a model folder. Raises InputError where the folder is incomplete or damaged."""
    folder = Path(folder)
    missing = [name for name in (TEMPLATE, DESCRIPTION) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} has no {missing[0]}, which a request starts from: copy the whole folder again")
    described = json.loads((folder / DESCRIPTION).read_text())
    return ServedSampler(
        load_model(folder, "auto", few_steps=True), load_ensemble(folder / TEMPLATE), described["conditions"]
    )


def _conditions(domain: Any, constants: Mapping[str, Any], template: xr.Dataset) -> dict[str, Any]:
    """Physical name -> default, a number or a nested list, of every condition that a request can set."""
    found: dict[str, Any] = {}
    samples = sample_dims(template)
    for name in map(str, template.variables):
        variable = template[name]
        if name == "field" or name in SPACE or variable.dtype.kind not in "fi":
            continue
        if set(variable.dims) <= set(samples):
            value = float(variable.values.reshape(-1)[0])
            if _is_accepted(domain, constants, template, name, value):
                found[name] = value
        elif variable.dtype.kind == "f" and _acts(domain, constants, template, name):
            found[name] = np.squeeze(variable.values, axis=_of_samples(template, name)).tolist()
    return found


def _is_accepted(domain: Any, constants: Mapping[str, Any], template: xr.Dataset, name: str, value: float) -> bool:
    try:
        domain.request(template, 1, {name: value}, constants)
    except InputError:
        return False
    return True


def _acts(domain: Any, constants: Mapping[str, Any], template: xr.Dataset, name: str) -> bool:
    """Whether the condition follows a variable over space."""
    like = domain.request(template, 1, {}, constants)
    if name not in like.variables:
        return False
    before = domain.condition(like, constants)
    after = domain.condition(like.assign({name: like[name] * 0.5}), constants)
    return any(not np.array_equal(before[key], after[key]) for key in before)


def _of_samples(template: xr.Dataset, name: str) -> tuple[int, ...]:
    return tuple(i for i, dim in enumerate(template[name].dims) if dim in sample_dims(template))


def _with_arrays(template: xr.Dataset, arrays: Mapping[str, Any], known: Mapping[str, Any]) -> xr.Dataset:
    """The template with the arrays that a request gives, each of the shape that its default has."""
    for name, value in arrays.items():
        if np.ndim(known.get(name, 0)) == 0:
            rule = "is a number" if name in known else f"is not a condition of this model: choose from {_named(known)}"
            raise InputError(f"the condition {name!r} {rule}, got a list")
        shape = np.shape(known[name])
        try:
            given = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"the condition {name!r} must be a nested list of numbers of shape {shape}") from None
        if given.shape != shape or not np.isfinite(given).all():
            raise InputError(f"the condition {name!r} has shape {given.shape}; give finite numbers of shape {shape}")
        variable = template[name].variable
        values = np.expand_dims(given, _of_samples(template, name)).astype(variable.dtype)
        template = template.assign({name: variable.copy(data=values)})
    return template


def _named(known: Mapping[str, Any]) -> str:
    return ", ".join(known) or "none"
