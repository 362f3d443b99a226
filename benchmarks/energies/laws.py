r"""Two laws whose energy is known: the Curie-Weiss magnet, drawn exactly, and phi^4 by hybrid Monte Carlo.

Each gives training data, held-out data and data of a wider law, all as a network sees them, and the true energy of any
of them in nats.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import quad
from torch import Tensor

from physgen.diffusion.exact import CurieWeiss

FOLDER = Path(os.environ.get("PHYSGEN_CAMPAIGN") or tempfile.gettempdir()) / "energies"
ROOT = Path(__file__).resolve().parents[2]
SPINS, BETA, WIDER_BETA, DRAWS = 32, 1.2, 0.8, 4096
SIDE, KAPPA, WIDER_KAPPA, QUARTIC = 16, 0.21, 0.18, 0.022
CHAINS, PER_CHAIN = 400, 10


@dataclass(frozen=True, eq=False)
class Known:
    """A law with its data.

    Attributes:
        train, held, wider: (N, C, *grid) as a network sees them; ``wider`` is of another law.
        energy: true energy (N,) in nats, up to a constant. units: consecutive draws of one chain, in held and wider.
        scale: what the values were divided by.
    """

    train: Tensor
    held: Tensor
    wider: Tensor
    energy: Callable[[Tensor], Tensor]
    units: tuple[int, int] = (1, 1)
    scale: float = 1.0


def curie_weiss(seed: int = 0) -> Known:
    """N = 32 spins at beta = 1.2, below the transition: two states; beta = 0.8 beside it, above."""
    generator = torch.Generator().manual_seed(seed)
    law, wider = (CurieWeiss(beta, (1, SPINS)) for beta in (BETA, WIDER_BETA))

    def energy(x: Tensor) -> Tensor:
        return -BETA * x.flatten(1).sum(1).square() / (2 * SPINS)

    return Known(*(one.sample(DRAWS, generator) for one in (law, law, wider)), energy)


def phi4(seed: int = 1) -> Known:
    """16^2 sites at kappa = 0.21, lambda = 0.022; the wider law has kappa = 0.18. Held-out chains are others."""
    values = simulated(KAPPA, CHAINS, PER_CHAIN, seed)
    scale = float(values[: CHAINS // 2].std())
    halves = values[: CHAINS // 2], values[CHAINS // 2 :], simulated(WIDER_KAPPA, CHAINS, 4, seed + 1)
    data = [torch.from_numpy(half / scale).reshape(-1, 1, SIDE, SIDE) for half in halves]
    return Known(*data, lambda x: action(scale * x, KAPPA), (PER_CHAIN, 4), scale)


def action(phi: Tensor, kappa: float) -> Tensor:
    r""":math:`S = \sum -2\kappa\phi\phi' + (1 - 2\lambda)\phi^2 + \lambda\phi^4`, (N,)."""
    neighbours = torch.roll(phi, -1, 2) + torch.roll(phi, -1, 3)
    site = (1 - 2 * QUARTIC) * phi.square() + QUARTIC * phi**4 - 2 * kappa * phi * neighbours
    return site.flatten(1).sum(1)


def simulated(kappa: float, chains: int, draws: int, seed: int) -> np.ndarray:
    """(chains, draws, 16, 16) by the physics of docs/how-to/own_physics.md, kept where results are."""
    file = FOLDER / f"phi4-{kappa}-{chains}-{draws}-{seed}.npy"
    if file.exists():
        return np.load(file)
    sys.path.insert(0, str(ROOT / "docs" / "phi4"))
    from phi4 import Domain

    made = Domain(
        length=SIDE, kappa=(kappa, kappa), coupling=QUARTIC, chains=chains, draws=draws, between=5, thermalization=100
    )
    values = made.simulate(seed)["field"].values
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.save(file, values)
    return values


def one_site() -> dict[str, tuple[float, float, float]]:
    """At kappa = 0: moment -> (simulated, its error over chains, quadrature)."""
    values, found = simulated(0.0, 100, 4, 3).astype(np.float64), {}
    for name, power in (("phi^2", 2), ("phi^4", 4)):
        chains = (values**power).mean((1, 2, 3))
        exact = quad(lambda phi, power=power: phi**power * _weight(phi), -8, 8)[0] / quad(_weight, -8, 8)[0]
        found[name] = float(chains.mean()), float(chains.std(ddof=1) / np.sqrt(len(chains))), exact
    return found


def one_site_log_Z() -> float:
    """ln of the integral of a site at kappa = 0."""
    return float(np.log(quad(_weight, -8, 8)[0]))


def _weight(phi: float) -> float:
    return float(np.exp(-(1 - 2 * QUARTIC) * phi**2 - QUARTIC * phi**4))
