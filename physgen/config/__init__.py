"""One YAML file is one experiment.

The file is checked as a whole: every key, type, range and unit, all errors at once, each with the path
of its key and, for a misspelt key, the one that was meant. The ``data`` section is made from the fields
of the domain's dataclass, so a new physics needs no change here. ``extends: other.yaml`` takes another
file as the start, one level deep.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, create_model, model_validator

from physgen.config.diffusion import DiffusionConfig
from physgen.config.explain import describe_key, explain_errors
from physgen.config.process import check_process, check_values, with_process
from physgen.config.sections import (
    EXECUTION,
    JudgingConfig,
    MonitorConfig,
    NetworkConfig,
    SamplingConfig,
    Section,
    SplitConfig,
    TrackingConfig,
    TrainingConfig,
)
from physgen.domains.contract import Domain, get_domain
from physgen.errors import InputError
from physgen.units import parse_quantity

__all__ = [
    "DiffusionConfig",
    "Experiment",
    "JudgingConfig",
    "MonitorConfig",
    "NetworkConfig",
    "SamplingConfig",
    "SplitConfig",
    "TrackingConfig",
    "TrainingConfig",
    "check_config",
    "data_section",
    "experiment_model",
    "explain_key",
    "json_schema",
    "load_config",
]

SCHEMA_VERSION: Literal[1] = 1


class Experiment(Section):
    """One experiment. ``data`` is an instance of the domain's dataclass."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$", description="name of the run and of its folder")
    domain: str
    seed: int = Field(0, ge=0)
    data: Any = None
    dataset: str | None = Field(None, description="an ensemble file; left out, the file `physgen simulate` writes")
    copy_dataset: bool | None = Field(
        None, json_schema_extra=EXECUTION, description="keep the data in the folder of the run; left out, those of up "
        "to 64 MiB: of larger ones the run keeps which samples of the file are in which part, and needs the file"
    )  # fmt: skip
    split: SplitConfig = SplitConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    sampling: SamplingConfig = SamplingConfig()
    judging: JudgingConfig = JudgingConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _of_its_process(cls, content: Any) -> Any:
        """Where keys of earlier versions stood, and the sampler of a process that has one alone."""
        return with_process(content)

    @model_validator(mode="after")
    def _process_fits(self) -> Experiment:
        check_process(self.diffusion, self.training, self.sampling)
        return self

    @model_validator(mode="before")
    @classmethod
    def _with_data(cls, content: Any) -> Any:
        """In plain Python ``data`` and ``network`` may be left out: the domain with its defaults, and its network."""
        named = isinstance(content, dict) and isinstance(content.get("domain"), str)
        if cls is not Experiment or not named:
            return content
        domain = get_domain(content["domain"])
        given = {key: value for key, value in content.items() if key != "data" or value is not None}
        left_out = {"network": NetworkConfig(kind=domain.network_kind)} | (
            {} if "data" in given else {"data": domain()}
        )
        return left_out | given

    def resolved(self) -> dict[str, Any]:
        """The whole experiment as plain data; reading it back gives the same experiment."""
        plain = self.model_dump(mode="json", exclude={"data"})
        return plain | {"data": data_section(self.data)}

    def flat(self) -> dict[str, Any]:
        """The resolved experiment by dotted key: ``training.steps`` -> value."""
        return dict(_dotted(self.resolved()))

    def digest(self) -> str:
        """sha256 of the resolved experiment."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()


def _dotted(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def data_section(domain: Any) -> dict[str, Any]:
    """Fields of a domain's dataclass as they would stand in a file: a number with a unit is text, ``"64 mm"``."""
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
    """Check plain data, as a YAML file gives them, as an experiment.

    Raises InputError that names the key, what it got and what it takes.
    """
    model = experiment_model(str(content["domain"])) if isinstance(content.get("domain"), str) else Experiment
    try:
        raw = model.model_validate(content)
    except ValidationError as error:
        raise InputError(explain_errors(error, model, source)) from None
    try:
        domain = get_domain(raw.domain)(**{k: _frozen(v) for k, v in dict(raw.data).items()})
    except InputError as error:
        raise InputError(f"{source}: data: {error}") from None
    check_values(raw.diffusion, domain, source)
    if not domain.values.has_prior and raw.sampling.levels not in (None, "log-uniform"):
        raise InputError(
            f"{source}: sampling.levels={raw.sampling.levels!r} has no effect on {raw.domain}, whose values are not "
            "real: their noise levels are log-uniform, leave the key out"
        )
    return Experiment.model_construct(**{**{k: getattr(raw, k) for k in Experiment.model_fields}, "data": domain})


def experiment_model(domain: str) -> type[Experiment]:
    """The pydantic model of an experiment of one domain, with its ``data`` section."""
    return _model_of(get_domain(domain))


@functools.cache
def _model_of(cls: type[Domain]) -> type[Experiment]:
    fields: dict[str, Any] = {}
    hints = typing.get_type_hints(cls, include_extras=True)
    for item in dataclasses.fields(cls):
        meta, kind = item.metadata, hints[item.name]
        unit = meta.get("unit")
        options: dict[str, Any] = {"description": meta.get("help", "")}
        if kind in (int, float):
            options |= {"ge": meta.get("min"), "le": meta.get("max")}
        if unit:
            kind = Annotated[kind, BeforeValidator(lambda v, unit=unit: _with_unit(v, unit))]
        if meta.get("execution"):
            options["json_schema_extra"] = EXECUTION
        if item.default_factory is dataclasses.MISSING:
            options["default"] = item.default
        else:
            options["default"] = item.default_factory()
        fields[item.name] = (kind, Field(**options))
    data = create_model(f"{cls.__name__}Data", __base__=Section, __doc__=cls.description, **fields)
    sections: dict[str, Any] = {"data": (data, data())}
    if cls.network_kind != NetworkConfig().kind:
        network = create_model(
            "NetworkConfig", __base__=NetworkConfig, __doc__=NetworkConfig.__doc__, kind=(str, cls.network_kind)
        )
        sections["network"] = (network, network())
    return create_model("Experiment", __base__=Experiment, __doc__=Experiment.__doc__, **sections)


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


def json_schema(domain: str) -> dict[str, Any]:
    """JSON schema of an experiment of one domain, for editors (yaml-language-server).

    Bounds and descriptions are those of the pydantic models; a quantity with a unit is a string or a number.
    """
    return experiment_model(domain).model_json_schema()


def explain_key(domain: str, key: str) -> str:
    """What one dotted key means: ``type, default`` and description, a line for each key below it.

    Raises InputError for an unknown key.
    """
    return describe_key(experiment_model(domain), key)
