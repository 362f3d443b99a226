"""The sections of an experiment that are the same for every physics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from physgen.diffusion.names import OF_STUDENTS, RULES, WITHOUT_RULE, LevelRule, SamplerName


class Section(BaseModel):
    """Immutable; a key that is not listed is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitConfig(Section):
    """Shares of the independent units of the data in each part.

    They sum to 1; configurations of one unit never come into two parts.
    """

    train: float = Field(0.8, gt=0, lt=1)
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)
    units: int | None = Field(
        None, ge=3, description="use only the first so many units; subsets of one seed are nested"
    )
    train_units: int | None = Field(
        None, ge=1, description="train on only so many units of the training part; validation and test stay as they "
        "are, and subsets are nested: for a sweep over the number n of training data"
    )  # fmt: skip
    train_from: int = Field(
        0, ge=0, description="units of the training part that are passed over before train_units are taken: 0 and n "
        "give two disjoint sets of n"
    )  # fmt: skip

    corner: dict[str, tuple[float, float]] = Field(
        {}, description="label -> [low, high]: units with all these labels in their ranges are held out of train, "
        "validation and test, as a part of their own (data/corner.h5). What is drawn there is marked as extrapolation"
    )  # fmt: skip

    @model_validator(mode="after")
    def _ranges(self) -> SplitConfig:
        wrong = {name: [low, high] for name, (low, high) in self.corner.items() if not low < high}
        if wrong:
            raise ValueError(f"corner: each label needs [low, high] with low < high, got {wrong}")
        return self

    @model_validator(mode="after")
    def _passed_over(self) -> SplitConfig:
        if self.train_from and self.train_units is None:
            raise ValueError(f"train_from={self.train_from} needs train_units, the number of units to take after them")
        return self


# An execution option changes how a run is carried out or what is written on the way; never its weights or samples.
EXECUTION: JsonDict = {"execution": True}


class MonitorConfig(Section):
    """What is measured while a network trains: when it generalises, when it begins to copy its training data.

    Off unless ``every`` or ``per_octave`` says at which steps to look. The weights depend on it by ``stop`` alone.
    """

    every: int = Field(0, ge=0, description="steps between looks; 0 for none at regular steps")
    per_octave: int = Field(
        0, ge=0, le=8, description="looks for each doubling of the step, from step 16 on; 0 for none at such steps"
    )  # fmt: skip
    levels: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="noise levels s of the losses and of the order parameter; left out, five over the trained range"
    )  # fmt: skip
    samples: int = Field(
        256, ge=8, description="configurations that are drawn, or of training data, at a look; under each condition of "
        "a physics that has many"
    )  # fmt: skip
    weights: Literal["ema", "raw"] = Field(
        "ema", description="which weights: the average, which lags by about a tenth of the step, or the last ones"
    )  # fmt: skip
    stop: Literal["none", "before_memorization"] = Field(
        "none", description="before_memorization ends the training at the first look at which more drawn than held-out "
        "configurations are copies by the gap ratio (f_mem), at the rate judging.false_alarms for all looks together"
    )  # fmt: skip

    @property
    def is_on(self) -> bool:
        """Whether there is any look."""
        return self.every > 0 or self.per_octave > 0

    @model_validator(mode="after")
    def _stops_by_looks(self) -> MonitorConfig:
        if self.stop != "none" and not self.is_on:
            raise ValueError(f"stop={self.stop!r} needs looks: set every (steps) or per_octave")
        return self


