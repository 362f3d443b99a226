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
    """Draws one configuration per seed: int64 (N,) -> float32 (N, C, grid ...)."""

    _skip_type_hint_validation = True  # tensors have no hint that mlflow takes, and it would warn; the signature checks

    def load_context(self, context):
        """Rebuild the sampler from the artifacts; MLflow asks for the argument name ``context``."""
        module, function = context.model_config["loader"].split(":")
        self._draw = getattr(importlib.import_module(module), function)(Path(context.artifacts["sampler"]))

    def predict(self, context, model_input, params=None):
        """Draw. Params: ``n_steps`` sampler steps; ``condition``, a JSON object of numbers.

        MLflow ignores unknown params with a warning only, so that what arrives is checked here.
        """
        params = params or {}
        seeds = np.asarray(model_input)
        if seeds.ndim != 1 or seeds.dtype != np.int64:
            raise ValueError(f"seeds have shape {seeds.shape} and type {seeds.dtype}; give int64 of shape (N,)")
        steps = params.get("n_steps", 40)
        if steps < 1:
            raise ValueError(f"n_steps is {steps}; at least 1 is needed")
        try:
            condition = json.loads(params.get("condition") or "{}")
            condition = {key: float(value) for key, value in condition.items()}
        except (ValueError, AttributeError, TypeError):
            raise ValueError(
                f'condition is {params["condition"]!r}; give a JSON object of numbers, such as {{"temperature": 1.5}}'
            ) from None
        return np.asarray(self._draw(seeds, int(steps), condition or None), dtype=np.float32)


set_model(SamplerModel())
