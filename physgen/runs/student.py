"""What says that a run is a student of few steps: ``distillation.json`` in its folder, ``student`` in its model.json.

Keys: ``method``, a name of :data:`physgen.diffusion.distillation.METHODS`; ``evaluations``, the steps it was taught
for; ``teacher``, the folder of the run that taught it, and ``teacher_weights``, the sha256 of its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physgen.errors import InputError
from physgen.runs.folder import read_json, write_json

TAUGHT = "distillation.json"


def taught_in(folder: Path) -> dict[str, Any]:
    """What the student in a folder was taught; empty where the run is no student."""
    path = folder / TAUGHT
    return read_json(path) if path.is_file() else {}


def say_taught(folder: Path, taught: Mapping[str, Any]) -> None:
    """Make the run in a folder a student."""
    write_json(folder / TAUGHT, dict(taught))


def needs_a_denoiser(folder: Path, taught: Mapping[str, Any]) -> InputError:
    """The refusal of what asks a student for E[x0 | y]."""
    return InputError(
        f"{folder.parent} is a student of {taught.get('evaluations')} evaluations ({taught.get('method')}): it knows "
        f"where the flow ends, not the mean E[x0 | y] that this needs; ask its teacher, {taught.get('teacher')}"
    )
