"""The final sampler in MLflow: a pyfunc model from code with safetensors weights, registered under an alias."""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from physgen.errors import InputError

DEFAULT_STEPS = 40  # where the folder names none
DESCRIPTION = "conditions.json"  # of whoever fills the folder: conditions with their defaults, output units, steps
# what a served model imports, with the bounds of this package's own requirements
REQUIREMENTS = (
    "torch>=2.11", "numpy>=2.0", "scipy>=1.13", "numba>=0.61", "h5py>=3.11", "h5netcdf>=1.4", "xarray>=2024.10",
    "astropy>=7", "pydantic>=2.8", "pyyaml>=6", "safetensors>=0.4", "mlflow>=3.17,<4",
)  # fmt: skip
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib")


def _signature(sample_shape: Sequence[int], steps: int) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("int64"), (-1,))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, *sample_shape))]),
        params=ParamSchema([ParamSpec("n_steps", "long", steps), ParamSpec("condition", "string", "{}")]),
    )


def _code_of(loader: str, folder: Path) -> list[str]:
    """A copy of the top-level package that holds the loader, so that the model outlives this installation."""
    package = sys.modules.get(loader.split(":")[0].split(".")[0])
    source = Path(package.__file__) if package is not None and package.__file__ else None
    if source is None or source.name != "__init__.py":
        return []
    target = folder / source.parent.name
    shutil.copytree(source.parent, target, ignore=shutil.ignore_patterns("__pycache__"))
    return [str(target)]


def _described(folder: Path) -> dict[str, Any]:
    """How the model is called, shown beside it: an example, and what may stand in the param ``condition``."""
    path = folder / DESCRIPTION
    described = {"steps": DEFAULT_STEPS} | (json.loads(path.read_text()) if path.is_file() else {})
    conditions = described.get("conditions", {})
    example = json.dumps({name: value for name, value in conditions.items() if not isinstance(value, list)})
    return described | {
        "example": f"model.predict(np.arange(4), params={{'n_steps': {described['steps']}, 'condition': {example!r}}})",
        "seeds": "int64 (N,); sample i depends on seed i and the condition alone",
    }


def save_sampler(path: Path, folder: Path, loader: str, sample_shape: Sequence[int], model: Any = None) -> None:
    """Write the pyfunc model to a local path.

    Args:
        path: new folder.
        folder: what the loader reads: safetensors, JSON and HDF5; its ``conditions.json`` is shown beside the model.
        loader: ``module:function`` of the folder; what it returns draws, and names its ``conditions`` with defaults.
        sample_shape: shape (C, grid ...) of one sample.
        model: the mlflow Model whose ids the file carries; a fresh one if None.

    Raises:
        InputError: the folder holds a pickle.
    """
    import mlflow.pyfunc

    pickles = [file.name for file in folder.rglob("*") if file.suffix in PICKLES]
    if pickles:
        raise InputError(f"{folder} holds {pickles[0]}, which may be a pickle; export weights as safetensors")
    described = _described(folder)
    with tempfile.TemporaryDirectory() as scratch:
        mlflow.pyfunc.save_model(
            path=str(path),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"sampler": str(folder)},
            model_config={"loader": loader},
            signature=_signature(sample_shape, described["steps"]),
            metadata=described,
            code_paths=_code_of(loader, Path(scratch)) or None,
            mlflow_model=model,
            pip_requirements=list(REQUIREMENTS),
        )
    for cache in path.rglob("__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)


def _logged_model(client: Any, run_id: str, run_dir: Path, entry: Mapping[str, Any]) -> Any:
    """The logged model of a journal entry; one that an interrupted round has finished is found again by its tag."""
    from mlflow.models import Model

    folder = run_dir / entry["folder"]
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    run, mark = client.get_run(run_id), f"{run_id}@{entry['time']}"
    for found in client.search_logged_models([run.info.experiment_id], f"tags.`physgen.entry` = '{mark}'"):
        if found.status == "READY":
            return found
    logged = client.create_logged_model(
        run.info.experiment_id,
        name=entry["name"],
        source_run_id=run_id,
        model_type="sampler",
        params=run.data.params,
        tags={"physgen.entry": mark},
    )
    try:
        model = Model(
            artifact_path=logged.artifact_location, model_uuid=logged.model_id, run_id=run_id, model_id=logged.model_id
        )
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model"
            save_sampler(path, folder, entry["loader"], entry["sample_shape"], model)
            client.log_model_artifacts(logged.model_id, str(path))
    except Exception:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    return logged


def log_sampler(client: Any, run_id: str, run_dir: Path, entry: Mapping[str, Any]) -> None:
    """Log and register the sampler of a journal's ``model`` event, through the client alone (no global state).

    Done twice, it logs and registers once.

    Raises:
        FileNotFoundError: the folder is gone.
        InputError: the folder holds a pickle.
    """
    from mlflow.entities import LoggedModelOutput

    logged = _logged_model(client, run_id, run_dir, entry)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, entry["training_step"])])
    try:
        client.create_registered_model(entry["name"])
    except Exception as error:
        if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{entry['name']}'")
    version = next((one for one in versions if one.model_id == logged.model_id), None)
    if version is None:
        # not models:/<id>: without a server mlflow would look that up in its global tracking URI
        version = client.create_model_version(
            entry["name"], logged.artifact_location, run_id, model_id=logged.model_id, await_creation_for=0
        )
    client.set_registered_model_alias(entry["name"], entry["alias"], version.version)
