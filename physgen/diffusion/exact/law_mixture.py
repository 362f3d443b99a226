r"""A mixture of any exact laws, with the posterior of its classes.

:math:`p(x_0) = \sum_j w_j p_j(x_0)` has :math:`p_s(y) = \sum_j w_j p_{j,s}(y)`, the posterior of the class

.. math:: p(j|y) = w_j p_{j,s}(y) / p_s(y), \qquad D(y) = \sum_j p(j|y)\, D_j(y).

The same for spins that are known at some sites, and for spins that were flipped: the classes of discrete diffusion.

Shapes: B batch, J laws, C channels, \*grid lattice. Work is done in float64: log densities are large and nearly equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition
from physgen.diffusion.exact.law import ExactLaw
from physgen.diffusion.exact.spins import SpinLaw
from physgen.errors import InputError


@dataclass(frozen=True, eq=False)
class LawMixture(ExactLaw):
    r"""Mixture of laws of the same shape, all with a density under noise: spins with spins, fields with fields.

    Args:
        laws: the classes, at least one.
        weights: (J,), > 0; they are normalised. None is equal weights.

    Raises:
        ValueError: no law, or weights that do not fit.
    """

    laws: Sequence[ExactLaw]
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.laws)
        if count == 0:
            raise ValueError("a mixture needs at least one law, got none")
        if self.weights is not None and (self.weights.shape != (count,) or not bool((self.weights > 0).all())):
            raise ValueError(f"weights must be {count} positive numbers, got {self.weights.tolist()}")

    @property
    def prior(self) -> Tensor:
        """Normalised weights w (J,), float64."""
        weights = torch.ones(len(self.laws)) if self.weights is None else self.weights
        return weights.double() / weights.double().sum()

    def class_log_densities(self, y: Tensor, s: Tensor) -> Tensor:
        r""":math:`\log p_{j,s}(y)`, (B, J), float64."""
        wide, level = y.double(), s.double().expand(len(y))
        return torch.stack([law.log_density(wide, level) for law in self.laws], dim=1)

    def class_posterior(self, y: Tensor, s: Tensor) -> Tensor:
        r""":math:`p(j|y)`, (B, J), float64."""
        return self._posterior(self.class_log_densities(y, s))

    def class_denoisers(self, y: Tensor, s: Tensor) -> Tensor:
        r""":math:`D_j(y, s)`, (B, J, C, \*grid), float64."""
        wide, level = y.double(), s.double().expand(len(y))
        return torch.stack([law(wide, level) for law in self.laws], dim=1)

    def class_spread(self, y: Tensor, s: Tensor) -> Tensor:
        r""":math:`\sum_j p(j|y) |D_j - D|^2`, (B,), float64: what knowing the class would take off the squared error.

        Its mean gives the rate at which noise destroys information on the class, see
        :func:`physgen.diagnostics.regimes.information.class_information`.
        """
        posterior, means = self.class_posterior(y, s), self.class_denoisers(y, s).flatten(2)
        mean = torch.einsum("bj,bjd->bd", posterior, means)
        return torch.einsum("bj,bj->b", posterior, (means - mean[:, None]).square().sum(2))

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        means = self.class_denoisers(y, s)
        return torch.einsum("bj,bj...->b...", self.class_posterior(y, s), means).to(y.dtype)

    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        joint = self.class_log_densities(y, s) + self.prior.log().to(y.device)
        return torch.logsumexp(joint, dim=1).to(y.dtype)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.sample_with_class(n, generator)[0]

    def sample_with_class(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        r"""n independent draws (n, C, \*grid) and the number (n,) of the law that each comes from."""
        prior = self.prior.to(generator.device)
        number = torch.multinomial(prior, n, replacement=True, generator=generator)
        place = number.argsort(stable=True).argsort(stable=True)  # of each draw when those of one law stand together
        counts = torch.bincount(number, minlength=len(self.laws)).tolist()
        drawn = [law.sample(count, generator) for law, count in zip(self.laws, counts, strict=True) if count]
        x = torch.cat(drawn)[place.to(drawn[0].device)]
        return x, number.to(x.device)

    def known_log_probabilities(self, x: Tensor) -> Tensor:
        r""":math:`\log p_j(\text{known spins})` (B, J) of x (B, C, \*grid), 0 where a spin is not known."""
        return torch.stack([law.log_probability_of_known(x) for law in self._spin_laws()], dim=1)

    def known_posterior(self, x: Tensor) -> Tensor:
        r"""Posterior (B, J) of the classes given the known spins of x (B, C, \*grid), 0 where a spin is not known."""
        return self._posterior(self.known_log_probabilities(x))

    def flipped_log_probabilities(self, x: Tensor, correlation: Tensor) -> Tensor:
        r""":math:`\log p_j(x)` (B, J) of spins flipped with probability (1 - correlation)/2 each."""
        return torch.stack([law.log_probability_of_flipped(x, correlation) for law in self._spin_laws()], dim=1)

    def flipped_posterior(self, x: Tensor, correlation: Tensor) -> Tensor:
        r"""Posterior (B, J) of the classes given spins that were flipped with probability (1 - correlation)/2 each."""
        return self._posterior(self.flipped_log_probabilities(x, correlation))

    def _posterior(self, log_densities: Tensor) -> Tensor:
        return torch.softmax(log_densities + self.prior.log().to(log_densities.device), dim=1)

    def _spin_laws(self) -> list[SpinLaw]:
        laws = [law for law in self.laws if isinstance(law, SpinLaw)]
        if len(laws) < len(self.laws):
            names = ", ".join(sorted({type(law).__name__ for law in self.laws} - {type(law).__name__ for law in laws}))
            raise InputError(f"known and flipped spins are for laws of spins with a partition function, got {names}")
        return laws
