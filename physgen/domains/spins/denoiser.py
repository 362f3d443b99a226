r"""The exact denoiser of a lattice spin glass: :math:`E[s|y] = \langle s\rangle` of the same glass in the field y/s^2.

Shapes: B batch, \*grid lattice of L layers with W spins each, S = 2^W states of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from physgen.domains.spins.couplings import lattice_edges
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

WIDEST = 12
CHUNK = 1 << 21  # numbers of one forward pass held at once


class TransferMatrixDenoiser:
    r"""Exact D(y, s, condition) = E[s | y = s + s_noise z] for lattices that are free along the first space dim.

    With Boltzmann weights :math:`e^{-\beta H(s)}` and Gaussian noise of level s, the posterior is
    :math:`\propto \exp(-\beta H(\sigma) + y\cdot\sigma/s^2)`: a forward and a backward pass of the transfer matrix with
    external fields give its mean exactly, in float64, at a cost O(B L W 2^W). Tests hold it to enumeration at 1e-12.

    The couplings come from ``condition["channels"]``; without them, from ``channels`` (1 or B, 2d, \*grid).
    """

    def __init__(self, channels: Tensor | None = None) -> None:
        self.channels = channels

    @classmethod
    def for_template(cls, template: xr.Dataset) -> TransferMatrixDenoiser:
        """The denoiser of the couplings and temperatures of an ensemble or template."""
        from physgen.domains.spins.encoding import conditions

        channels = conditions(template).get("channels")
        if channels is None:
            raise InputError("the exact denoiser needs couplings on a lattice: use a lattice model")
        _check(channels)
        return cls(channels)

    def __call__(self, y: Tensor, s: Tensor, condition: Mapping[str, Tensor] | None = None) -> Tensor:
        r"""Posterior means, (B, 1, \*grid) like ``y``; ``s`` (B,)."""
        channels = (condition or {}).get("channels", self.channels)
        if channels is None or channels.shape[0] not in (1, y.shape[0]):
            raise InputError(f'the exact denoiser needs condition["channels"] for all {y.shape[0]} samples: pass it')
        _check(channels)
        couplings = channels[:, ::2].double().expand(y.shape[0], *channels[:, ::2].shape[1:])  # the bonds up
        field = y.double() / s.double().reshape(-1, *[1] * (y.ndim - 1)) ** 2
        width = y[0, 0, 0].numel()
        step = max(1, CHUNK // (y.shape[2] << width))
        parts = [_magnetization(couplings[i : i + step], field[i : i + step, 0]) for i in range(0, y.shape[0], step)]
        return torch.cat(parts).reshape(y.shape).to(y.dtype)


def _check(channels: Tensor) -> None:
    width = channels[0, 0, 0].numel()
    if width > WIDEST:
        raise InputError(f"the exact denoiser takes layers of at most {WIDEST} spins, got {width}: shorten the lattice")
    if channels[:, 0, -1].any():
        raise InputError("the exact denoiser needs a free boundary along the first dim: use boundary cylinder or free")


def _magnetization(couplings: Tensor, field: Tensor) -> Tensor:
    """Mean spins (B, L, W) of couplings (B, d, *grid) in a field (B, *grid), both times beta."""
    batch, layers = field.shape[:2]
    field = field.reshape(batch, layers, -1)
    spins, weights = _layer_weights(couplings, field)  # (W, S), (B, L, S)
    links = couplings[:, 0].reshape(batch, layers, -1)
    passes = [_halves(links[:, layer]) for layer in range(layers - 1)]
    forward = [_scaled(weights[:, 0])]
    for layer in range(1, layers):
        forward.append(_scaled(weights[:, layer] + _passed(forward[-1], passes[layer - 1]).log()))
    above = torch.ones_like(forward[-1])  # sum over all layers above, given the state of this one
    means = []
    for layer in range(layers - 1, -1, -1):
        law = forward[layer] * above
        means.append(law @ spins.T / law.sum(dim=1, keepdim=True))
        if layer:
            above = _passed(_scaled(weights[:, layer] + above.log()), passes[layer - 1])
    return torch.stack(means[::-1], dim=1)


def _layer_weights(couplings: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
    """Spins of each state (W, S), and the ln weight of each state of each layer (B, L, S)."""
    batch, layers, width = field.shape
    bits = torch.arange(width, device=field.device)
    spins = 2 * ((torch.arange(1 << width, device=field.device) >> bits[:, None]) & 1).double() - 1
    weights = field @ spins
    if couplings.shape[1] > 1:
        ends = torch.as_tensor(lattice_edges(tuple(couplings.shape[3:])), dtype=torch.long, device=field.device)
        inside = couplings[:, 1:].transpose(1, 2).reshape(batch, layers, -1)
        weights = weights + inside @ (spins[ends[:, 0]] * spins[ends[:, 1]])
    return spins, weights


def _halves(links: Tensor) -> tuple[Tensor, Tensor]:
    """The product of W two-state bond matrices as two dense ones: of the low and of the high half of the bits."""
    half = links.shape[1] // 2
    return _kronecker(links[:, :half]), _kronecker(links[:, half:])


def _kronecker(links: Tensor) -> Tensor:
    """Bond weights exp(K o s - |K|) between all states of the given bits: (B, 2^n, 2^n), symmetric."""
    batch = links.shape[0]
    full = links.new_ones(batch, 1, 1)
    for strength in links.unbind(1):
        signs = torch.stack([torch.stack([strength, -strength], 1), torch.stack([-strength, strength], 1)], 1)
        bond = torch.exp(signs - strength.abs()[:, None, None])
        full = bond[:, :, None, :, None] * full[:, None, :, None, :]  # a later bit is more significant
        full = full.reshape(batch, 2 * full.shape[2], -1)
    return full


def _passed(vector: Tensor, halves: tuple[Tensor, Tensor]) -> Tensor:
    """Sum over the states of one layer, (B, S) -> (B, S)."""
    low, high = halves
    table = vector.reshape(-1, high.shape[1], low.shape[1])
    return (high @ table @ low).reshape(vector.shape)


def _scaled(log_weights: Tensor) -> Tensor:
    return torch.exp(log_weights - log_weights.amax(dim=1, keepdim=True))
