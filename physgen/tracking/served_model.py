"""The trained sampler as an MLflow pyfunc model from code: this file is the model, no object is pickled.

MLflow copies it beside the weights and runs it when the model is loaded; nothing else imports it.
"""

import importlib
import json
from pathlib import Path

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class SamplerModel(PythonModel):
    """Draws one configuration per seed: int64 (N,) -> float32 (N, C, grid ...) in physical units."""

    _skip_type_hint_validation = True  # tensors have no hint that mlflow takes, and it would warn; the signature checks

    def load_context(self, context):
        """Rebuild the sampler from the artifacts; MLflow asks for the argument name ``context``."""
        module, function = context.model_config["loader"].split(":")
        self._draw = getattr(importlib.import_module(module), function)(Path(context.artifacts["sampler"]))

    def predict(self, context, model_input, params=None):
        """Draw. Params: ``n_steps`` sampler steps; ``condition``, a JSON object of conditions by physical name.

        MLflow ignores unknown params with a warning only, so that what arrives is checked here; names, shapes and
        ranges of the conditions are checked by the sampler.
        """
        params = params or {}
        seeds = np.asarray(model_input)
        if seeds.ndim != 1 or seeds.dtype != np.int64:
            raise ValueError(f"seeds have shape {seeds.shape} and type {seeds.dtype}; give int64 of shape (N,)")
        steps = params.get("n_steps", 40)
        if steps < 2:
            raise ValueError(f"n_steps is {steps}; at least 2 are needed")
        condition = self._condition(params.get("condition") or "{}")
        return np.asarray(self._draw(seeds, int(steps), condition or None), dtype=np.float32)

    def _condition(self, text):
        """The JSON object, whose values are numbers or nested lists of numbers."""
        try:
            condition = json.loads(text)
        except ValueError:
            condition = None
        if not isinstance(condition, dict) or not all(map(_is_numeric, condition.values())):
            numbers = {name: value for name, value in self._draw.conditions.items() if not isinstance(value, list)}
            example = json.dumps(numbers or self._draw.conditions)
            raise ValueError(f"condition is {text!r}; give a JSON object of numbers or nested lists, e.g. {example}")
        return condition


def _is_numeric(value):
    if isinstance(value, list):
        return all(map(_is_numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


set_model(SamplerModel())
