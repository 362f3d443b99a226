"""The Domain contract: all that the rest of physgen ever asks of a physics.

A domain is a folder of ``physgen/domains`` whose package exports ``Domain``, a frozen dataclass. It is
found by its folder's name; there is no registry. The fields of the dataclass are the ``data:`` section
of a configuration; ``metadata`` of a field may hold ``help``, ``unit``, ``min``, ``max``. A domain may offer
``facts(ensemble) -> dict`` (static: of the data alone, units in the keys) and ``learning_settings``, the names of the
fields that act on a training whoever made the data; see ``physgen.runs.facts``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

    Condition = Mapping[str, torch.Tensor]
    Diagnostic = Callable[[xr.Dataset], xr.Dataset]


@runtime_checkable
class Domain(Protocol):
    """One physics. Shapes: B flattened samples (C order of the sample dims), C channels, \\*grid lattice.

    ``encode`` maps physical units to numbers of order one and ``decode`` back; outside these two no
    other code sees physical units. Encoding constants are fitted on the training split only.

    Optional: ``restrict(reference, other) -> reference``, what of a reference ``other`` (in its frame) holds as well,
    such as a subset of the temperatures. ``streams(template) -> (B,)`` whole numbers, the noise stream of each sample
    to draw: a domain whose samples have more than one dim gives it, so that a sample depends on its condition and its
    number within it, not on how many are drawn of the others; without it the stream is the flattened index.
    Beside ``split_by``, class variables ``exchangeable`` and ``unit_within``, tuples of names: which sample dims count
    draws under one condition, and what is independent within a unit (:mod:`physgen.ensemble.units`). Ensembles that
    the domain makes, decodes or requests carry all three as root attributes (:func:`with_units`).
    """

    name: ClassVar[str]
    description: ClassVar[str]
    values: ClassVar[str]  # "real" or "binary": which head the denoiser gets
    split_by: ClassVar[str]  # the label or dim whose values are independent units
    formats: ClassVar[dict[str, str]]  # import format -> one line of description

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """Make an ensemble. The result depends on the fields and the seed, not on ``processes``."""

    @classmethod
    def load(cls, format: str, paths: list[Path], **options: str) -> xr.Dataset:
        """Read foreign files. Options are strings as typed by the user. Raises InputError."""

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        """Constants of the encoding, JSON-able, from the training split."""

    def encode(self, ensemble: xr.Dataset, constants: dict[str, Any]) -> tuple[torch.Tensor, Condition]:
        """(x of shape (B, C, \\*grid) float32, condition)."""

    def condition(self, ensemble: xr.Dataset, constants: dict[str, Any]) -> Condition:
        """Conditions alone: ``labels`` (B, n) and/or ``channels`` (B, C', \\*grid). ``field`` is not needed."""

    def decode(self, x: torch.Tensor, template: xr.Dataset, constants: dict[str, Any]) -> xr.Dataset:
        """An ensemble in physical units with the sample dims, labels and couplings of ``template``."""

    def request(
        self, like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
    ) -> xr.Dataset:
        """A template, without values, of the configurations to draw: ``n`` under the conditions of ``like``.

        ``given`` conditions replace those of ``like``; they must lie in the range of the training part, which the
        ``constants`` of the encoding hold.
        """

    def augment(
        self,
        x: torch.Tensor,
        condition: Condition,
        generator: torch.Generator,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Condition]:
        """Apply a random symmetry of the law to each sample and, consistently, to its condition.

        ``constants`` of the encoding say what only the data know, such as the shape of the box.
        """

    def network(self, options: Mapping[str, Any], constants: dict[str, Any]) -> torch.nn.Module:
        """Untrained network with ``forward(x, c_noise, condition)``."""

    def diagnostics(self) -> dict[str, Diagnostic]:
        """Name -> diagnostic (see physgen.diagnostics.result)."""

    def confront(self, reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
        """``other`` (called ``name``) in the frame of the reference: its mean density, its order of temperatures.

        Raises InputError, with both values, where the two cannot be compared: units, box, kind, cell size, ...
        """

    def memorization(
        self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: float
    ) -> xr.Dataset:
        """Nearest-neighbour similarity to the training set beside that of held-out data.

        ``judged``: ``tolerance`` and ``false_alarms`` of :func:`physgen.diagnostics.memorization`.
        """


def list_domains() -> list[str]:
    """Names of the domains, without importing any."""
    import physgen.domains

    return sorted(m.name for m in pkgutil.iter_modules(physgen.domains.__path__) if m.ispkg)


def get_domain(name: str) -> type[Domain]:
    """The dataclass of the domain called ``name``."""
    if name not in list_domains():
        raise InputError(f"unknown domain {name!r}; choose one of {', '.join(list_domains())}")
    return importlib.import_module(f"physgen.domains.{name}").Domain


def domain_of(ensemble: xr.Dataset) -> type[Domain]:
    """The domain that an ensemble names in its root attributes."""
    name = str(ensemble.attrs.get("domain", ""))
    if not name:
        raise InputError(
            "the ensemble does not say of which physics it is; set its root attribute 'domain' "
            f"to one of {', '.join(list_domains())}"
        )
    return get_domain(name)


def with_units(ensemble: xr.Dataset, domain: Any = None) -> xr.Dataset:
    """The ensemble with the root attributes that say what is independent in it (:mod:`physgen.ensemble.units`).

    They are those of ``domain``, else of the domain that the ensemble names. One that says itself what its units are,
    or names no domain, is returned as it is.
    """
    from physgen.ensemble import unit_attrs

    name = str(ensemble.attrs.get("domain", ""))
    if "independent_unit" in ensemble.attrs or (domain is None and name not in list_domains()):
        return ensemble
    said = get_domain(name) if domain is None else domain
    more = [tuple(getattr(said, words, ())) for words in ("exchangeable", "unit_within")]
    return ensemble.assign_attrs(unit_attrs(said.split_by, *more))


def check_same_domain(ensemble: xr.Dataset, domain: str, name: str, owner: str) -> None:
    """Raise InputError where two ensembles are of different physics. One that names no domain, anybody's file,
    passes."""
    found = ensemble.attrs.get("domain") or domain
    if found != domain:
        raise InputError(f"{name} is of the domain {found!r}, {owner} of {domain!r}: give files of the same physics")
