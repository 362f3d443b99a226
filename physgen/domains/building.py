"""From ``network:`` of a configuration and the sizes of the data to an untrained network."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from physgen.errors import InputError

if TYPE_CHECKING:
    import torch


def constructed(
    network: type[torch.nn.Module], options: Mapping[str, Any], *sizes: Any, **named: Any
) -> torch.nn.Module:
    """``network(*sizes, **named, **options)``, where ``options`` are those of the user: its keyword-only arguments.

    Raises:
        InputError: an option that this network does not have; it says which one may have been meant.
        ValueError: a value that it does not take.
    """
    from physgen.networks.layers import option_names

    known = option_names(network)
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f", did you mean {close[0]!r}?" if close else ";"
            raise InputError(f"network: unknown option {name!r}{meant} known options: {', '.join(known)}")
    return network(*sizes, **named, **options)


def lattice_network(kind: str, options: Mapping[str, Any], constants: Mapping[str, Any]) -> torch.nn.Module:
    """A ``unet`` or a ``dit`` for the lattice, channels and conditions of the ``constants``, or a ``local_energy``.

    Where ``constants["periodic"]`` is False it pads with zeros. Raises as :func:`constructed`, and for another kind.
    """
    from physgen.networks.dit import DiT
    from physgen.networks.energies import LocalEnergy
    from physgen.networks.unet import UNet

    kinds: dict[str, type[torch.nn.Module]] = {"unet": UNet, "dit": DiT}
    shapes, channels = constants["condition_shapes"], constants["channels"]
    labels, maps = (shapes.get(name, [0])[0] for name in ("labels", "channels"))
    if kind == "local_energy":
        if maps or not constants.get("periodic", True):
            raise InputError("network kind 'local_energy' is for periodic lattices without given fields: use 'unet'")
        return constructed(LocalEnergy, options, len(constants["grid"]), channels, labels=labels)
    if kind not in kinds:
        names = ", ".join(map(repr, (*kinds, "local_energy")))
        raise InputError(f"network kind {kind!r} is unknown here: use one of {names}")
    sizes = {"condition_channels": maps, "labels": labels, "periodic": constants.get("periodic", True)}
    return constructed(kinds[kind], options, len(constants["grid"]), channels, channels, **sizes)
