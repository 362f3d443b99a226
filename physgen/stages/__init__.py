"""The stages: simulate, import, train, sample, evaluate. Files in, files out; no physics.

Each is imported when it is first used, so that the command line answers at once.
"""

import importlib
from typing import Any

_PUBLIC = {
    "describe_domains": "data",
    "simulate": "data",
    "describe_import": "data",
    "import_files": "data",
    "default_dataset": "data",
    "domain_of_format": "data",
    "train": "training",
    "is_complete": "training",
    "DrawOptions": "sampling",
    "sample": "sampling",
    "conditions_without_data": "sampling",
    "describe_average": "ema",
    "compare_widths": "ema",
    "width_table": "ema",
    "best_width": "ema",
    "Evaluation": "evaluation",
    "Evaluator": "evaluation",
    "evaluate": "evaluation",
    "evaluate_ensembles": "evaluation",
}

__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"physgen.stages.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'physgen.stages' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
