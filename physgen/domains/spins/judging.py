"""What spins are judged by: part of the domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.identity import Absent, Identity
    from physgen.domains.contract import Observable, PairObservable


class SpinJudging:
    """The answers of :class:`physgen.domains.spins.Spins` on ensembles that are there already."""

    def confront(self, reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
        """``other`` with the temperatures and the order of instances of the reference; see ``confront.py``."""
        from physgen.domains.spins.confront import confront_spins

        return confront_spins(reference, other, name)

    def restrict(self, reference: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
        """The reference at the temperatures that ``other`` holds as well."""
        from physgen.domains.quenched import match_temperatures

        return match_temperatures(other, reference, "the reference")

    def diagnostics(self) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        """Name -> diagnostic; see ``diagnostics.py``."""
        from physgen.domains.spins.diagnostics import DIAGNOSTICS

        return dict(DIAGNOSTICS)

    def observables(self, ensemble: xr.Dataset) -> list[Observable | PairObservable]:
        """Energy, modulus and square of the magnetization, square of the overlap; see ``observables.py``."""
        from physgen.domains.spins.observables import spin_observables

        return spin_observables(ensemble)

    def local_moves(self, ensemble: xr.Dataset, sweeps: int, seed: int) -> xr.Dataset:
        """Heat-bath sweeps, each configuration at its own temperature; see ``sweeps.py``."""
        from physgen.domains.spins.sweeps import swept

        return swept(ensemble, sweeps, seed)

    def identities(self, ensemble: xr.Dataset) -> tuple[Sequence[Identity], Sequence[Absent]]:
        """Callen, drift, exchange, flip balance, Katzgraber-Young and Nishimori; see ``certificate.py``."""
        from physgen.domains.spins.certificate import spin_identities

        return spin_identities(ensemble)

    def memorization(
        self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: float
    ) -> xr.Dataset:
        """Largest overlap with a training configuration, beside that of held-out data of the same instances."""
        from physgen.domains.spins.overlap import spin_memorization

        return spin_memorization(generated, train, heldout, **judged)

    def orbit(self, ensemble: xr.Dataset) -> str:
        """``flip`` of all spins, where it changes no energy: couplings leave no symmetry of the lattice."""
        from physgen.domains.spins.layout import disorder_of

        return "flip" if disorder_of(ensemble).flips else "none"
