r"""Speciation and collapse of masked diffusion, in its own clock: the fraction of sites that are known.

Closed forms, derived here for values whose known sites lie far apart (small fractions), with the criterion of
:func:`physgen.diagnostics.regimes.information.free_entropy_speciation`, mean = fluctuation:

- classes that differ in their first moments: each known site adds its log-likelihood ratio, of mean kappa and variance
  v; k sites are enough where :math:`k\kappa = \sqrt{k v}`, so that :math:`\theta_S = v/(\kappa^2 N)`. For values +-1 of
  mean +-m it is :math:`(1 - m^2)/(m^2 N)`, so :math:`1/\Lambda` for small m, with the largest eigenvalue :math:`\Lambda
  = N m^2` of the covariance. (Values that are flipped and keep the correlation :math:`\rho = e^{-t}` have
  :math:`\Lambda \rho^2 = 1`: there :math:`\rho^2` stands where :math:`\theta` stands here.)
- classes with equal first moments: what counts is a pair of known sites. There are :math:`\theta^2` of them for each
  pair, at random; with :math:`\kappa_r` the mean and :math:`q_r` the second moment of the log-likelihood ratio of a
  pair, summed over the pairs r that a site begins, :math:`N \theta^2 \sum\kappa = \sqrt{N \theta^2 \sum q}` and
  :math:`\theta_S = N^{-1/2} \sqrt{\sum q}/\sum\kappa`.
- collapse: n training configurations are told apart where the known sites hold ln n nats,
  :math:`\theta_C = \ln n / (N h)` with the entropy h of a site among others far away.

Masked diffusion in the regimes: arXiv:2604.10961 (its abstract; the text was not at hand, so nothing here is compared
with its formulas).

Legend: n training configurations, N sites, T fractions, B draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike

from physgen.diagnostics.regimes.clocks import REVEALED
from physgen.diagnostics.regimes.unit_means import mean_and_error, unit_index
from physgen.diagnostics.spectrum import Array, as_tensor
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

BLOCK = 2**24  # counts of agreeing sites held at once


def revealed_collapse(train: Array, fractions: ArrayLike, seed: int, unit: ArrayLike | None = None) -> xr.Dataset:
    r"""Which training configurations agree with what is known of one of them: the collapse of masked diffusion.

    The exact empirical model gives equal weight to the K configurations that agree with the known sites, so its order
    parameter is :math:`Y_2 = E[1/K]`, and :math:`E[\ln K]` nats are missing to tell the configuration itself.

    Args:
        train: values +-1, (n, C, \*grid); each serves once as the one that is known in part.
        fractions: known sites over all, in (0, 1].
        seed: of the order in which sites become known.
        unit: (n,) independent unit of each configuration.

    Returns:
        Dataset over ``revealed`` with ``value`` = E[ln K] (nats), ``error``, ``order_parameter``, its error, and
        ``agreeing``, E[K]; errors by a jackknife over the configurations that are known in part, given the
        others. attrs n, sites, seed.
    """
    import xarray as xr

    x = as_tensor(train)
    if x.ndim < 2 or len(x) < 2 or not bool((x.abs() == 1).all()):
        raise InputError(f"masked collapse takes at least 2 configurations of values +-1, got shape {tuple(x.shape)}")
    index, sites, flat = unit_index(unit, len(x)), x[0].numel(), x.flatten(1).float()
    shares = REVEALED.times(fractions, sites)
    counts = []
    for share in shares.tolist():
        known = REVEALED.corrupt(x, share, seed).flatten(1).float()
        rows = known.split(max(1, BLOCK // len(x)))
        agree = [(part @ flat.T > round(share * sites) - 0.5).sum(1) for part in rows]
        counts.append(torch.cat(agree).double().cpu().numpy())
    number = np.stack(counts, 1)
    found: dict[str, tuple] = {}
    for name, long_name, units, values in (
        ("value", "logarithm of the number of configurations that agree", "nat", np.log(number)),
        ("order_parameter", "weight of the configuration itself", "1", 1 / number),
        ("agreeing", "configurations that agree", "1", number),
    ):
        mean, error = mean_and_error(values, index)
        error_name = "error" if name == "value" else f"{name}_error"
        found[name] = ("revealed", mean, {"long_name": long_name, "units": units})
        found[error_name] = ("revealed", error, {"long_name": f"standard error, {long_name}", "units": units})
    coords = {"revealed": ("revealed", shares, {"long_name": REVEALED.long_name, "units": "1"})}
    attrs = {"diagnostic": "revealed_collapse", "n": len(x), "sites": sites, "seed": seed}
    return xr.Dataset(found, coords=coords, attrs=attrs | {"n_independent": int(index.max()) + 1})


def revealed_collapse_fraction(n: int, sites: int, entropy: float) -> float:
    r""":math:`\theta_C = \ln n/(N h)`, h in nats for each known site; above 1 the data never collapse."""
    if not (n >= 2 and sites >= 1 and entropy > 0):
        raise InputError(f"need n >= 2, sites >= 1 and an entropy above 0, got {n}, {sites} and {entropy}")
    return math.log(n) / (sites * entropy)


def revealed_speciation_fraction(sites: int, mean: float) -> float:
    r""":math:`\theta_S = (1 - m^2)/(m^2 N)` of two classes of values +-1 with means +-m, independent sites; exact."""
    if not (sites >= 1 and 0 < abs(mean) < 1):
        raise InputError(f"need sites >= 1 and a mean inside (-1, 1) that is not 0, got {sites} and {mean}")
    return (1 - mean**2) / (mean**2 * sites)


def revealed_pair_speciation_fraction(sites: int, own: ArrayLike, other: ArrayLike) -> float:
    r""":math:`\theta_S = N^{-1/2} \sqrt{\sum_r q_r}/\sum_r \kappa_r` of a class of correlations c against one of c'.

    Args:
        sites: N, large. own, other: c_r, c'_r of a site with each of the later sites r = 1, 2, ... that count.
    """
    c, d = np.asarray(own, dtype=float), np.asarray(other, dtype=float)
    if c.shape != d.shape or c.ndim != 1 or not (np.abs([c, d]) < 1).all() or np.array_equal(c, d):
        raise InputError("correlations of the two classes are two lists of one length inside (-1, 1) that differ")
    up, down = np.log1p(c) - np.log1p(d), np.log1p(-c) - np.log1p(-d)
    mean = 0.5 * ((1 + c) * up + (1 - c) * down)
    square = 0.5 * ((1 + c) * up**2 + (1 - c) * down**2)
    return float(math.sqrt(square.sum()) / mean.sum() / math.sqrt(sites))
