r"""Mean-field spin glasses by enumeration, N <= 20 spins: Sherrington-Kirkpatrick and p-spin.

Source of the conventions: Derrida 1981; :math:`H = -\sum_{i_1 < \dots < i_p} J_{i_1 \dots i_p} S_{i_1} \dots S_{i_p}`
with :math:`J \sim N(0, p!/2N^{p-1})`, which for p = 2 is Sherrington-Kirkpatrick with J of variance 1/N.
"""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from physgen.diffusion.exact.atoms import EnumeratedIsing, enumerate_spins


def p_spin(sites: int, p: int, beta: float, generator: torch.Generator) -> EnumeratedIsing:
    r"""The Boltzmann law of a p-spin model with Gaussian couplings from the generator, shape (1, N).

    Args:
        sites: N <= 20.
        p: spins of an interaction, 2 <= p <= N; 2 is Sherrington-Kirkpatrick.
        beta: inverse temperature.
    """
    if not 2 <= p <= sites:
        raise ValueError(f"an interaction needs 2 <= p <= N = {sites} spins, got p = {p}")
    groups = torch.tensor(list(combinations(range(sites), p)))
    scale = math.sqrt(math.factorial(p) / (2 * sites ** (p - 1)))
    couplings = scale * torch.randn(len(groups), generator=generator, dtype=torch.float64)
    return from_interactions(groups, couplings, beta, (1, sites))


def from_interactions(groups: Tensor, couplings: Tensor, beta: float, shape: tuple[int, ...]) -> EnumeratedIsing:
    r"""The law :math:`e^{-\beta H}` of :math:`H = -\sum_g J_g \prod_{i \in g} S_i`.

    Args:
        groups: (G, p) sites of each interaction, C order of ``shape``; a repeated site drops out in pairs.
        couplings: J (G,).
        shape: (C, \*grid) with N <= 20 sites.
    """
    if groups.ndim != 2 or couplings.shape != (len(groups),):
        raise ValueError(
            f"groups (G, p) and couplings (G,) go together, got {tuple(groups.shape)} and {tuple(couplings.shape)}"
        )
    states = enumerate_spins(math.prod(shape))
    exponent = torch.zeros(len(states), dtype=torch.float64)
    for group, coupling in zip(groups, couplings.double(), strict=True):
        exponent += beta * coupling * states[:, group].prod(1)
    return EnumeratedIsing(exponent, shape)
