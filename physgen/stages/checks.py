"""What more than one stage refuses, before any work is done. All raise InputError."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from physgen.ensemble import sample_count, space_dims, units_of_samples
from physgen.errors import InputError


def check_new(output: Path) -> None:
    """Say before any work is done that a file cannot be written."""
    if output.exists():
        raise InputError(f"{output} exists already: choose another -o, or remove it first; nothing is overwritten")
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not a folder: create it first, or give another -o")


def check_same_domain(ensemble: Any, domain: str, name: str, owner: str) -> None:
    """An ensemble that names no domain, anybody's file, passes."""
    found = ensemble.attrs.get("domain") or domain
    if found != domain:
        raise InputError(f"{name} is of the domain {found!r}, {owner} of {domain!r}: give files of the same physics")


def check_comparable(generated: Any, other: Any, name: str) -> None:
    """The same lattice, and enough configurations and independent units for errors."""
    mine = {d: generated.sizes[d] for d in space_dims(generated)}
    theirs = {d: other.sizes[d] for d in space_dims(other)}
    if mine != theirs:
        raise InputError(
            f"the generated lattice is {mine}, that of the {name} is {theirs}: compare ensembles on the same lattice"
        )
    if sample_count(other) < 4:
        raise InputError(
            f"the {name} holds {sample_count(other)} configurations; at least 4 are needed for errors: make more"
        )
    if len(set(units_of_samples(other))) < 2:
        raise InputError(
            f"the {name} holds one independent unit (simulation or disorder instance); errors need at least 2: add some"
        )
