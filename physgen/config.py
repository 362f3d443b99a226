"""One YAML file is one experiment.

The file is checked as a whole: every key, type, range and unit, all errors at once, each with the path
of its key and, for a misspelt key, the one that was meant. The ``data`` section is made from the fields
of the domain's dataclass, so a new physics needs no change here. ``extends: other.yaml`` takes another
file as the start, one level deep.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model, model_validator

from physgen.domains.contract import get_domain
from physgen.errors import InputError
from physgen.units import parse_quantity

SCHEMA_VERSION = 1


class Section(BaseModel):
    """Immutable; a key that is not listed is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitConfig(Section):
    """Shares of the independent units (simulations, disorder instances) in each part."""

    train: float = Field(0.8, gt=0, lt=1)
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)
    units: int | None = Field(
        None, ge=3, description="use only the first so many units; subsets of one seed are nested"
    )


class DiffusionConfig(Section):
    """The forward process and the noise levels s = sigma/alpha that training and sampling use."""

    sde: Literal["ou", "vp", "sub_vp", "ve", "cosine", "rectified_flow"] = "ve"
    s_min: float | None = Field(None, gt=0, description="smallest noise level; left out, a tenth of the smallest mode")
    s_max: float | None = Field(None, gt=0, description="largest noise level; left out, ten times the largest mode")
    law: Literal["log_uniform", "log_normal", "schedule"] = Field(
        "log_uniform", description="law of s in training; 'schedule' is uniform in the t of the SDE"
    )
    log_mean: float = Field(-0.5, description="mean of ln s for the log_normal law")
    log_std: float = Field(1.5, gt=0, description="standard deviation of ln s for the log_normal law")


class TrainingConfig(Section):
    """The optimisation."""

    steps: int = Field(2000, ge=1)
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
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    augment: bool = True
    validate_every: int = Field(500, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    keep_checkpoints: int = Field(3, ge=1)
    log_every: int = Field(20, ge=1)
    validation_size: int = Field(256, ge=2, description="configurations of the validation split that are used")

    @model_validator(mode="after")
    def _averages_fit(self) -> TrainingConfig:
        if self.averages > self.steps:
            raise ValueError(f"averages={self.averages} is more than steps={self.steps}: store at most one each step")
        return self


class SamplingConfig(Section):
    """How configurations are drawn after training."""

    sampler: Literal[
        "euler", "ancestral", "heun", "dpmpp_2m", "euler_maruyama", "dpmpp_3m", "exponential_4m", "dpmpp_2m_sde",
        "heun_churn", "predictor_corrector", "annealed_langevin", "dopri5",
    ] = "dpmpp_2m"  # fmt: skip
    steps: int = Field(24, ge=2, description="noise levels")
    levels: Literal["checked", "chosen", "log-uniform"] = Field(
        "checked", description="which noise levels: the safest on the network itself, of least error on its Gaussian "
        "surrogate, or log-uniform (fields; spins have log-uniform ones)"
    )  # fmt: skip
    n: int = Field(256, ge=1, description="configurations to draw (fields: in all; spins: replicas per condition)")
    batch_size: int | None = Field(
        None, ge=1, exclude=True, description="without effect: samples are computed in tiles that the lattice fixes"
    )


class TrackingConfig(Section):
    """Where the runs are compared."""

    # YAML 1.1 reads a bare off as false
    uri: Annotated[str | None, BeforeValidator(lambda v: "off" if v is False else v)] = Field(
        None, description="MLflow tracking URI; left out, an SQLite file beside the runs; off for the journal alone"
    )
    experiment: str = "physgen"
    register_as: str | None = Field(None, description="name in the model registry; left out, physgen-<domain>")
    sweep: str | None = Field(None, description="tag physgen.sweep, to group runs")


class JudgingConfig(Section):
    """What a verdict rests on."""

    tolerances: dict[str, float] = Field(
        {}, description="accepted deviation of a diagnostic in its own terms, e.g. {power_spectrum: 0.05}; left out, "
        "what the diagnostic says of itself"
    )  # fmt: skip
    false_alarms: float = Field(
        0.01, gt=0, lt=0.5, description="probability that any diagnostic at all fails where the law is right"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the simultaneous band that must lie in the tolerance")

    @model_validator(mode="after")
    def _positive(self) -> JudgingConfig:
        wrong = {name: limit for name, limit in self.tolerances.items() if not limit > 0}
        if wrong:
            raise ValueError(f"tolerances must be positive, got {wrong}")
        return self


class NetworkConfig(BaseModel):
    """Architecture; the domain fixes dimension, channels and labels and checks the names."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str = "unet"


class Experiment(Section):
    """One experiment. ``data`` is an instance of the domain's dataclass."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$", description="name of the run and of its folder")
    domain: str
    seed: int = Field(0, ge=0)
    data: Any = None
    dataset: str | None = Field(None, description="an ensemble file; left out, the file `physgen simulate` writes")
    split: SplitConfig = SplitConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    sampling: SamplingConfig = SamplingConfig()
    judging: JudgingConfig = JudgingConfig()
    tracking: TrackingConfig = TrackingConfig()

    def resolved(self) -> dict[str, Any]:
        """The whole experiment as plain data; reading it back gives the same experiment."""
        plain = self.model_dump(mode="json", exclude={"data"})
        return plain | {"data": data_section(self.data)}

    def digest(self) -> str:
        """sha256 of the resolved experiment."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()


def data_section(domain: Any) -> dict[str, Any]:
    """Fields of a domain's dataclass as they would stand in a file, units included."""
    section = {}
    for item in dataclasses.fields(domain):
        value, unit = getattr(domain, item.name), item.metadata.get("unit")
        listed = isinstance(value, tuple)
        plain = [f"{v!r} {unit}" if unit else v for v in (value if listed else [value])]
        section[item.name] = plain if listed else (None if value is None else plain[0])
    return section


# --- reading ------------------------------------------------------------------------------------


def load_config(path: str | Path, overrides: list[str] | None = None) -> Experiment:
    """Read, merge (``extends``, then ``key=value`` overrides) and check an experiment.

    Raises InputError that lists every error with the path of its key.
    """
    content = _read_yaml(Path(path))
    parent = content.pop("extends", None)
    if parent is not None:
        base = _read_yaml(Path(path).parent / parent)
        if "extends" in base:
            raise InputError(f"{path} extends {parent}, which extends another file: one level only, merge two of them")
        content = _merge(base, content)
    for override in overrides or []:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise InputError(f"override {override!r} is not of the form key=value, e.g. training.steps=100")
        node = content
        *sections, leaf = key.split(".")
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise InputError(f"override {override!r}: {section!r} is a value, not a section")
        node[leaf] = yaml.safe_load(text)
    return check_config(content, str(path))


def check_config(content: dict[str, Any], source: str = "configuration") -> Experiment:
    """Check plain data as an experiment."""
    model = experiment_model(str(content["domain"])) if isinstance(content.get("domain"), str) else Experiment
    try:
        raw = model.model_validate(content)
    except ValidationError as error:
        raise InputError(_explain(error, model, source)) from None
    try:
        domain = get_domain(raw.domain)(**{k: _frozen(v) for k, v in dict(raw.data).items()})
    except InputError as error:
        raise InputError(f"{source}: data: {error}") from None
    return Experiment.model_construct(**{**{k: getattr(raw, k) for k in Experiment.model_fields}, "data": domain})


def experiment_model(domain: str) -> type[Experiment]:
    """The pydantic model of an experiment of one domain, with its ``data`` section."""
    fields: dict[str, Any] = {}
    cls = get_domain(domain)
    hints = typing.get_type_hints(cls, include_extras=True)
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        meta, kind = item.metadata, hints[item.name]
        unit = meta.get("unit")
        bounds = {"ge": meta.get("min"), "le": meta.get("max")} if kind in (int, float) else {}
        if unit:
            kind = Annotated[kind, BeforeValidator(lambda v, unit=unit: _with_unit(v, unit))]
        default = item.default if item.default is not dataclasses.MISSING else item.default_factory()  # type: ignore[misc]
        fields[item.name] = (kind, Field(default, description=meta.get("help", ""), **bounds))
    data = create_model(f"{cls.__name__}Data", __base__=Section, __doc__=cls.description, **fields)
    return create_model("Experiment", __base__=Experiment, __doc__=Experiment.__doc__, data=(data, data()))


def _with_unit(value: Any, unit: str) -> Any:
    if isinstance(value, list | tuple):
        return [_with_unit(v, unit) for v in value]
    return value if value is None else parse_quantity(value, unit)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path, or start from a file in configs/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): a configuration is a text file in YAML") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, not sections of keys: see configs/ for an example")
    return content


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


