"""Networks on periodic lattices: a U-Net in one to three dimensions and message passing on bonds. torch only."""

from physgen.networks.message_passing import MessageOptions, MessagePassing
from physgen.networks.unet import UNet, UNetOptions

__all__ = ["MessageOptions", "MessagePassing", "UNet", "UNetOptions"]
