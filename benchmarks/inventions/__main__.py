r"""Evaluations against the judge's distance, for every method: ``python -m benchmarks.inventions RUN ...``.

    python -m benchmarks.inventions RUN -o FOLDER [--evaluations 4,8,...] [-n N] [--student NAME=RUN ...]

RUN is the folder of a trained run. Each method draws N configurations under the conditions of its test part, with the
same noise, and the judge compares them with that part. A student, a run that ``physgen distill`` made of RUN, is drawn
with its own sampler and steps. What was drawn and judged stands in FOLDER/rows.json and is not made again; the table is
printed, and ``inventions.png`` and ``.svg`` are written.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
import xarray as xr

from benchmarks.inventions.methods import METHODS
from benchmarks.inventions.table import PANELS, draw_figure, markdown
from physgen.diagnostics.comparison import MeasuredReference
from physgen.diagnostics.metrics import metrics_of
from physgen.diagnostics.verdict import judge
from physgen.domains.contract import Domain, with_units
from physgen.ensemble import load_ensemble
from physgen.errors import InputError
from physgen.runs.folder import open_run
from physgen.runs.model import draw, load_model
from physgen.stages import DrawOptions, sample

EVALUATIONS = (4, 8, 16, 32, 64, 128)
SEED, AGREEMENT = 0, "class_agreement"


def main(words: list[str]) -> int:
    asked = _parsed(words)
    torch.set_num_threads(1)
    asked.output.mkdir(parents=True, exist_ok=True)
    kept = asked.output / "rows.json"
    rows = json.loads(kept.read_text()) if kept.exists() else []
    run = open_run(asked.run)
    model, reference = load_model(run.folder / "model", "cpu"), load_ensemble(run.folder / "data" / "test.h5")
    measure = Judge(model.domain, reference)
    template = model.domain.request(reference, asked.n or reference.sizes[_first(reference)], {}, model.encoding.domain)
    for most in asked.evaluations:
        for method in METHODS:
            if any((row["method"], row["most"]) == (method.name, most) for row in rows):
                continue
            try:
                levels, cost = method.within(model, most)
                made = draw(model, template, seed=SEED, sampler=method.sampler, levels=levels)
            except InputError as error:  # too few evaluations, or configurations that are not finite
                print(f"{method.name}, {most}: {error}", file=sys.stderr)
                continue
            rows.append({"method": method.name, "most": most, "evaluations": cost} | measure(made))
            kept.write_text(json.dumps(rows, indent=1))
            print(markdown(rows[-1:])[-1], flush=True)
    for name, folder in (word.split("=", 1) for word in asked.student):
        path = asked.output / f"{name}.h5"
        if not path.exists():
            like = run.folder / "data" / "test.h5"
            sample(open_run(folder), path, DrawOptions(n=asked.n, like=like, seed=SEED), "cpu")
        made = load_ensemble(path)
        cost = int(made.attrs.get("sampler_evaluations", made.attrs["sampler_steps"]))
        rows = [row for row in rows if row["method"] != name]
        rows.append({"method": name, "most": cost, "evaluations": cost} | measure(made))
        kept.write_text(json.dumps(rows, indent=1))
    print("\n".join(markdown(rows)))
    print(f"wrote {draw_figure(rows, asked.output, run.experiment.name)}")
    return 0


class Judge:
    """The distances of the judge to a reference, which is measured once; of the diagnostics that the table shows."""

    def __init__(self, domain: Domain, reference: xr.Dataset) -> None:
        self.domain, reference = domain, with_units(reference, domain)
        self.reference = domain.confront(reference, reference, "the reference")
        known = domain.diagnostics_of(self.reference)
        wanted = [*(panel.split("/")[0] for panel in PANELS), AGREEMENT]
        self.diagnostics = {name: known[name] for name in wanted if name in known}
        self.measured = MeasuredReference(self.reference)

    def __call__(self, made: xr.Dataset) -> dict[str, object]:
        """Distances with error and floor, what fails, and the part that shows the class that was asked for."""
        made = self.domain.confront(self.reference, with_units(made, self.domain), "what was drawn")
        distances, failed, agreement = {}, [], None
        for name, diagnostic in self.diagnostics.items():
            reference, generated, comparison = self.measured.compare(made, diagnostic)
            verdict = judge(comparison, None)
            if verdict.status == "fail":
                failed.append(name)
            for key, metric in metrics_of(comparison, verdict).items():
                if metric.get("floor") is not None and metric["value"] is not None:
                    distances[f"{name}/{key}"] = [metric["value"], metric["error"], metric["floor"]]
            if name == AGREEMENT:
                agreement = [float(x) for x in (generated["value"], generated["error"], reference["value"])]
        return {"distances": distances, "failed": failed, "of": len(self.diagnostics), "agreement": agreement}


def _first(ensemble: xr.Dataset) -> str:
    return str(ensemble["field"].dims[0])


def _parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inventions")
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-n", type=int, default=None)
    parser.add_argument("--evaluations", type=lambda text: [int(n) for n in text.split(",")], default=EVALUATIONS)
    parser.add_argument("--student", action="append", default=[], metavar="NAME=RUN")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
