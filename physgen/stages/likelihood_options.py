"""What a request for likelihoods asks: methods, steps, probes, paths; and which methods there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from physgen.errors import InputError

ALL = "all"
FLOWS = ("flow", "hutchinson", "exact", "jacobian")
CHAIN, LAW = ("vlb", "path"), "law"
# what all means, and of discrete values what there is
OF_DENSITIES, OF_PROBABILITIES, OF_ORDERS = ("flow", "bound", *CHAIN, LAW), (*CHAIN, "bound", LAW), (*CHAIN, LAW)
METHODS = (*FLOWS, "bound", *CHAIN, LAW)
STEPS = {"bound": 32, "vlb": 64, "path": 64} | dict.fromkeys(FLOWS, 24)
KERNELS = ("covariance", "ancestral")


@dataclass(frozen=True)
class LikelihoodOptions:
    """How ln p is found.

    Args:
        method: one of ``METHODS``, several with commas, or ``all`` that mean something. Of densities: ``flow``
            (probability flow; ``exact`` up to 32 values, ``hutchinson`` above), ``hutchinson`` (trace by probes),
            ``exact`` (as many backward passes as there are values), ``jacobian`` (of the discrete steps of Heun's
            method themselves, as dear), ``bound`` (from denoising errors, no gradients; a lower bound unless the
            denoiser is exact). Of densities and of the probabilities of discrete values: ``vlb`` (variational bound of
            the chain, with its parts at each level), ``path`` (the bound that reversed paths give together, which
            grows with their number to ln p of the chain), ``bound`` (of infinitely many steps), ``law`` (the law of the
            data, where it is known). The first one is what ``ln_p`` is.
        probes: of ``hutchinson``; draws of ``bound``.
        steps: of the flow and the chain; noise levels of each draw of ``bound``. None for 24, 64 and 32.
        seed: of the noise that the data get, of probes, draws and paths.
        paths: reversed paths of each configuration, of ``vlb`` and ``path``.
        kernel: of the chain of real numbers: ``covariance`` (steps as wide as the posterior of the Gaussian surrogate)
            or ``ancestral`` (DDPM).
    """

    method: str = ALL
    probes: int = 8
    steps: int | None = None
    seed: int = 0
    paths: int = 16
    kernel: Literal["covariance", "ancestral"] = "covariance"

    def __post_init__(self) -> None:
        for name in self.method.split(","):
            if name not in (*METHODS, ALL):
                raise InputError(f"method = {name!r} is unknown: choose of {', '.join(METHODS)}, or {ALL}")
        if self.probes < 2 or self.paths < 2:
            few = "probes" if self.probes < 2 else "paths"
            raise InputError(f"{few} = {getattr(self, few)} give no error: take at least 2")
        if self.steps is not None and self.steps < 2:
            raise InputError(f"steps = {self.steps} are too few: take at least 2, or leave it out")
        if self.kernel not in KERNELS:
            raise InputError(f"kernel = {self.kernel!r} is unknown: choose one of {', '.join(KERNELS)}")

    def steps_of(self, method: str) -> int:
        """Steps of a method, or noise levels of a draw."""
        return self.steps or STEPS[method]

    def methods(self, every: tuple[str, ...], are_densities: bool) -> tuple[str, ...]:
        """The methods in their order, without repetition; ``every`` is what all means.

        Raises InputError for one that neither is in ``every`` nor is a density where configurations have one.
        """
        named = self.method.split(",")
        found = tuple(dict.fromkeys(name for word in named for name in (every if word == ALL else (word,))))
        wrong = [name for name in found if name not in every and not are_densities]
        if wrong:
            raise InputError(
                f"method = {wrong[0]!r} is a density of real numbers under noise, and these configurations have "
                f"probabilities instead: choose of {', '.join(every)}, or {ALL}"
            )
        return found
