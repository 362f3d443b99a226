"""Networks on periodic lattices: a U-Net and a transformer (DiT) in one to three dimensions, message passing on bonds;
message passing on any graph, and of colours on lattices; a residual network of vectors; energies. torch only."""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.networks.colour_passing import ColourPassing as ColourPassing
    from physgen.networks.dit import DiT as DiT
    from physgen.networks.energies import DenseEnergy as DenseEnergy
    from physgen.networks.energies import LocalEnergy as LocalEnergy
    from physgen.networks.graph_passing import GraphPassing as GraphPassing
    from physgen.networks.message_passing import MessagePassing as MessagePassing
    from physgen.networks.mlp import MLP as MLP
    from physgen.networks.unet import UNet as UNet
    from physgen.networks.vector_passing import VectorPassing as VectorPassing

__getattr__, __dir__, __all__ = attach(__name__, __file__)
