r"""Is a picture one of the class that was asked for? A transparent classifier, and how often it is wrong beside it.

Classifier. Coordinates z along at most 24 principal axes of the pictures; class c has the density
:math:`N(z; m_c, S_c)`, :math:`S_c = \frac12 (\Sigma_c + \Sigma)`, half the covariance of the class and half that of
all classes about their means, and its share as the prior; the likeliest class wins. Source: Friedman, J. Am. Stat.
Assoc. 84 (1989), 165 (regularised discriminant analysis, :math:`\lambda = \frac12`).

It is fitted on the reference, five times: each time without one fifth of it. A picture belongs to the fifth that the
digest of its values says, and is judged by the classifier that did not see that fifth. So pictures of the reference and
of a model are all judged by classifiers that never saw them, and the figures of the reference are those of held-out
data: one less the agreement is the error rate of the classifier.

Shapes: B pictures, D values of a picture, K classes, Q axes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.result import result_of_samples, units
from physgen.domains.images.arrays import classes_of
from physgen.domains.images.statistics import blocks, ensemble_std
from physgen.ensemble import flatten
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

FOLDS, MOST_AXES, FEWEST = 5, 24, 4
MEANS = 4  # blocks along each side of the mean picture of a class
PREFIX = "classifier_"


@dataclass(frozen=True)
class Classifier:
    """One for each fifth: centre (5, D), axes (5, D, Q), means (5, K, Q), whiteners (5, K, Q, Q), constants (5, K)."""

    classes: np.ndarray
    centre: np.ndarray
    axes: np.ndarray
    means: np.ndarray
    whiteners: np.ndarray
    constants: np.ndarray

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Class (B,) of pictures (B, ...)."""
        flat, found = pictures.reshape(len(pictures), -1).astype(float), np.empty(len(pictures), dtype=np.int64)
        fold = folds_of(pictures)
        for one in range(FOLDS):
            z = (flat[fold == one] - self.centre[one]) @ self.axes[one]
            away = np.einsum("bkq,kqp->bkp", z[:, None] - self.means[one], self.whiteners[one])
            found[fold == one] = self.classes[(self.constants[one] - 0.5 * (away**2).sum(-1)).argmax(1)]
        return found


def folds_of(pictures: np.ndarray) -> np.ndarray:
    """The fifth (B,) of each picture, by the digest of its values in single precision."""
    rows = np.ascontiguousarray(pictures, dtype=np.float32)
    return np.array([hashlib.blake2b(one.tobytes(), digest_size=8).digest()[0] % FOLDS for one in rows])


def fit_classifier(pictures: np.ndarray, classes: np.ndarray) -> Classifier:
    """The classifier of pictures (B, ...) and their classes (B,). Raises InputError where a class has too few."""
    flat, fold, known = pictures.reshape(len(pictures), -1).astype(float), folds_of(pictures), np.unique(classes)
    parts = []
    for one in range(FOLDS):
        x, c = flat[fold != one], classes[fold != one]
        members = [np.flatnonzero(c == k) for k in known]
        if min(map(len, members)) < FEWEST:
            raise InputError(
                f"a classifier needs {FEWEST} images of each class in four fifths of them: give more images"
            )
        parts.append(_discriminant(x, members))
    return Classifier(known, *(np.stack(part) for part in zip(*parts, strict=True)))


