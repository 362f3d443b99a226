"""A trained run in a session: it draws, judges, and gives its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from physgen.config import Experiment
from physgen.errors import InputError
from physgen.progress import shown_bar
from physgen.runs.folder import Run
from physgen.runs.folder import open_run as read_run

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.report.evaluation import Evaluation
    from physgen.report.regimes import Regimes
    from physgen.runs.encoding import Encoding
    from physgen.runs.model import Model
    from physgen.stages.correction import Correction
    from physgen.stages.inference import Inference
    from physgen.stages.likelihood import LikelihoodOfData

Denoise = Callable[..., "torch.Tensor"]


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
        """A part of the data: train, validation or test; ``corner`` where ``split.corner`` holds one out."""
        from physgen.ensemble import CORNER
        from physgen.runs.folder import PARTS

        known = (*PARTS, *([CORNER] if self.experiment.split.corner else []))
        if part not in known:
            raise InputError(f"{part!r} is not a part of the data: choose one of {', '.join(known)}")
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
        guidance: float | None = None,
        weights: bool = False,
        exact: bool = False,
        resample: int | None = None,
        metropolis: int | None = None,
        sweeps: int | None = None,
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
            guidance: W of the law p(x|labels)^W p(x)^(1-W), of a run with ``diffusion.label_dropout``; 1 is none.
            weights: the variable ``log_weight``, with which means are those of the exact law, and what it is worth
                (:func:`physgen.stages.weighing.draw_weighted`); with ``guidance`` that of the guided law.
            exact: with ``guidance``: draws of the guided law itself, resampled on their way, instead of weights.
            resample: with ``weights``: keep so many under each condition, drawn by their weights, which are then all
                equal (:func:`physgen.stages.weighing.resampled`).
            metropolis: in its place: so many states of a chain (:func:`physgen.stages.weighing.metropolised`).
            sweeps: of local moves that leave the law unchanged, after drawing; refused where none are known.
            seed: of the noise. A sample depends on it, on its condition and its number alone.
        """
        from physgen.stages.sampling import DrawOptions, draw_ensemble

        conditions = Path(like) if isinstance(like, str) else like
        given = dict(condition or {})
        options = DrawOptions(
            n, conditions, given, sampler, steps, seed, levels, average, guidance, weights,
            resample=resample, metropolis=metropolis, sweeps=sweeps, exact=exact,
        )  # fmt: skip
        model = self.model if average is None else None  # other weights are not those to keep
        bar = shown_bar(progress, f"sample {self.experiment.name}")
        return draw_ensemble(self.run, options, device=self.device, model=model, progress=bar)

    def sample_given(
        self,
        given: Any,
        operator: str | None = None,
        *,
        draws: int = 16,
        condition: Mapping[str, float] | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> xr.Dataset:
        """Draw fields given an observation of them, an ensemble with the dim ``draw``.

        Args:
            given: observed fields, an ensemble, an array (B, *measured) or a path; NaN, or 0 in a variable ``mask``,
                where nothing was seen.
            operator: what was done to the fields, e.g. ``"blur fwhm=4 Mpc/h, noise sigma=0.1"``; None for what the
                observation says, else a mask.
            draws: of each observation.
            condition: labels, in place of those of the observation.
        """
        from physgen.stages.observation import PosteriorOptions, posterior_ensemble

        options = PosteriorOptions(operator, draws, dict(condition or {}), sampler, steps, seed)
        bar = shown_bar(progress, f"sample {self.experiment.name}")
        return posterior_ensemble(self.run, given, options, device=self.device, model=self.model, progress=bar)

    def observe(self, truth: xr.Dataset, operator: str, *, seed: int = 0) -> xr.Dataset:
        """What an instrument would see of known fields; a mask takes ``hole=0.5`` or ``share=0.5``."""
        from physgen.stages.observed import observe

        return observe(self.run, self._adopted(truth), operator, seed, self.model)

    def evaluate(
        self,
        generated: Any = None,
        reference: Any = None,
        train: Any = None,
        *,
        tolerances: Mapping[str, float] | None = None,
        correction: Correction | None = None,
        progress: bool = True,
    ) -> Evaluation:
        """Judge what the run draws, or drew, against a reference; nothing is written.

        Args:
            generated: None for a sample of the size that the configuration says.
            reference: None for the test part of the run's data.
            train: None for the training part.
            tolerances: diagnostic -> accepted deviation; they come before those of the configuration.
            correction: window and shot noise to take off the spectra; None for that of the configuration.
            progress: show a bar while drawing.
        """
        from physgen.stages.evaluation import evaluate_ensembles, judging_rules
        from physgen.stages.sources import as_ensembles

        given = {
            "generated": self.sample(progress=progress) if generated is None else generated,
            "reference": self.data("test") if reference is None else reference,
            "train": self.data("train") if train is None else train,
        }
        read = as_ensembles(given, domain=self.run.domain.name)
        ensembles = {name: self._adopted(ensemble) for name, ensemble in read.items()}
        judging = judging_rules(self.experiment.judging, tolerances, correction)
        return evaluate_ensembles(**ensembles, domain=self.run.domain, judging=judging)

    def log_likelihood(
        self,
        data: Any = None,
        *,
        method: str = "all",
        probes: int = 8,
        steps: int | None = None,
        seed: int = 0,
        paths: int = 16,
        kernel: Literal["covariance", "ancestral"] = "covariance",
        progress: bool = True,
    ) -> LikelihoodOfData:
        """ln p of each configuration, with its errors, in nats and bits per dimension; nothing is written.

        Args:
            data: a Dataset, an array or the path of either; None for the test part.
            method, probes, steps, seed, paths, kernel: see
                :class:`physgen.stages.likelihood_options.LikelihoodOptions`.

        Returns:
            ``values`` over the sample dims, ``others`` (all methods, the bounds by level and by paths), ``summary``,
            ``table``, ``figure``, ``write(folder)``.
        """
        from physgen.stages.likelihood import LikelihoodOptions, find_likelihood

        options = LikelihoodOptions(method, probes, steps, seed, paths, kernel)
        bar = shown_bar(progress, "likelihood")
        source = self.data("test") if data is None else data
        return find_likelihood(self.run, source, options, model=self.model, progress=bar)

    def infer(
        self,
        data: Any = None,
        *,
        method: Literal["bound", "flow"] = "bound",
        labels: Sequence[str] | None = None,
        combine: bool = False,
        draws: int | None = None,
        steps: int | None = None,
        limit: int | None = None,
        seed: int = 0,
        calibrate: Any = None,
        progress: bool = True,
    ) -> Inference:
        """Posterior of the labels of each configuration, with ranks and coverage where they are known.

        Args:
            data: a Dataset, an array or the path of either; None for the test part.
            method, ..., seed: see :class:`physgen.stages.inference.InferenceOptions`.
            calibrate: held-out configurations of known labels, as ``data``, or a part of the run, to recalibrate on.

        Returns:
            An :class:`physgen.stages.inference.Inference`; nothing is written.
        """
        from physgen.stages.inference import InferenceOptions, infer

        chosen = None if labels is None else tuple(labels)
        options = InferenceOptions(method, chosen, combine, draws, steps, limit, seed)
        source = self.data("test") if data is None else data
        given = {"model": self.model, "progress": shown_bar(progress, "infer"), "calibrate": calibrate}
        return infer(self.run, source, options, **given)

    def regimes(self, *, seed: int = 0, progress: bool = True) -> Regimes:
        """When its data, and what it draws of them, decide classes and single samples; nothing is written.

        ``write(folder)`` of the result makes the page. See :func:`physgen.regimes`.
        """
        from physgen.stages.regimes import find_regimes

        bar = shown_bar(progress, f"regimes {self.experiment.name}")
        return find_regimes(self.run, seed=seed, device=self.device, progress=bar)

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
