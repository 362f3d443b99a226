"""Angles as a kind of value: unit vectors of the plane."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from physgen.diffusion.names import PLAIN_HEAD, HeadName
from physgen.diffusion.values import Values
from physgen.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from physgen.diffusion.learning.prior_spectrum import Spectrum
    from physgen.diffusion.values import PathMaking

# The last step of a sampler takes the mean direction, without the variance s^2 that the posterior of an angle has: a
# bond loses s^2 of its mean square difference, and an XY energy comes out low by 1.4 s^2 a site: .0013 at .03
SMALLEST_LEVEL = 0.03
LARGEST_LEVEL = 0.1


@dataclass(frozen=True)
class Circle(Values):
    r"""An angle at each site, as the vector :math:`e(\theta) = (\cos\theta, \sin\theta)`: two components.

    The denoiser gives the mean vector; drawing ends at its direction. ``bonds``: the entry of the condition,
    (B, 2d, \*grid), with K of the weight :math:`e^{K e_i \cdot e_j}` of each bond, if there is one
    (:class:`physgen.diffusion.inference.circle_pairs.CirclePairs`). Weights of paths are those of densities per radian.
    """

    name: ClassVar[str] = "angle"
    baseline: ClassVar[str] = "independent angles"

    bonds: str | None = None

    def denoiser(self, network: nn.Module, spectrum: Spectrum | None = None, head: HeadName = PLAIN_HEAD) -> nn.Module:
        """See :class:`physgen.diffusion.learning.circle.CircleDenoiser`."""
        from physgen.diffusion.learning.circle import CircleDenoiser

        if spectrum is not None or head != PLAIN_HEAD:
            raise ValueError(f"angles have no prior spectrum and the head {PLAIN_HEAD} alone, got {head!r}")
        return CircleDenoiser(network)

    def smallest_level(self, power: Tensor) -> float:
        """0.03: see the note above it."""
        return SMALLEST_LEVEL

    def check_smallest_level(self, s_min: float) -> None:
        """At most 0.1."""
        if s_min > LARGEST_LEVEL:
            raise InputError(
                f"diffusion.s_min={s_min:g} is too large for angles: the last step then takes the mean direction "
                f"instead of drawing one, and samples come out too cold; set it to {LARGEST_LEVEL:g} or less (left out "
                f"it is {SMALLEST_LEVEL:g})"
            )

    def moments(self, blocks: Iterable[np.ndarray]) -> tuple[list[float], list[float]]:
        """0 and 1: nothing is scaled."""
        channels = next(iter(blocks)).shape[1]
        return [0.0] * channels, [1.0] * channels

    def to_allowed(self, x: np.ndarray) -> np.ndarray:
        r"""The unit vector of the direction of (B, 2, \*grid), (1, 0) of none."""
        import numpy as np

        angle = np.arctan2(x[:, 1:], x[:, :1])
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)

    def path_kernel(self) -> PathMaking:
        """A mixture over the circle at each site, read out at the last step; neighbours together over known bonds."""
        from physgen.diffusion.inference.circle_kernel import CircleMixture
        from physgen.diffusion.inference.circle_pairs import CirclePairs

        return CircleMixture() if self.bonds is None else CirclePairs(self.bonds), "angle"
