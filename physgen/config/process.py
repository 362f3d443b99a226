"""What the diffusion section of a configuration asks of the other sections, and of the kind of value of a physics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physgen.diffusion.names import DIVERGENCE, PLAIN_HEAD, UNMASKING
from physgen.errors import InputError

if TYPE_CHECKING:
    from physgen.config.diffusion import DiffusionConfig
    from physgen.config.sections import SamplingConfig, TrainingConfig
    from physgen.domains.contract import Domain

OLD = "label_dropout"  # stood in the section training in earlier versions


def with_process(content: Any) -> Any:
    """Plain data of an experiment with ``label_dropout`` in its section, and the sampler of masked diffusion."""
    if not isinstance(content, dict):
        return content
    content, diffusion = dict(content), content.get("diffusion") or {}
    training = content.get("training")
    if isinstance(training, dict) and OLD in training and isinstance(diffusion, dict):
        kept = {key: value for key, value in training.items() if key != OLD}
        diffusion = {OLD: training[OLD]} | diffusion
        content |= {"training": kept, "diffusion": diffusion}
    process = diffusion.get("process") if isinstance(diffusion, dict) else diffusion.process
    sampling = content.get("sampling") or {}
    if process == "masked" and isinstance(sampling, dict) and "sampler" not in sampling:
        content["sampling"] = {"sampler": UNMASKING} | sampling
    return content


def check_process(diffusion: DiffusionConfig, training: TrainingConfig, sampling: SamplingConfig) -> None:
    """Raise ValueError, with the remedy, where a key of another section has no effect or no meaning."""
    masked = diffusion.process == "masked"
    if masked != (sampling.sampler == UNMASKING):
        raise ValueError(
            f"sampling.sampler={sampling.sampler} does not draw diffusion.process={diffusion.process}: "
            f"{'set sampling.sampler=unmasking, or leave it out' if masked else 'leave it out'}"
        )
    if training.target != "sample" and (masked or diffusion.loss != "denoising"):
        raise ValueError(
            f"training.target={training.target} is what diffusion.loss=denoising of gaussian noise aims at, not "
            f"{'masked diffusion' if masked else diffusion.loss}: leave one of them out"
        )
    chains = diffusion.loss == DIVERGENCE
    if (chains or sampling.sampler == "mala") and diffusion.head != "energy":
        said = f"diffusion.loss={DIVERGENCE}" if chains else "sampling.sampler=mala"
        raise ValueError(f"{said} needs an energy, not diffusion.head={diffusion.head}: set diffusion.head=energy")
    if chains and sampling.sampler != "mala":
        raise ValueError(
            f"diffusion.loss={DIVERGENCE} learns the energy at one noise level, which sampling.sampler="
            f"{sampling.sampler} leaves at once: set sampling.sampler=mala"
        )
    if chains and training.monitor.is_on:
        raise ValueError("training.monitor draws at many noise levels, of which one is trained: leave it out")
    if training.calibration and (masked or diffusion.head != PLAIN_HEAD):
        raise ValueError(
            f"training.calibration={training.calibration} is for gaussian noise and head={PLAIN_HEAD}: leave it out"
        )
    if masked and training.monitor.is_on:
        raise ValueError("training.monitor looks at noise levels, of which masked diffusion has none: leave it out")
    if masked and sampling.levels is not None:
        raise ValueError(f"sampling.levels={sampling.levels!r} has no effect on masked diffusion: leave it out")


def check_values(diffusion: DiffusionConfig, domain: Domain, source: str) -> None:
    """Raise InputError where the kind of value of a physics has no such head or process."""
    values = domain.values
    if diffusion.head not in values.heads:
        raise InputError(
            f"{source}: diffusion.head={diffusion.head} is for real values; those of {domain.name} are {values.name}, "
            f"and their denoiser is a mean of allowed values by construction: leave the key out ({PLAIN_HEAD})"
        )
    if diffusion.process == "masked" and not values.can_be_masked:
        raise InputError(
            f"{source}: diffusion.process=masked draws values of +1 and -1 site by site; those of {domain.name} are "
            f"{values.name}: leave the key out (gaussian)"
        )