class TrainingConfig(Section):
    """The optimisation: AdamW on the denoising loss, with an average of the weights.

    ``steps`` counts updates, ``batch_size`` configurations of one update over all processes.
    """

    steps: int = Field(2000, ge=1)
    start: str | None = Field(
        None, min_length=1, description="a run (its folder, or a name such as collection:name of one that comes with "
        "physgen) with whose weights to begin; on the same lattice its encoding, prior spectrum and noise levels come "
        "with them. Left out, random weights"
    )  # fmt: skip
    batch_size: int = Field(32, ge=1, description="over all processes together")
    learning_rate: float = Field(1e-3, gt=0)
    warmup: int = Field(100, ge=0, description="steps of linear growth of the learning rate")
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    ema_exponent: float = Field(
        6.94, ge=0, description="the weights are averaged with the profile t^exponent; 6.94 is 10 % of the run wide"
    )
    averages: int = Field(
        0, ge=0, description="times of the run at which two running averages of the weights (widths 0.05 and 0.10) are "
        "stored, of which `physgen sample --average WIDTH` makes one of any width; 20 suffice for widths of 0.03 to "
        "0.2, 0 for none. Costs two more copies of the parameters in memory and as much on disk for each time",
    )  # fmt: skip
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the network in training; auto takes bfloat16 for a U-Net of width 16 or more where the "
        "machine convolves it 1.5 times as fast, tried at the start and kept for the run (precision.json). Weights, "
        "normalisation, loss, validation and samples are float32 in any case",
    )  # fmt: skip
    compile: bool = Field(
        False, json_schema_extra=EXECUTION, description="torch.compile of the network with static shapes, for a GPU; "
        "equal up to rounding. On a CPU a U-Net is faster without",
    )  # fmt: skip
    augment: bool = True
    target: Literal["sample", "conditional", "exact"] = Field(
        "sample", description="what is denoised towards: the configuration itself; its mean given y and its "
        "surroundings (conditional), or given y alone (exact), where the law of the physics gives these. The minimiser "
        "is the same, the noise of the gradient less or none",
    )  # fmt: skip
    target_sweeps: int = Field(
        0, ge=0, description="a conditional target is averaged over so many sweeps of the law given y, from the "
        "configuration on: unbiased at any number, the less noise the more; where the physics knows such sweeps",
    )  # fmt: skip
    validate_every: int = Field(500, ge=1, json_schema_extra=EXECUTION, description="steps between validations")
    checkpoint_every: int = Field(500, ge=1, json_schema_extra=EXECUTION, description="steps between checkpoints")
    keep_checkpoints: int = Field(3, ge=1, json_schema_extra=EXECUTION, description="newest checkpoints that are kept")
    log_every: int = Field(20, ge=1, json_schema_extra=EXECUTION, description="steps between logged losses")
    validation_size: int = Field(256, ge=2, description="configurations of the validation split that are used")
    calibration: int = Field(
        0, ge=0, description="configurations of the training part by which, after the last step, the linear part of "
        "the denoiser is made exact in each Fourier mode at 17 noise levels, so that samples have the spectrum of the "
        "data; 2048 for a percent, 0 for none. Real values on a lattice only",
    )  # fmt: skip
    monitor: MonitorConfig = MonitorConfig()

    @model_validator(mode="after")
    def _averages_fit(self) -> TrainingConfig:
        if self.averages > self.steps:
            raise ValueError(f"averages={self.averages} is more than steps={self.steps}: store at most one each step")
        return self

    @model_validator(mode="after")
    def _sweeps_have_a_target(self) -> TrainingConfig:
        if self.target_sweeps and self.target != "conditional":
            raise ValueError(
                f"target_sweeps={self.target_sweeps} averages conditional means, and target={self.target}: set "
                "target=conditional, or leave target_sweeps out"
            )
        return self


