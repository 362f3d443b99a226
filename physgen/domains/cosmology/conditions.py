"""Conditions of a field: its labels and the coordinates of its further sample dims; which ones to draw under."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr

from physgen.ensemble import SPACE, TEMPLATE, sample_dims
from physgen.ensemble.pairing import PAIRING, ROLE, condition_fields
from physgen.errors import InputError

# share of the training range by which a condition that is given may lie outside it
MARGIN = 0.05
# root attributes that say where data came from: not true of what is drawn under their conditions
OF_THE_DATA = ("part", "source", "format", "simulation_cpu_seconds", "simulation_count", TEMPLATE)
# float variables that say something of a sample but are no parameter of its law
NOT_LABELS = ("field", "mean_density", "mask")


def dims_of_samples(ensemble: xr.Dataset, constants: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Sample dims in the order in which samples are flattened; of a template, without field, those of the constants."""
    if "field" in ensemble.variables:
        return sample_dims(ensemble)
    known = tuple((constants or {}).get("sample_dims", ("sample",)))
    if constants is None:
        known += tuple(str(d) for d in ensemble.dims if d not in (*known, *SPACE, "component"))
    return known


def label_names(ensemble: xr.Dataset, constants: Mapping[str, Any] | None = None) -> list[str]:
    """Names of the conditions: floating-point variables over sample dims alone, in the order of the file, then those of
    the sample dims other than ``sample``: the coordinate, or ``<dim>_number`` where there is none of numbers.
    """
    dims = dims_of_samples(ensemble, constants)
    variables = [*ensemble.data_vars, *(name for name in ensemble.coords if name not in ensemble.dims)]
    names = [
        str(name)
        for name in variables
        if name not in NOT_LABELS
        and ensemble[name].dtype.kind == "f"
        and ensemble[name].dims
        and set(ensemble[name].dims) <= set(dims)
    ]
    return names + [d if _has_numbers(ensemble, d) else f"{d}_number" for d in dims if d != "sample"]


def _has_numbers(ensemble: xr.Dataset, dim: str) -> bool:
    return dim in ensemble.coords and ensemble[dim].dtype.kind in "fiu"


def with_numbers(ensemble: xr.Dataset, constants: Mapping[str, Any] | None = None) -> xr.Dataset:
    """The ensemble with a variable ``<dim>_number`` for each further sample dim without a coordinate of numbers."""
    for dim in dims_of_samples(ensemble, constants):
        name = f"{dim}_number"
        if dim != "sample" and not _has_numbers(ensemble, dim) and name not in ensemble.variables:
            described = {"long_name": f"number along {dim}", "units": "1"}
            ensemble = ensemble.assign({name: (dim, np.arange(ensemble.sizes[dim]), described)})
    return ensemble


def label_table(ensemble: xr.Dataset, names: list[str], constants: Mapping[str, Any] | None = None) -> np.ndarray:
    """(B, n) float64 values of the conditions of each flattened sample."""
    ensemble = with_numbers(ensemble, constants)
    sizes = {d: ensemble.sizes[d] for d in dims_of_samples(ensemble, constants) if d in ensemble.sizes}
    columns = [
        ensemble[name].variable.astype(np.float64).set_dims(sizes).transpose(*sizes).values.reshape(-1)
        for name in names
    ]
    return np.stack(columns, axis=1) if columns else np.empty((int(np.prod(list(sizes.values()))), 0))


# --- encoding ---------------------------------------------------------------------------------------


def label_ranges(train: xr.Dataset) -> dict[str, list[float]]:
    """name -> [low, high] of the training part; a label that never varies stands in the middle of a unit range."""
    ranges, train = {}, with_numbers(train)
    for name in label_names(train):
        low, high = float(train[name].min()), float(train[name].max())
        # a label that never varies carries no information: keep it at zero
        ranges[name] = [low, high] if high > low else [low - 1.0, low + 1.0]
    return ranges


def fixed_labels(train: xr.Dataset) -> dict[str, float]:
    """name -> value of the labels that never vary in the training part."""
    train = with_numbers(train)
    ends = {name: (float(train[name].min()), float(train[name].max())) for name in label_names(train)}
    return {name: low for name, (low, high) in ends.items() if low == high}


def encode_labels(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """{"labels": (B, n)} scaled to [-1, 1] over the training range, or {} where the training data had none."""
    ranges = constants["labels"]
    if not ranges:
        return {}
    ensemble = with_numbers(ensemble, constants)
    missing = [name for name in ranges if name not in ensemble.variables]
    if missing:
        raise InputError(f"the label {missing[0]!r} is missing: the model was trained with {', '.join(ranges)}")
    table = label_table(ensemble, list(ranges), constants)
    columns = [(table[:, i] - (low + high) / 2) / ((high - low) / 2) for i, (low, high) in enumerate(ranges.values())]
    return {"labels": torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))}


# --- what to draw -------------------------------------------------------------------------------------


