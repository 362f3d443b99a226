"""The domain of XY models: what the rest of physgen asks of it, each answer in a file of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from physgen.diffusion.circle import Circle
from physgen.diffusion.values import Values
from physgen.domains.contract import Domain, Observable, PairObservable
from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.lattice import Draws


@dataclass(frozen=True)
class XY(Domain):
    r"""An angle on each site of a lattice: ferromagnets and glasses.

    :math:`H = -\sum_{\langle ij\rangle} J_{ij}\,\cos(\theta_i - \theta_j)`, k_B = 1, J = 1 or of variance 1.
    """

    name: ClassVar[str] = "xy"
    description: ClassVar[str] = "XY models, an angle on each site of a lattice: ferromagnet and glasses"
    values: ClassVar[Values] = Circle(bonds="channels")
    split_by: ClassVar[str] = "disorder"
    exchangeable: ClassVar[tuple[str, ...]] = ("replica",)
    unit_within: ClassVar[tuple[str, ...]] = ("replica",)
    label_words: ClassVar[str] = "none beside the conditions of the law: the temperatures and the couplings of the data"
    network_kind: ClassVar[str] = "vector_passing"

    couplings: Literal["ferromagnet", "gaussian", "bimodal"] = field(
        default="ferromagnet", metadata={"help": "law of the couplings: all 1, normal of variance 1, or +-1"}
    )
    dimension: int = field(default=2, metadata={"help": "space dimensions of the lattice", "min": 1, "max": 3})
    length: int = field(default=8, metadata={"help": "sites along each side", "min": 2})
    boundary: Literal["cylinder", "periodic", "free"] = field(
        default="periodic", metadata={"help": "free along the first dim and periodic along the others, or all alike"}
    )
    temperatures: tuple[float, ...] = field(
        default=(0.8, 1.0, 1.5), metadata={"help": "temperatures of the configurations", "unit": "J"}
    )
    instances: int = field(default=50, metadata={"help": "disorder instances", "min": 1})
    replicas: int = field(default=20, metadata={"help": "configurations per instance and temperature", "min": 1})
    sweeps: int = field(
        default=100,
        metadata={
            "help": "sweeps before a configuration is kept: each a cluster move, two of over-relaxation, one of heat "
            "bath",
            "min": 1,
        },
    )

    def __post_init__(self) -> None:
        temperatures = tuple(float(t) for t in self.temperatures)
        object.__setattr__(self, "temperatures", temperatures)
        if not temperatures or min(temperatures) <= 0 or list(temperatures) != sorted(set(temperatures)):
            raise InputError(f"temperatures {list(temperatures)} must be positive and increase: sort them (units of J)")

    # --- ensembles ------------------------------------------------------------------------------

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """Equilibrium configurations; see ``simulate.py``. Raises InputError where equilibrium is not reached."""
        from physgen.domains.lattice_bonds import lattice_couplings

        grid = (self.length,) * self.dimension
        bonds = lattice_couplings(grid, self.couplings, self.boundary, seed, self.instances)
        return self._simulated(bonds, seed, progress).assign_attrs(boundary=self.boundary)

    def simulate_given(
        self,
        template: xr.Dataset,
        seed: int,
        processes: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """Equilibrium configurations in the couplings of an ensemble, at the temperatures of the fields.

        Of the fields ``couplings``, ``dimension``, ``length``, ``boundary`` and ``instances`` are of no effect.
        """
        from physgen.domains.lattice_bonds import couplings_of
        from physgen.domains.xy.lattice import check_xy

        return self._simulated(couplings_of(check_xy(template)), seed, progress)

    def _simulated(self, bonds: Any, seed: int, progress: Callable[[int, int], None] | None) -> xr.Dataset:
        from physgen.domains.xy.simulate import simulated

        config = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return simulated(self, bonds, seed, progress).assign_attrs(config_json=config)

    @classmethod
    def adopt(cls, ensemble: xr.Dataset, like: xr.Dataset | None = None) -> xr.Dataset:
        """An ensemble that names no physics but holds couplings, temperatures and angles in radians."""
        from physgen.domains.contract import with_units
        from physgen.domains.xy.lattice import check_xy

        return with_units(check_xy(ensemble).assign_attrs(domain=cls.name), cls)

    @classmethod
    def facts(cls, ensemble: xr.Dataset) -> dict[str, Any]:
        """Temperatures, counts, values or moments of the couplings, and how equilibrium was shown."""
        import numpy as np

        from physgen.domains.lattice_bonds import couplings_of

        bonds = couplings_of(ensemble)
        values = np.unique(bonds[bonds != 0])
        found: dict[str, Any] = {"temperatures_J": ensemble["temperature"].values.tolist()}
        found |= {"instances": ensemble.sizes["disorder"], "replicas": ensemble.sizes["replica"]}
        found |= {"sites": int(np.prod(bonds.shape[2:])), "bonds": int((bonds[0] != 0).sum())}
        found |= {"couplings_J": values.tolist()} if len(values) <= 2 else {"couplings_std_J": float(bonds.std())}
        return found | {key: ensemble.attrs[key] for key in ("equilibration",) if key in ensemble.attrs}

    # --- the core's view ------------------------------------------------------------------------

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        """Vectors need no scaling: the constants say only what the network is built for."""
        from physgen.domains.xy.encoding import encoding_constants

        return encoding_constants(train)

    def encode(
        self, ensemble: xr.Dataset, constants: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """(unit vectors, float32 (B, 2, \\*grid), condition)."""
        from physgen.domains.xy.encoding import encode_angles

        return encode_angles(ensemble), self.condition(ensemble, constants)

    def condition(self, ensemble: xr.Dataset, constants: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """``channels`` = beta J of the bonds around each site, and ``labels`` = ln beta."""
        from physgen.domains.xy.encoding import conditions

        return conditions(ensemble)

    def decode(self, x: torch.Tensor, template: xr.Dataset, constants: Mapping[str, Any]) -> xr.Dataset:
        """The directions of x as angles of the template, with their energies."""
        from physgen.domains.xy.encoding import decode_angles

        return decode_angles(x, template)

    def request(
        self, like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
    ) -> xr.Dataset:
        """``n`` replicas for each instance and temperature of ``like``; ``temperature`` may be given as trained."""
        from physgen.domains.lattice_bonds import requested
        from physgen.domains.xy.lattice import check_xy

        return check_xy(requested(like, n, given, constants))

    def streams(self, template: xr.Dataset) -> Any:
        """Noise stream (B,) of each sample: of its couplings, temperature and replica, not of how many are drawn."""
        from physgen.domains.lattice_bonds import streams_of_bonds

        return streams_of_bonds(template, b"physgen-xy")

    def augment(
        self,
        x: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        draws: Draws,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """A random rotation and reflection of all vectors, and of a periodic lattice a move of the sites."""
        from physgen.domains.xy.encoding import random_symmetry

        return random_symmetry(x, condition, draws, self.boundary == "periodic")

    def build_network(self, kind: str, options: dict[str, Any], constants: Mapping[str, Any]) -> torch.nn.Module:
        """Message passing of vectors (``kind: vector_passing``), or ``unet`` or ``dit`` on the bonds."""
        from physgen.domains.building import constructed
        from physgen.networks.vector_passing import VectorPassing

        if kind != "vector_passing":
            return super().build_network(kind, options, constants)
        return constructed(VectorPassing, options, len(constants["grid"]), constants["condition_shapes"]["labels"][0])

    def log_target(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
        """-beta H of the couplings and the temperature of each sample, a density per radian of each angle."""
        from physgen.domains.xy.target import log_boltzmann

        return log_boltzmann(template)

    def log_law(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
        """-beta H - ln Z per radian of each angle, by the transfer matrix where layers are narrow."""
        from physgen.domains.xy.target import log_density

        return log_density(template)

    def training_target(
        self, kind: str, constants: Mapping[str, Any], sweeps: int = 0
    ) -> Callable[..., torch.Tensor] | None:
        """Mean vectors given y and all other sites ("conditional"); given y alone they have no closed form."""
        from physgen.domains.xy.target import conditional_mean

        return conditional_mean if kind == "conditional" and not sweeps else None

    def observables(self, ensemble: xr.Dataset) -> Sequence[Observable | PairObservable]:
        """What weighted draws are averaged over; see ``statistics.py``."""
        from physgen.domains.xy.statistics import observables_of

        return observables_of(ensemble)

    def fits_lattice(self, options: Mapping[str, Any], trained: Sequence[int], grid: Sequence[int]) -> bool:
        """Messages pass on the bonds, wherever they are: any lattice of the dimension, any boundary."""
        local = options.get("kind", self.network_kind) == "vector_passing"
        return len(trained) == len(grid) if local else tuple(trained) == tuple(grid)

    # --- judging --------------------------------------------------------------------------------

    def confront(self, reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
        """``other`` at the temperatures of the reference that it holds, in their order."""
        from physgen.domains.lattice_bonds import confronted
        from physgen.domains.xy.lattice import check_xy

        return confronted(check_xy(reference), check_xy(other), name)

    def restrict(self, reference: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
        """The reference at the temperatures that ``other`` holds as well."""
        from physgen.domains.quenched import match_temperatures

        return match_temperatures(other, reference, "the reference")

    def diagnostics(self) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        """Name -> diagnostic; see ``statistics.py``."""
        from physgen.domains.xy.statistics import DIAGNOSTICS

        return dict(DIAGNOSTICS)

    def memorization(self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: Any) -> xr.Dataset:
        """Nearest training configuration beside that of held-out data, up to a rotation; see ``judging.py``."""
        from physgen.domains.xy.judging import xy_memorization

        return xy_memorization(generated, train, heldout, **judged)

    def orbit(self, ensemble: xr.Dataset) -> str:
        """``none``: rotations of all angles are no symmetry that two samples are compared modulo."""
        return "none"
