"""The facts of the data in hand: what they are, whoever made them.

The ``data`` section of a configuration tells a simulator what to make. An imported ensemble, or one that was made from
another section, knows nothing of it: then the section's settings, defaults most of them, are shown nowhere.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen.config import Experiment, data_section
from physgen.domains.any_field import AnyField
from physgen.domains.contract import domain_of, with_units
from physgen.ensemble import independent_units, sample_count, space_dims
from physgen.provenance import file_digest

if TYPE_CHECKING:
    import xarray as xr

PROVENANCE = ("source", "format", "generator", "seed", "physgen_version", "git_commit")


def data_facts(ensemble: xr.Dataset, path: Path | None = None) -> dict[str, Any]:
    """Facts of an ensemble as plain values; units stand in the keys (``box_size_Mpc_h``).

    Counts, lattice and provenance are those of every ensemble; its domain adds its own (``Domain.facts``).

    Args:
        ensemble: of its domain, or of none.
        path: its file, for the digest.
    """
    domain = domain_of(ensemble) if ensemble.attrs.get("domain") else AnyField
    found: dict[str, Any] = {} if path is None else {"file": str(path), "sha256": file_digest(path)}
    found |= {key: _plain(ensemble.attrs[key]) for key in PROVENANCE if ensemble.attrs.get(key) not in (None, "")}
    units, dims = independent_units(with_units(ensemble)), space_dims(ensemble)
    found |= {
        "lattice": " x ".join(str(ensemble.sizes[dim]) for dim in dims) or f"{ensemble.sizes['component']} components",
        "configurations": sample_count(ensemble),
        "independent_units": units.count,
        "unit": units.name,
    }
    return found | {key: _plain(value) for key, value in domain.facts(ensemble).items()}


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of JSON."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def is_made_from(experiment: Experiment, ensemble: xr.Dataset) -> bool:
    """Whether the ensemble says that it was simulated from exactly this ``data`` section.

    Settings of learning say nothing of the data; one that physgen did not have then stood at its default.
    """
    try:
        made = json.loads(ensemble.attrs["config_json"])
        domain = experiment.data
        section, defaults = (json.loads(json.dumps(data_section(one))) for one in (domain, type(domain)()))
        asked, done = (
            {key: value for key, value in one.items() if key not in domain.learning_settings}
            for one in (section, {**defaults, **made["data"]})
        )
        return bool(asked == done) and made["domain"] == experiment.domain
    except (KeyError, TypeError, ValueError):
        return False


def settings_in_use(experiment: Experiment, made_from_section: bool) -> list[str]:
    """Names of the ``data`` section that have to do with the data in hand.

    All, where the data were simulated from it; else those that a domain lists as ``learning_settings``: they act when
    a network is trained, whoever made the data.
    """
    names = [item.name for item in dataclasses.fields(experiment.data)]
    return names if made_from_section else [n for n in names if n in experiment.data.learning_settings]


def shown_data(experiment: Experiment, facts: dict[str, Any]) -> dict[str, Any]:
    """What stands for the data in a report: the settings in use, as in a file, and the facts."""
    section = data_section(experiment.data)
    return {name: section[name] for name in settings_in_use(experiment, facts["made_from_this_section"])} | facts
