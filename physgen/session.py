"""physgen in a Python session: train, open a run, draw from it. Datasets in memory, arrays and paths are taken alike.

Each function calls the stage that the command line calls; files are written only where a run needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen.config import Experiment, load_config
from physgen.errors import InputError
from physgen.progress import Progress, progress_bar
from physgen.runs.folder import Run
from physgen.runs.folder import open_run as read_run

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.report.comparison import Comparison
    from physgen.report.evaluation import Evaluation
    from physgen.runs.encoding import Encoding
    from physgen.runs.model import Model

Denoise = Callable[..., "torch.Tensor"]


def simulate(experiment: Experiment | str | Path, *, processes: int = 1, progress: bool = True) -> xr.Dataset:
    """Make the ensemble that the ``data`` section of an experiment describes, from the experiment's seed.

    Args:
        experiment: an Experiment or the path of its YAML file.
        processes: how many share the work; the result does not depend on it. In a script, more than one want an
            ``if __name__ == "__main__":`` around the call, as everywhere in Python; a notebook does not.
        progress: show a bar.
    """
    from physgen.stages.data import simulate_ensemble

    found = _experiment(experiment)
    return simulate_ensemble(found, processes, _bar(progress, "simulate"))


def import_files(format: str, paths: str | Path | Sequence[str | Path], **options: object) -> xr.Dataset:
    """Read foreign files as an ensemble; ``physgen domains`` lists the formats, each with its options.

    Example: ``import_files("npy", "maps.npy", box_size="25 Mpc/h", labels="parameters.txt")``.
    """
    from physgen.stages.data import import_ensemble

    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    return import_ensemble(format, listed, {k: str(v) for k, v in options.items()})


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
        ensemble = data if data.attrs.get("domain") else found.data.adopt(data)
    train_stage(found, folder, exists, device, _bar(progress, f"train {found.name}"), ensemble)
    return open_run(run, device)


def evaluate(
    generated: Any,
    reference: Any,
    train: Any = None,
    *,
    box_size: Any = None,
    domain: str | None = None,
    tolerances: Mapping[str, float] | None = None,
) -> Evaluation:
    """Judge an ensemble against a reference: every diagnostic with its error, its floor and a verdict.

    Args:
        generated: what to judge: a Dataset, an array (N, *grid), or the path of either.
        reference: what to compare it with, alike.
        train: what a model was trained on, for the memorization test.
        box_size: of arrays, see :func:`physgen.from_array`.
        domain: physics of ensembles that name none; None for the one that another of them names, or for any field.
        tolerances: diagnostic -> accepted deviation.

    Returns:
        The evaluation: it shows its table, and has ``results``, ``values``, ``figure(name)`` and ``write(folder)``.
    """
    from physgen.config import JudgingConfig
    from physgen.stages.evaluation import evaluate_ensembles
    from physgen.stages.sources import as_ensemble, of_one_physics

    given = {"generated": generated, "reference": reference, "train": train}
    read = {name: as_ensemble(source, box_size) for name, source in given.items() if source is not None}
    ensembles, physics = of_one_physics(read, domain)
    judging = JudgingConfig().model_copy(update={"tolerances": dict(tolerances or {})})
    return evaluate_ensembles(**ensembles, domain=physics, judging=judging)


def compare(*runs: OpenRun | str | Path) -> Comparison:
    """Lay the diagnostics of several runs over one another; all must have been judged against one reference.

    Args:
        runs: opened runs, folders of runs, or folders of evaluations. An opened run that was not judged yet is judged
            against its own test data.

    Returns:
        The comparison: it shows the table of verdicts, and has ``figure(diagnostic)`` and ``write(folder)``.
    """
    from physgen.stages.comparison import compare as compare_stage
    from physgen.stages.comparison import is_judged

    for run in runs:
        if isinstance(run, OpenRun) and not is_judged(run.folder):
            _ = run.report
    return compare_stage([run.folder if isinstance(run, OpenRun) else run for run in runs])


def open_run(folder: str | Path, device: str = "auto") -> OpenRun:
    """The run in a folder, to draw from, to judge and to read.

    Args:
        folder: that of the run, ``runs/<name>``.
        device: where its network runs: auto, cpu or cuda.
    """
    return OpenRun(read_run(Path(folder)), device)


@dataclass(frozen=True, repr=False)
class OpenRun:
    """A trained run in a session: it draws, judges, and gives its parts."""

    run: Run
    device: str = "auto"

    @property
    def folder(self) -> Path:
        """Where everything of the run stands."""
        return self.run.folder

    @property
    def experiment(self) -> Experiment:
        """Its configuration."""
        return self.run.experiment

    @cached_property
    def model(self) -> Model:
        """The denoiser with its constants, on the device."""
        from physgen.runs.model import load_model

        return load_model(self.folder / "model", self.device)

    @property
    def denoiser(self) -> Denoise:
        """D(y, s, condition) -> E[x0 | y], y = x0 + s noise of shape (B, C, *grid), s (B,), in encoded units.

        :meth:`encode` gives x0 and the condition of an ensemble, :meth:`decode` the way back.
        """
        return self.model.denoiser

    @property
    def encoding(self) -> Encoding:
        """Shapes and noise levels (``s_min``, ``s_max``) of the encoded data, and the constants of its domain."""
        return self.model.encoding

    def encode(self, ensemble: xr.Dataset) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """(x0 (B, C, *grid), condition) of an ensemble, as the denoiser takes them."""
        return self.run.domain.encode(self._adopted(ensemble), self.encoding.domain)

    def decode(self, x: torch.Tensor, template: xr.Dataset) -> xr.Dataset:
        """The ensemble of x (B, C, *grid), with the labels of ``template``, in physical units."""
        return self.run.domain.decode(x.cpu(), self._adopted(template), self.encoding.domain)

    def data(self, part: str = "train") -> xr.Dataset:
        """A part of the data: train, validation or test."""
        from physgen.runs.folder import PARTS

        if part not in PARTS:
            raise InputError(f"{part!r} is no part of the data: choose one of {', '.join(PARTS)}")
        return self.run.part(part)

    def sample(
        self,
        n: int | None = None,
        *,
        condition: Mapping[str, float] | None = None,
        like: xr.Dataset | str | Path | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        levels: str | None = None,
        average: float | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> xr.Dataset:
        """Draw an ensemble; write it with :func:`physgen.save_ensemble`.

        Args:
            n: how many, under the conditions of ``like``; None for the number in the configuration.
            condition: name -> value, in place of those of ``like``.
            like: an ensemble whose conditions are taken; None for the test part.
            sampler, steps, levels: None for those of the configuration.
            average: relative width of the average of the weights; None is the run's own.
            seed: of the noise. A sample depends on it, on its condition and its number alone.
        """
        from physgen.stages.sampling import DrawOptions, draw_ensemble

        conditions = Path(like) if isinstance(like, str) else like
        options = DrawOptions(n, conditions, dict(condition or {}), sampler, steps, seed, levels, average)
        model = self.model if average is None else None  # other weights are not those to keep
        bar = _bar(progress, f"sample {self.experiment.name}")
        return draw_ensemble(self.run, options, device=self.device, model=model, progress=bar)

    def evaluate(
        self,
        generated: Any = None,
        reference: Any = None,
        train: Any = None,
        *,
        tolerances: Mapping[str, float] | None = None,
        progress: bool = True,
    ) -> Evaluation:
        """Judge what the run draws, or drew, against a reference; nothing is written.

        Args:
            generated: None for a sample of the size that the configuration says.
            reference: None for the test part of the run's data.
            train: None for the training part.
            tolerances: diagnostic -> accepted deviation; they come before those of the configuration.
            progress: show a bar while drawing.
        """
        from physgen.stages.evaluation import evaluate_ensembles
        from physgen.stages.sources import as_ensemble

        given = {
            "generated": self.sample(progress=progress) if generated is None else generated,
            "reference": self.data("test") if reference is None else reference,
            "train": self.data("train") if train is None else train,
        }
        ensembles = {name: self._adopted(as_ensemble(source)) for name, source in given.items()}
        rules = self.experiment.judging
        judging = rules.model_copy(update={"tolerances": {**rules.tolerances, **(tolerances or {})}})
        return evaluate_ensembles(**ensembles, domain=self.run.domain, judging=judging)

    @property
    def report(self) -> Path:
        """Path of the run's report, ``evaluation/report.html``; it is made, and sent to MLflow, where there is none."""
        from physgen.stages.evaluation import write_to_run

        folder = self.folder / "evaluation"
        if not (folder / "report.html").is_file():
            write_to_run(self.evaluate(), self.run, folder)
        return folder / "report.html"

    @property
    def journal(self) -> list[dict[str, Any]]:
        """Every event of the training, in order."""
        from physgen.tracking.journal import read_journal

        return read_journal(self.folder)

    @property
    def metrics(self) -> xr.Dataset:
        """Metrics over ``step``; NaN where one was not taken at a step. Their names are those of MLflow."""
        import numpy as np
        import xarray as xr

        taken: dict[str, dict[int, float]] = {}
        for event in self.journal:
            for name, value in event.get("metrics", {}).items():
                taken.setdefault(name, {})[int(event["step"])] = value
        steps = sorted({step for values in taken.values() for step in values})
        columns = {name: ("step", [values.get(step, np.nan) for step in steps]) for name, values in taken.items()}
        return xr.Dataset(columns, {"step": ("step", steps, {"long_name": "training step"})})

    def _adopted(self, ensemble: xr.Dataset) -> xr.Dataset:
        return ensemble if ensemble.attrs.get("domain") else self.run.domain.adopt(ensemble)

    def __repr__(self) -> str:
        from physgen.storage.checkpoint import checkpoint_steps

        done, steps = checkpoint_steps(self.folder / "checkpoints"), self.experiment.training.steps
        state = f"trained {done[-1]} of {steps} steps" if done else "without a checkpoint"
        facts = self.run.facts()
        lattice, count, unit = (facts[key] for key in ("lattice", "independent_units", "unit"))
        return (
            f"run {self.experiment.name} ({self.experiment.domain}), {state}\n"
            f"  data    {facts['configurations']} configurations of {lattice}, {count} independent ({unit})\n"
            f"  folder  {self.folder}"
        )


def _experiment(experiment: Experiment | str | Path) -> Experiment:
    return experiment if isinstance(experiment, Experiment) else load_config(experiment)


def _bar(shown: bool, title: str) -> Progress | None:
    return progress_bar(title) if shown else None
