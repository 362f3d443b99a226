"""Ensembles by parallel tempering with whole lattices that a network proposes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from physgen.domains.spins.layout import for_training
from physgen.domains.spins.planted import LAWS
from physgen.domains.spins.simulate import check_temperatures, drawn_couplings, given_couplings
from physgen.domains.spins.tempering import Between, tempering_ensemble
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.spins.domain import Spins


def simulate_with_moves(
    domain: Spins,
    seed: int,
    between: Between,
    given: xr.Dataset | None = None,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Configurations by parallel tempering with proposals of whole lattices at the wanted temperatures.

    Equilibrium is tested as without them (:func:`physgen.domains.spins.tempering.tempering_ensemble`); the attributes
    ``proposals``, ``proposals_accepted`` and ``proposals_every`` say what became of them.

    Args:
        domain: what to simulate; its ``method`` and ``kernel`` are those of moves, or ``auto``.
        seed: of couplings and sweeps; proposals have their own.
        between: what is proposed, and after how many sweeps.
        given: a template or ensemble whose couplings are taken; None for those of the law of the domain.
        processes: threads. progress: called with (done, total).

    Raises:
        InputError: equilibrium that is not reached, planted couplings, or couplings that the network cannot draw for.
    """
    if given is None and domain.couplings in LAWS:
        raise InputError(
            f"couplings={domain.couplings} come with a configuration that is exact: simulate them as they are"
        )
    if domain.method not in ("auto", "parallel_tempering") or domain.kernel == "multispin":
        raise InputError(
            f"method {domain.method!r} with kernel {domain.kernel!r} takes no proposals, which are moves of parallel "
            "tempering: set method=parallel_tempering and kernel=general, or leave both out"
        )
    if given is not None:
        check_temperatures(domain, given)
    couplings = drawn_couplings(domain, seed) if given is None else given_couplings(given)
    if couplings.disorder.ends != 2:
        raise InputError("proposals of whole lattices are moves in couplings of two spins: simulate without them")
    made = tempering_ensemble(domain, couplings, seed, processes, progress, between)
    config = json.dumps(dataclasses.asdict(domain), sort_keys=True)
    said = {"model": domain.model, "boundary": domain.boundary} if given is None else for_training(made)
    return made.assign_attrs({"seed": int(seed), "config_json": config, "domain": domain.name} | said)
