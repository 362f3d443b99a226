"""A run to give away: what drawing needs of it, without its data, checkpoints and journal."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from physgen.ensemble import TEMPLATE, save_ensemble
from physgen.errors import InputError
from physgen.runs.folder import ENCODING, FACTS, Run, open_run, read_json, write_config, write_json
from physgen.runs.levels import choose_levels, path_levels
from physgen.runs.model import load_model
from physgen.runs.student import say_taught, taught_in
from physgen.stages.sampling import known_conditions
from physgen.storage.weights import export_weights, load_weights

BESIDE_THE_WEIGHTS = ("levels.json", "conditions.safetensors")
# facts of the data that are true of this machine alone
OF_THIS_MACHINE = ("file",)
SOURCE = "source"  # of imported data: the files that were read
HISTORY = "history"  # attribute of an ensemble: the commands that made it, with their paths
WEIGHTED_STEPS = (16, 32, 64, 128, 256)  # of paths with weights, whose levels are measured once


def pack_run(run: str | Path | Run, output: str | Path) -> Path:
    """Write a folder from which ``physgen sample`` draws as from the run, of the size of the weights.

    It holds the configuration, the EMA weights with the constants of the encoding, checked noise levels for the sampler
    of the configuration (and of paths with weights, where they are measured), the facts of the training data, and the
    *conditions* of the test part as a template: labels, lattice and units, no configuration of the data.

    Args:
        run: a trained run or its folder. output: a folder that does not exist.

    Raises:
        InputError: ``output`` exists, or the run was not trained.
    """
    run, output = run if isinstance(run, Run) else open_run(run), Path(output)
    if output.exists():
        raise InputError(f"{output} exists already: nothing is overwritten, choose another folder")
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not a folder: create it first, or give another -o")
    model = load_model(run.folder / "model", "cpu", few_steps=True)
    sampling = run.experiment.sampling
    choose_levels(model, sampler=sampling.sampler, steps=sampling.steps, rule=sampling.levels)  # kept in the folder
    how = run.domain.values.path_kernel()
    if how is not None and how[1] != "gaussian":
        for steps in WEIGHTED_STEPS:
            path_levels(model, how, steps, partial(known_conditions, run, model))
    fresh = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        _write(run, fresh)
        fresh.chmod(0o755)
        fresh.rename(output)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return output


def _write(run: Run, folder: Path) -> None:
    (folder / "data").mkdir()
    weights, described = load_weights(run.folder / "model")
    described["experiment"]["dataset"] = None
    export_weights(folder / "model", weights, described)
    for name in BESIDE_THE_WEIGHTS:
        if (run.folder / "model" / name).exists():
            shutil.copyfile(run.folder / "model" / name, folder / "model" / name)
    shutil.copyfile(run.folder / ENCODING, folder / ENCODING)
    if taught := taught_in(run.folder):
        say_taught(folder, taught)
    facts = _without_folders({key: value for key, value in run.facts().items() if key not in OF_THIS_MACHINE})
    write_json(folder / FACTS, facts)
    write_config(run.experiment.model_copy(update={"dataset": None}), folder / "experiment.yaml")
    with run.open_conditions("test") as test:
        conditions = test.drop_vars("field", errors="ignore").load()
    about = conditions.attrs.get(TEMPLATE) or "the conditions of a test part"
    attrs = {name: value for name, value in conditions.attrs.items() if name != HISTORY}
    conditions.attrs = _without_folders(attrs) | {TEMPLATE: about}
    save_ensemble(conditions, folder / "data" / "test.h5")


def _without_folders(said: dict[str, Any]) -> dict[str, Any]:
    """The same with the files that data were imported from by their names alone: folders are true of one machine."""
    if not isinstance(said.get(SOURCE), str):
        return said
    return {**said, SOURCE: ", ".join(Path(name).name for name in said[SOURCE].split(", "))}


def packed_config(run: str | Path) -> Path | None:
    """The configuration of a run that has no data, whose samples want a reference of their own; None of another."""
    folder = open_run(run).folder
    return None if (folder / "data" / "train.h5").exists() else folder / "experiment.yaml"


def describe_pack(folder: str | Path) -> str:
    """Size and facts of a packed run, for people."""
    folder = Path(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    trained = read_json(folder / FACTS).get("configurations_of_parts", {}).get("train")
    return f"wrote {folder}, {size / 2**20:.2g} MiB: weights of a network that was trained on {trained} configurations"
