"""The part of the vectors in each class of their law."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.result import result_of_samples
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


def class_fractions(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Mean posterior :math:`\langle P(j|x) \rangle` of each class under the law that the vectors name: its weight.

    Returns:
        Dataset of kind scalar over ``class``.

    Raises:
        InputError: the vectors name no law, or one of a single class.
    """
    import torch

    from physgen.domains.points.domain import Points
    from physgen.domains.points.laws import LAW, attribute_fields, law_of
    from physgen.domains.points.settings import as_fields

    said = attribute_fields(str(ensemble.attrs.get(LAW, "")), ensemble.sizes["component"])
    classes = law_of(Points(**as_fields(said))).classes if said else None
    if classes is None:
        raise InputError("classes are those of a law with more than one, which these vectors do not name")

    def posterior(x: np.ndarray) -> np.ndarray:
        return classes(torch.from_numpy(x)).numpy()[:, None]

    found = each_sample(ensemble, posterior)
    coords = {"class": (np.arange(found.shape[-1]), {"long_name": "class of the law", "units": "1"})}
    return result_of_samples(
        ensemble, found, ("class",), coords, diagnostic="class_fractions", kind="scalar", units="1",
        long_name="fraction of the class", tolerance=0.05, tolerance_kind="difference", tolerance_of="all vectors",
    )  # fmt: skip
