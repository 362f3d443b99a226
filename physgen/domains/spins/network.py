"""The network of a spin domain: options of the user, sizes of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from physgen.errors import InputError

KINDS = ("unet", "dit", "message_passing", "graph_passing")


def build_network(kind: str, options: Mapping[str, Any], constants: Mapping[str, Any]) -> torch.nn.Module:
    """An untrained network F(x, c_noise, condition) for the lattice or graph of ``constants``.

    ``kind`` is ``unet``, ``dit`` or ``message_passing`` on a lattice, ``graph_passing`` on a graph; ``options`` are
    those of that network.

    Raises:
        InputError: an unknown kind, or one that does not fit the couplings or their external field; an option that
            the network does not have.
        ValueError: a value that it does not take.
    """
    if kind not in KINDS:
        raise InputError(f"network kind {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    if constants["graph"] != (kind == "graph_passing"):
        place, remedy = ("a graph", "graph_passing") if constants["graph"] else ("a lattice", "message_passing")
        raise InputError(
            f"network kind {kind!r} does not take couplings on {place}: set network={{kind: {remedy}, width: 32}}"
        )
    if "external_field" in constants and kind not in ("message_passing", "graph_passing"):
        raise InputError(
            f"network kind {kind!r} knows no external field, which the data have: "
            "set network={kind: message_passing, width: 32}"
        )
    from physgen.domains.building import constructed

    network, sizes = _network(kind, len(constants["grid"]))
    return constructed(network, options, **sizes)


def _network(kind: str, dimension: int) -> tuple[type[torch.nn.Module], dict[str, Any]]:
    """The class of a kind, and the sizes that the data give it."""
    if kind == "graph_passing":
        from physgen.networks.graph_passing import GraphPassing

        return GraphPassing, {"labels": 1}
    from physgen.networks.dit import DiT
    from physgen.networks.message_passing import MessagePassing
    from physgen.networks.unet import UNet

    sizes = {"dimension": dimension, "condition_channels": 2 * dimension, "labels": 1}
    return {"unet": UNet, "dit": DiT, "message_passing": MessagePassing}[kind], sizes
