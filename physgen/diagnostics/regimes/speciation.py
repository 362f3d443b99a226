r"""Speciation from the data: the time at which the noisy law begins to see more than one Gaussian.

At large t :math:`\log p_t(x) \approx const + \dots - x^T M x / 2(1 - e^{-2t})` with :math:`M = 1 - e^{-2t} Cov / (1 -
e^{-2t})`. With :math:`\Lambda` the largest eigenvalue of the covariance of the data,

.. math:: t_S = \tfrac12 \ln \Lambda, \qquad t_S^{exact} = \tfrac12 \ln(1 + \Lambda).

The first is the definition of the source (:math:`\Lambda e^{-2t} = 1`, meant for large :math:`\Lambda`), the second
the time at which M has its first zero; both are given. Source: Biroli, Bonnaire, de Bortoli, Mezard,
arXiv:2402.18491, eq. 4 and section on speciation.

**Bias.** The largest eigenvalue :math:`\lambda_1` of the covariance of n samples lies above :math:`\Lambda`: for a
spike over a white bulk of variance :math:`\sigma^2` by :math:`\lambda_1 = \Lambda (1 + \frac{d}{n}
\frac{\sigma^2}{\Lambda - \sigma^2})`, and below :math:`\Lambda = \sigma^2 (1 + \sqrt{d/n})` it is lost in the edge
of Marchenko and Pastur (Baik, Ben Arous, Peche 2005). For any bulk the relation is inverted by

.. math:: 1/\Lambda = \mathrm{mean}_{j > 1}\; 1/(\lambda_1 - \lambda_j)

over the other n - 2 eigenvalues of the Gram matrix of the centred samples (Bai, Ding 2012, "Estimation of spiked
eigenvalues in spiked models", with a mean in which d = 1 is unbiased), and :math:`\Lambda (d\lambda_1/d\Lambda) /
\lambda_1` is the squared overlap of the axis found with the true one. Both are for independent samples and an
eigenvalue that stands alone. Where it is one of several equal ones, as in fields without a preferred place, what
is left of the bias is smaller than without the correction and not 0: for four equal ones among the 256 of a field with
:math:`P \propto k^{-2}` it was measured as +26 %, +10 %, +2 % at n = 50, 200, 800 (uncorrected +75 %, +28 %, +10 %;
errors at n = 200 are 9 % to 18 %), so that t_S is late by .11, .05, .01.

Legend: n samples, d = C x grid, m = min(n, d), G groups of units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse.linalg import eigsh
from torch import Tensor

from physgen.diagnostics.regimes.unit_means import unit_index
from physgen.diagnostics.resampling import jackknife_variance
from physgen.diagnostics.spectrum import Array, as_tensor
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

GROUPS = 32  # of units that the jackknife leaves out, one group after the other
SMALL = 100  # side of a matrix up to which all its eigenvalues are as cheap as the largest one
LARGEST = 6000  # smaller side; its eigenvalues take minutes


def spectral_speciation(x: Array, unit: ArrayLike | None = None) -> xr.Dataset:
    r"""Largest eigenvalue of the covariance, and the two speciation times that follow, with errors.

    Args:
        x: encoded samples (n, C, \*grid), n >= 3; cost min(n, d)^3.
        unit: (n,) independent unit of each sample, over which errors are taken; None: every sample.

    Returns:
        Dataset of scalars ``eigenvalue`` (corrected for its bias; the module says how), ``eigenvalue_sample`` (as it
        is), ``t_S``, ``t_S_exact`` (from the corrected one), ``t_S_sample`` (from the other), each but the samples'
        with ``..._error`` (jackknife over at most 32 groups of units, nan for one unit); ``component``, the axis, norm
        1, of shape (C, \*grid); ``component_overlap``, the estimated squared overlap of this axis with the true one,
        nan where samples share units; ``eigenvalue_second``, the next one of the sample covariance: where it is as
        large, the axis is not defined. t_S is nan where the corrected eigenvalue is not positive. attrs: n, d,
        n_independent, correction ("spiked" for independent samples, "jackknife" where units hold several, "none" for
        one unit).
    """
    tensor = as_tensor(x)
    rows, index = _rows(tensor), unit_index(unit, len(tensor))
    n, d = rows.shape
    units = int(index.max()) + 1
    eigenvalues, axis = principal_axis(rows)
    largest = float(eigenvalues[0])
    without = _without_groups(rows, index)
    error = float(np.sqrt(jackknife_variance(without))) if units > 1 else np.nan
    eigenvalue, slope, overlap = largest, 1.0, np.nan
    correction = "none" if units == 1 else "spiked" if units == n else "jackknife"
    if correction == "spiked":
        eigenvalue, slope = spike_of(eigenvalues, n)
        overlap = min(1.0, eigenvalue / (largest * slope))
    elif correction == "jackknife":
        eigenvalue = largest - (len(without) - 1) * (float(without.mean()) - largest)
    found = {"eigenvalue": eigenvalue, "eigenvalue_error": slope * error, "eigenvalue_sample": largest}
    found |= {"eigenvalue_second": float(eigenvalues[1]) if len(eigenvalues) > 1 else np.nan}
    found |= {"component_overlap": overlap} | _times(eigenvalue, slope * error, largest)
    attrs: dict[str, int | str] = {"n": n, "d": d, "n_independent": units, "correction": correction}
    return _dataset(found, axis.reshape(tensor.shape[1:]).cpu().numpy(), attrs)


def spike_of(eigenvalues: np.ndarray, n: int) -> tuple[float, float]:
    r"""Population eigenvalue :math:`\Lambda` behind the largest sample eigenvalue, and :math:`d\Lambda/d\lambda_1`.

    Args:
        eigenvalues: (m,) of the covariance with divisor n - 1, descending; those up to n - 1 that are missing are 0.
        n: samples, at least 3.
    """
    gaps = eigenvalues[0] - eigenvalues[1 : n - 1]
    zeros = n - 2 - len(gaps)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = (float((1 / gaps).sum()) + zeros / eigenvalues[0]) / (n - 2)
        square = (float((1 / gaps**2).sum()) + zeros / eigenvalues[0] ** 2) / (n - 2)
        spike = 1 / inverse
        return float(spike), float(spike**2 * square) if np.isfinite(square) else np.nan


def principal_axis(rows: Tensor) -> tuple[np.ndarray, Tensor]:
    """Eigenvalues (m,) of the covariance of rows (n, d), divisor n - 1, descending, and the axis (d,) of the first.

    Through the smaller of covariance and Gram matrix; float64. The entry of the axis that is largest in absolute value
    is positive.
    """
    n, d = rows.shape
    centred = rows - rows.mean(0)
    matrix = centred.T @ centred if d <= n else centred @ centred.T
    values, vectors = torch.linalg.eigh(matrix / (n - 1))
    axis = vectors[:, -1] if d <= n else centred.T @ vectors[:, -1]
    axis = axis / axis.norm()
    axis = axis * torch.sign(axis[axis.abs().argmax()])
    return values.flip(0).clamp(min=0).cpu().numpy(), axis


def _rows(x: Tensor) -> Tensor:
    if x.ndim < 2 or len(x) < 3:
        raise InputError(f"speciation needs samples (n, C, *grid) with n >= 3, got shape {tuple(x.shape)}")
    rows = x.flatten(1).double()
    if not bool(torch.isfinite(rows).all()):
        raise InputError("the samples hold values that are not finite: drop or mend them")
    if min(rows.shape) > LARGEST:
        raise InputError(
            f"n = {len(rows)} samples of d = {rows.shape[1]} values: the smaller of the two may be {LARGEST}, beyond "
            "that the eigenvalues take too long; give fewer samples"
        )
    if not bool((rows != rows[0]).any()):
        raise InputError("all samples are equal: there is no covariance; give samples that differ")
    return rows


def _without_groups(rows: Tensor, index: np.ndarray) -> np.ndarray:
    """Largest eigenvalue of the covariance without each group of units, (G,)."""
    groups = min(GROUPS, int(index.max()) + 1)
    member = torch.as_tensor(index % groups, device=rows.device)
    n, d = rows.shape
    centred = rows - rows.mean(0)
    total = centred.T @ centred if d <= n else centred @ centred.T
    found = []
    for group in range(groups if groups > 1 else 0):
        kept = member != group
        count = int(kept.sum())
        if d <= n:
            left = centred[~kept]
            mean = left.sum(0) / count  # minus the mean of those that are kept, since all add up to 0
            matrix = total - left.T @ left - count * torch.outer(mean, mean)
        else:
            matrix = total[kept][:, kept]
            matrix = matrix - matrix.mean(0) - matrix.mean(1, keepdim=True) + matrix.mean()
        found.append(_largest(matrix) / max(count - 1, 1))
    return np.array(found)


def _largest(matrix: Tensor) -> float:
    if len(matrix) <= SMALL:
        return float(torch.linalg.eigvalsh(matrix)[-1])
    start = np.random.default_rng(0).standard_normal(len(matrix))  # ARPACK would draw its own, at random
    return float(eigsh(matrix.cpu().numpy(), k=1, which="LA", v0=start, tol=1e-9, return_eigenvectors=False)[0])


def _times(eigenvalue: float, error: float, largest: float) -> dict[str, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "t_S": float(0.5 * np.log(eigenvalue)),
            "t_S_error": 0.5 * error / eigenvalue,
            "t_S_exact": float(0.5 * np.log1p(eigenvalue)),
            "t_S_exact_error": 0.5 * error / (1 + eigenvalue),
            "t_S_sample": float(0.5 * np.log(largest)),
        }


LONG_NAMES = {
    "eigenvalue": "largest eigenvalue of the covariance, corrected for its bias",
    "eigenvalue_sample": "largest eigenvalue of the sample covariance",
    "eigenvalue_second": "second eigenvalue of the sample covariance",
    "component_overlap": "squared overlap of the axis with the true one",
    "t_S": "speciation time, half the logarithm of the eigenvalue",
    "t_S_exact": "speciation time, first zero of the quadratic form",
    "t_S_sample": "speciation time from the sample eigenvalue",
    "component": "first principal axis",
}


def _dataset(found: dict[str, float], axis: np.ndarray, attrs: dict[str, int | str]) -> xr.Dataset:
    import xarray as xr

    def long_name(name: str) -> str:
        return LONG_NAMES.get(name) or f"standard error of {name.removesuffix('_error')}"

    variables: dict[str, tuple] = {
        name: ((), value, {"long_name": long_name(name), "units": "1"}) for name, value in found.items()
    }
    dims = ("channel", *(f"axis_{i}" for i in range(axis.ndim - 1)))
    variables["component"] = (dims, axis, {"long_name": LONG_NAMES["component"], "units": "1"})
    return xr.Dataset(variables, attrs={"diagnostic": "speciation"} | attrs)