class SamplingConfig(Section):
    """How configurations are drawn after training.

    A request may set each of these anew; the trained weights do not depend on them.
    """

    sampler: SamplerName | Literal["unmasking"] = Field(
        "dpmpp_2m", description="left out with diffusion.process=masked: unmasking, which it has alone"
    )
    steps: int = Field(
        24,
        ge=1,
        description="noise levels, 1 of a student of few steps alone; of masked diffusion groups of sites, "
        "at most one site each, which is exact",
    )
    levels: LevelRule | None = Field(
        None, description="which noise levels: most converged on the network itself (checked), of least error on its "
        "Gaussian surrogate (chosen), or log-uniform; left out, checked for real values and log-uniform for others, "
        "which have no such surrogate"
    )  # fmt: skip
    n: int = Field(256, ge=1, description="configurations to draw: in all, or under each condition")

    @model_validator(mode="after")
    def _levels_act(self) -> SamplingConfig:
        if self.steps < 2 and self.sampler not in OF_STUDENTS:
            raise ValueError(f"steps={self.steps} is too few for the sampler {self.sampler}: give at least 2")
        if self.levels not in (None, RULES[-1]) and self.sampler in WITHOUT_RULE:
            raise ValueError(
                f"levels={self.levels!r} has no effect on the sampler {self.sampler}, whose noise levels are "
                f"{RULES[-1]}: leave levels out"
            )
        return self


class TrackingConfig(Section):
    """Where the runs are compared.

    The journal in the folder of a run is the truth; MLflow gets a copy of it, during the training or later.
    """

    # YAML 1.1 reads a bare off as false
    uri: Annotated[str | None, BeforeValidator(lambda v: "off" if v is False else v)] = Field(
        None,
        json_schema_extra=EXECUTION,
        description="MLflow tracking URI; left out, an SQLite file beside the runs; off for the journal alone",
    )
    experiment: str = Field("physgen", description="MLflow experiment that holds the run")
    register_as: str | None = Field(None, description="name in the model registry; left out, physgen-<domain>")
    sweep: str | None = Field(None, description="tag physgen.sweep, to group runs")


class JudgingConfig(Section):
    """What a verdict rests on.

    *pass*: the simultaneous band of ``confidence`` lies within the tolerance; *fail*: a deviation that ``false_alarms``
    does not explain; else *open*.
    """

    tolerances: dict[str, float] = Field(
        {}, description="accepted deviation of a diagnostic in its own terms, e.g. {power_spectrum: 0.05}; left out, "
        "what the diagnostic says of itself"
    )  # fmt: skip
    false_alarms: float = Field(
        0.01, gt=0, lt=0.5, description="probability that any diagnostic at all fails where the law is right"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the simultaneous band that must lie in the tolerance")
    deconvolve: Literal["none", "window", "aliased"] = Field(
        "none", description="divide the modes of spectra by the window of the mass assignment, or by the root of its "
        "alias sum, alike in both ensembles"
    )  # fmt: skip
    mass_assignment: Literal["NGP", "CIC", "TSC", "PCS"] | None = Field(
        None, description="scheme that painted both ensembles; left out, what they state"
    )
    shot_noise: Literal["poisson"] | float | None = Field(
        None, description="level of P that is subtracted from spectra, or poisson for one over the number density that "
        "the ensembles state; left out, none is"
    )  # fmt: skip

    @model_validator(mode="after")
    def _acts(self) -> JudgingConfig:
        if self.shot_noise is not None and self.shot_noise != "poisson" and not self.shot_noise > 0:
            raise ValueError(f"shot_noise={self.shot_noise} must be a positive level of P, or poisson: leave it out")
        if self.mass_assignment is not None and self.deconvolve == "none" and self.shot_noise is None:
            raise ValueError(
                f"mass_assignment={self.mass_assignment} has no effect alone: give deconvolve=window, or shot_noise"
            )
        return self

    @model_validator(mode="after")
    def _positive(self) -> JudgingConfig:
        wrong = {name: limit for name, limit in self.tolerances.items() if not limit > 0}
        if wrong:
            raise ValueError(f"tolerances must be positive, got {wrong}")
        return self


class NetworkConfig(BaseModel):
    """Architecture: ``kind`` and the keyword arguments of that network.

    The domain fixes dimension, channels and labels, and checks the names.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str = "unet"
