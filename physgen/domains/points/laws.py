r"""The laws of vectors that are known: their exact denoiser, and of which class a vector is.

Means of K classes without given ones: the components are cut into :math:`\lceil\log_2 K\rceil` blocks, and the bits of
the class are the signs of :math:`\mu` on them, so that :math:`|c|^2 = d\mu^2`: two are at
:math:`\pm\mu(1, ..., 1)`.

Shapes: B samples, d components, K classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from physgen.diffusion.exact import CurieWeiss, ExactLaw, GaussianMixture, IsingTree, LawMixture, SpinLaw, tree_chain
from physgen.domains.points.binary_sequences import EvenParity, Sequences, heartbeat
from physgen.domains.points.curves import curve_law

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.points.domain import Points

LAW = "law_json"  # root attribute: the fields of the domain that say the law
SMALLEST = 1e-3  # noise level at which the class of a vector is asked for


@dataclass(frozen=True)
class KnownLaw:
    """A law: ``sample`` (n, generator) -> (n, d); ``exact`` its denoiser, None where it has no closed form;
    ``classes`` x (B, d) -> posterior (B, K) of its classes, None where it has one only; ``sequences`` what is known of
    a law of sequences."""

    sample: Callable[[int, torch.Generator], Tensor]
    exact: ExactLaw | None
    classes: Callable[[Tensor], Tensor] | None = None
    sequences: Sequences | EvenParity | None = None

    def log_probability(self, x: Tensor) -> Tensor:
        """ln P of x (B, d) of +1 and -1, natural logarithm, (B,) float64; NaN for a law of real numbers."""
        if self.sequences is not None:
            return self.sequences.log_probability(x)
        if isinstance(self.exact, SpinLaw):
            return self.exact.log_probability_of_known(x)
        if isinstance(self.exact, LawMixture) and isinstance(self.exact.laws[0], SpinLaw):
            return torch.logsumexp(self.exact.known_log_probabilities(x) + self.exact.prior.log(), dim=1)
        return torch.full((len(x),), math.nan, dtype=torch.float64)


def law_of(domain: Points) -> KnownLaw:
    """The law that the fields of the domain name."""
    return LAWS[domain.law](domain)


def law_attribute(domain: Points) -> str:
    """The fields that say the law, as the root attribute ``law_json`` of an ensemble."""
    said = ("law", "dimension", *SETTINGS[domain.law], *(["binary"] if domain.binary else []))
    used = {name: getattr(domain, name) for name in said}
    return json.dumps(used, sort_keys=True)


def attribute_fields(text: str, dimension: int) -> dict[str, Any]:
    """Fields of the domain from :func:`law_attribute`; {} where it is none, or of vectors of another dimension."""
    try:
        found = json.loads(text)
        return found if found["law"] in LAWS and found["dimension"] == dimension else {}
    except (ValueError, TypeError, KeyError):
        return {}


def named_law(ensemble: xr.Dataset, dimension: int | None = None) -> Points | None:
    """The domain with the fields that an ensemble, or a template of so many components, says are those of its law."""
    from physgen.domains.points.domain import Points
    from physgen.domains.points.settings import as_fields

    said = attribute_fields(str(ensemble.attrs.get(LAW, "")), dimension or ensemble.sizes["component"])
    return Points(**as_fields(said)) if said else None


def class_means(domain: Points) -> Tensor:
    """Centres (K, d) of the Gaussian classes, float64."""
    if domain.law == "mixture" and domain.means:
        return torch.tensor(domain.means, dtype=torch.float64)
    count, blocks = len(domain.weights), blocks_of(len(domain.weights))
    block = (torch.arange(domain.dimension) * blocks) // domain.dimension
    bits = (torch.arange(count)[:, None] >> block) & 1
    return domain.separation * (1 - 2 * bits.double())


def blocks_of(classes: int) -> int:
    """Blocks of components whose signs tell so many classes apart."""
    return max(1, math.ceil(math.log2(classes)))


def _mixture(domain: Points) -> KnownLaw:
    means, weights = class_means(domain), torch.tensor(domain.weights, dtype=torch.float64)
    law = GaussianMixture(means, torch.full((len(means),), domain.sigma**2, dtype=torch.float64), weights)
    return KnownLaw(law.sample, law, lambda x: law.responsibilities(x.double(), torch.tensor(SMALLEST)))


def _gaussian(domain: Points) -> KnownLaw:
    law = _centred_gaussian(torch.diag(gaussian_spectrum(domain)))
    return KnownLaw(law.sample, law)


def gaussian_spectrum(domain: Points) -> Tensor:
    """Variances (d,) of the components, float64."""
    if domain.spectrum:
        return torch.tensor(domain.spectrum, dtype=torch.float64)
    return torch.arange(1, domain.dimension + 1, dtype=torch.float64) ** -domain.slope


def _centred_gaussian(covariance: Tensor) -> GaussianMixture:
    return GaussianMixture(torch.zeros(1, len(covariance), dtype=torch.float64), covariance[None])


def _manifold(domain: Points) -> KnownLaw:
    r""":math:`x = \phi(F z/\sqrt{p}) + \sigma\epsilon`, F (d, p) of normal numbers, z standard normal (p,)."""
    generator = torch.Generator().manual_seed(domain.law_seed)
    shape = (domain.dimension, domain.latent)
    loading = torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(domain.latent)
    noise = domain.sigma**2 * torch.eye(domain.dimension, dtype=torch.float64)
    if domain.activation == "linear":
        law = _centred_gaussian(loading @ loading.T + noise)
        return KnownLaw(law.sample, law)

    def sample(n: int, generator: torch.Generator) -> Tensor:
        latent = torch.randn(n, domain.latent, generator=generator, dtype=torch.float64)
        noise = torch.randn(n, domain.dimension, generator=generator, dtype=torch.float64)
        return torch.tanh(latent @ loading.T) + domain.sigma * noise

    return KnownLaw(sample, None)


def _curie_weiss(domain: Points) -> KnownLaw:
    field = torch.full((domain.dimension,), domain.external_field, dtype=torch.float64)
    law = CurieWeiss(domain.beta, (domain.dimension,), field)

    def classes(x: Tensor) -> Tensor:
        up = (1 + torch.sign(x.double().sum(1))) / 2  # one half for no magnetisation
        return torch.stack([up, 1 - up], dim=1)

    return KnownLaw(law.sample, law, classes)


def _ising_chains(domain: Points) -> KnownLaw:
    size, ones = domain.dimension, torch.ones(domain.dimension, dtype=torch.float64)
    chains = tuple(
        IsingTree(tree_chain(size), bond * ones, 1.0, (size,), tilt * ones)
        for bond, tilt in zip(domain.bonds, domain.tilts or (0.0,) * len(domain.bonds), strict=True)
    )
    law = LawMixture(chains, torch.tensor(domain.weights, dtype=torch.float64))

    def classes(x: Tensor) -> Tensor:
        return law.class_posterior(torch.sign(x.double()), torch.tensor(0.1))

    return KnownLaw(law.sample, law, classes if len(chains) > 1 else None)


def _curve(domain: Points) -> KnownLaw:
    law = curve_law(domain.law, domain.sigma, domain.weights)
    return KnownLaw(law.sample, law.exact, law.classes if len(law.curves) > 1 else None)


def _sequences(domain: Points) -> KnownLaw:
    if domain.law == "heartbeat":
        known = heartbeat(domain.dimension, domain.period)
    else:
        ones = torch.tensor(domain.sequences, dtype=torch.float64)
        known = Sequences(2 * ones - 1, torch.tensor(domain.weights, dtype=torch.float64))
    return KnownLaw(known.exact.sample, known.exact, sequences=known)


def _parity(domain: Points) -> KnownLaw:
    law = EvenParity(domain.dimension)
    return KnownLaw(law.sample, law, sequences=law)


LAWS: dict[str, Callable[[Points], KnownLaw]] = {
    "two_gaussians": _mixture,
    "mixture": _mixture,
    "gaussian": _gaussian,
    "hidden_manifold": _manifold,
    "curie_weiss": _curie_weiss,
    "ising_chains": _ising_chains,
    "swiss_roll": _curve,
    "two_moons": _curve,
    "rings": _curve,
    "heartbeat": _sequences,
    "sequences": _sequences,
    "parity": _parity,
}
PLANE = ("swiss_roll", "two_moons", "rings")  # laws of 2 components
BINARY = ("heartbeat", "sequences", "parity")  # laws of +1 and -1 that are learned as such
SPINS = ("curie_weiss", "ising_chains")  # laws of +1 and -1 that are learned as real numbers unless binary says so
SETTINGS = {  # the fields that each law reads besides its dimension
    "two_gaussians": ("separation", "sigma", "weights"),
    "mixture": ("means", "separation", "sigma", "weights"),
    "gaussian": ("spectrum", "slope"),
    "hidden_manifold": ("latent", "activation", "sigma", "law_seed"),
    "curie_weiss": ("beta", "external_field"),
    "ising_chains": ("bonds", "tilts", "weights"),
    "swiss_roll": ("sigma",),
    "two_moons": ("sigma", "weights"),
    "rings": ("sigma", "weights"),
    "heartbeat": ("period",),
    "sequences": ("sequences", "weights"),
    "parity": (),
}