def _discriminant(x: np.ndarray, members: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Centre, axes, means, whiteners and constants of one fit; see the module."""
    centre = x.mean(0)
    sizes, vectors = np.linalg.eigh(np.cov((x - centre).T))
    count = min(MOST_AXES, max(1, len(x) // 4), int((sizes > 1e-9 * sizes[-1]).sum()))
    axes = vectors[:, ::-1][:, :count]
    z = (x - centre) @ axes
    means = np.stack([z[rows].mean(0) for rows in members])
    own = np.stack(
        [(z[rows] - mean).T @ (z[rows] - mean) / len(rows) for rows, mean in zip(members, means, strict=True)]
    )
    share = np.array([len(rows) for rows in members]) / len(x)
    pooled = np.tensordot(share, own, 1)
    covariance = (own + pooled) / 2 + 1e-6 * np.trace(pooled) / count * np.eye(count)
    whiteners = np.linalg.cholesky(np.linalg.inv(covariance))
    return centre, axes, means, whiteners, np.log(share) - 0.5 * np.linalg.slogdet(covariance)[1]


def with_classifier(ensemble: xr.Dataset, source: xr.Dataset) -> xr.Dataset:
    """The ensemble with the classifier that ``source`` makes, as variables; as it is where that has too few images."""
    classes = classes_of(source)
    if classes is None or f"{PREFIX}centre" in ensemble:
        return ensemble
    try:
        found = fit_classifier(flatten(source), classes)
    except InputError:
        return ensemble
    dims = {
        "classes": ("named",), "centre": ("fold", "value"), "axes": ("fold", "value", "axis"),
        "means": ("fold", "named", "axis"), "whiteners": ("fold", "named", "axis", "axis_2"),
        "constants": ("fold", "named"),
    }  # fmt: skip
    return ensemble.assign({PREFIX + name: (layout, getattr(found, name)) for name, layout in dims.items()})


def classifier_of(ensemble: xr.Dataset) -> Classifier:
    """The classifier that an ensemble carries; else its own."""
    if f"{PREFIX}centre" in ensemble:
        names = ("classes", "centre", "axes", "means", "whiteners", "constants")
        return Classifier(*(ensemble[PREFIX + name].values for name in names))
    return fit_classifier(flatten(ensemble), _classes(ensemble))


def _classes(ensemble: xr.Dataset) -> np.ndarray:
    found = classes_of(ensemble)
    if found is None:
        raise InputError("the images have no class")
    return found


def class_agreement(ensemble: xr.Dataset) -> xr.Dataset:
    """Part of the pictures that the classifier puts into the class that they have; of a reference, its hit rate."""
    asked = _classes(ensemble)
    right = classifier_of(ensemble)(flatten(ensemble)) == asked
    return result_of_samples(
        ensemble, right[:, None].astype(float), (), {}, diagnostic="class_agreement", kind="scalar", units="1",
        long_name="part in the class that was asked for", tolerance=0.03, tolerance_kind="difference",
        tolerance_of="all images",
    )  # fmt: skip


def class_fractions(ensemble: xr.Dataset) -> xr.Dataset:
    """Part of the pictures that the classifier puts into each class; no class of their own is asked for."""
    classifier = classifier_of(ensemble)
    found = (classifier(flatten(ensemble))[:, None] == classifier.classes).astype(float)
    coords = {"class": (classifier.classes, {"long_name": "class", "units": "1"})}
    return result_of_samples(
        ensemble, found[:, None], ("class",), coords, diagnostic="class_fractions", kind="scalar", units="1",
        long_name="part in the class", tolerance=0.05, tolerance_kind="difference", tolerance_of="all images",
    )  # fmt: skip


def class_means(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Mean picture of each class in at most 4 x 4 blocks; deviations count in standard deviations of all values.

    A ratio of sums over independent units, whose pseudo-values are :math:`\bar f_c + (U/n_c)\,1[c_u = c]\,(f_u - \bar
    f_c)`, n_c the number of pictures of a class.
    """
    classes, values = _classes(ensemble), blocks(flatten(ensemble).astype(float), MEANS)
    known, group = np.unique(classes), units(ensemble)
    flat = values.reshape(len(values), -1)
    found = np.empty((len(flat), len(known), flat.shape[1]))
    for column, one in enumerate(known):
        rows = classes == one
        mean = flat[rows].mean(0)
        found[:, column] = mean + len(flat) / rows.sum() * rows[:, None] * (flat - mean)
    coords = {
        "class": (known, {"long_name": "class", "units": "1"}),
        "block": (np.arange(flat.shape[1]), {"long_name": "block of pixels, row by row", "units": "1"}),
    }
    attrs: dict[str, Any] = {"diagnostic": "class_means", "kind": "scalar", "units": "1", "tolerance": 0.3}
    attrs |= {"long_name": "mean grey value of a class", "tolerance_kind": "difference"}
    attrs |= {"tolerance_of": "standard deviation of the grey values"}
    result = group.result(group.mean(found), ("class", "block"), coords, **attrs)
    spread = ensemble_std(ensemble)
    return result.assign(yardstick=("block", np.repeat(spread, flat.shape[1] // len(spread))))


OF_CLASSES: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "class_means": class_means,
    "class_fractions": class_fractions,
    "class_agreement": class_agreement,
}
