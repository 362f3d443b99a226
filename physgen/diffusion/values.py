r"""Kinds of value that a configuration can have: real numbers, +-1, one of q kinds.

A domain names one, ``values: ClassVar[Values] = Binary()`` or a property of its fields, and everything that depends on
it is asked of that object: how a denoiser is built around a network, which noise levels are trained, whether a prior
spectrum is fitted, what its baseline is called. Angles are in :mod:`physgen.diffusion.circle`; a further kind is a
further class here, in a file like that, or in the folder of its domain.

Which noise levels a sampler gets follows from the denoiser that ``denoiser`` returns: one that carries a prior spectrum
(attribute ``spectrum``) has a Gaussian surrogate on which the levels are chosen; any other gets log-uniform ones.

Shapes: B configurations, C channels, \*grid lattice, \*rfft its half-spectrum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from physgen.diffusion.names import HEADS, PLAIN_HEAD, HeadName
from physgen.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from physgen.diffusion.inference.path_weights import Readout
    from physgen.diffusion.inference.reverse_kernels import PathKernel
    from physgen.diffusion.learning.prior_covariance import Vectors
    from physgen.diffusion.learning.prior_spectrum import ShellPower, Spectrum

    Measured = Tensor | ShellPower | Vectors
    PathMaking = tuple[PathKernel, Readout]

# s_max = 10 sqrt(P) starts the largest mode with 1/100 of its variance missing, s_min = sqrt(P)/10 ends the
# smallest one with 1/100 missing
START, END = 10.0, 0.1
BINARY_S_MIN = 0.2  # the nearest vertex is then wrong for less than one spin in a million
# Above it the nearest vertex is the likeliest configuration, not a drawn one: with the exact denoiser of 2-D glasses at
# T = 1, energies per site come out low by .001 at .4, .003 at .5, .014 at .7, .029 at 1. Drawing each site from its
# mean errs as much the other way (.013 at .7, .067 at 1): the sites of a posterior are not independent.
BINARY_LARGEST_S_MIN = 0.4
OF_KINDS = 0.5**0.5  # two vectors of a single one lie sqrt(2) apart, +1 and -1 lie 2 apart: levels scale with it


def _check_plain(head: HeadName) -> None:
    if head != PLAIN_HEAD:
        raise ValueError(f"values that are not real have the head {PLAIN_HEAD} alone, got {head!r}")


@dataclass(frozen=True)
class Values(ABC):
    """One kind of value.

    =============  =============================================================================================
    ``name``       one word for the kind
    ``has_prior``  whether :meth:`prior_spectrum` gives one, and so noise levels can be chosen and checked
    ``baseline``   what the network's loss is compared with, as a noun phrase: "the denoising loss over that of ..."
    ``heads``      what a network may predict
    =============  =============================================================================================
    """

    name: ClassVar[str]
    has_prior: ClassVar[bool] = False
    baseline: ClassVar[str]
    heads: ClassVar[tuple[HeadName, ...]] = (PLAIN_HEAD,)
    can_be_masked: ClassVar[bool] = False

    @abstractmethod
    def denoiser(self, network: nn.Module, spectrum: Spectrum | None = None, head: HeadName = PLAIN_HEAD) -> nn.Module:
        """D(y, s, condition) around F(x, c_noise, condition), with a method ``baseline(y, s, condition)``.

        ``spectrum`` is what :meth:`prior_spectrum` gave, ``head`` one of :attr:`heads`.
        """

    def masked_denoiser(self, network: nn.Module) -> nn.Module:
        """The model of masked diffusion around F(x, u, condition), where these values :attr:`can_be_masked`."""
        raise ValueError(f"{self.name} values cannot be masked")

    @abstractmethod
    def smallest_level(self, power: Tensor) -> float:
        r"""s_min where the configuration of a run gives none; ``power`` (1, C, \*rfft) of the Fourier modes."""

    def check_smallest_level(self, s_min: float) -> None:
        """Raise InputError where drawing cannot end at ``s_min``."""
        return None

    def prior_spectrum(
        self, x: Measured, labels: Tensor | None = None, cell_size: Sequence[float] | None = None
    ) -> Spectrum | None:
        r"""Spectrum of the training data x (B, C, \*grid) that the denoiser starts from; None where there is none."""
        return None

    def noise_range(
        self,
        x: Measured,
        cell_size: Sequence[float] | None = None,
        s_min: float | None = None,
        s_max: float | None = None,
    ) -> tuple[float, float]:
        r"""(s_min, s_max) to train on: :meth:`smallest_level` and :math:`10 \sqrt{P_{max}}` of the Fourier modes.

        Args:
            x: encoded training data (B, C, \*grid), or their power by shells.
            cell_size: along each axis (cubic cells where None).
            s_min, s_max: values of the configuration, which win.

        Raises:
            InputError: the range is empty, or ends where this kind cannot be drawn.
        """
        from physgen.diffusion.learning.prior_spectrum import fit_spectrum

        power = fit_spectrum(x, cell_size=cell_size).ln_power.exp()
        first = s_max or START * float(power.max().sqrt())
        last = s_min or self.smallest_level(power)
        if last >= first:
            raise InputError(f"diffusion.s_min={last:g} must lie below diffusion.s_max={first:g}: change one of them")
        self.check_smallest_level(last)
        return last, first

    def moments(self, blocks: Iterable[np.ndarray]) -> tuple[list[float], list[float]]:
        r"""Mean and standard deviation of each channel, by which the default encoding scales.

        ``blocks``: the data in parts (b, C, \*grid), gone through once; float64, by the merging rule of Chan, Golub &
        LeVeque 1979, which loses no digits to a large mean.
        """
        import numpy as np

        count, mean, square = 0, np.zeros(1), np.zeros(1)
        for x in blocks:
            axes = (0, *range(2, x.ndim))
            more, centre = x.size // x.shape[1], x.mean(axes, dtype="f8")
            step, total = centre - mean, count + more
            square = square + x.var(axes, dtype="f8") * more + step**2 * (count * more / total)
            mean, count = mean + step * (more / total), total
        return mean.tolist(), ((square / count) ** 0.5).tolist()

    def to_allowed(self, x: np.ndarray) -> np.ndarray:
        """The nearest allowed value of each number that a sampler drew."""
        return x

    def path_kernel(self) -> PathMaking | None:
        """How paths with weights are drawn, of :mod:`physgen.diffusion.inference.path_weights`; None: not yet."""
        return None


@dataclass(frozen=True)
class Real(Values):
    """Real numbers of order one: a Wiener filter with the training spectrum, and a network on top of it."""

    name: ClassVar[str] = "real"
    has_prior: ClassVar[bool] = True
    baseline: ClassVar[str] = "the Wiener filter with the training spectrum"
    heads: ClassVar[tuple[HeadName, ...]] = HEADS

    def denoiser(self, network: nn.Module, spectrum: Spectrum | None = None, head: HeadName = PLAIN_HEAD) -> nn.Module:
        """:class:`physgen.diffusion.learning.denoisers.FieldDenoiser`, or another head."""
        from physgen.diffusion.learning.denoisers import FieldDenoiser
        from physgen.diffusion.learning.heads import EnergyDenoiser, PredictionDenoiser

        if head == PLAIN_HEAD:
            return FieldDenoiser(network, spectrum)
        return EnergyDenoiser(network, spectrum) if head == "energy" else PredictionDenoiser(network, head, spectrum)

    def smallest_level(self, power: Tensor) -> float:
        r""":math:`\sqrt{P_{min}}/10`, at least 0.001."""
        return max(END * float(power.min().sqrt()), 1e-3)

    def prior_spectrum(
        self, x: Measured, labels: Tensor | None = None, cell_size: Sequence[float] | None = None
    ) -> Spectrum | None:
        """Of maximal Whittle likelihood, log-quadratic in the labels."""
        from physgen.diffusion.learning.prior_spectrum import fit_spectrum

        return fit_spectrum(x, labels, cell_size=cell_size)


@dataclass(frozen=True)
class Binary(Values):
    r"""+1 and -1: the magnetisation :math:`\tanh(y/s^2 + \ldots)`; drawing ends at the nearest vertex.

    ``bonds``: the entry of the condition, (B, 2d, \*grid), that holds what couples each site to its neighbours, if one
    does (:class:`physgen.diffusion.inference.paired_kernel.PairedMixture`).
    """

    name: ClassVar[str] = "binary"
    baseline: ClassVar[str] = "free spins"

    bonds: str | None = None
    can_be_masked: ClassVar[bool] = True

    def denoiser(self, network: nn.Module, spectrum: Spectrum | None = None, head: HeadName = PLAIN_HEAD) -> nn.Module:
        """See :class:`physgen.diffusion.learning.denoisers.SpinDenoiser`."""
        from physgen.diffusion.learning.denoisers import SpinDenoiser

        if spectrum is not None:
            raise ValueError("values of +1 and -1 have no prior spectrum, got one")
        _check_plain(head)
        return SpinDenoiser(network)

    def masked_denoiser(self, network: nn.Module) -> nn.Module:
        """See :class:`physgen.diffusion.masked.MaskedDenoiser`."""
        from physgen.diffusion.masked import MaskedDenoiser

        return MaskedDenoiser(network)

    def smallest_level(self, power: Tensor) -> float:
        """0.2: the nearest vertex is then wrong for less than one site in a million."""
        return BINARY_S_MIN

    def check_smallest_level(self, s_min: float) -> None:
        """At most 0.4."""
        if s_min > BINARY_LARGEST_S_MIN:
            raise InputError(
                f"diffusion.s_min={s_min:g} is too large for values of +1 and -1: the last step then takes the "
                "likeliest configuration instead of drawing one, and samples come out too cold; set it to "
                f"{BINARY_LARGEST_S_MIN:g} or less (left out it is {BINARY_S_MIN:g})"
            )

    def moments(self, blocks: Iterable[np.ndarray]) -> tuple[list[float], list[float]]:
        """0 and 1: nothing is scaled."""
        channels = next(iter(blocks)).shape[1]
        return [0.0] * channels, [1.0] * channels

    def to_allowed(self, x: np.ndarray) -> np.ndarray:
        """The sign, +1 at 0."""
        import numpy as np

        return np.where(x >= 0, 1.0, -1.0)

    def path_kernel(self) -> PathMaking:
        """A mixture of both values at each site with a Bernoulli read-out; neighbours together over known bonds."""
        from physgen.diffusion.inference.paired_kernel import PairedMixture
        from physgen.diffusion.inference.reverse_kernels import SpinMixture

        return SpinMixture() if self.bonds is None else PairedMixture(self.bonds), "bernoulli"


@dataclass(frozen=True)
class Categorical(Values):
    r"""One of q kinds at each site, as a vector of q components that are zero but for a single one.

    The denoiser gives the probability of each kind; drawing ends at the likeliest one. ``bonds``: the entry of the
    condition, (B, 2d, \*grid), with ln of the weight of equal kinds at both ends of each bond, if there is one
    (:class:`physgen.diffusion.inference.categorical_pairs.CategoricalPairs`). ``kinds``: q, where it is known: of the
    weight of noise levels in training (:func:`physgen.diffusion.learning.categorical.linear_error`).
    """

    name: ClassVar[str] = "categorical"
    baseline: ClassVar[str] = "independent sites"

    bonds: str | None = None
    kinds: int | None = None

    def denoiser(self, network: nn.Module, spectrum: Spectrum | None = None, head: HeadName = PLAIN_HEAD) -> nn.Module:
        """See :class:`physgen.diffusion.learning.categorical.CategoricalDenoiser`."""
        from physgen.diffusion.learning.categorical import CategoricalDenoiser

        if spectrum is not None:
            raise ValueError("values of one of q kinds have no prior spectrum, got one")
        _check_plain(head)
        return CategoricalDenoiser(network, self.kinds)

    def smallest_level(self, power: Tensor) -> float:
        """0.14: the largest component is then wrong for less than one site in a million."""
        return OF_KINDS * BINARY_S_MIN

    def check_smallest_level(self, s_min: float) -> None:
        """At most 0.28."""
        most = OF_KINDS * BINARY_LARGEST_S_MIN
        if s_min > most:
            raise InputError(
                f"diffusion.s_min={s_min:g} is too large for values of one of q kinds: the last step then takes the "
                f"likeliest configuration instead of drawing one; set it to {most:.2g} or less (left out it is "
                f"{OF_KINDS * BINARY_S_MIN:.2g})"
            )

    def moments(self, blocks: Iterable[np.ndarray]) -> tuple[list[float], list[float]]:
        """0 and 1: nothing is scaled."""
        channels = next(iter(blocks)).shape[1]
        return [0.0] * channels, [1.0] * channels

    def to_allowed(self, x: np.ndarray) -> np.ndarray:
        r"""A one in the place of the largest component of (B, q, \*grid), the first of equal ones."""
        import numpy as np

        largest = np.expand_dims(x.argmax(axis=1), 1)
        return np.where(np.arange(x.shape[1]).reshape(1, -1, *[1] * (x.ndim - 2)) == largest, 1.0, 0.0)

    def path_kernel(self) -> PathMaking:
        """A mixture of all kinds at each site, read out at the last step; neighbours together over known bonds."""
        from physgen.diffusion.inference.categorical_kernel import CategoricalMixture
        from physgen.diffusion.inference.categorical_pairs import CategoricalPairs

        return CategoricalMixture() if self.bonds is None else CategoricalPairs(self.bonds), "categorical"
