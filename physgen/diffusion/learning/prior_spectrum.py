r"""Power per Fourier mode of an encoded field, and how it depends on labels.

Convention: :math:`\tilde x_k = N^{-1/2} \sum_x x\, e^{-ikx}` with N sites, so white noise of variance s^2 has P(k) =
s^2 in every mode (the unit of the encoded field squared; the physicist's spectrum is this times the cell volume).
Shapes: B samples, C channels, *grid lattice, *rfft its half-spectrum (last axis n//2 + 1), F label features. Vectors
have no grid: their C modes are the principal axes of their second moments, in the order of the power along them.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physgen.diffusion.learning.prior_covariance import Vectors, principal_axes
from physgen.lattice import half_grid, multiplicity, power_by_shell, shells, wavenumber

RIDGE = 1e-3  # in units of one mode's information: negligible as soon as a bin holds a few modes
NEWTON_STEPS = 25
TINY = 1e-20


def label_features(labels: Tensor | None, quadratic: bool = True) -> Tensor:
    """(B, n) labels -> (B, F): 1, the labels and (if ``quadratic``) their products; (1, 1) without labels."""
    if labels is None:
        return torch.ones(1, 1)
    columns = [torch.ones_like(labels[:, :1]), labels]
    if quadratic:
        rows, cols = torch.triu_indices(labels.shape[1], labels.shape[1], device=labels.device)
        columns.append(labels[:, rows] * labels[:, cols])
    return torch.cat(columns, dim=1)


class Spectrum(nn.Module):
    r"""Log-linear spectrum :math:`\ln P(k; l) = \sum_f a_f(k)\,\phi_f(l)` with :math:`\phi = (1, l_i, l_i l_j)`.

    Args:
        ln_power: coefficients a, shape (F, C, *rfft).
            F = 1: no labels; F = 1 + n: linear; F = 1 + n + n(n+1)/2: quadratic.
        grid: shape of the lattice, () for vectors.
        axes: (C, C), of vectors: their modes, orthonormal, in columns; None for the components themselves.
    """

    ln_power: Tensor
    multiplicity: Tensor
    axes: Tensor | None

    def __init__(self, ln_power: Tensor, grid: tuple[int, ...], axes: Tensor | None = None) -> None:
        super().__init__()
        expected = half_grid(grid) if grid else ()
        if tuple(ln_power.shape[2:]) != expected:
            raise ValueError(
                f"the spectrum of a grid {grid} has modes of shape {expected}, got {tuple(ln_power.shape[2:])}"
            )
        self.grid = tuple(grid)
        self.register_buffer("ln_power", ln_power.float())
        self.register_buffer("multiplicity", multiplicity(grid) if grid else torch.ones(()), persistent=False)
        self.register_buffer("axes", None if axes is None else axes.float())

    def modes(self, x: Tensor) -> Tensor:
        """Modes of x (B, C, *grid): (B, C, *rfft), complex, without the factor of the convention; of vectors (B, C)."""
        if self.grid:
            return torch.fft.rfftn(x, dim=list(range(2, x.ndim)))
        return x if self.axes is None else x @ self.axes.to(x)

    def field(self, modes: Tensor) -> Tensor:
        """Inverse of :meth:`modes`."""
        if self.grid:
            return torch.fft.irfftn(modes, s=self.grid, dim=list(range(2, modes.ndim)))
        return modes if self.axes is None else modes @ self.axes.to(modes).T

    def forward(self, condition: dict[str, Tensor] | None = None) -> Tensor:
        """P(k) of each sample, shape (B, C, *rfft), or (1, C, *rfft) if it does not depend on labels."""
        terms = self.ln_power.shape[0]
        if terms == 1:
            return self.ln_power.exp()
        labels = (condition or {}).get("labels")
        if labels is None:
            raise ValueError('this spectrum depends on labels: give condition["labels"]')
        # NaN, no label: the middle of the range
        features = label_features(labels.to(self.ln_power).nan_to_num(nan=0.0), quadratic=terms > 1 + labels.shape[1])
        if features.shape[1] != terms:
            raise ValueError(
                f"this spectrum was fitted with {terms} label features, {labels.shape[1]} labels do not give them"
            )
        return torch.einsum("bf,f...->b...", features, self.ln_power).exp()

    def mean_over_modes(self, power: Tensor) -> Tensor:
        """Average over channels and all modes of the full spectrum: (B, C, *rfft) -> (B,)."""
        weighted = power * self.multiplicity
        return weighted.flatten(1).sum(1) / (power.shape[1] * math.prod(self.grid))


@dataclass(frozen=True)
class ShellPower:
    r"""Power of each of B fields by shells of |k| (width: one fundamental mode; the k = 0 mode apart).

    Attributes:
        power: (B, C, S) mean over the modes of a shell. modes: (S,) their number. mean_k: (S,). k: (\*rfft).
        grid: shape of the lattice.
    """

    power: Tensor
    modes: Tensor
    mean_k: Tensor
    k: Tensor
    grid: tuple[int, ...]


class PowerMeter:
    """The :class:`ShellPower` of fields that come block by block; vectors themselves, which are as large.

    ``cell_size``: along each axis, where cells are not cubic.
    """

    def __init__(self, cell_size: Sequence[float] | None = None) -> None:
        self._cells, self._power = cell_size, array("d")

    @property
    def is_empty(self) -> bool:
        """Whether no field was added yet."""
        return not self._power

    def add(self, x: Tensor) -> None:
        r"""Measure further fields (B, C, \*grid), all of one grid."""
        if x.ndim == 2:
            self._grid, self._shape = tuple(x.shape[2:]), x.shape[1:]
            self._power.frombytes(x.double().numpy().tobytes())
            return
        if self.is_empty:
            self._grid = tuple(x.shape[2:])
            # per cell of the first axis: of cubic cells the size then plays no part
            sizes = [a / self._cells[0] for a in self._cells] if self._cells else [1.0] * len(self._grid)
            self._k = torch.from_numpy(wavenumber(self._grid, sizes))
            shell = torch.from_numpy(shells(self._grid, sizes))
            self._shell = torch.unique(shell, return_inverse=True)[1]
        power = power_by_shell(x.flatten(0, 1), self._shell).view(*x.shape[:2], -1)
        self._shape = power.shape[1:]
        # one array that grows: small ones, kept between the large ones that are freed, would fragment the memory
        self._power.frombytes(power.numpy().tobytes())

    def measured(self) -> ShellPower | Vectors:
        """What was measured, field by field."""
        if not self._grid:
            return Vectors(torch.frombuffer(self._power, dtype=torch.float64).clone().view(-1, *self._shape))
        weight = multiplicity(self._grid).double().expand(self._k.shape).flatten()
        count = torch.bincount(self._shell.flatten(), weight)
        mean_k = torch.bincount(self._shell.flatten(), weight * self._k.flatten()) / count
        power = torch.frombuffer(self._power, dtype=torch.float64).clone().view(-1, *self._shape)
        return ShellPower(power / count, count, mean_k, self._k, self._grid)


def shell_power(x: Tensor, cell_size: Sequence[float] | None = None) -> ShellPower | Vectors:
    r"""Power by shells of encoded fields x (B, C, \*grid), which may be mapped; ``cell_size``: see `PowerMeter`."""
    meter = PowerMeter(cell_size)
    meter.add(x)
    return meter.measured()


def fit_spectrum(
    x: Tensor | ShellPower | Vectors,
    labels: Tensor | None = None,
    quadratic: bool = True,
    cell_size: Sequence[float] | None = None,
) -> Spectrum:
    r"""Spectrum of maximal Whittle likelihood :math:`-\sum_{b,k} \ln P(k; l_b) + |\tilde x_{b,k}|^2 / P(k; l_b)`.

    A gamma regression with logarithmic link for each shell of |k| (width: one fundamental mode; the k = 0 mode apart),
    solved by Newton's method with a small ridge on the label terms, then interpolated linearly in ln k to every mode.
    It gives the right mean power whether the field is Gaussian or not. The k = 0 mode keeps the square of the mean: P
    is a second moment. Of vectors each principal axis is a shell of its own, so that all second moments are kept
    (:func:`physgen.diffusion.learning.prior_covariance.principal_axes`).

    Args:
        x: (B, C, *grid) encoded fields or vectors (B, C), or their :func:`shell_power`.
        labels: (B, n), roughly of unit scale, or None. quadratic: products of labels too.
        cell_size: along each axis, where cells are not cubic (of fields; a ``ShellPower`` knows).
    """
    found = x if isinstance(x, ShellPower | Vectors) else shell_power(x, cell_size)
    features = label_features(None if labels is None else labels.double().cpu(), quadratic).double()
    if isinstance(found, Vectors):
        axes, power = principal_axes(found.x)
        one = torch.ones(power.shape[1], dtype=torch.float64)
        return Spectrum(_gamma_regression(power, features.expand(len(power), -1), one), (), axes)
    samples, channels, bins = found.power.shape
    ln_power = _gamma_regression(
        found.power.flatten(1), features.expand(samples, -1), found.modes.repeat(channels)
    ).reshape(-1, channels, bins)
    return Spectrum(_interpolate(ln_power, found.mean_k, found.k), found.grid)


def power_of_each(x: Tensor) -> Tensor:
    r"""P(k) of each of the fields x (B, C, \*grid) by itself, (B, C, \*rfft) float64.

    The mean over the modes of a shell, interpolated linearly in ln k: what :func:`fit_spectrum` finds of one field.
    """
    found = shell_power(x)
    assert isinstance(found, ShellPower), f"vectors have no P(k), got x of shape {tuple(x.shape)}"
    return _interpolate(found.power.clamp(min=TINY).log(), found.mean_k, found.k).exp()


def _gamma_regression(power: Tensor, features: Tensor, modes: Tensor) -> Tensor:
    """Coefficients (F, S) of ln E[power], power (B, S), in ``features`` (B, F); shells hold ``modes`` (S,) modes."""
    power = power.clamp(min=TINY)
    if features.shape[1] == 1:  # of the constant alone the likelihood is greatest at the mean
        return power.mean(0, keepdim=True).log()
    coefficients = torch.zeros(features.shape[1], power.shape[1], dtype=torch.float64)
    coefficients[0] = power.mean(0).log()
    ridge = RIDGE * torch.eye(features.shape[1], dtype=torch.float64)
    ridge[0, 0] = 0.0
    # (S, F, F); a gamma law with logarithmic link has constant weights
    fisher = modes[:, None, None] * (features.T @ features) + ridge
    for _ in range(NEWTON_STEPS):
        ratio = (power / (features @ coefficients).exp()).clamp(max=1e3)
        gradient = modes * (features.T @ (ratio - 1)) - ridge.diagonal()[:, None] * coefficients
        step = torch.linalg.solve(fisher, gradient.T).T
        coefficients = coefficients + step.clamp(-1, 1)
    return coefficients


def _interpolate(values: Tensor, nodes: Tensor, k: Tensor) -> Tensor:
    """Values (F, C, S) at ``nodes`` (S,), the first one k = 0 alone, linear in ln k, at the modes k (*rfft)."""
    ln_nodes, ln_k = nodes[1:].log(), k.clamp(min=float(nodes[1:].min())).log().clamp(max=float(nodes[-1:].log()))
    right = torch.searchsorted(ln_nodes, ln_k).clamp(1, max(1, len(ln_nodes) - 1))
    left = right - 1
    right = right.clamp(max=len(ln_nodes) - 1)
    span = (ln_nodes[right] - ln_nodes[left]).clamp(min=TINY)
    fraction = (ln_k - ln_nodes[left]) / span
    inner = values[..., 1:]
    result = inner[..., left] * (1 - fraction) + inner[..., right] * fraction
    return torch.where(k > 0, result, values[..., :1].reshape(*values.shape[:2], *[1] * k.ndim))
