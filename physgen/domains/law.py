"""What is known of the law of a domain without data: a denoiser, a density. Part of the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from physgen.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    import xarray as xr

    LogTarget = Callable[[torch.Tensor, int], torch.Tensor]
    LogLaw = Callable[[torch.Tensor, int, float], torch.Tensor]
    Condition = Mapping[str, torch.Tensor] | None
    ConditionalTarget = Callable[[torch.Tensor, Condition], torch.Tensor]
    TrainingTarget = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Condition], torch.Tensor]


@dataclass(frozen=True)
class Observable:
    """A number that each configuration has.

    Attributes:
        name: an identifier. long_name, units: of its mean.
        values: numbers of flattened samples (n,) -> (n,) float64.
    """

    name: str
    long_name: str
    units: str
    values: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PairObservable:
    """A number that each pair of configurations under one condition has, symmetric, such as their likeness.

    Attributes:
        name: an identifier. long_name, units: of its mean over pairs of two different configurations.
        values: numbers of flattened samples (n,) and (m,) -> (n, m) float64.
    """

    name: str
    long_name: str
    units: str
    values: Callable[[np.ndarray, np.ndarray], np.ndarray]


class Law:
    """What a :class:`physgen.domains.contract.Domain` knows of its law; see there for the words."""

    def exact_denoiser(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor] | None:
        """Exact D(y, s, condition) for the samples of ``template``; None where the law has none in closed form."""
        return None

    @classmethod
    def compare_sizes(cls, ensembles: Sequence[xr.Dataset]) -> dict[str, xr.Dataset]:
        """Statistics of systems of several sizes, one ensemble each, and where their curves cross.

        Returns name -> Dataset over ``size`` and a condition, see :func:`physgen.figures.size_crossings`. Raises
        InputError where the physics has none, which is the default.
        """
        raise InputError("this physics has no statistics of several sizes: compare runs that were judged instead")

    def training_target(self, kind: str, constants: Mapping[str, Any], sweeps: int = 0) -> TrainingTarget | None:
        """A conditional mean :math:`E[x_0 | y, ...]` to train towards, (x0, y, s, condition) -> shape of x0.

        ``kind`` is "conditional", given y and the surroundings of each site, or "exact", given y alone. With ``sweeps``
        the former is averaged over the states of a chain of so many sweeps of the law given y, from x0 on. None where
        the law does not give what is asked for.
        """
        return None

    def conditional_log_target(self, constants: Mapping[str, Any]) -> ConditionalTarget | None:
        r"""The same law as :meth:`log_target`, of x (B, C, \*grid) float64 and the condition of each, (B,).

        A training asks for it, which knows conditions and no template. None where only data are known.
        """
        return None

    def log_target(self, template: xr.Dataset, constants: Mapping[str, Any]) -> LogTarget | None:
        r"""ln of the law of encoded x up to a constant of each condition, :math:`\ln\tilde p(x|c) = \ln p + \ln Z_c`.

        A function of x (b, C, \*grid) float64 and the number of a flattened sample of ``template``, whose condition c
        is meant: (b,) float64. None where only data are known.
        """
        return None

    def log_law(self, template: xr.Dataset, constants: Mapping[str, Any]) -> LogLaw | None:
        r"""ln p of encoded x with noise of level s under the law itself, norm included.

        A function of y = x + s z (b, C, \*grid) float64, the number of a flattened sample of ``template``, whose
        condition is meant, and s: (b,) float64, NaN where it has no closed form. Discrete values have s = 0, and p is a
        probability. None where only data are known.
        """
        return None

    def local_moves(self, ensemble: xr.Dataset, sweeps: int, seed: int) -> xr.Dataset:
        """The ensemble after ``sweeps`` sweeps of local moves that leave the law of each configuration unchanged.

        A configuration moves alike in any company. Raises InputError where the physics knows none, the default.
        """
        raise InputError(
            f"sweeps = {sweeps}: this physics knows no local moves that leave its law unchanged: leave sweeps out"
        )

    def simulate_proposed(
        self,
        seed: int,
        proposals: Callable[..., Any],
        every: int,
        given: xr.Dataset | None = None,
        processes: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """As ``simulate``, or ``simulate_given`` of a template, by a Monte Carlo that takes proposals.

        ``proposals``: (template, count) -> function of configurations and a number -> others, and the logarithms of the
        ratios with which they are accepted; asked every ``every`` sweeps. Raises InputError where the physics has no
        Monte Carlo that takes them, the default.
        """
        raise InputError("this physics has no Monte Carlo that takes proposals of a network: leave proposals out")

    def observables(self, ensemble: xr.Dataset) -> Sequence[Observable | PairObservable]:
        """What weighted draws are averaged over, :class:`Observable` and :class:`PairObservable`; none."""
        return ()

    def identities(self, ensemble: xr.Dataset) -> tuple[Sequence[Any], Sequence[Any]] | None:
        """Averages that the law fixes exactly, of any ensemble that claims to follow it, without a reference.

        Those that were measured and those that do not apply, :class:`physgen.diagnostics.identity.Identity` and
        ``Absent``. None where the domain knows none.
        """
        return None

    def fits_lattice(self, options: Mapping[str, Any], trained: Sequence[int], grid: Sequence[int]) -> bool:
        """Whether a network of these ``options``, trained on the lattice ``trained``, knows the law on ``grid`` too."""
        return tuple(trained) == tuple(grid)
