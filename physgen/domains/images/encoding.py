r"""Pictures as the numbers that a network sees, and back; classes as the condition.

Dequantisation. Values of L levels are whole numbers n; encoded is :math:`x = (n + u - \mu)/\sigma` with u uniform in
(-1/2, 1/2), mean and standard deviation those of a component over the training part. The law of n + u has a density,

.. math:: \log_2 P(n) \ge \Big\langle \log_2 p(n + u) \Big\rangle_u

and bounds the probability of the picture itself, so that bits per value in units of a level bound those of the levels
(Theis, van den Oord and Bethge, arXiv:1511.01844, section 3.1). u of a picture is a function of its own values alone (a
counter-based generator keyed by their digest): encoding again, in another order or part, gives the same numbers. It
stays 1e-4 away from the edges of the level, so that rounding never moves a value across.

Classes are a vector of zeros with a one at the class. "No label" (NaN) is the law without classes.

Shapes: B pictures, C components, \*grid rows and columns, K classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diffusion.values import Real
from physgen.domains.images.arrays import CLASS, CLASS_WORDS, LEVELS, classes_of, levels_of
from physgen.ensemble import flatten, sample_count, space_dims
from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

EDGE = 1e-4  # of a level: float32 numbers of 256 levels are rounded by 1e-5
MOST_CLASSES = 1000


@dataclass(frozen=True)
class GreyValues(Real):
    """Real numbers whose prior spectrum is that of all classes together: what they differ in is left to the network."""

    def prior_spectrum(
        self, x: Any, labels: torch.Tensor | None = None, cell_size: Sequence[float] | None = None
    ) -> Any:
        """Of maximal Whittle likelihood, the same for all classes."""
        return super().prior_spectrum(x, None, cell_size)


def image_constants(train: xr.Dataset, with_classes: bool, dequantise: bool) -> dict[str, Any]:
    """Constants beside those of any field: the levels, whether they are dequantised, the classes, no periodic box."""
    classes = classes_of(train) if with_classes else None
    known = [] if classes is None else [int(c) for c in np.unique(classes)]
    if len(known) > MOST_CLASSES:
        raise InputError(f"the data have {len(known)} classes, at most {MOST_CLASSES} can be conditions: merge some")
    levels = levels_of(train)
    return {"periodic": False, "classes": known, LEVELS: levels, "dequantised": bool(dequantise and levels)}


def encode_images(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> torch.Tensor:
    r"""x (B, C, \*grid) float32, see this module."""
    import torch

    values = flatten(ensemble).astype(np.float64)
    if constants["dequantised"]:
        values = values + within_level(values)
    view = (1, -1, *[1] * (values.ndim - 2))
    x = (values - np.reshape(constants["mean"], view)) / np.reshape(constants["std"], view)
    return torch.from_numpy(x.astype(np.float32))


def within_level(values: np.ndarray) -> np.ndarray:
    r"""u (B, C, \*grid) of pictures of whole numbers, uniform in (-1/2, 1/2), of each from its own values alone."""
    found = np.empty(values.shape)
    for row, one in zip(found, values, strict=True):
        key = hashlib.blake2b(np.ascontiguousarray(one, dtype=np.float32).tobytes(), digest_size=16).digest()
        row[...] = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little"))).random(one.shape) - 0.5
    return np.clip(found, EDGE - 0.5, 0.5 - EDGE)


def class_condition(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """``labels`` (B, K), zeros and a one; {} where classes are no condition. InputError for an unknown class."""
    import torch

    known = constants["classes"]
    if not known:
        return {}
    classes = classes_of(ensemble)
    if classes is None:
        raise InputError(f"the images have no class, which this model is conditioned on: give one of {_listed(known)}")
    strange = np.setdiff1d(classes, known)
    if strange.size:
        raise InputError(f"class {int(strange[0])} was not trained: choose one of {_listed(known)}")
    return {"labels": torch.from_numpy((classes[:, None] == np.array(known)).astype(np.float32))}


def log_scale(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> np.ndarray | None:
    r"""ln of the Jacobian of :func:`encode_images`, :math:`-\sum \ln\sigma` over components and pixels, (B,).

    None of whole numbers that get no noise: they have no density.
    """
    if constants[LEVELS] and not constants["dequantised"]:
        return None
    pixels = np.prod([ensemble.sizes[dim] for dim in space_dims(ensemble)], dtype=int)
    return np.full(sample_count(ensemble), -pixels * np.log(np.reshape(constants["std"], -1)).sum())


def at_levels(made: xr.Dataset, constants: Mapping[str, Any], decoded: str) -> xr.Dataset:
    """Decoded pictures at the levels; without a class where none was a condition.

    ``decoded``: "levels" takes the nearest level, "clipped" the nearest number between the lowest and the highest one,
    "raw" nothing; of real values, which have no levels, all mean the last.
    """
    levels = constants[LEVELS]
    if levels and decoded != "raw":
        raw = made["field"].values
        kept = np.clip(np.rint(raw) if decoded == "levels" else raw, 0, levels - 1)
        made = made.assign(field=(made["field"].dims, kept.astype(raw.dtype), made["field"].attrs))
    return made if constants["classes"] else made.drop_vars(CLASS, errors="ignore")


def check_given(like: xr.Dataset, given: Mapping[str, float], constants: Mapping[str, Any] | None) -> list[int]:
    """The classes that can be asked for. Raises InputError where ``given`` names anything else."""
    known = constants["classes"] if constants else [int(c) for c in np.unique(_classes_or_none(like))]
    wrong = next((name for name in given if name != CLASS or not known), None)
    if wrong is not None:
        names = f"choose {CLASS}" if known else "they have none"
        raise InputError(f"the condition {wrong!r} is not a label of these data: {names}")
    if CLASS in given and given[CLASS] not in known:
        raise InputError(f"class = {given[CLASS]:g} was not trained: choose one of {_listed(known)}")
    return list(known)


def with_class(template: xr.Dataset, dims: Sequence[str], given: Mapping[str, float]) -> xr.Dataset:
    """The template with one class for all pictures, where one is given."""
    if CLASS not in given:
        return template
    shape = [template.sizes[dim] for dim in dims]
    column = np.full(shape, int(given[CLASS]), dtype=np.int64)
    return template.assign({CLASS: (tuple(dims), column, CLASS_WORDS)})


def _classes_or_none(ensemble: xr.Dataset) -> np.ndarray:
    found = classes_of(ensemble)
    return np.zeros(0, dtype=np.int64) if found is None else found


def _listed(known: Sequence[int]) -> str:
    shown = ", ".join(str(one) for one in known[:12])
    return f"{shown}, ... ({len(known)} in all)" if len(known) > 12 else shown
