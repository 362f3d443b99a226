r"""Means of the observables of a domain under each law, from weighted draws.

Self-normalised: :math:`\bar f = \sum_r w_r f_r/\sum_r w_r`, of pairs
:math:`\sum_{r \ne s} w_r w_s f_{rs}/\sum_{r \ne s} w_r w_s`. The bias is of order 1/N; the errors are those of a
delete-one jackknife over the draws, too small where the tail of the weights is heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from physgen.diffusion.inference.weight_statistics import reweighted_jackknife, reweighted_pair_mean
from physgen.domains.law import Observable, PairObservable
from physgen.stages.laws import Laws

if TYPE_CHECKING:
    import xarray as xr

MEAN, ERROR, NAMES = "mean_", "_error", "weighted_means"  # around the name of an observable; attribute: which there are


def with_weighted_means(
    made: xr.Dataset, observables: Sequence[Observable | PairObservable], log_weight: np.ndarray, laws: Laws
) -> xr.Dataset:
    """The ensemble with ``mean_NAME`` and ``mean_NAME_error`` of each observable over the dims that tell laws apart.

    ``log_weight`` (B,) are those of its flattened samples. The attribute ``weighted_means`` holds the names.
    """
    for one in observables:
        found = np.array([_mean(one, rows, torch.from_numpy(log_weight[rows])) for rows in laws])
        for values, ending, of in (
            (found[:, 0], "", "weighted mean"),
            (found[:, 1], ERROR, "standard error of the mean"),
        ):
            told = {"long_name": f"{of} of the {one.long_name}", "units": one.units, "is_condition": 0}
            made = made.assign({f"{MEAN}{one.name}{ending}": (laws.dims, values.reshape(laws.shape), told)})
    return made.assign_attrs({NAMES: " ".join(one.name for one in observables)}) if observables else made


def _mean(observable: Observable | PairObservable, rows: np.ndarray, log_weight: torch.Tensor) -> tuple[float, float]:
    if isinstance(observable, Observable):
        return reweighted_jackknife(torch.from_numpy(observable.values(rows)), log_weight)
    pairs = observable.values
    return reweighted_pair_mean(lambda part: torch.from_numpy(pairs(rows[part.numpy()], rows)), log_weight)
