"""Cells of configuration space by k-means on principal components, for the data-copying test of Meehan et al."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor

from physgen.diagnostics.regimes.copies import Measure

COMPONENTS = 64


def cells_of(queries: Tensor, train: Tensor, measure: Measure, count: int, seed: int) -> np.ndarray:
    """Cell (Q,) of each query among ``count`` that k-means finds in the training set.

    k-means++ on at most 64 principal components of the measure's invariants, so that a shifted, turned or flipped copy
    lies in the cell of its original. Cells may be empty.
    """
    if count < 2:
        return np.zeros(len(queries), dtype=int)
    known = measure.invariants(train, train)
    centre = known.mean(0)
    axes = torch.linalg.svd(known - centre, full_matrices=False)[2][:COMPONENTS].T
    points = ((known - centre) @ axes).cpu().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an empty cell is no fault
        centroids, _ = kmeans2(points, count, minit="++", seed=np.random.default_rng(seed))
    return vq(((measure.invariants(queries, train) - centre) @ axes).cpu().numpy(), centroids)[0]