# --- explaining ---------------------------------------------------------------------------------


def _explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(p) for p in item["loc"])
        if item["type"] == "extra_forbidden":
            known = list(_model_at(model, item["loc"][:-1]).model_fields)
            close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
            lines.append(f"{where}: unknown key; {hint}")
        else:
            message = item["msg"].removeprefix("Value error, ").rstrip(".")
            given = "" if item["type"] in ("missing", "value_error") else f", got {item['input']!r}"
            lines.append(f"{where}: {message[0].lower() + message[1:]}{given}")
    count = f"{len(lines)} errors" if len(lines) > 1 else "1 error"
    return f"{source} has {count}:\n  " + "\n  ".join(lines)


def _model_at(model: type[BaseModel], path: tuple[Any, ...]) -> type[BaseModel]:
    for key in path:
        kind = model.model_fields[key].annotation if key in model.model_fields else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            model = kind
    return model


def json_schema(domain: str) -> dict[str, Any]:
    """JSON schema of an experiment of one domain, for editors (yaml-language-server)."""
    return experiment_model(domain).model_json_schema()


def explain_key(domain: str, key: str) -> str:
    """What one dotted key means: type, default and description."""
    model: type[BaseModel] = experiment_model(domain)
    *sections, leaf = key.split(".")
    model = _model_at(model, tuple(sections))
    if leaf not in model.model_fields:
        close = difflib.get_close_matches(leaf, model.model_fields, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(model.model_fields)}"
        raise InputError(f"{key}: unknown key; {hint}")
    item = model.model_fields[leaf]
    kind = item.annotation
    shown = kind.__name__ if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) else str(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        keys = "\n".join(f"  {key}.{k}: {f.description or ''}".rstrip() for k, f in kind.model_fields.items())
        return f"{key}: a section. {kind.__doc__ or ''}\n{keys}"
    return f"{key}: {shown.replace('typing.', '')}, default {item.default!r}. {item.description or ''}".rstrip()
