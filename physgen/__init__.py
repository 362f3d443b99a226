"""physgen: score-based diffusion models for physical configurations, judged with error bars.

A *domain* makes an *ensemble*; the core trains a *denoiser* under an *SDE* and draws with a *sampler*;
*diagnostics* compare the result with a reference; a *run* records everything.

The public names below are imported when they are first used, so ``import physgen`` costs nothing.
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "open_ensemble": "physgen.ensemble",
    "load_ensemble": "physgen.ensemble",
    "save_ensemble": "physgen.ensemble",
    "get_domain": "physgen.domains.contract",
    "list_domains": "physgen.domains.contract",
    "OU": "physgen.diffusion.sde",
    "VP": "physgen.diffusion.sde",
    "SubVP": "physgen.diffusion.sde",
    "VE": "physgen.diffusion.sde",
    "Cosine": "physgen.diffusion.sde",
    "RectifiedFlow": "physgen.diffusion.sde",
    "Denoiser": "physgen.diffusion.sde",
    "UNet": "physgen.networks.unet",
    "train": "physgen.stages",
    "sample": "physgen.stages",
    "evaluate": "physgen.stages",
    "compare": "physgen.diagnostics",
    "power_spectrum": "physgen.diagnostics.spectrum",
    "memorization": "physgen.diagnostics.memorization",
}
_ROOMS = ("diffusion", "networks", "diagnostics", "domains", "figures", "report", "runs", "stages", "tracking")

__all__ = [*_PUBLIC, *_ROOMS]


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"physgen.{name}")
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'physgen' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
