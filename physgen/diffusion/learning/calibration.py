r"""The linear part of a trained denoiser, made exact mode by mode.

The residual of the optimal denoiser is orthogonal to every function of y; so in each Fourier mode

.. math:: \langle (x_{0,k} - D_k)\, y_k^* \rangle = 0 \quad\Longleftrightarrow\quad \langle D_k y_k^* \rangle = P(k).

The spectrum of what is drawn rests on this one number: along the probability flow d<|x_k|^2>/ds follows from
<D_k y_k^*> alone. An error of 1 % in it over one e-fold of s gives 2 % of power, and raises the denoising loss by 1e-4
of itself: the loss hardly sees it, and no training removes it. So it is removed afterwards,

.. math:: D'_k = D_k + \frac{s \sqrt P}{P + s^2}\, f\, y_k, \qquad f(k, s, l) = \sum_a f_a(k, s)\, \phi_a(l),

with phi = (1, l_i), by least squares of the residual on y over training configurations, in shells of |k| (one
fundamental mode wide, from the fifth on a third of |k|) at some levels, linear in ln s between them. The factor is
that of :class:`physgen.diffusion.learning.denoisers.FieldDenoiser`: f is what the network misses of its own input.
Nothing else of the network changes: phases, and all that is not Gaussian, are what it has learned.

Shapes: B samples, C channels, \*grid, \*rfft its half-spectrum, S shells, F label features, L levels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition
from physgen.diffusion.learning.prior_spectrum import Spectrum, label_features
from physgen.lattice import shells

if TYPE_CHECKING:
    from physgen.diffusion.learning.denoisers import FieldDenoiser

BATCH = 32  # evaluations of the denoiser at once
WIDENING = 4 / 3  # of the shells: f varies slowly with |k|, and its noise would be the emulator's for good


class LinearCalibration(nn.Module):
    r"""f(k, s, l) of the module's formula.

    Args:
        ln_s: (L,) ascending. coefficients: (L, F, C, S). shell: (\*rfft) number of the shell of each mode.
    """

    ln_s: Tensor
    coefficients: Tensor
    shell: Tensor

    def __init__(self, ln_s: Tensor, coefficients: Tensor, shell: Tensor) -> None:
        super().__init__()
        self.register_buffer("ln_s", ln_s.float())
        self.register_buffer("coefficients", coefficients.float())
        self.register_buffer("shell", shell.to(torch.int64))

    def forward(self, s: Tensor, condition: Condition = None) -> Tensor:
        r"""f of each sample and mode, (B, C, \*rfft); beyond the levels that of the nearest one."""
        levels = self.ln_s.to(s)
        place = s.log().clamp(levels[0], levels[-1])
        right = torch.searchsorted(levels, place.contiguous()).clamp(1, len(levels) - 1)
        part = ((place - levels[right - 1]) / (levels[right] - levels[right - 1])).view(-1, 1, 1, 1)
        table = self.coefficients.to(s)
        between = torch.lerp(table[right - 1], table[right], part)  # (B, F, C, S)
        features = _features(condition, self.coefficients.shape[1])
        return (features.to(between)[:, :, None, None] * between).sum(1)[..., self.shell]


def _features(condition: Condition, terms: int) -> Tensor:
    """(B, F); (1, 1) where the calibration does not depend on labels."""
    labels = None if terms == 1 else (condition or {}).get("labels")
    if terms > 1 and labels is None:
        raise ValueError('this calibration depends on labels: give condition["labels"]')
    return label_features(labels, quadratic=False)


def calibration_shells(grid: tuple[int, ...]) -> Tensor:
    r"""Number of the shell of each mode, (\*rfft): 0 for k = 0, then shells that widen with |k|."""
    found = torch.from_numpy(shells(grid)).long()
    edges = [0, 1, 2, 3, 4]
    while edges[-1] <= int(found.max()):
        edges.append(max(edges[-1] + 1, round(WIDENING * edges[-1])))
    merged = torch.bucketize(found, torch.tensor(edges), right=True)
    return torch.unique(merged, return_inverse=True)[1].view(found.shape)


def calibration_levels(s_min: float, s_max: float, count: int) -> Tensor:
    """``count`` levels, even in ln s over the trained range, float64."""
    return torch.logspace(math.log10(s_min), math.log10(s_max), count, dtype=torch.float64)


def fit_calibration(
    denoiser: FieldDenoiser, x: Tensor, condition: Condition, levels: Tensor, seed: int
) -> LinearCalibration:
    r"""The calibration of a trained denoiser on configurations x (N, C, \*grid) with their condition.

    Args:
        denoiser: with a prior spectrum on this grid; a calibration that it has is left out of account.
        levels: (L,) noise levels. seed: of the noise, which differs from level to level.

    The error of f in a shell of M modes, all configurations together, is about :math:`\sqrt{2/M}` at most.

    Raises:
        ValueError: no spectrum of a lattice to tell modes by.
    """
    spectrum = denoiser.spectrum
    if spectrum is None or not spectrum.grid:
        raise ValueError("a calibration needs the prior spectrum of a lattice field, this denoiser has none")
    shell = calibration_shells(tuple(x.shape[2:]))
    kept, denoiser.calibration = denoiser.calibration, None
    try:
        levels = levels.double().sort().values
        made = [_at_level(denoiser, spectrum, (x, condition), float(s), seed + i, shell) for i, s in enumerate(levels)]
    finally:
        denoiser.calibration = kept
    return LinearCalibration(levels.log(), torch.stack(made), shell)


@torch.no_grad()
def _at_level(
    denoiser: FieldDenoiser, spectrum: Spectrum, data: tuple[Tensor, Condition], s: float, seed: int, shell: Tensor
) -> Tensor:
    """(F, C, S) coefficients at one level: normal equations over all configurations."""
    x, condition = data
    noise, labels = torch.Generator().manual_seed(seed), (condition or {}).get("labels")
    channels, count = x.shape[1], int(shell.max()) + 1
    terms = 1 if labels is None else 1 + labels.shape[1]
    left = torch.zeros(channels, count, terms, terms, dtype=torch.float64)
    right = torch.zeros(channels, count, terms, dtype=torch.float64)
    weight = spectrum.multiplicity.cpu().double().expand(shell.shape).flatten()
    for start in range(0, len(x), BATCH):
        some = {name: value[start : start + BATCH] for name, value in (condition or {}).items()}
        clean = x[start : start + BATCH]
        y = clean + s * torch.randn(clean.shape, generator=noise).to(clean)
        missed = clean - denoiser(y, torch.full((len(clean),), s, device=y.device), some)
        power = spectrum(some)
        known = spectrum.modes(y) * (s * power.sqrt() / (power + s**2))
        known, missed = (modes.flatten(2).cpu() for modes in (known, spectrum.modes(missed)))
        features = _features(some, terms).double().cpu().expand(len(clean), -1)
        cross = _by_shell((missed * known.conj()).real.double() * weight, shell, count)
        auto = _by_shell(known.abs().double().square() * weight, shell, count)
        left += torch.einsum("bcs,bf,bg->csfg", auto, features, features)
        right += torch.einsum("bcs,bf->csf", cross, features)
    return torch.linalg.lstsq(left, right[..., None]).solution[..., 0].permute(2, 0, 1)


def _by_shell(values: Tensor, shell: Tensor, count: int) -> Tensor:
    """Sums over the modes of each shell: (B, C, modes) -> (B, C, S)."""
    return torch.zeros(*values.shape[:2], count, dtype=values.dtype).index_add_(2, shell.flatten(), values)