def request_fields(
    like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """A template of ``n`` entries of ``sample``, times the further sample dims, under the conditions of ``like``.

    The first ``n`` of :func:`fair_order`, again from its beginning where ``n`` is more: every ``len(sample)`` of them
    have the conditions of all maps of ``like``, fewer are spread over its simulations and, within these, over the
    distinct rows of labels. They carry the labels, the simulation numbers, the mean density of their map and, where
    they are drawn under a further field, that field with the name of its random start; nothing else that is said of
    single samples (files, numbers of slabs) is claimed for them.

    The attribute ``conditions_outside_training`` says how many lie outside the training range (held-out simulations at
    the rim of a hypercube do); one of ``like`` that lies outside by more than the width of the range is refused.

    Args:
        given: label -> value in place of those of ``like``; then simulation numbers are running numbers.
        constants: of the encoding, whose training ranges ``given`` must keep; without them the range of ``like``.

    Raises:
        InputError: no such label, or a value outside what was learned.
    """
    if n < 1:
        raise InputError(f"n = {n} samples were asked for: give at least 1")
    like = with_numbers(like)
    _check_given(like, given, constants)
    if not _has_simulation(like):  # a template without labels still counts its samples
        like = like.drop_vars("simulation", errors="ignore")
        like = like.assign(simulation=("sample", np.arange(like.sizes["sample"]), {"long_name": "simulation number"}))
    chosen = np.resize(fair_order(like), n)
    template = like.drop_vars([name for name in like.variables if not _is_claimed(like, str(name))])
    template = template.isel(sample=chosen)
    template.attrs = {key: value for key, value in like.attrs.items() if key not in OF_THE_DATA}
    if given:
        template["simulation"] = ("sample", np.arange(n), like["simulation"].attrs)
    for name, value in given.items():
        attrs = like[name].attrs if name in like.variables else {}
        if name in like.dims:
            template = template.isel({name: [0]}).assign_coords({name: (name, [float(value)], attrs)})
        elif name.removesuffix("_number") in dims_of_samples(like):
            template = template.isel({name.removesuffix("_number"): [round(value)]})
        else:
            dims = like[name].dims if name in like.variables else ("sample",)
            template[name] = (dims, np.full([template.sizes[d] for d in dims], float(value)), attrs)
    if given and "mean_density" in like.variables:
        template = template.assign_coords(mean_density=mean_at(like, template)[0])
    return template.assign_attrs(conditions_outside_training=_outside(template, constants)) if constants else template


def _has_simulation(ensemble: xr.Dataset) -> bool:
    return "simulation" in ensemble.variables and ensemble["simulation"].dims == ("sample",)


def _is_claimed(like: xr.Dataset, name: str) -> bool:
    """Whether a variable holds of a new configuration under the same conditions."""
    if name == "field":
        return False
    if name in _drawn_under(like):
        return True
    dims = like[name].dims
    over_samples = bool(set(dims) & set(dims_of_samples(like)))
    return not over_samples or name in ("mean_density", "simulation", *like.dims, *label_names(like))


def _drawn_under(like: xr.Dataset) -> list[str]:
    """Conditions on the lattice, and with them the names of the random starts that they share."""
    fields = condition_fields(like)
    return fields + [str(n) for n, v in like.variables.items() if fields and v.attrs.get(ROLE) == PAIRING]


def fair_order(like: xr.Dataset) -> np.ndarray:
    """All entries of the dim ``sample``, so that every beginning is spread over simulations and their rows of labels.

    Round by round one entry of each simulation; within a simulation distinct rows of labels take turns, and the
    simulations begin at different rows.
    """
    names = [name for name in label_names(like) if "sample" in like[name].dims]
    count = like.sizes["sample"]
    rows = [like[name].transpose("sample", ...).values.reshape(count, -1) for name in names]
    table = np.concatenate(rows, axis=1) if rows else np.zeros((count, 1))
    simulation = like["simulation"].values if _has_simulation(like) else np.arange(count)
    turns = []
    for number, one in enumerate(np.unique(simulation)):
        members = np.flatnonzero(simulation == one)
        _, kind = np.unique(table[members], axis=0, return_inverse=True)
        groups = [members[kind.reshape(-1) == k] for k in range(kind.max() + 1)]
        groups = groups[number % len(groups) :] + groups[: number % len(groups)]
        turns.append(_in_turns(groups))
    return np.asarray(_in_turns(turns))


def _in_turns(lists: list[Any]) -> list[int]:
    """The first of each list, the second of each, ..."""
    longest = max(len(one) for one in lists)
    return [int(one[i]) for i in range(longest) for one in lists if i < len(one)]


def _check_given(like: xr.Dataset, given: Mapping[str, float], constants: Mapping[str, Any] | None) -> None:
    ranges = dict(constants["labels"]) if constants else label_ranges(like)
    fixed = constants.get("fixed_labels", {}) if constants else fixed_labels(like)
    owner = "the training data" if constants else "these data"
    for name, value in given.items():
        if name not in ranges:
            raise InputError(
                f"the condition {name!r} is not a label of these data: choose from {', '.join(ranges) or 'none'}"
            )
        if not np.isfinite(value):
            raise InputError(f"the condition {name} = {value} must be a finite number")
        if name in fixed:
            if abs(value - fixed[name]) > 1e-6 * max(abs(fixed[name]), 1e-6):
                raise InputError(
                    f"the condition {name} = {value:g} was never learned: {owner} have {name} = {fixed[name]:g} alone, "
                    "give that or leave it out"
                )
            continue
        low, high = ranges[name]
        if not low - MARGIN * (high - low) <= value <= high + MARGIN * (high - low):
            raise InputError(
                f"the condition {name} = {value:g} lies outside the range of {owner}, {low:.4g} to {high:.4g} "
                f"(and {100 * MARGIN:g} % of its width beyond), where nothing was learned: choose a value within it"
            )


def _outside(template: xr.Dataset, constants: Mapping[str, Any]) -> str:
    """How many samples have labels outside the training range, in words; empty for none."""
    said = []
    for name, (low, high) in constants["labels"].items():
        if name not in template.variables:
            continue
        low, high = (constants.get("fixed_labels", {}).get(name, bound) for bound in (low, high))
        values = template[name].values.astype(np.float64)
        beyond = np.maximum(low - values, values - high)
        slack = 1e-6 * max(abs(low), abs(high))
        if beyond.max() > max(high - low, slack):
            raise InputError(
                f"{name} = {values.flat[beyond.argmax()]:g} was asked for, the training data have {low:.4g} to "
                f"{high:.4g}: nothing was learned there, take conditions within that range"
            )
        if (beyond > slack).any():
            said.append(f"{name} of {int((beyond > slack).sum())} of {values.size}")
    return ", ".join(said)


# --- mean density of a cosmology ------------------------------------------------------------------------


def mean_at(reference: xr.Dataset, other: xr.Dataset) -> tuple[xr.Variable, int]:
    """The reference's ``mean_density`` at the conditions of each sample of ``other``, and for how many it was inferred.

    Samples whose labels the reference has take the mean that it has there. Where it has not, the mean is a power law of
    the labels, ln m = a + sum_i b_i ln l_i (l_i itself where a label is not positive), fitted to the cosmologies of the
    reference; with fewer of them than coefficients it is that of the nearest one in labels scaled to their range.
    """
    reference, other = with_numbers(reference), with_numbers(other)
    names = [name for name in label_names(reference) if name in other.variables]
    theirs, mine = label_table(reference, names), label_table(other, names)
    if not names:  # nothing to tell cosmologies apart: the mean of all
        theirs, mine = (np.zeros((len(table), 1)) for table in (theirs, mine))
    dims = sample_dims(reference)
    extra = [d for d in reference["mean_density"].dims if d not in dims]  # component
    full = {d: reference.sizes[d] for d in (*dims, *extra)}
    means = reference["mean_density"].variable.astype(np.float64).set_dims(full).transpose(*full).values
    means = means.reshape(len(theirs), -1)
    rows, group = np.unique(theirs, axis=0, return_inverse=True)
    group = group.reshape(-1)
    levels = np.stack([np.bincount(group, weights=m) / np.bincount(group) for m in means.T], axis=1)
    asked, where = np.unique(mine, axis=0, return_inverse=True)
    scale = np.ptp(rows, axis=0)
    scale = np.where(scale > 0, scale, np.maximum(np.abs(rows[0]), 1.0))
    found, known = np.empty((len(asked), levels.shape[1])), np.zeros(len(asked), bool)
    for i, row in enumerate(asked):
        distance = np.abs((rows - row) / scale).max(axis=1, initial=0.0)
        nearest = int(distance.argmin())
        found[i], known[i] = levels[nearest], distance[nearest] <= 1e-5
    if not known.all() and len(rows) >= len(names) + 2:
        found[~known] = _power_law(rows, levels, asked[~known])
    where = where.reshape(-1)
    sizes = {d: other.sizes[d] for d in dims_of_samples(other)} | {d: reference.sizes[d] for d in extra}
    values = found[where].reshape(tuple(sizes.values()))
    attrs = reference["mean_density"].attrs
    return xr.Variable(tuple(sizes), values, attrs), int((~known[where]).sum())


def _power_law(rows: np.ndarray, levels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    positive = (rows > 0).all(axis=0) & (asked > 0).all(axis=0)

    def features(table: np.ndarray) -> np.ndarray:
        columns = np.where(positive, np.log(np.where(positive, table, 1.0)), table)
        return np.column_stack([np.ones(len(table)), columns])

    coefficients = np.linalg.lstsq(features(rows), np.log(np.maximum(levels, 1e-300)), rcond=None)[0]
    return np.exp(features(asked) @ coefficients)
