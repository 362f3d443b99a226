"""The network of a spin domain: options of the user, sizes of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from physgen.errors import InputError

KINDS = ("unet", "message_passing", "graph_passing")


def build_network(kind: str, options: Mapping[str, Any], constants: Mapping[str, Any]) -> torch.nn.Module:
    """An untrained network F(x, c_noise, condition) for the lattice or graph of ``constants``.

    ``kind`` is ``unet`` or ``message_passing`` on a lattice, ``graph_passing`` on a graph; ``options`` are those of
    that network.

    Raises:
        InputError: an unknown kind, or one that does not fit the couplings; an option that the network does not have.
        ValueError: a value that it does not take.
    """
    if kind not in KINDS:
        raise InputError(f"network kind {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    if constants["graph"] != (kind == "graph_passing"):
        place, remedy = ("a graph", "graph_passing") if constants["graph"] else ("a lattice", "message_passing")
        raise InputError(
            f"network kind {kind!r} does not take couplings on {place}: set network={{kind: {remedy}, width: 32}}"
        )
    from physgen.networks.layers import option_names

    network, sizes = _network(kind, len(constants["grid"]))
    try:
        return network(**sizes, **options)
    except TypeError as error:
        raise InputError(f"network: {error}; known options: {', '.join(option_names(network))}") from None


def _network(kind: str, dimension: int) -> tuple[type[torch.nn.Module], dict[str, Any]]:
    """The class of a kind, and the sizes that the data give it."""
    if kind == "graph_passing":
        from physgen.networks.graph_passing import GraphPassing

        return GraphPassing, {"labels": 1}
    from physgen.networks.message_passing import MessagePassing
    from physgen.networks.unet import UNet

    sizes = {"dimension": dimension, "condition_channels": 2 * dimension, "labels": 1}
    return UNet if kind == "unet" else MessagePassing, sizes
