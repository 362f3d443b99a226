r"""Disordered Ising strips by transfer matrix: long in one direction, up to ten spins wide in the other.

A layer of W spins has :math:`2^W` states; the cost is :math:`L 4^W`, memory :math:`L 4^W` for the matrices and
:math:`B L 2^W` for the states of a batch. Shapes: B batch, L layers, W spins of a layer, N = L W sites.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.exact.spins import SpinLaw

WIDEST = 10


@dataclass(frozen=True, eq=False)
class IsingStrip(SpinLaw):
    r"""Weights :math:`e^{-\beta H}, H = -\sum_{\langle ij\rangle} J_{ij} S_i S_j - \sum_i h_i S_i`, on a strip of shape
    (1, L, W), free along L and periodic along W.

    Args:
        couplings: J (2, L, W): ``couplings[0, i, j]`` joins (i, j) and (i + 1, j), zero in the last layer;
            ``couplings[1, i, j]`` joins (i, j) and (i, j + 1 mod W), zero at the seam for a free boundary.
        beta: inverse temperature in the units of 1/J.
        external_field: h (L, W), None is no field.

    Raises:
        ValueError: a strip that is too wide, or bonds across the ends.
    """

    couplings: Tensor
    beta: float
    external_field: Tensor | None = None
    _states: Tensor = field(init=False, repr=False)  # (2^W, W)

    def __post_init__(self) -> None:
        if self.couplings.ndim != 3 or len(self.couplings) != 2 or not 2 <= self.couplings.shape[2] <= WIDEST:
            raise ValueError(f"couplings must be (2, L, W) with 2 <= W <= {WIDEST}, got {tuple(self.couplings.shape)}")
        if bool(self.couplings[0, -1].any()):
            raise ValueError(
                "a strip is free along its length: couplings[0, -1] must be zero, got bonds across the ends"
            )
        object.__setattr__(self, "_states", enumerate_spins(self.couplings.shape[2]).double())

    @property
    def sites(self) -> int:
        return self.couplings[0].numel()

    @cached_property
    def _own(self) -> Tensor:
        """Exponents (L, 2^W) of the bonds and fields inside the layers."""
        bonds = self.beta * self.couplings[1].double().cpu()
        own = bonds @ (self._states * self._states.roll(-1, 1)).T
        if self.external_field is not None:
            own = own + self.beta * self.external_field.double().cpu() @ self._states.T
        return own

    @cached_property
    def _links(self) -> tuple[Tensor, Tensor]:
        """Matrices (L - 1, 2^W, 2^W) between layers, largest entry 1, and the logarithm (L - 1,) taken out."""
        bonds = self.beta * self.couplings[0, :-1].double().cpu()
        exponent = (self._states * bonds[:, None]) @ self._states.T
        top = bonds.abs().sum(1)
        return torch.exp(exponent - top[:, None, None]), top

    def _layers(self, fields: Tensor) -> Tensor:
        """Exponents (L, B, 2^W) of the layers in fields (B, N)."""
        wide = fields.unflatten(1, tuple(self.couplings.shape[1:]))  # (B, L, W)
        return (wide @ self._states.to(wide).T + self._own.to(wide)).transpose(0, 1)

    def _forward(self, fields: Tensor) -> list[Tensor]:
        """Logarithms (B, 2^W) of the weight of each state of a layer, summed over all layers before it."""
        matrices, tops = (value.to(fields) for value in self._links)
        layers = self._layers(fields)
        logs = [layers[0]]
        for layer, matrix, top in zip(layers[1:], matrices, tops, strict=True):
            largest = logs[-1].amax(dim=1, keepdim=True).detach()
            summed = torch.exp(logs[-1] - largest) @ matrix
            logs.append(torch.log(summed) + largest + top + layer)
        return logs

    def log_partition(self, field: Tensor) -> Tensor:
        return torch.logsumexp(self._forward(field)[-1], dim=1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        logs = self._forward(torch.zeros(1, self.sites, dtype=torch.float64))
        matrices, _ = self._links
        probability = torch.softmax(logs[-1][0], 0).expand(n, -1)
        layers = []
        for i in range(len(logs) - 1, -1, -1):
            state = torch.multinomial(probability, 1, generator=generator)[:, 0]
            layers.append(self._states[state])
            if i:
                weight = torch.softmax(logs[i - 1][0], 0) * matrices[i - 1][:, state].T
                probability = weight / weight.sum(1, keepdim=True)
        return torch.stack(layers[::-1], dim=1)[:, None].float()
