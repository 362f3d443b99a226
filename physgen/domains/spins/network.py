"""The network of a spin domain: options of the user, sizes of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from physgen.errors import InputError


def build_network(options: Mapping[str, Any], constants: dict[str, Any]) -> torch.nn.Module:
    """An untrained network F(x, c_noise, condition) for the lattice or graph of ``constants``.

    ``options`` holds ``kind`` (``unet`` or ``message_passing``) and the options of that network.
    Raises InputError on an unknown kind or option.
    """
    settings = dict(options)
    kind = settings.pop("kind", "unet")
    dimension = len(constants["grid"])
    if kind not in ("unet", "message_passing"):
        raise InputError(f"network kind {kind!r} is unknown; choose unet or message_passing")
    if constants["graph"]:
        raise InputError("networks for couplings that are not on a lattice are not available yet: use a lattice model")
    sizes: dict[str, Any] = {"dimension": dimension, "condition_channels": 2 * dimension, "labels": 1}
    if "multipliers" in settings:
        settings["multipliers"] = tuple(settings["multipliers"])
    try:
        if kind == "unet":
            from physgen.networks.unet import UNet

            return UNet(**sizes, **settings)
        from physgen.networks.message_passing import MessagePassing

        return MessagePassing(**sizes, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"network: {error}") from None
