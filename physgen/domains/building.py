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
    """A ``unet`` or a ``dit`` for the lattice, channels and conditions of the ``constants``.

    Where ``constants["periodic"]`` is False it pads with zeros. Raises as :func:`constructed`, and for another kind.
    """
    from physgen.networks.dit import DiT
    from physgen.networks.unet import UNet

    kinds: dict[str, type[torch.nn.Module]] = {"unet": UNet, "dit": DiT}
    if kind not in kinds:
        raise InputError(f"network kind {kind!r} is unknown here: use {' or '.join(map(repr, kinds))}")
    shapes, channels = constants["condition_shapes"], constants["channels"]
    labels, maps = (shapes.get(name, [0])[0] for name in ("labels", "channels"))
    sizes = {"condition_channels": maps, "labels": labels, "periodic": constants.get("periodic", True)}
    return constructed(kinds[kind], options, len(constants["grid"]), channels, channels, **sizes)
