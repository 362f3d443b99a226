"""The section of an experiment that says what is diffused, how, and what a network learns of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from physgen.config.sections import Section
from physgen.diffusion.names import PLAIN_HEAD, HeadName, LossName, ProcessName, SDEName


class LogUniformLevels(Section):
    """ln s uniform between s_min and s_max."""

    kind: Literal["log_uniform"] = "log_uniform"


class LogNormalLevels(Section):
    """ln s normally distributed (Karras et al. 2022, arXiv:2206.00364)."""

    kind: Literal["log_normal"] = "log_normal"
    log_mean: float = Field(-0.5, description="mean of ln s")
    log_std: float = Field(1.5, gt=0, description="standard deviation of ln s")


class ScheduleLevels(Section):
    """s = sigma(t)/alpha(t) at a time t uniform over the part of an SDE's schedule between s_min and s_max."""

    kind: Literal["schedule"] = "schedule"
    sde: SDEName = Field("ve", description="the SDE whose schedule it is")


NoiseLevels = Annotated[LogUniformLevels | LogNormalLevels | ScheduleLevels, Field(discriminator="kind")]


class DiffusionConfig(Section):
    """How configurations are taken apart, and how a network learns the way back.

    ``gaussian``: noise is added. In y = x_t/alpha every linear SDE is x_0 plus noise of level s = sigma/alpha, so an
    SDE enters through its noise levels alone. ``masked``: sites are hidden, and drawn back one after another.
    """

    process: ProcessName = Field(
        "gaussian", description="gaussian noise of levels s, or masked: sites of values +-1 are hidden, and drawn back "
        "in any order with exact probabilities; sampling.steps are then groups of sites drawn at once"
    )  # fmt: skip
    loss: LossName = Field(
        "denoising", description="what is minimised, all by the same denoiser E[x0|y]: denoising, weighted by the "
        "error of the linear denoiser; likelihood, its weight 1/s^2 a bound on ln p; min_snr, min(1/s^2, 5); learned, "
        "one over a learned loss of each level; implicit (Hyvarinen's, by the exact trace) and sliced (its estimate), "
        "which never see the clean configuration beside its noise; contrastive_divergence, maximum likelihood "
        "of an energy at s_min alone, by Markov chains, drawn by the sampler mala; path_variance, that of weights "
        "of the network's own paths (sampling.steps levels), where the law is known up to its norm: for fine-tuning, "
        "training.start, without configurations of the law. Of masked diffusion: denoising, the cross entropy"
    )  # fmt: skip
    head: HeadName = Field(
        PLAIN_HEAD, description="what the network predicts: preconditioned, the correction of what is known of the "
        "data (the linear denoiser, free values); of real values also x0, eps, v, the score, or an energy, "
        "whose gradient it then is"
    )  # fmt: skip
    label_dropout: float = Field(
        0.0, ge=0, lt=1, description="probability with which the labels of a configuration are left out in training, "
        "so that the law without labels is learned too: for `physgen sample --guidance W`; 0.1 to 0.2 is usual"
    )  # fmt: skip

    s_min: float | None = Field(None, gt=0, description="smallest noise level; left out, a tenth of the smallest mode")
    s_max: float | None = Field(None, gt=0, description="largest noise level; left out, ten times the largest mode")
    noise_levels: NoiseLevels = Field(
        LogUniformLevels(), description="distribution of the noise level s in training, by its kind: log_uniform; "
        "log_normal with log_mean and log_std; schedule with sde"
    )  # fmt: skip

    @model_validator(mode="after")
    def _fits_together(self) -> DiffusionConfig:
        if self.loss == "likelihood" and self.noise_levels.kind != "log_uniform":
            raise ValueError(
                f"loss=likelihood bounds ln p for noise levels uniform in ln s, not for {self.noise_levels.kind}: "
                "leave noise_levels out, or take another loss"
            )
        if self.process != "masked":
            return self
        plain = DiffusionConfig.model_construct(process="masked", label_dropout=self.label_dropout)
        wrong = [name for name in DiffusionConfig.model_fields if getattr(self, name) != getattr(plain, name)]
        if wrong:
            raise ValueError(
                f"{wrong[0]}={getattr(self, wrong[0])!r} has no effect on process=masked, which has no noise levels "
                "and one loss, the cross entropy of hidden sites: leave it out"
            )
        return self
