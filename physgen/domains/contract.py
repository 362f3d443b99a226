"""The Domain contract: all that the rest of physgen ever asks of a physics.

A domain is a folder of ``physgen/domains`` whose package exports ``Domain``, a frozen dataclass derived from the one
here. It is found by its folder's name; there is no registry. The fields of the dataclass are the ``data:`` section of a
configuration; ``metadata`` of a field may hold ``help``, ``unit``, ``min``, ``max``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from physgen.diffusion.values import Real, Values
from physgen.domains.doors import Doors
from physgen.domains.known import check_same_domain as check_same_domain
from physgen.domains.known import domain_of as domain_of
from physgen.domains.known import get_domain as get_domain
from physgen.domains.known import list_domains as list_domains
from physgen.domains.known import with_units as with_units
from physgen.domains.law import Law
from physgen.domains.law import Observable as Observable
from physgen.domains.law import PairObservable as PairObservable
from physgen.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    import xarray as xr

    from physgen.lattice import Draws

    Condition = Mapping[str, torch.Tensor]
    Constants = Mapping[str, Any]
    Diagnostic = Callable[[xr.Dataset], xr.Dataset]


@dataclass(frozen=True)
class Domain(Doors, Law, ABC):
    r"""One physics. Shapes: B flattened samples (C order of sample dims), C channels, \*grid lattice (of vectors none).

    A domain must set ``name``, ``description`` and ``split_by`` and have ``simulate``; all else has a default, made for
    a lattice field with or without scalar labels. ``constants`` are what ``fit_encoding`` returned.

    =====================  =====================================================================================
    word                   meaning; default
    =====================  =====================================================================================
    ``name``               the folder's name, and the attribute ``domain`` of its ensembles
    ``description``        one line
    ``values``             kind of value (:mod:`physgen.diffusion.values`), of an instance; ``Real()``
    ``split_by``           label on a sample dim, or sample dim, whose values are independent units; a dim needs no
                           coordinate, its positions then count
    ``labels``             variables over sample dims on which the law depends, scalar; none
    ``label_words``        one line on the labels of data where they are not fixed; the names of ``labels``
    ``formats``            format of a foreign file -> one line, none; ``exports``: of those written, npy and hdf5
    ``network_kind``       the network where a configuration names none; ``unet``
    ``array_dimension``    space dimensions of an array that does not say; None: as many as it has axes. 0: vectors
    ``learning_settings``  fields of the dataclass that act on a training whoever made the data; none
    ``simulate``           (seed) -> ensemble; must be given
    ``simulate_given``     (template, seed) -> ensemble under the conditions of a template; refuses
    ``simulate_proposed``  (seed, proposals, every) -> ensemble by a Monte Carlo that takes a network's moves; refuses
    ``load``, ``export``   foreign files -> ensemble, refuses; ensemble -> files of other programs, ``exports``
    ``adopt``              ensemble that names no physics -> one of this; its unit gets the name ``split_by``
    ``facts``              ensemble -> what it is, units in the keys; sizes of the sample dims, ranges of the labels
    ``fit_encoding``       training part -> constants, JSON-able; ``mean`` and ``std`` of each component,
                           ``cell_size``, ``sample_dims``, ``label_ranges``. Of the keys of an own one, the core reads
                           ``cell_size`` (a number for each axis, to bin wavenumbers; cubic cells without it)
                           and ``periodic`` (False: networks pad with zeros)
    ``numbered``           the ensemble with what its samples are called by their position alone written down; itself
    ``encode``             :math:`x = (\mathrm{field} - \mathrm{mean})/\mathrm{std}` (B, C, \*grid), condition
    ``condition``          template -> condition: ``labels`` (B, n), each in [-1, 1] over its training range, where
                           there are labels, else {}. An own one may give ``channels`` (B, C', \*grid) too
    ``log_jacobian``       ln |d x / d field| of ``encode`` (B,), which makes densities of x those of the field in its
                           own units; None, the default of an own encoding: they are of the encoded field
    ``label_ranges``       name -> training range of the labels that ``condition`` maps linearly to [-1, 1], in order
    ``decode``             inverse of ``encode``, snapped to the allowed values
    ``decode_values``      physical values of encoded x, each from itself, in differentiable torch operations, for
                           observations that act on the physical field; scale and shift of real values, else refuses
    ``decode_shift``       what is added to all cells of x before that, differentiable; None: nothing
    ``request``            template of what to draw: n configurations under the conditions of an ensemble
    ``streams``            template -> noise stream of each sample (B,); the flattened index. A domain whose samples
                           have more than one dim gives it, so that a sample depends on its condition and its number
                           within it, not on how many are drawn of the others
    ``augment``            random symmetry of the law, of configuration and condition; identity
    ``network``            untrained F(x, c_noise, condition); a U-Net or a DiT of the shapes of the data
    ``fits_lattice``       whether a trained network is one of another lattice too; of its own alone
    ``exact_denoiser``     exact D(y, s, condition) for a template; None
    ``log_target``         template -> ln of the law of x up to a constant of each condition; None where it is not known
    ``log_law``            template -> ln p of x with noise, norm included; None where it is not known
    ``local_moves``        ensemble after sweeps of moves that leave its law unchanged; refuses
    ``observables``        numbers of configurations, or of pairs, whose means weighted draws are asked for; none
    ``identities``         averages that the law fixes exactly, of an ensemble, to certify it without a reference; None
    ``diagnostics``        name -> diagnostic; spectrum, correlation, one-point distribution, band moments
    ``confront``           another ensemble in the frame of a reference; same lattice and units, else refused
    ``restrict``           what of a reference another ensemble is compared with, e.g. some of its conditions; all
    ``memorization``       nearest training configuration beside that of held-out data; translations and lattice
                           symmetries left out of account
    ``orbit``              ensemble -> the symmetries of the law modulo which two samples are one: ``none``, ``flip``,
                           ``translations``, ``point_group`` (those and the lattice's); by its box and components
    =====================  =====================================================================================

    ``encode`` maps physical units to numbers of order one, ``decode`` back; no other code sees physical units.

    Data may be larger than the memory. ``fit_encoding`` gets a training part that was opened lazily and goes through it
    with :func:`physgen.ensemble.sample_blocks`. ``encode`` gets one block after the other: of a part of what
    ``numbered`` returned it is the part of what it is of the whole, configurations and conditions, to the last bit.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    split_by: ClassVar[str]
    labels: ClassVar[tuple[str, ...]] = ()
    label_words: ClassVar[str] = ""
    learning_settings: ClassVar[tuple[str, ...]] = ()
    network_kind: ClassVar[str] = "unet"
    array_dimension: ClassVar[int | None] = None

    @property
    def values(self) -> Values:
        """Kind of value; where all data of the domain have one, a ``ClassVar`` says it as well."""
        return Real()

    # --- ensembles ------------------------------------------------------------------------------

    @abstractmethod
    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """Make an ensemble. The result depends on the fields and the seed, not on ``processes``."""

    def simulate_given(
        self, template: xr.Dataset, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None
    ) -> xr.Dataset:
        """Make an ensemble under the conditions of a template, or of an ensemble; the fields say the rest.

        As ``simulate`` does. Raises InputError where the fields and the template say different things.
        """
        raise InputError(f"{self.name} cannot simulate under given conditions: leave --given out")

    @classmethod
    def facts(cls, ensemble: xr.Dataset) -> dict[str, Any]:
        """Sizes of the sample dims and ranges of the labels."""
        from physgen.ensemble import sample_dims

        found: dict[str, Any] = {f"{dim}_count": ensemble.sizes[dim] for dim in sample_dims(ensemble)}
        for name in (n for n in cls.labels if n in ensemble.variables):
            found[f"{name}_range"] = [float(ensemble[name].min()), float(ensemble[name].max())]
        return found

    # --- the core's view ------------------------------------------------------------------------

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        """Constants of the encoding, JSON-able, from the training part."""
        from physgen.domains.lattice_field import fit_constants

        return fit_constants(train, self.values, self.labels)

    def numbered(self, ensemble: xr.Dataset) -> xr.Dataset:
        """The ensemble with variables for what a sample is called by its position alone, which a part would lose."""
        return ensemble

    def encode(self, ensemble: xr.Dataset, constants: Constants) -> tuple[torch.Tensor, Condition]:
        r"""(x of shape (B, C, \*grid) float32, condition)."""
        from physgen.domains.lattice_field import encode_field

        return encode_field(ensemble, constants), self.condition(ensemble, constants)

    def condition(self, ensemble: xr.Dataset, constants: Constants) -> Condition:
        r"""Conditions alone: ``labels`` (B, n) and/or ``channels`` (B, C', \*grid). ``field`` is not needed."""
        from physgen.domains.lattice_field import encode_labels

        return encode_labels(ensemble, constants, self.labels) if self.labels else {}

    def log_jacobian(self, ensemble: xr.Dataset, constants: Constants) -> np.ndarray | None:
        r"""ln of the Jacobian determinant of ``encode`` at each configuration, (B,) float64, natural logarithm.

        :math:`\ln p(\mathrm{field}) = \ln p(x) + \ln |\partial x/\partial\,\mathrm{field}|`, per unit of the field in
        each cell. None where there is none to state: values that are not real numbers, or an own encoding.
        """
        if type(self).encode is not Domain.encode or not isinstance(self.values, Real):
            return None
        from physgen.domains.lattice_field import log_scale

        return log_scale(ensemble, constants)

    def label_ranges(self, constants: Constants) -> dict[str, tuple[float, float]]:
        """Label -> (low, high) of the training part, in the order of the columns of ``condition["labels"]``.

        Only labels that alone make the condition, each mapped linearly to [-1, 1], one of a range without width to 0;
        none where that is not so.
        """
        found = constants.get("label_ranges", {})
        return {name: (float(low), float(high)) for name, (low, high) in found.items()}

    def decode(self, x: torch.Tensor, template: xr.Dataset, constants: Constants) -> xr.Dataset:
        """An ensemble in physical units with the sample dims, labels and quenched fields of ``template``."""
        from physgen.domains.lattice_field import decode_field

        return decode_field(x, template, constants, self.values)

    def decode_values(self, x: torch.Tensor, constants: Constants) -> torch.Tensor:
        r"""Values of the physical field (B, C, \*grid) of encoded x, as ``decode`` gives them, differentiable in x.

        Each from the value in its own place, after ``decode_shift`` was added.

        Raises InputError where the values are not real numbers, which have no slope.
        """
        if not isinstance(self.values, Real):
            raise InputError(
                f"{self.name} holds {self.values.name} values: what was blurred, averaged or has noise cannot be "
                "observed of these; give known values alone (mask)"
            )
        view = (1, -1, *[1] * (x.ndim - 2))
        std, mean = (x.new_tensor(constants[name]).reshape(view) for name in ("std", "mean"))
        return x * std + mean

    def decode_shift(self, x: torch.Tensor, constants: Constants) -> torch.Tensor | None:
        """What ``decode`` adds to all cells of a component (B, C, 1, ...) before each decodes alone; None: nothing."""
        return None

    def request(
        self, like: xr.Dataset, n: int, given: Mapping[str, float], constants: Constants | None = None
    ) -> xr.Dataset:
        """A template, without values, of the configurations to draw: ``n`` under the conditions of ``like``.

        ``n`` counts along the first sample dim, whatever its name, the rows of ``like`` taken in turn; further sample
        dims stay as they are. ``given`` labels replace those of ``like``; they must lie in the range of the training
        part, which the ``constants`` of the encoding hold (without them: of ``like``).

        Raises:
            InputError: ``given`` names no label of this domain, or a value outside the range.
        """
        from physgen.domains.lattice_field import request_configurations

        return request_configurations(like, n, given, constants, self.labels)

    def streams(self, template: xr.Dataset) -> Sequence[int] | None:
        """Noise stream (B,), whole numbers, of each sample to draw; None for the flattened index."""
        return None

    def augment(
        self, x: torch.Tensor, condition: Condition, draws: Draws, constants: Constants | None = None
    ) -> tuple[torch.Tensor, Condition]:
        r"""A random symmetry of the law, of each sample by itself and of its condition; the box is in ``constants``.

        ``draws`` gives numbers (B, \*shape), a row for each sample: ``.integers(high, shape)``, ``.uniform(shape)``.
        """
        return x, condition

    def network(self, options: Mapping[str, Any], constants: Constants) -> torch.nn.Module:
        """Untrained network with ``forward(x, c_noise, condition)``; its constructor is :meth:`build_network`.

        ``options`` are those of the configuration, ``kind`` among them (``network_kind`` where it is left out).
        ``constants`` hold besides ``grid``, ``channels`` and ``condition_shapes`` of the encoded data.

        Raises:
            InputError: an unknown kind or option, or one that does not fit the data.
        """
        settings = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        kind = str(settings.pop("kind", self.network_kind))
        try:
            return self.build_network(kind, settings, constants)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(f"network: {error}") from None

    def build_network(self, kind: str, options: dict[str, Any], constants: Constants) -> torch.nn.Module:
        """The network of one kind, ``unet`` or ``dit``; where ``constants["periodic"]`` is False it pads with zeros.

        TypeError and ValueError of its constructor reach the user as messages.
        """
        from physgen.domains.building import lattice_network

        return lattice_network(kind, options, constants)

    # --- judging --------------------------------------------------------------------------------

    def diagnostics(self) -> dict[str, Diagnostic]:
        """Name -> diagnostic (see physgen.diagnostics.result)."""
        from physgen.diagnostics.band_moments import band_moments
        from physgen.diagnostics.correlation import two_point_correlation
        from physgen.diagnostics.distribution import one_point
        from physgen.diagnostics.spectrum import power_spectrum

        return {
            "power_spectrum": power_spectrum,
            "correlation": two_point_correlation,
            "one_point": one_point,
            "band_moments": band_moments,
        }

    def diagnostics_of(self, reference: xr.Dataset) -> dict[str, Diagnostic]:
        """Those that an evaluation against this reference takes: :meth:`diagnostics`, and what only some files have."""
        return self.diagnostics()

    def confront(self, reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
        """``other`` (called ``name``) in the frame of the reference: its normalisation, its order of the conditions.

        Raises InputError, with both values, where the two cannot be compared: lattice, cell size, units, ...
        """
        from physgen.domains.lattice_field import check_same_lattice

        return check_same_lattice(reference, other, name)

    def restrict(self, reference: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
        """What of the reference ``other`` (in its frame) is compared with, such as a subset of the conditions."""
        return reference

    def memorization(self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: Any) -> xr.Dataset:
        """Nearest-neighbour similarity to the training set beside that of held-out data.

        ``judged``: ``tolerance`` and ``false_alarms`` of :func:`physgen.diagnostics.memorization`.
        """
        from physgen.diagnostics.memorization import memorization

        return memorization(generated, train, heldout, similarity="field", **judged)

    def orbit(self, ensemble: xr.Dataset) -> str:
        """The default is that of a field in its box, :func:`physgen.domains.lattice_field.orbit_of_field`."""
        from physgen.domains.lattice_field import orbit_of_field

        return orbit_of_field(ensemble)
