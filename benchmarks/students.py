"""Students on maps, beside their teacher: ``python -m benchmarks.students FOLDER METHOD-SEED ... [--write]``.

FOLDER/teacher is a trained run (``physgen train configs/.../demo.yaml``, 261 CPU seconds), or is trained first; each
student is a run beside it that took a quarter of that, each row is kept in FOLDER/rows.json and not made again.
With ``--write`` the table takes the place of that of docs/few-steps.md.

Each row is judged by the diagnostics of the power and the one-point law, those of ``--full=NAME,...`` as `physgen
evaluate` judges them, by all, against test simulations that no network has seen. That judge has the maps of 27
simulations, so a second, sharper figure stands beside: all rows that follow the flow share their noise, so each map is
compared with the one that the teacher draws from it in 48 evaluations (paired).
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from physgen.cli import main
from physgen.diffusion.distillation import CovarianceSteps, FlowMap, measured_variance
from physgen.diffusion.learning.prior_spectrum import shell_power
from physgen.diffusion.noise import noise_like
from physgen.diffusion.sampling.samplers import sample
from physgen.runs.folder import open_run
from physgen.runs.levels import EVEN, Levels
from physgen.runs.model import Model, draw, load_model
from physgen.stages.evaluation import Evaluator
from physgen.stages.sampling import DrawOptions, draw_ensemble
from physgen.stages.student import untrained

DOCS = Path(__file__).resolve().parents[1] / "docs" / "few-steps.md"
TRUTH, SEED, DRAWS_OF_VARIANCE = 48, 0, 128
TAUGHT = ("training.learning_rate=1e-3", "training.precision=float32", "training.validate_every=100000",
          "training.log_every=5", "tracking.uri=off")  # fmt: skip
BY_METHOD = {
    "progressive": (4,),
    "progressive2": (2,),
    "mean_flow": (1, 2, 4, 8),
    "consistency": (1, 2, 4),
    "consistency_training": (1, 2, 4),
}


@dataclass(frozen=True)
class Row:
    """One way to draw: ``maker`` is teacher, start, gaussian, ddpm, covariance, learned, or METHOD-SEED."""

    maker: str
    evaluations: int
    sampler: str = ""

    full: bool = False

    @property
    def name(self) -> str:
        return f"{self.maker}/{self.sampler or 'own'}/{self.evaluations}"


NAMES = (
    "teacher", "gaussian", "start", "progressive", "progressive2", "mean_flow", "consistency", "consistency_training",
    "ddpm", "covariance", "learned",
)  # fmt: skip
QUICK = ("power_spectrum", "log_power_spectrum", "power_chi_square", "log_power_chi_square", "one_point")
ROWS = [
    *(Row("teacher", n, "modal_4m") for n in (4, 8, 16, 24)),
    Row("gaussian", 1), Row("start", 4),
    *(Row(maker, 4) for maker in ("ddpm", "covariance", "learned")),
]  # fmt: skip


class Campaign:
    """Draws, judges and keeps rows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept = folder, folder / "rows.json"
        self.teacher = open_run(folder / "teacher")

    @property
    def rows(self) -> dict[str, Any]:
        return json.loads(self.kept.read_text()) if self.kept.exists() else {}

    @cache  # noqa: B019
    def model(self) -> Model:
        return load_model(self.teacher.folder / "model", "cpu")

    @cache  # noqa: B019
    def evaluator(self, full: bool) -> Evaluator:
        domain = self.teacher.domain
        if not full:
            found = {name: domain.diagnostics()[name] for name in QUICK}
            domain = type("Quick", (type(domain),), {"diagnostics": lambda self: found})()
        return Evaluator(self.teacher.part("test"), domain, self.teacher.experiment.judging)

    @cache  # noqa: B019
    def truth(self) -> torch.Tensor:
        """What the teacher draws in 48 evaluations."""
        path = self.folder / "truth.pt"
        if not path.exists():
            options = DrawOptions(steps=TRUTH, sampler="modal_4m", seed=SEED)
            torch.save(self._encoded(draw_ensemble(self.teacher, options, device="cpu", model=self.model())), path)
        return torch.load(path)

    def make(self, row: Row) -> None:
        """Measure a row that was not measured."""
        if row.name in self.rows and (not row.full or len(self.rows[row.name]["verdicts"]) > len(QUICK)):
            return
        began = time.process_time()
        drawn = self._draw(row)
        seconds = time.process_time() - began
        judged = self.evaluator(row.full).evaluate(drawn)
        found = judged.metrics
        said = {
            "drawn_seconds": seconds,
            "verdicts": {v.diagnostic: v.status for v in judged.verdicts},
            "p_values": {v.diagnostic: v.p_value for v in judged.verdicts if v.p_value is not None},
            "chi2": found["power_chi_square"], "log_chi2": found["log_power_chi_square"],
            "deviation": {v.diagnostic: (v.deviation, v.error) for v in judged.verdicts},
            **self._paired(self._encoded(drawn)),
        }  # fmt: skip
        self.kept.write_text(json.dumps(self.rows | {row.name: said}, indent=1, default=float))
        print(row.name, {k: v for k, v in said.items() if k.startswith("paired")}, flush=True)

    def _draw(self, row: Row) -> xr.Dataset:
        template = self.teacher.domain.request(
            self.teacher.open_conditions("test"), self.teacher.experiment.sampling.n, {}, self.model().encoding.domain
        )
        if row.maker == "teacher":
            options = DrawOptions(steps=row.evaluations, sampler=row.sampler, seed=SEED)
            return draw_ensemble(self.teacher, options, device="cpu", model=self.model())
        if row.maker in ("start", "gaussian"):
            student = self.untrained().eval()
            if row.maker == "gaussian":
                torch.nn.init.zeros_(student.network.head.convolution.weight)
                torch.nn.init.zeros_(student.network.head.convolution.bias)
            model = Model(student, self.teacher.experiment, self.model().encoding, self.model().device)
            levels = Levels(student.levels(row.evaluations), EVEN)
            return draw(model, template, seed=SEED, sampler="flow_map", levels=levels)
        if row.maker in ("ddpm", "covariance", "learned"):
            return self._draw_stochastic(row, template)
        options = DrawOptions(steps=row.evaluations, sampler=row.sampler or None, seed=SEED)
        return draw_ensemble(open_run(self.folder / row.maker), options, device="cpu")

    def untrained(self) -> FlowMap:
        x, condition = self._data()
        return untrained(self.model(), x, condition)

    def _draw_stochastic(self, row: Row, template: xr.Dataset) -> xr.Dataset:
        model, spectrum = self.model(), self.model().denoiser.spectrum
        levels = self.untrained().levels(row.evaluations)
        variance: Any = {"ddpm": 0.0, "covariance": 1.0}.get(row.maker)
        if variance is None:
            x, condition = self._data()
            rows = torch.linspace(0, len(x) - 1, DRAWS_OF_VARIANCE).long()
            given = {name: value[rows] for name, value in condition.items()}
            variance = measured_variance(
                model.denoiser, spectrum, x[rows], levels,
                lambda i: noise_like(SEED, "posterior variance", range(len(rows)), x.shape[1:], i), given,
            )  # fmt: skip
        condition = dict(model.domain.condition(template, model.encoding.domain))
        count = len(next(iter(condition.values())))
        x = sample(
            model.denoiser, levels, (count, *model.encoding.shape), SEED, condition, CovarianceSteps(spectrum, variance)
        )
        return model.domain.decode(x, template, model.encoding.domain)

    def _data(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        x, condition = self.teacher.domain.encode(self.teacher.part("train"), self.model().encoding.domain)
        return x, dict(condition)

    def _encoded(self, drawn: xr.Dataset) -> torch.Tensor:
        return self.teacher.domain.encode(drawn, self.model().encoding.domain)[0]

    def _paired(self, x: torch.Tensor) -> dict[str, float]:
        """Distance from the maps of the flow's end, of the root mean square; and of P(k), with errors over maps."""
        truth = self.truth()
        far = (x - truth).square().flatten(1).mean(1)
        power, true = shell_power(x).power[:, 0], shell_power(truth).power[:, 0]
        ratio = power.mean(0) / true.mean(0)
        error = (power - ratio * true).std(0) / true.mean(0) / math.sqrt(len(x))
        worst = int(((ratio - 1).abs())[1:].argmax()) + 1  # the zero mode apart
        return {
            "paired_distance": float((far.mean() / truth.square().mean()).sqrt()),
            "paired_power": float(ratio[worst] - 1), "paired_power_error": float(error[worst]),
            "paired_power_mean": float((ratio[1:] - 1).abs().mean()), "paired_shell": worst,
        }  # fmt: skip


def teach(folder: Path, method: str, seed: int, further: list[str]) -> None:
    """The student of a method, a number behind it that of its evaluations, unless it stands, with its CPU seconds."""
    name = f"{method}-{seed}"
    if (folder / name).exists():
        return
    began = time.process_time()
    words = ["distill", str(folder / "teacher"), "--method", method.rstrip("0123456789"), "-o", str(folder / name)]
    words += ["--evaluations", method.lstrip("abcdefghijklmnopqrstuvwxyz_") or "4", f"seed={seed}", *TAUGHT, *further]
    if main(words):
        raise RuntimeError(f"physgen {' '.join(words)} failed")
    (folder / name / "cpu_seconds.json").write_text(json.dumps(time.process_time() - began))


def chosen(folder: Path) -> list[Row]:
    """All rows that can be measured: those of the teacher, and those of the students that stand."""
    rows = list(ROWS)
    for path in sorted(folder.glob("*-[0-9]")):
        method = path.name.rsplit("-", 1)[0]
        ends = (path / "model" / "weights.safetensors").exists()
        rows += [Row(path.name, n) for n in BY_METHOD.get(method, ()) if ends]
        rows += [Row(path.name, 4, "consistency")] if ends and method == "mean_flow" else []
    rows.sort(key=lambda row: "-" not in row.name)  # students first
    return rows


def table(rows: dict[str, Any]) -> str:
    """As Markdown."""
    lines = [
        "| drawn by | evaluations | chi^2 ratio | of the logarithm | fails | least joint p | distance to the flow's end"
        " | largest error of P(k), paired; mean |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, said in sorted(rows.items(), key=lambda row: NAMES.index(row[0].split("/")[0].split("-")[0])):
        maker, sampler, evaluations = name.split("/")
        judged = "all" if len(said["verdicts"]) > len(QUICK) else "power"
        fails = [d for d, status in said["verdicts"].items() if status == "fail"]
        least = min(said["p_values"], key=said["p_values"].get)
        ratios = [_ratio(said["deviation"][d]) for d in ("power_chi_square", "log_power_chi_square")]
        shared = maker not in ("ddpm", "covariance", "learned") and (
            evaluations == "1" or sampler != "consistency" and not maker.startswith("consistency")
        )  # else noise enters between the steps
        distance = f"{100 * said['paired_distance']:.1f} %" if shared else ""
        lines.append(
            f"| {maker}{'' if sampler == 'own' else f', {sampler}'} | {evaluations} | {ratios[0]} | {ratios[1]} | "
            f"{', '.join(fails) or 'none'} of {judged} | {said['p_values'][least]:.1g} ({least.replace('_', ' ')}) | "
            f"{distance} | {100 * said['paired_power']:+.1f}("
            f"{100 * said['paired_power_error']:.1f}) %; {100 * said['paired_power_mean']:.1f} % |"
        )
    return "\n".join(lines)


def _ratio(deviation: tuple[float, float]) -> str:
    return f"{1 + deviation[0]:.2f} ± {deviation[1]:.2f}"


def run(words: list[str]) -> None:
    """The campaign of the command line."""
    folder = Path(words[0])
    torch.set_num_threads(1)
    campaign = Campaign(folder)
    for method, seed in (word.rsplit("-", 1) for word in words[1:] if not {"/", "="} & set(word) and word[0] != "-"):
        teach(folder, method, int(seed), [word for word in words if "=" in word and not word.startswith("--")])
    named = [word for word in words[1:] if "/" in word]
    full = [name for word in words if word.startswith("--full=") for name in word[7:].split(",")]
    for row in chosen(folder):
        if not named or row.name in named:
            campaign.make(row)
    for row in chosen(folder):
        if row.name in full:
            campaign.make(replace(row, full=True))
    print(table(campaign.rows))
    if "--write" in words:
        start, end = "<!-- measured -->\n", "\n<!-- end -->"
        before, rest = DOCS.read_text().split(start)
        DOCS.write_text(before + start + table(campaign.rows) + end + rest.split(end.strip(), 1)[1])


if __name__ == "__main__":
    run(sys.argv[1:])
