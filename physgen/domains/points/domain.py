"""The domain of vectors: what the rest of physgen asks of it, each answer in a file of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from physgen.domains.contract import Domain
from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.diffusion.values import Values


@dataclass(frozen=True)
class Points(Domain):
    r"""Vectors in d dimensions, of a law that is known exactly or from a file.

    ===================  ========================================================================================
    ``law``              x in d dimensions
    ===================  ========================================================================================
    ``two_gaussians``    :math:`w N(\mu 1, \sigma^2) + (1 - w) N(-\mu 1, \sigma^2)`
    ``mixture``          :math:`\sum_j w_j N(c_j, \sigma^2)`; without ``means`` the classes have the signs of blocks
    ``gaussian``         independent components of variances ``spectrum``, else :math:`i^{-\mathrm{slope}}`
    ``hidden_manifold``  :math:`\phi(F z/\sqrt p) + \sigma\epsilon`, z normal in p = ``latent`` dimensions
    ``curie_weiss``      spins +-1 with the weights :math:`e^{\beta (M^2/2d + h M)}`
    ``ising_chains``     open chains of spins +-1; of class j the weights :math:`e^{\sum_i (K_j s_i s_{i+1} + h_j s_i)}`
    ``swiss_roll``       :math:`c(u) + \sigma z` in the plane, c a spiral of rms component 1; ``two_moons``, ``rings``
    ``heartbeat``        d bits, a one every ``period``, all phases alike; ones are +1 and zeros -1
    ``sequences``        given sequences of d bits with ``weights``
    ``parity``           d bits, an even number of them ones
    ===================  ========================================================================================

    Values are real numbers, but for the last three laws and where ``binary`` says so: there they are +1 and -1.
    """

    name: ClassVar[str] = "points"
    description: ClassVar[str] = "vectors of laws that are known exactly (mixtures, manifolds, mean-field spins) or own"
    split_by: ClassVar[str] = "sample"
    network_kind: ClassVar[str] = "mlp"
    array_dimension: ClassVar[int | None] = 0
    learning_settings: ClassVar[tuple[str, ...]] = ("scaling", "binary")
    label_words: ClassVar[str] = "none: vectors are drawn without conditions"
    formats: ClassVar[dict[str, str]] = {
        "vectors_npy": "vectors .npy (sample, component), one or more files",
        "vectors_csv": "table of numbers, a row for each sample, components separated by commas",
    }

    law: Literal[
        "two_gaussians", "mixture", "gaussian", "hidden_manifold", "curie_weiss", "ising_chains", "swiss_roll",
        "two_moons", "rings", "heartbeat", "sequences", "parity",
    ] = field(default="two_gaussians", metadata={"help": "which law"})  # fmt: skip
    dimension: int = field(default=8, metadata={"help": "components d of a vector", "min": 1})
    count: int = field(default=2000, metadata={"help": "vectors, independent of each other", "min": 8})
    separation: float = field(default=1.0, metadata={"help": "classes: mu, each component of a centre is +-mu"})
    sigma: float = field(default=1.0, metadata={"help": "width of a class, or noise on a manifold or curve", "min": 0})
    weights: tuple[float, ...] = field(
        default=(0.5, 0.5), metadata={"help": "parts of the classes, normalised; as many as there are classes"}
    )
    means: tuple[tuple[float, ...], ...] = field(
        default=(), metadata={"help": "mixture: centre of each class, d numbers; left out, +-mu by blocks"}
    )
    spectrum: tuple[float, ...] = field(default=(), metadata={"help": "gaussian: variance of each component"})
    slope: float = field(default=1.0, metadata={"help": "gaussian without spectrum: variances i^-slope, i = 1 to d"})
    latent: int = field(default=2, metadata={"help": "hidden_manifold: dimension p of the manifold", "min": 1})
    activation: Literal["linear", "tanh"] = field(
        default="linear", metadata={"help": "hidden_manifold: phi; linear has an exact denoiser, tanh none"}
    )
    law_seed: int = field(default=0, metadata={"help": "hidden_manifold: seed of F, part of the law", "min": 0})
    beta: float = field(default=1.2, metadata={"help": "curie_weiss: inverse temperature, critical at 1"})
    external_field: float = field(default=0.0, metadata={"help": "curie_weiss: field h on each spin"})
    bonds: tuple[float, ...] = field(
        default=(0.8, -0.8), metadata={"help": "ising_chains: bond K of each class, inverse temperature included"}
    )
    tilts: tuple[float, ...] = field(default=(), metadata={"help": "ising_chains: field h of each class; none"})
    period: int = field(default=5, metadata={"help": "heartbeat: sites from one to the next one", "min": 1})
    sequences: tuple[tuple[int, ...], ...] = field(
        default=(), metadata={"help": "sequences: lists of d ones and zeros, as many as weights"}
    )
    binary: bool = field(
        default=False,
        metadata={
            "help": "the vectors hold +1 and -1 alone and are learned and drawn so (curie_weiss, ising_chains, data "
            "of a file); heartbeat, sequences and parity always are"
        },
    )
    scaling: Literal["overall", "none"] = field(
        default="overall",
        metadata={
            "help": "what the network sees: the vectors less their mean in units of one number, their root mean "
            "square deviation, or none: as they are, so that the noise levels are in the units of the law"
        },
    )

    def __post_init__(self) -> None:
        from physgen.domains.points.settings import check_settings

        check_settings(self)

    @property
    def values(self) -> Values:
        """+1 and -1 for laws of bits and where ``binary`` says so, else real numbers."""
        from physgen.diffusion.values import Binary, Real
        from physgen.domains.points.laws import BINARY

        return Binary() if self.binary or self.law in BINARY else Real()

    # --- ensembles ------------------------------------------------------------------------------

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """Independent vectors of the law."""
        import torch

        from physgen.domains.contract import with_units
        from physgen.domains.points.laws import LAW, law_attribute, law_of
        from physgen.domains.points.load import vectors
        from physgen.domains.points.settings import check_drawn

        check_drawn(self)
        drawn = law_of(self).sample(self.count, torch.Generator().manual_seed(seed))
        config = json.dumps(dataclasses.asdict(self), sort_keys=True)
        said = {"domain": self.name, "seed": int(seed), "config_json": config, LAW: law_attribute(self)}
        return with_units(vectors(drawn.numpy()).assign_attrs(said), self)

    @classmethod
    def load(cls, format: str, paths: Sequence[Path], **options: str) -> xr.Dataset:
        """Read vectors from files; see ``load.py``."""
        from physgen.domains.points.load import load_vectors

        return load_vectors(format, [Path(path) for path in paths], options).assign_attrs(domain=cls.name)

    @classmethod
    def adopt(cls, ensemble: xr.Dataset, like: xr.Dataset | None = None) -> xr.Dataset:
        """Vectors that name no physics; where those of ``like`` have a law, its classes are theirs."""
        from physgen.domains.points.laws import LAW
        from physgen.domains.points.load import check_vectors

        made = super().adopt(check_vectors(ensemble), like)
        known = {} if like is None or LAW not in like.attrs or LAW in made.attrs else {LAW: like.attrs[LAW]}
        return made.assign_attrs(known)

    @classmethod
    def facts(cls, ensemble: xr.Dataset) -> dict[str, Any]:
        """Number of vectors and of components, and the law where it is known."""
        from physgen.domains.points.laws import LAW, attribute_fields

        found = super().facts(ensemble) | {"dimension": ensemble.sizes["component"]}
        said = attribute_fields(str(ensemble.attrs.get(LAW, "")), ensemble.sizes["component"])
        return found | {key: value for key, value in said.items() if key != "dimension" and value != []}

    # --- the core's view ------------------------------------------------------------------------

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        """Mean of each component and one scale for all: distances and angles are kept; nothing of +1 and -1."""
        from physgen.diffusion.values import Binary
        from physgen.domains.points.load import check_binary, vector_constants

        if isinstance(self.values, Binary):
            check_binary(train)
        return vector_constants(train, self.values, self.scaling == "overall")

    def build_network(self, kind: str, options: dict[str, Any], constants: Mapping[str, Any]) -> torch.nn.Module:
        """A residual network of vectors (``kind: mlp``), or terms of an energy (``kind: dense_energy``)."""
        from physgen.domains.building import constructed
        from physgen.networks.energies import DenseEnergy
        from physgen.networks.mlp import MLP

        kinds: dict[str, type[torch.nn.Module]] = {"mlp": MLP, "dense_energy": DenseEnergy}
        if kind not in kinds:
            raise InputError(f"network kind {kind!r} is unknown here: use {' or '.join(map(repr, kinds))}")
        return constructed(kinds[kind], options, constants["channels"])

    def exact_denoiser(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor] | None:
        """E[x0 | y] of the law that the vectors say that they have; None where it has no closed form, or none is said.

        That of the training set, the perfect memorizer, is ``physgen.diffusion.exact.EmpiricalMeasure(x)``.
        """
        from physgen.domains.points.denoiser import EncodedLaw

        return EncodedLaw.of(template, constants)

    def log_law(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor] | None:
        """ln p_s of the law that the vectors say that they have, in the numbers that a network sees."""
        from physgen.domains.points.denoiser import EncodedLaw

        law = EncodedLaw.of(template, constants)
        return None if law is None else law.log_law

    # --- judging --------------------------------------------------------------------------------

    def diagnostics(self) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        """Name -> diagnostic; see ``diagnostics.py``."""
        from physgen.domains.points.diagnostics import diagnostics_of_law

        return diagnostics_of_law(self)

    def diagnostics_of(self, reference: xr.Dataset) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        """Those of the law that the reference names, else of this one's."""
        from physgen.domains.points.laws import named_law

        return (named_law(reference) or self).diagnostics()

    def confront(self, reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
        """``other``, of the components of the reference, in its frame; see ``frame.py``."""
        from physgen.domains.points.frame import divided, with_frame
        from physgen.domains.points.load import check_vectors

        other = super().confront(check_vectors(reference), check_vectors(other), name)
        return with_frame(other, divided(reference, self.split_by)[0])

    def restrict(self, reference: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
        """Three quarters of the reference: the first one made the frame that ``other`` has; see ``frame.py``."""
        from physgen.domains.points.frame import divided, with_frame

        source, rest = divided(reference, self.split_by)
        return with_frame(rest, source)

    def memorization(self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: Any) -> xr.Dataset:
        """Distance to the nearest training vector, beside that of held-out ones."""
        from physgen.diagnostics.memorization import memorization

        return memorization(generated, train, heldout, similarity="euclidean", **judged)
