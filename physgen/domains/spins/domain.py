"""The domain of disordered spins: what the rest of physgen asks of it, each answer in a file of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from physgen.diffusion.values import Binary, Values
from physgen.domains.spins.judging import SpinJudging
from physgen.domains.spins.models import ON_GRAPHS, Ingredients
from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.domains.spins.simulate import Quenched
    from physgen.lattice import Draws


@dataclass(frozen=True)
class Spins(SpinJudging, Ingredients):
    r"""Edwards-Anderson, Sherrington-Kirkpatrick and Bethe spin glasses and the ferromagnet, in a field, s = +-1.

    :math:`H = -\sum_{\langle ij\rangle} J_{ij} s_i s_j - \sum_i h_i s_i`, k_B = 1, J of variance 1 (SK: 1/N). Glasses
    of three spins at a time and of random energies: ``many_body.py``.
    """

    name: ClassVar[str] = "spins"
    description: ClassVar[str] = "disordered spins: glasses on lattices and graphs, ferromagnet, random field"
    values: ClassVar[Values] = Binary(bonds="channels")
    split_by: ClassVar[str] = "disorder"
    exchangeable: ClassVar[tuple[str, ...]] = ("replica",)
    unit_within: ClassVar[tuple[str, ...]] = ("chain", "replica")
    label_words: ClassVar[str] = "none beside the conditions of the law: the temperatures and the couplings of the data"
    formats: ClassVar[dict[str, str]] = {
        "spins_npy": "spins .npy (disorder, temperature, replica, *grid) and couplings .npy (disorder, d, *grid)",
        "edge_list": "text 'spin1 spin2 J' and spins .npy (temperature, replica, N), one pair for each instance",
        "couplings": "bonds alone: text 'spin1 spin2 J', Gset, DIMACS, dimod JSON, matrices, .npy (disorder, d, *grid)",
        "peapods": "peapods sweep .npz with snapshots, and its couplings .npy (*grid, d), one pair for each run",
        "mcising": "mcising HDF5 with configurations, nearest-neighbour J1 on chain, square or cubic lattices",
        "spin_ensembles": "ensembles of spins, joined: those of equal couplings along replica, others as instances",
    }

    model: Literal[
        "edwards_anderson", "ferromagnet", "sherrington_kirkpatrick", "random_regular", "p_spin", "random_energy"
    ] = field(
        default="edwards_anderson",
        metadata={"help": "which Hamiltonian; p_spin: all triples; random_energy: one energy for each state"},
    )  # fmt: skip
    couplings: Literal["gaussian", "bimodal", "planted_bimodal", "planted_gaussian"] = field(
        default="gaussian",
        metadata={"help": "law of the couplings (of no effect in the ferromagnet); planted: of the Nishimori line"},
    )
    dimension: int = field(default=2, metadata={"help": "space dimensions of the lattice", "min": 1, "max": 3})
    length: int = field(
        default=8, metadata={"help": "spins along each side; of a model on a graph, all spins", "min": 2}
    )
    boundary: Literal["cylinder", "periodic", "free"] = field(
        default="cylinder", metadata={"help": "free along the first dim and periodic along the others, or all alike"}
    )
    temperatures: tuple[float, ...] = field(
        default=(1.0, 1.5, 2.0), metadata={"help": "temperatures of the configurations", "unit": "J"}
    )
    instances: int = field(default=300, metadata={"help": "disorder instances", "min": 1})
    replicas: int = field(default=100, metadata={"help": "configurations per instance and temperature", "min": 1})
    method: Literal["auto", "transfer_matrix", "enumeration", "parallel_tempering", "planted"] = field(
        default="auto", metadata={"help": "how they are drawn; auto is exact where that is cheap"}
    )
    sweeps: int = field(
        default=20000, metadata={"help": "parallel tempering: sweeps in all, of which half are discarded", "min": 64}
    )
    ladders: int = field(
        default=4, metadata={"help": "parallel tempering: independent ladders that share the replicas", "min": 2}
    )
    hottest: float = field(
        default=2.5, metadata={"help": "parallel tempering: hottest temperature of the ladder", "unit": "J"}
    )
    order: Literal["sequential", "checkerboard"] = field(
        default="sequential", metadata={"help": "parallel tempering: order of the spins in a sweep"}
    )
    kernel: Literal["auto", "general", "multispin"] = field(
        default="auto",
        metadata={
            "help": "parallel tempering: any couplings, one instance at a time, or couplings +-J on a lattice, 64 "
            "instances in the bits of a word (as fast as general for 6 instances, else slower or faster in "
            "proportion to their number); auto takes words wherever the couplings allow it"
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        temperatures = tuple(float(t) for t in self.temperatures)
        object.__setattr__(self, "temperatures", temperatures)
        if not temperatures or min(temperatures) <= 0 or list(temperatures) != sorted(set(temperatures)):
            raise InputError(f"temperatures {list(temperatures)} must be positive and increase: sort them (units of J)")
        if self.method == "enumeration" and self.spins > 20:
            raise InputError(f"method 'enumeration' takes at most 20 spins, got {self.spins}: use transfer_matrix")
        from physgen.domains.spins.planted import check_planted

        check_planted(self)

    @property
    def spins(self) -> int:
        """Number of spins N."""
        return self.length if self.model in ON_GRAPHS else self.length**self.dimension

    # --- ensembles ------------------------------------------------------------------------------

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """Equilibrium configurations; see ``simulate.py``. Raises InputError where equilibrium is not reached."""
        from physgen.domains.spins.layout import no_network
        from physgen.domains.spins.planted import LAWS, planted_ensemble
        from physgen.domains.spins.simulate import drawn_couplings

        if self.couplings in LAWS:
            made = planted_ensemble(self, self._simulate_in, seed, processes, progress)
        else:
            made = self._simulate_in(drawn_couplings(self, seed), seed, processes, progress)
        reason = no_network(made)
        said = {"not_trainable": reason} if reason else {}
        return made.assign_attrs(model=self.model, boundary=self.boundary, **said)

    def simulate_given(
        self,
        template: xr.Dataset,
        seed: int,
        processes: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """Equilibrium configurations in given couplings, on a lattice or any graph.

        The couplings say lattice, boundary and instances; of the fields of this class those named ``model``,
        ``couplings``, ``dimension``, ``length``, ``boundary`` and ``instances`` are of no effect.

        Raises:
            InputError: other temperatures than those of the template, where it has some; a method that cannot take
                these couplings; equilibrium that is not reached.
        """
        from physgen.domains.spins.layout import for_training
        from physgen.domains.spins.simulate import check_temperatures, given_couplings

        check_temperatures(self, template)
        made = self._simulate_in(given_couplings(template), seed, processes, progress)
        return made.assign_attrs(for_training(made))

    def simulate_proposed(
        self,
        seed: int,
        proposals: Callable[..., Any],
        every: int,
        given: xr.Dataset | None = None,
        processes: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.Dataset:
        """By parallel tempering with whole lattices that a network proposes; see ``moved.py``."""
        from physgen.domains.spins.moved import simulate_with_moves
        from physgen.domains.spins.tempering import Between

        return simulate_with_moves(self, seed, Between(proposals, every), given, processes, progress)

    def _simulate_in(
        self, couplings: Quenched, seed: int, processes: int, progress: Callable[[int, int], None] | None
    ) -> xr.Dataset:
        from physgen.domains.spins.simulate import cheapest_method, check_method, exact_ensemble
        from physgen.domains.spins.tempering import tempering_ensemble

        method = check_method(cheapest_method(couplings) if self.method == "auto" else self.method, couplings)
        if method == "parallel_tempering":
            made = tempering_ensemble(self, couplings, seed, processes, progress)
        else:
            made = exact_ensemble(self, couplings, seed, method == "enumeration", processes, progress)
        config = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return made.assign_attrs(seed=int(seed), config_json=config)

    @classmethod
    def load(cls, format: str, paths: Sequence[Path], **options: str) -> xr.Dataset:
        """Read configurations made elsewhere; see ``load.py``."""
        from physgen.domains.spins.load import load_spins

        return load_spins(format, [Path(path) for path in paths], options)

    @classmethod
    def adopt(cls, ensemble: xr.Dataset, like: xr.Dataset | None = None) -> xr.Dataset:
        """An ensemble that names no physics but holds couplings and temperatures; else ``from_arrays`` makes one."""
        from physgen.domains.contract import with_units
        from physgen.domains.spins.layout import check_spins

        if "couplings" not in ensemble:
            raise InputError(
                "spins come with their couplings: make the ensemble with "
                f"{__package__}.from_arrays(spins, couplings, temperatures)"
            )
        return with_units(check_spins(ensemble).assign_attrs(domain=cls.name), cls)

    @classmethod
    def facts(cls, ensemble: xr.Dataset) -> dict[str, Any]:
        """Temperatures, counts, and what the couplings are: values or moments, and which sides of the lattice join."""
        import numpy as np

        from physgen.domains.spins.layout import disorder_of, grid_dims

        disorder, dims = disorder_of(ensemble), grid_dims(ensemble)
        bonds = disorder.couplings[disorder.couplings != 0] if disorder.levels is None else disorder.levels
        values = np.unique(bonds)
        found: dict[str, Any] = {"temperatures_J": ensemble["temperature"].values.tolist()}
        found |= {"instances": ensemble.sizes["disorder"], "replicas": ensemble.sizes["replica"]}
        found |= {"spins": int(np.prod([ensemble.sizes[dim] for dim in dims])), "bonds": bonds.size // len(disorder[0])}
        if len(values) <= 2:
            found["couplings_J"] = values.tolist()
        else:
            found |= {"couplings_mean_J": float(bonds.mean()), "couplings_std_J": float(bonds.std())}
        if disorder.edges is None:  # the last site of a dim is bound to the first, or to nothing
            last = [disorder.couplings[:, i].take(-1, axis=1 + i).any() for i in range(len(dims))]
            found["boundary_by_dim"] = {
                d: "periodic" if joined else "free" for d, joined in zip(dims, last, strict=True)
            }
        if disorder.external_field is not None:
            found["external_field_std_J"] = float(disorder.external_field.std())
        kept = ("model", "equilibration")
        return found | {key: ensemble.attrs[key] for key in kept if key in ensemble.attrs}

    # --- the core's view ------------------------------------------------------------------------

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        """Spins need no scaling: the constants say only what the network is built for."""
        from physgen.domains.spins.encoding import encoding_constants

        return encoding_constants(train)

    def encode(
        self, ensemble: xr.Dataset, constants: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """(spins as float32 (B, 1, \\*grid), condition)."""
        from physgen.domains.spins.encoding import encode_spins

        return encode_spins(ensemble), self.condition(ensemble, constants)

    def condition(self, ensemble: xr.Dataset, constants: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """beta J around each site or of a graph, ``labels`` = ln beta, ``field`` = beta h if any."""
        from physgen.domains.spins.encoding import conditions

        return conditions(ensemble, constants)

    def decode(self, x: torch.Tensor, template: xr.Dataset, constants: Mapping[str, Any]) -> xr.Dataset:
        """Signs of x as spins of the template, with their energies."""
        from physgen.domains.spins.encoding import decode_spins

        return decode_spins(x, template)

    def request(
        self, like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
    ) -> xr.Dataset:
        """``n`` replicas for each instance and temperature of ``like``; ``temperature`` may be given as trained."""
        from physgen.domains.spins.encoding import request_spins

        return request_spins(like, n, given, constants)

    def streams(self, template: xr.Dataset) -> Any:
        """Noise stream (B,) of each sample: of its couplings, temperature and replica, not of how many are drawn."""
        from physgen.domains.spins.encoding import sample_streams

        return sample_streams(template)

    def augment(
        self,
        x: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        draws: Draws,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """A random symmetry of p(s | J, h) for each sample: gauge or flip, shift, reflection, exchange of axes."""
        from physgen.domains.spins.symmetry import random_symmetry

        return random_symmetry(x, condition, draws, gauged=self.model != "ferromagnet", boundary=self.boundary)

    def build_network(self, kind: str, options: dict[str, Any], constants: Mapping[str, Any]) -> torch.nn.Module:
        """A periodic U-Net on the bond channels, or message passing on a lattice or on any graph."""
        from physgen.domains.spins.network import build_network

        return build_network(kind, options, constants)

    def exact_denoiser(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
        """E[s | y] by the transfer matrix: lattices free along the first dim, layers of at most 20 spins."""
        from physgen.domains.spins.denoiser import TransferMatrixDenoiser

        return TransferMatrixDenoiser.for_template(template)

    def log_target(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
        """-beta H of the couplings and the temperature of each sample."""
        from physgen.domains.spins.target import log_boltzmann

        return log_boltzmann(template)

    def conditional_log_target(self, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
        """-beta H of the couplings and fields in the condition of each sample."""
        from physgen.domains.spins.target import log_boltzmann_given

        return log_boltzmann_given

    def log_law(self, template: xr.Dataset, constants: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
        """-beta H - ln Z: narrow lattices by the transfer matrix, graphs of at most 20 spins by all states."""
        from physgen.domains.spins.target import log_probability

        return log_probability(template)

    def training_target(self, kind: str, constants: Mapping[str, Any], sweeps: int = 0) -> Callable[..., torch.Tensor]:
        """Each spin's mean given y and all others, along so many heat-bath sweeps of the law given y, or given y alone.

        The last is known of lattices that are free along the first dim.
        """
        from physgen.domains.spins.posterior_sweeps import PosteriorSweeps
        from physgen.domains.spins.target import conditional_mean, exact_mean

        if kind == "exact":
            return exact_mean
        return PosteriorSweeps(sweeps) if sweeps else conditional_mean

    def fits_lattice(self, options: Mapping[str, Any], trained: Sequence[int], grid: Sequence[int]) -> bool:
        """Messages pass on the bonds, wherever they are: any lattice of the dimension, any boundary; any graph."""
        local = options.get("kind", self.network_kind) in ("message_passing", "graph_passing")
        return len(trained) == len(grid) if local else tuple(trained) == tuple(grid)
