r"""What an autoencoder cannot give back, drawn as a Gaussian field of its power.

.. math:: \hat x \to \hat x + \epsilon, \qquad \langle |\tilde\epsilon_k|^2 \rangle = \max(P_k - \hat P_k, 0)

A decoder of least squares returns a mean, whose power is too low wherever something was lost. With what is missing
added at random the power is right by construction; phases, and all that is not Gaussian, are not.

Shapes: N fields, C components, \*grid lattice, \*rfft its half-spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from physgen.diffusion.learning.prior_spectrum import shell_power
from physgen.diffusion.noise import noise_like


def residual_power(x: Tensor, back: Tensor, cell_size: Sequence[float] | None = None) -> Tensor:
    r"""Missing power :math:`\max(P_k - \hat P_k, 0)` of each mode (C, \*rfft), of fields (N, C, \*grid)."""
    own, kept = (shell_power(field, cell_size) for field in (x, back))
    missing = (own.power.mean(0) - kept.power.mean(0)).clamp(min=0)  # type: ignore[union-attr]
    return missing.float()[:, _shell_of_mode(tuple(x.shape[2:]), cell_size)]


def _shell_of_mode(grid: tuple[int, ...], cell_size: Sequence[float] | None) -> Tensor:
    from physgen.lattice import shells

    sizes = [a / cell_size[0] for a in cell_size] if cell_size else None
    return torch.unique(torch.from_numpy(shells(grid, sizes)), return_inverse=True)[1]


def add_residual(back: Tensor, power: Tensor, seed: int, first: int = 0) -> Tensor:
    r"""``back`` (N, C, \*grid) with a Gaussian field of the missing power (C, \*rfft) added.

    Field i has the noise of (seed, ``first`` + i), whatever is drawn beside it.
    """
    dims, index = tuple(range(2, back.ndim)), range(first, first + len(back))
    noise = noise_like(seed, "residual of a latent", index, back.shape[1:], 0, device=back.device)
    modes = torch.fft.rfftn(noise, dim=dims) * power.to(noise).sqrt()
    return back + torch.fft.irfftn(modes, s=back.shape[2:], dim=dims)
