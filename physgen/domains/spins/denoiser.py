r"""The exact denoiser of a lattice spin glass: :math:`E[s|y] = \langle s\rangle` of the same glass in the field y/s^2.

Shapes: B batch, \*grid lattice of L layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from physgen.diffusion.exact.strip import Layers
from physgen.domains.spins.couplings import lattice_edges
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor


class TransferMatrixDenoiser:
    r"""Exact D(y, s, condition) = E[s | y = s + s_noise z] for lattices that are free along the first space dim.

    With Boltzmann weights :math:`e^{-\beta H(s)}` and Gaussian noise of level s, the posterior is
    :math:`\propto \exp(-\beta H(\sigma) + y\cdot\sigma/s^2)`: a forward and a backward pass of the transfer matrix with
    external fields give its mean exactly, in float64 (:class:`physgen.diffusion.exact.strip.Layers`). Tests compare it
    with enumeration at 1e-12.

    The couplings come from ``condition["channels"]``, with the external field :math:`\beta h` of ``condition["field"]``
    (B, 1, \*grid) where it is there; without couplings there, both are ``channels`` (1 or B, 2d, \*grid) and ``field``.
    """

    def __init__(self, channels: Tensor | None = None, field: Tensor | None = None) -> None:
        self.channels, self.field = channels, field

    @classmethod
    def for_template(cls, template: xr.Dataset) -> TransferMatrixDenoiser:
        """The denoiser of the couplings, fields and temperatures of an ensemble or template."""
        from physgen.domains.spins.encoding import conditions

        given = conditions(template)
        channels = given.get("channels")
        if channels is None:
            raise InputError("the exact denoiser needs couplings on a lattice: use a lattice model")
        _layers(channels)  # refuses what it cannot solve at once
        return cls(channels, given.get("field"))

    def __call__(self, y: Tensor, s: Tensor, condition: Mapping[str, Tensor] | None = None) -> Tensor:
        r"""Posterior means, (B, 1, \*grid) like ``y``; ``s`` (B,)."""
        given = condition or {}
        channels, outer = self.channels, self.field
        if "channels" in given:
            channels, outer = given["channels"], given.get("field")
        if channels is None or channels.shape[0] not in (1, y.shape[0]):
            raise InputError(f'the exact denoiser needs condition["channels"] for all {y.shape[0]} samples: pass it')
        field = y.double() / s.double().reshape(-1, *[1] * (y.ndim - 1)) ** 2
        if outer is not None:
            field = field + outer.double().reshape(-1, *field.shape[1:])
        return _layers(channels).magnetisation(field.reshape(len(y), y.shape[2], -1)).reshape(y.shape).to(y.dtype)


def _layers(channels: Tensor) -> Layers:
    r"""The transfer matrix of beta J in ``channels`` (B, 2d, \*grid), whose layers stand along the first space dim."""
    if channels[:, 0, -1].any():
        raise InputError("the exact denoiser needs a free boundary along the first dim: use boundary cylinder or free")
    couplings = channels[:, ::2].double()  # the bonds up
    batch, layers = len(channels), channels.shape[2]
    links = couplings[:, 0].reshape(batch, layers, -1)
    ends = np.zeros((0, 2)) if channels.ndim == 3 else lattice_edges(tuple(channels.shape[3:]))
    inside = couplings[:, 1:].transpose(1, 2).reshape(batch, layers, len(ends))
    return Layers(inside, torch.as_tensor(ends, dtype=torch.long, device=channels.device), links[:, :-1])
