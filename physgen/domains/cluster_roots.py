"""Which cluster a site belongs to: the forest that cluster moves of every kind of value grow while they join sites.

A file of its own, since it compiles: who only describes a domain does not load numba.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def root_of(parent: np.ndarray, site: int) -> int:
    """The site that stands for the cluster of ``site``; ``parent`` (N,) int64 is shortened on the way, in place.

    Source: path halving, Tarjan and van Leeuwen, J. ACM 31 (1984), 245.
    """
    while parent[site] != site:
        parent[site] = parent[parent[site]]
        site = parent[site]
    return site
