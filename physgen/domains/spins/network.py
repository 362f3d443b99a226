"""The network of a spin domain: options of the user, sizes of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from physgen.errors import InputError


def build_network(kind: str, options: Mapping[str, Any], constants: Mapping[str, Any]) -> torch.nn.Module:
    """An untrained network F(x, c_noise, condition) for the lattice or graph of ``constants``.

    ``kind`` is ``unet`` or ``message_passing``, ``options`` are those of that network.

    Raises:
        InputError: an unknown kind, couplings that are not on a lattice, a U-Net for spins in an external field.
        TypeError, ValueError: an option that the network does not have.
    """
    if kind not in ("unet", "message_passing"):
        raise InputError(f"network kind {kind!r} is unknown; choose unet or message_passing")
    if constants["graph"]:
        raise InputError("networks for couplings that are not on a lattice are not available yet: use a lattice model")
    if kind == "unet" and "external_field" in constants:
        raise InputError(
            "network kind 'unet' knows no external field, which the data have: use network={kind: message_passing}"
        )
    dimension = len(constants["grid"])
    sizes: dict[str, Any] = {"dimension": dimension, "condition_channels": 2 * dimension, "labels": 1}
    from physgen.networks.layers import option_names
    from physgen.networks.message_passing import MessagePassing
    from physgen.networks.unet import UNet

    network = UNet if kind == "unet" else MessagePassing
    try:
        return network(**sizes, **options)
    except TypeError as error:
        raise InputError(f"network: {error}; known options: {', '.join(option_names(network))}") from None
