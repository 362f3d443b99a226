r"""Latent fields: a periodic autoencoder, what it loses of each Fourier mode, and the linear one beside it.

Diffusion of latents is diffusion: the core sees fields on a coarser lattice. What is here makes them, and fields of
them (Rombach et al. 2022, arXiv:2112.10752, on a torus and with the loss of information stated).
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.diffusion.latent.autoencoder import Autoencoder as Autoencoder
    from physgen.diffusion.latent.autoencoder import AutoencoderOptions as AutoencoderOptions
    from physgen.diffusion.latent.fitting import Fit as Fit
    from physgen.diffusion.latent.fitting import fit_autoencoder as fit_autoencoder
    from physgen.diffusion.latent.information import Information as Information
    from physgen.diffusion.latent.information import kept_information as kept_information
    from physgen.diffusion.latent.residual import add_residual as add_residual
    from physgen.diffusion.latent.residual import residual_power as residual_power
    from physgen.diffusion.latent.truncation import interpolated as interpolated
    from physgen.diffusion.latent.truncation import truncated as truncated

__getattr__, __dir__, __all__ = attach(__name__, __file__)
