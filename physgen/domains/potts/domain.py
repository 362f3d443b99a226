"""The domain of Potts models: what the rest of physgen asks of it, each answer in a file of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from physgen.diffusion.values import Categorical, Values
from physgen.domains.contract import Domain
from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.lattice import Draws


@dataclass(frozen=True)
class Potts(Domain):
    r"""Sites of one of q states on a lattice: ferromagnets and glasses.

    :math:`H = -\sum_{\langle ij\rangle} J_{ij}\,\delta(s_i, s_j)`, k_B = 1, J = 1 or of variance 1.
    """

    name: ClassVar[str] = "potts"
    description: ClassVar[str] = "Potts models of q states on lattices: ferromagnet and glasses"
    split_by: ClassVar[str] = "disorder"
    exchangeable: ClassVar[tuple[str, ...]] = ("replica",)
    unit_within: ClassVar[tuple[str, ...]] = ("replica",)
    label_words: ClassVar[str] = "none beside the conditions of the law: the temperatures and the couplings of the data"
    network_kind: ClassVar[str] = "colour_passing"

    states: int = field(default=3, metadata={"help": "states q of a site; 2 is the Ising model", "min": 2, "max": 100})
    couplings: Literal["ferromagnet", "gaussian", "bimodal"] = field(
        default="ferromagnet", metadata={"help": "law of the couplings: all 1, normal of variance 1, or +-1"}
    )
    dimension: int = field(default=2, metadata={"help": "space dimensions of the lattice", "min": 1, "max": 3})
    length: int = field(default=8, metadata={"help": "sites along each side", "min": 2})
    boundary: Literal["cylinder", "periodic", "free"] = field(
        default="periodic", metadata={"help": "free along the first dim and periodic along the others, or all alike"}
    )
    temperatures: tuple[float, ...] = field(
        default=(1.0, 1.2, 1.5), metadata={"help": "temperatures of the configurations", "unit": "J"}
    )
    instances: int = field(default=50, metadata={"help": "disorder instances", "min": 1})
    replicas: int = field(default=20, metadata={"help": "configurations per instance and temperature", "min": 1})
    method: Literal["auto", "transfer_matrix", "cluster", "heat_bath"] = field(
        default="auto",
        metadata={
            "help": "how they are drawn: exact, by Swendsen-Wang clusters (no negative couplings), or by heat bath; "
            "auto is exact where layers are narrow"
        },
    )
    sweeps: int = field(
        default=300, metadata={"help": "cluster and heat_bath: sweeps before a configuration is kept", "min": 1}
    )

    def __post_init__(self) -> None:
        temperatures = tuple(float(t) for t in self.temperatures)
        object.__setattr__(self, "temperatures", temperatures)
        if not temperatures or min(temperatures) <= 0 or list(temperatures) != sorted(set(temperatures)):
            raise InputError(f"temperatures {list(temperatures)} must be positive and increase: sort them (units of J)")

    @property
    def values(self) -> Values:
        """One of q kinds."""
        return Categorical(bonds="channels", kinds=self.states)

    # --- ensembles ------------------------------------------------------------------------------

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """Equilibrium configurations; see ``simulate.py``. Raises InputError where equilibrium is not reached."""
        from physgen.domains.potts.lattice import lattice_couplings
        from physgen.domains.potts.simulate import simulated

        grid = (self.length,) * self.dimension
        bonds = lattice_couplings(grid, self.couplings, self.boundary, seed, self.instances)
        config = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return simulated(self, bonds, seed, progress).assign_attrs(config_json=config, boundary=self.boundary)

    def simulate_given(
        self,
        template: xr.Dataset,
        seed: int,
        processes: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """Equilibrium configurations in the couplings of an ensemble, at the temperatures of the fields.

        Of the fields ``couplings``, ``dimension``, ``length``, ``boundary`` and ``instances`` are of no effect. Raises
        InputError where the states are others.
        """
        from physgen.domains.potts.lattice import couplings_of, states_of
        from physgen.domains.potts.simulate import simulated

        if states_of(template) != self.states:
            raise InputError(
                f"data.states = {self.states}, the given sites have {states_of(template)}: give one of both"
            )
        config = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return simulated(self, couplings_of(template), seed, progress).assign_attrs(config_json=config)

    @classmethod
    def adopt(cls, ensemble: xr.Dataset, like: xr.Dataset | None = None) -> xr.Dataset:
        """An ensemble that names no physics but holds couplings, temperatures and the attribute ``states``."""
        from physgen.domains.contract import with_units
        from physgen.domains.potts.lattice import check_potts

        return with_units(check_potts(ensemble).assign_attrs(domain=cls.name), cls)

    @classmethod
    def facts(cls, ensemble: xr.Dataset) -> dict[str, Any]:
        """States, temperatures, counts, values or moments of the couplings, and how equilibrium was shown."""
        import numpy as np

        from physgen.domains.potts.lattice import couplings_of, states_of

        bonds = couplings_of(ensemble)
        values = np.unique(bonds[bonds != 0])
        found: dict[str, Any] = {
            "states": states_of(ensemble),
            "temperatures_J": ensemble["temperature"].values.tolist(),
        }
        found |= {"instances": ensemble.sizes["disorder"], "replicas": ensemble.sizes["replica"]}
        found |= {"sites": int(np.prod(bonds.shape[2:])), "bonds": int((bonds[0] != 0).sum())}
        found |= {"couplings_J": values.tolist()} if len(values) <= 2 else {"couplings_std_J": float(bonds.std())}
        return found | {key: ensemble.attrs[key] for key in ("method", "equilibration") if key in ensemble.attrs}

    # --- the core's view ------------------------------------------------------------------------

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        """States need no scaling: the constants say only what the network is built for."""
        from physgen.domains.potts.encoding import encoding_constants

        return encoding_constants(train)

    def encode(
        self, ensemble: xr.Dataset, constants: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """(vectors of zeros and a single one, float32 (B, q, \\*grid), condition)."""
        from physgen.domains.potts.encoding import encode_states

        return encode_states(ensemble), self.condition(ensemble, constants)

    def condition(self, ensemble: xr.Dataset, constants: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """``channels`` = beta J of the bonds around each site, and ``labels`` = ln beta."""
        from physgen.domains.potts.encoding import conditions

        return conditions(ensemble)

    def decode(self, x: torch.Tensor, template: xr.Dataset, constants: Mapping[str, Any]) -> xr.Dataset:
        """The largest component of x as states of the template, with their energies."""
        from physgen.domains.potts.encoding import decode_states

        return decode_states(x, template)

    def request(
        self, like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
    ) -> xr.Dataset:
        """``n`` replicas for each instance and temperature of ``like``; ``temperature`` may be given as trained."""
        from physgen.domains.potts.encoding import request_states

        return request_states(like, n, given, constants)

    def streams(self, template: xr.Dataset) -> Any:
        """Noise stream (B,) of each sample: of its couplings, temperature and replica, not of how many are drawn."""
        from physgen.domains.potts.encoding import sample_streams

        return sample_streams(template)

    def augment(
        self,
        x: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        draws: Draws,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """A random permutation of the states, and of a periodic lattice a shift, reflection and exchange of axes."""
        from physgen.domains.potts.encoding import random_symmetry

        return random_symmetry(x, condition, draws, self.boundary == "periodic")

    def build_network(self, kind: str, options: dict[str, Any], constants: Mapping[str, Any]) -> torch.nn.Module:
        """Message passing of colours (``kind: colour_passing``), or ``unet`` or ``dit`` on the bonds."""
        from physgen.domains.building import constructed
        from physgen.networks.colour_passing import ColourPassing

        if kind != "colour_passing":
            return super().build_network(kind, options, constants)
        return constructed(ColourPassing, options, len(constants["grid"]), constants["condition_shapes"]["labels"][0])

    def exact_denoiser(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
        """E[x | y] by the transfer matrix: lattices free along the first dim, with narrow layers."""
        from physgen.domains.potts.target import ExactDenoiser

        return ExactDenoiser.for_template(template)

    def log_target(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
        """-beta H of the couplings and the temperature of each sample."""
        from physgen.domains.potts.target import log_boltzmann

        return log_boltzmann(template)

    def log_law(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
        """-beta H - ln Z, by the transfer matrix where layers are narrow."""
        from physgen.domains.potts.target import log_probability

        return log_probability(template)

    def training_target(
        self, kind: str, constants: Mapping[str, Any], sweeps: int = 0
    ) -> Callable[..., torch.Tensor] | None:
        """Probabilities of the states given y and all other sites, or given y alone (free along the first dim)."""
        from physgen.domains.potts.target import conditional_mean, exact_mean

        if sweeps:
            return None
        return exact_mean if kind == "exact" else conditional_mean

    def fits_lattice(self, options: Mapping[str, Any], trained: Sequence[int], grid: Sequence[int]) -> bool:
        """Messages pass on the bonds, wherever they are: any lattice of the dimension, any boundary."""
        local = options.get("kind", self.network_kind) == "colour_passing"
        return len(trained) == len(grid) if local else tuple(trained) == tuple(grid)

    # --- judging --------------------------------------------------------------------------------

    def confront(self, reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
        """``other`` at the temperatures of the reference that it holds, in their order."""
        from physgen.domains.potts.judging import confronted

        return confronted(reference, other, name)

    def restrict(self, reference: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
        """The reference at the temperatures that ``other`` holds as well."""
        from physgen.domains.quenched import match_temperatures

        return match_temperatures(other, reference, "the reference")

    def diagnostics(self) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        """Name -> diagnostic; see ``statistics.py``."""
        from physgen.domains.potts.statistics import DIAGNOSTICS

        return dict(DIAGNOSTICS)

    def memorization(self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: Any) -> xr.Dataset:
        """Nearest training configuration beside that of held-out data of the same couplings; see ``judging.py``."""
        from physgen.domains.potts.judging import potts_memorization

        return potts_memorization(generated, train, heldout, **judged)

    def orbit(self, ensemble: xr.Dataset) -> str:
        """``none``: permutations of the states are no symmetry that two samples are compared modulo."""
        return "none"
