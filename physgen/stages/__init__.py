"""The stages: simulate, import, train, sample, evaluate. Files in, files out; no physics.

Each is imported when it is first used, so that the command line answers at once.
"""

import importlib

_PUBLIC = {
    "describe_domains": "data",
    "simulate": "data",
    "describe_import": "data",
    "import_files": "data",
    "default_dataset": "data",
    "train": "training",
    "is_complete": "training",
    "DrawOptions": "drawing",
    "sample": "drawing",
    "describe_average": "averages",
    "compare_widths": "widths",
    "width_table": "widths",
    "best_width": "widths",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
}

__all__ = [*_PUBLIC]


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"physgen.stages.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'physgen.stages' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
