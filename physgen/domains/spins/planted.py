r"""Couplings on the Nishimori line, and the configuration that is planted in them: exact, free, at any size.

With a uniformly random configuration :math:`\tau` and bonds :math:`J_{ij} = \tau_i\tau_j F_{ij}`, where the F are
independent with :math:`P(F)/P(-F) = e^{2F/T}`, the law of :math:`\tau` given J is
:math:`\propto\prod P(\tau_i\tau_j J_{ij}) \propto e^{-H_J(\tau)/T}`: one exact configuration in equilibrium for each
instance, on any graph. The law holds at one temperature: bonds +-1 are positive with probability
:math:`1/(1 + e^{-2/T})`, Gaussian ones of variance :math:`\Delta^2` have the mean :math:`\Delta^2/T`.

Spins know :math:`J/T` alone. So instances of several temperatures :math:`T_0 < T_1 < \ldots` stand in one ensemble at
:math:`T_0`, in turn, with bonds :math:`J\, T_0/T_k`: data for a network that is to serve all these temperatures.
Source: H. Nishimori, Prog. Theor. Phys. 66, 1169 (1981).

Legend: D disorder instances, N spins, M bonds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, ndtri

from physgen.domains.spins.couplings import disorder_rng
from physgen.domains.spins.energy import bond_products
from physgen.domains.spins.layout import Disorder, grid_dims, spin_ensemble
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.spins.domain import Spins
    from physgen.domains.spins.simulate import Quenched

PLANTED = "planted"  # the variable with the planted configurations, and the method
LAWS = {"planted_bimodal": "bimodal", "planted_gaussian": "gaussian"}
ALL_TEMPERATURES = "planted_temperatures"  # attribute: of the instances in turn, whose bonds are scaled to the first
STREAM = 17  # of the random numbers of the planted configurations


def check_planted(domain: Spins) -> None:
    """Raise InputError where couplings of the Nishimori line, or planted configurations, cannot be had."""
    if domain.couplings not in LAWS:
        if domain.method == PLANTED:
            raise InputError(
                f"method 'planted' needs couplings of the Nishimori line, not {domain.couplings!r}: take "
                f"couplings={' or '.join(LAWS)}"
            )
        return
    if domain.model not in ("edwards_anderson", "sherrington_kirkpatrick"):
        raise InputError(f"couplings {domain.couplings!r} have no effect on model {domain.model!r}: leave them out")
    if len(domain.temperatures) > 1 and domain.method != PLANTED:
        raise InputError(
            f"temperatures {list(domain.temperatures)}: the law of {domain.couplings} depends on the temperature, so "
            "one ensemble has one: give one, and simulate each other one into a file of its own (units of J); with "
            "method=planted several are taken in turn, their bonds scaled to the first"
        )
    if len(domain.temperatures) > domain.instances:
        raise InputError(
            f"instances = {domain.instances} of {len(domain.temperatures)} temperatures: each instance is planted at "
            "one of them, so give at least as many instances"
        )
    if domain.method == PLANTED and domain.replicas > 1:
        raise InputError(
            f"replicas = {domain.replicas} with method 'planted': of each instance one configuration is planted, no "
            "other is known: set replicas=1 and more instances, or method=auto to draw others in the same couplings"
        )


def planted_ensemble(
    domain: Spins,
    draw: Callable[..., xr.Dataset],
    seed: int,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Configurations in couplings on the Nishimori line, with the variable ``planted`` (disorder, \\*grid).

    Of one replica with ``method`` planted or auto it is the planted configuration itself; else they are drawn in the
    couplings by the method of the domain, ``draw(couplings, seed, processes, progress)``, as in any others.
    """
    couplings, planted = planted_couplings(domain, seed)
    if domain.method == PLANTED or (domain.method == "auto" and domain.replicas == 1):
        attrs: dict[str, object] = {
            "method": PLANTED,
            "equilibration": "exact: the planted configuration of each instance",
        }
        if len(domain.temperatures) > 1:
            attrs[ALL_TEMPERATURES] = list(domain.temperatures)
        made = spin_ensemble(
            planted[:, None, None], couplings.disorder, np.array(domain.temperatures[:1]), couplings.ids, attrs
        )
        made = made.assign_attrs(seed=int(seed), config_json=json.dumps(dataclasses.asdict(domain), sort_keys=True))
        if progress:
            progress(len(planted), len(planted))
    else:
        made = draw(couplings, seed, processes, progress)
    described = {"long_name": "planted configuration", "units": "1", "is_condition": 0}
    return made.assign({PLANTED: (("disorder", *grid_dims(made)), planted, described)})


def planted_couplings(domain: Spins, seed: int) -> tuple[Quenched, np.ndarray]:
    r"""Couplings of the Nishimori line at the temperature of a domain, and the configurations planted in them.

    Instance i has temperature :math:`T_{i \bmod n}` of n, and bonds times :math:`T_0/T_i`.

    Returns:
        the couplings, and spins (D, \*grid) int8.
    """
    from physgen.domains.spins.simulate import drawn_couplings

    symmetric = drawn_couplings(dataclasses.replace(domain, couplings="gaussian", method="auto"), seed)
    if symmetric.disorder.external_field is not None or symmetric.gaussian_variance is None:
        raise InputError(f"couplings {domain.couplings!r} are known without an external field alone: leave it out")
    law, scale, first = LAWS[domain.couplings], symmetric.gaussian_variance**0.5, domain.temperatures[0]
    bonds = np.empty(symmetric.disorder.couplings.shape, dtype=np.float32)
    for start, temperature in enumerate(domain.temperatures):
        own = slice(start, None, len(domain.temperatures))
        normal = symmetric.disorder.couplings[own]
        bonds[own] = nishimori_bonds(normal, scale, law, temperature) * (first / temperature)
    planted = np.stack([
        disorder_rng(seed, i, STREAM).integers(0, 2, symmetric.grid, dtype=np.int8) * 2 - 1 for i in symmetric.ids
    ])  # fmt: skip
    disorder = gauged(symmetric.disorder._replace(couplings=bonds), planted)
    return symmetric._replace(disorder=disorder, gaussian_variance=None), planted


def nishimori_bonds(normal: np.ndarray, scale: float, law: str, temperature: float) -> np.ndarray:
    r"""Bonds F with :math:`P(F)/P(-F) = e^{2F/T}` from normal ones of mean 0, any shape; zeros stay zero.

    Args:
        normal: any shape, of standard deviation ``scale``.
        scale: the size of bonds +-, or the standard deviation of Gaussian ones, in J.
        law: ``bimodal`` or ``gaussian``.
        temperature: T in J.

    Returns:
        float32 of the shape of ``normal``.
    """
    if law == "bimodal":
        positive = normal / scale < ndtri(expit(2 * scale / temperature))
        bonds = np.where(positive, scale, -scale)
    else:
        bonds = normal + scale**2 / temperature
    return np.where(normal == 0, 0, bonds).astype(np.float32)


def gauged(disorder: Disorder, spins: np.ndarray) -> Disorder:
    r"""Couplings :math:`J_{ij} s_i s_j` of spins (D, \*grid), one configuration for each instance."""
    if disorder.edges is None:
        products = bond_products(spins, disorder.couplings.shape[1])
    else:
        products = spins[:, disorder.edges[:, 0]] * spins[:, disorder.edges[:, 1]]
    return disorder._replace(couplings=(disorder.couplings * products).astype(disorder.couplings.dtype))
