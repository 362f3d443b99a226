"""Make data and train on them, in a session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from physgen.config import Experiment, load_config
from physgen.errors import InputError
from physgen.progress import shown_bar
from physgen.session.run import OpenRun, open_run

if TYPE_CHECKING:
    import xarray as xr


def simulate(
    experiment: Experiment | str | Path,
    given: xr.Dataset | str | Path | None = None,
    *,
    processes: int = 1,
    progress: bool = True,
) -> xr.Dataset:
    """Make the ensemble that the ``data`` section of an experiment describes, from the experiment's seed.

    Args:
        experiment: an Experiment or the path of its YAML file.
        given: conditions to simulate under, in memory or a file.
        processes: how many share the work; the result does not depend on it. In a script, more than one want an
            ``if __name__ == "__main__":`` around the call, as everywhere in Python; a notebook does not.
        progress: show a bar.
    """
    from physgen.stages.data import simulate_ensemble

    found = _experiment(experiment)
    return simulate_ensemble(found, processes, shown_bar(progress, "simulate"), given)


def import_files(format: str, paths: str | Path | Sequence[str | Path], **options: object) -> xr.Dataset:
    """Read foreign files as an ensemble; ``physgen domains`` lists the formats, each with its options.

    Example: ``import_files("npy", "maps.npy", box_size="25 Mpc/h", labels="parameters.txt")``.
    """
    from physgen.stages.data import import_ensemble

    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    return import_ensemble(format, listed, {k: str(v) for k, v in options.items()})


def export(format: str, data: xr.Dataset | str | Path, path: str | Path) -> list[Path]:
    """Write an ensemble for other programs; ``physgen domains`` lists the formats of each physics.

    Example: ``export("npy", ensemble, "maps.npy")`` writes (N, \\*grid), and ``maps_params.txt`` with the labels.

    Args:
        format: ``npy`` or ``hdf5`` for any physics.
        data: an ensemble in memory or a file.
        path: a new file, or folder where the format has one.

    Returns:
        What was written, ``path`` first; whole, or nothing at all.
    """
    from physgen.stages.exporting import export_files

    return export_files(format, data, path).paths


def train(
    experiment: Experiment | str | Path,
    data: xr.Dataset | str | Path | None = None,
    *,
    runs: str | Path = "runs",
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> OpenRun:
    """Train the network of an experiment; the run in the folder ``runs/<name of the experiment>``.

    Args:
        experiment: an Experiment or the path of its YAML file.
        data: the ensemble, in memory or a file, to train on; one of :func:`physgen.from_array` is checked as data of
            the experiment's domain. None: the experiment's ``dataset``, or the file that ``physgen simulate`` wrote.
        runs: folder that holds the folders of runs.
        resume: go on from the last checkpoint of a run of this name; where there is none, start it. A cell with
            ``resume=True`` can be run again and again.
        device: auto, cpu or cuda.
        progress: show a bar with the time left and the loss.

    Raises:
        InputError: the data do not fit the experiment, or the name is taken.
    """
    from physgen.ensemble import check_ensemble
    from physgen.stages.training import train as train_stage

    found, folder = _experiment(experiment), Path(runs)
    run = folder / found.name
    exists = (run / "experiment.yaml").exists()
    if exists and not resume:
        raise InputError(
            f"{run} holds a run already: open it with open_run({str(run)!r}), go on with train(..., resume=True), or "
            "give the experiment another name"
        )
    ensemble = None
    if isinstance(data, str | Path):
        found = found.model_copy(update={"dataset": str(data)})
    elif data is not None:
        ensemble = check_ensemble(data if data.attrs.get("domain") else found.data.adopt(data))
    train_stage(found, folder, exists, device, shown_bar(progress, f"train {found.name}"), ensemble)
    return open_run(run, device)


def _experiment(experiment: Experiment | str | Path) -> Experiment:
    return experiment if isinstance(experiment, Experiment) else load_config(experiment)
