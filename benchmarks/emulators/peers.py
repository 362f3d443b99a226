r"""Our emulator beside its peers, and with one thing of it changed at a time, judged alike.

    python -m benchmarks.emulators.peers run DATA.h5 FOLDER SECONDS [ARM ...]   trains, draws, judges, goes on
    python -m benchmarks.emulators.peers table FOLDER                     prints the tables of what is there

Every arm gets the same encoded training maps and labels, the same moves, the same optimiser and SECONDS of process CPU
time of one thread; the clock, not a number of steps, ends the training and the learning rate. The split is one for
all; a seed is that of the network, of its training and of what it draws. One process, one result after the other in
FOLDER/results.json.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.emulators import peers_table
from benchmarks.emulators.fidelity import BANDS, band_ratios
from benchmarks.emulators.peers_crps import Generator, generate, train_crps
from benchmarks.emulators.peers_edm import edm_levels, edm_recipe, edm_state, spread, timed, train_for
from benchmarks.emulators.peers_surrogates import SURROGATES, TrainingMaps
from physgen.config import load_config
from physgen.diffusion.learning.calibration import calibration_levels, fit_calibration
from physgen.diffusion.learning.training import TrainingState
from physgen.ensemble import load_ensemble, units_of_samples
from physgen.processes.launch import Launch
from physgen.runs.encoding import Encoding
from physgen.runs.folder import Run, open_run
from physgen.runs.levels import Levels, choose_levels
from physgen.runs.model import Model, draw
from physgen.stages.evaluation import Evaluator
from physgen.stages.training_setup import Data, Settings, first_state, prepare
from physgen.storage.disk import write_atomically

DEMO = Path(__file__).parents[2] / "configs" / "cosmology" / "demo.yaml"
SECONDS, SEEDS = 30.0, (1, 2, 3)
PEER_WIDTH, PEER_BATCH, PEER_RATE = 16, 16, 3e-3
CALIBRATED, CALIBRATION_LEVELS = 512, 17


@dataclass(frozen=True)
class Arm:
    """What is trained and how it draws.

    Attributes:
        kind: ours, edm, crps, or a name of SURROGATES. overrides: of the configuration. time: in units of SECONDS.
        sampler, steps: of drawing. calibrate: the linear part made exact afterwards.
        weights: arm whose trained weights are drawn with; "" trains its own.
    """

    kind: str = "ours"
    overrides: tuple[str, ...] = ()
    time: float = 1.0
    sampler: str = "modal_2m"
    steps: int = 16
    calibrate: bool = False
    weights: str = ""


PEERS = {
    "ours": Arm(),
    "EDM U-Net, 35 evaluations": Arm("edm", sampler="heun", steps=18),
    "CRPS ensemble": Arm("crps", sampler="", steps=1),
    "Gaussian copula": Arm("Gaussian copula", sampler="", steps=0),
    "lognormal": Arm("lognormal", sampler="", steps=0),
    "EDM U-Net, 16 evaluations": Arm("edm", sampler="dpmpp_2m", weights="EDM U-Net, 35 evaluations"),
    "scattering": Arm("scattering", sampler="", steps=0),
}
ABLATIONS = {
    "zero mode as encoded": Arm(overrides=("data.zero_mode=encoded",)),
    "width 8": Arm(overrides=("network.width=8",)),
    "width 24": Arm(overrides=("network.width=24",)),
    "half the time": Arm(time=0.5),
    "twice the time": Arm(time=2.0),
    "sampler dpmpp_2m": Arm(sampler="dpmpp_2m", weights="ours"),
    "32 evaluations": Arm(steps=32, weights="ours"),
    "calibrated": Arm(calibrate=True, weights="ours"),
    "a quarter of the data": Arm(overrides=("split.train_units=49",)),
    "levels of Karras": Arm(overrides=("diffusion.noise_levels.log_std=1.2", "diffusion.noise_levels.log_mean=-1.2")),
}
ARMS = PEERS | ABLATIONS


@dataclass
class Bench:
    """One folder of trainings on one file of data."""

    data: Path
    folder: Path
    seconds: float = SECONDS
    config: Path = DEMO
    overrides: tuple[str, ...] = ()  # of every arm

    def settings(self, arm: Arm, seed: int) -> Settings:
        found = Settings.of(self.experiment(arm))
        return replace(found, recipe=replace(found.recipe, seed=seed))

    def experiment(self, arm: Arm) -> Any:
        return load_config(self.config, [f"dataset={self.data}", "tracking.uri=off", *self.overrides, *arm.overrides])

    def prepared(self, arm: Arm, seed: int) -> tuple[Run, Data, Encoding, TrainingState]:
        """Run folder, encoded data, encoding, and our untrained network of this seed."""
        name = "-".join(part.replace("=", "_").replace("/", "_") for part in arm.overrides) or "plain"
        folder = self.folder / "runs" / name
        run = prepare(self.experiment(arm), folder, (folder / "experiment.yaml").exists(), Launch())
        data, encoding, state = first_state(run, self.settings(arm, seed), Launch())
        return run, data, encoding, state

    @functools.cached_property
    def reference(self) -> Any:
        """The test maps, which all are judged against."""
        return self.plain.part("test")

    @functools.cached_property
    def plain(self) -> Run:
        return self.prepared(Arm(), 1)[0]

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        return Evaluator(self.reference, self.plain.domain)


@dataclass(frozen=True)
class Made:
    """Maps that an arm drew, and what they took."""

    maps: Any
    training: float
    drawing: float
    steps: int
    parameters: int


def template_of(bench: Bench, encoding: Encoding, run: Run) -> Any:
    """One request for each map of the test part: its labels."""
    domain = run.domain
    return domain.request(bench.reference, bench.reference.sizes["sample"], {}, encoding.domain)


def make(bench: Bench, name: str, seed: int) -> Made:
    """Train an arm, or read its weights, and draw."""
    arm = ARMS[name]
    run, data, encoding, state = bench.prepared(arm, seed)
    template = template_of(bench, encoding, run)
    if arm.kind in SURROGATES:
        return surrogate(arm, run, data, encoding, template, seed)
    augment = functools.partial(run.domain.augment, constants=encoding.domain)
    recipe = state.recipe
    spectrum = state.model.spectrum
    if arm.kind == "edm":
        recipe = edm_recipe(spread(data), seed, PEER_BATCH, PEER_RATE, "bfloat16")
        state = edm_state(data, "azula", recipe, PEER_WIDTH)
    if arm.kind == "crps":
        network = bench.experiment(arm).network
        torch.manual_seed(seed)
        model = Generator(spectrum, data.condition["labels"].shape[1], network.width, tuple(network.multipliers))
        state = TrainingState(model, replace(recipe, batch_size=4))
    kept = bench.folder / "weights" / f"{arm.weights or name}-{seed}.pt"
    if arm.weights:
        found = torch.load(kept, weights_only=True)
        state.ema.load_state_dict(found["ema"])
        state.step, spent = found["step"], found["seconds"]
    else:
        state.recipe = timed(state.recipe, arm.time * bench.seconds)
        train = train_crps if arm.kind == "crps" else train_for
        spent = train(state, data, augment, None)
        kept.parent.mkdir(exist_ok=True)
        torch.save({"ema": state.ema.state_dict(), "step": state.step, "seconds": spent}, kept)
    parameters = sum(p.numel() for p in state.parameters)
    if arm.calibrate:
        spent += calibrate(state, data, encoding)
    start = time.process_time()
    maps = drawn(arm, state, run, encoding, template, seed)
    return Made(maps, spent, time.process_time() - start, state.step, parameters)


def calibrate(state: TrainingState, data: Data, encoding: Encoding) -> float:
    """The linear part made exact; the CPU seconds that it took."""
    start, chosen = time.process_time(), torch.linspace(0, len(data.x) - 1, CALIBRATED).long()
    levels = calibration_levels(encoding.s_min, encoding.s_max, CALIBRATION_LEVELS)
    told = {k: v[chosen] for k, v in data.condition.items()}
    state.ema.calibration = fit_calibration(state.ema, data.x[chosen], told, levels, 30_000)
    return time.process_time() - start


def drawn(arm: Arm, state: TrainingState, run: Run, encoding: Encoding, template: Any, seed: int) -> Any:
    """Maps at the labels of the template, an ensemble."""
    if arm.kind == "crps":
        condition = dict(run.domain.condition(template, encoding.domain))
        return run.domain.decode(generate(state.ema, condition, seed), template, encoding.domain)
    model = Model(state.ema.eval(), run.experiment, encoding, torch.device("cpu"))
    if arm.kind == "edm":
        levels = Levels(edm_levels(state.ema.sigma_data, arm.steps), "karras")
    else:
        levels = choose_levels(model, arm.sampler, arm.steps)
    return draw(model, template, seed=seed, sampler=arm.sampler, levels=levels)


def surrogate(arm: Arm, run: Run, data: Data, encoding: Encoding, template: Any, seed: int) -> Made:
    """A law without network, fitted on the training maps."""
    start = time.process_time()
    train = run.part("train")
    density = 1 + train["field"].values.astype(float).reshape(-1, *encoding.grid)
    law = SURROGATES[arm.kind](TrainingMaps(density, data.condition["labels"].double(), units_of_samples(train)))
    fitted = time.process_time()
    labels: Tensor = dict(run.domain.condition(template, encoding.domain))["labels"].double()
    field_ = (law(labels, np.random.default_rng(seed)) - 1).astype(np.float32)
    dims = ("sample", *list(train["field"].dims)[-2:])
    maps = template.assign(field=(dims, field_, train["field"].attrs)).assign_attrs(field_kind="delta")
    return Made(maps, fitted - start, time.process_time() - fitted, 0, 0)


def judged(evaluator: Evaluator, maps: Any, train: Any = None) -> dict[str, Any]:
    """Bands, verdicts of every row of the judge, and memorization where the training maps are given."""
    found = evaluator.evaluate(maps, train)
    domain, bands = evaluator.domain, {}
    confronted = domain.confront(evaluator.reference, maps, "maps")
    for name in ("power_spectrum", "log_power_spectrum"):
        values, errors, _ = band_ratios(evaluator.reference, confronted, evaluator.diagnostics[name])
        bands[name] = [[float(v), float(e)] for v, e in zip(values, errors, strict=True)]
    verdicts = {
        v.diagnostic: {"status": v.status, "deviation": v.deviation, "error": v.error, "percent": v.percent}
        | {"tolerance": v.tolerance, "p": v.p_value, "of": v.tolerance_of, "points": v.points}
        for v in found.verdicts
    }
    return {"bands": bands, "verdicts": verdicts, "band_edges": [list(b) for b in BANDS]}


def trial(bench: Bench, name: str, seed: int) -> dict[str, Any]:
    """One result of the table."""
    made, arm = make(bench, name, seed), ARMS[name]
    count = made.maps.sizes["sample"]
    train = bench.plain.part("train") if name in PEERS and seed == 1 else None
    start = time.process_time()
    result = judged(bench.evaluator, made.maps, train)
    evaluations = 2 * arm.steps - 1 if arm.sampler == "heun" else arm.steps
    return result | {
        "arm": name, "seed": seed, "maps": count, "training_cpu_s": made.training, "steps": made.steps,
        "draw_cpu_s_per_100": 100 * made.drawing / count, "parameters": made.parameters, "evaluations": evaluations,
        "judge_cpu_s": time.process_time() - start,
    }  # fmt: skip


def order(chosen: Sequence[str] = ()) -> list[tuple[str, int]]:
    """The trials, the most wanted first: every peer with every seed, then the ablations; those chosen one by one."""
    peers = [(name, seed) for seed in SEEDS for name in PEERS]
    return [(n, s) for n in chosen for s in SEEDS] or peers + [(n, s) for n in ABLATIONS for s in SEEDS]


def campaign(bench: Bench, trials: list[tuple[str, int]], say: Callable[[str], None] = print) -> list[Mapping]:
    """Run the trials that are not there yet; each result is written as it comes."""
    path = bench.folder / "results.json"
    bench.folder.mkdir(parents=True, exist_ok=True)
    results = json.loads(path.read_text()) if path.exists() else []
    known = {(r["arm"], r["seed"]) for r in results}
    for name, seed in trials:
        if (name, seed) in known:
            continue
        started = time.process_time()
        results.append(trial(bench, name, seed))
        write_atomically(path, json.dumps(results, indent=1))
        last = results[-1]
        count = sum(v["status"] == "fail" for v in last["verdicts"].values())
        say(f"{name}, seed {seed}: {time.process_time() - started:.0f} CPU s, {last['steps']} steps, {count} fail")
    return results


def flagship(run_folder: Path, files: Mapping[str, Path], out: Path) -> None:
    """Judge files of maps at the conditions of the test part of a run; the results to a file."""
    run = open_run(run_folder)
    evaluator, results = Evaluator(run.part("test"), run.domain), []
    for name, file in files.items():
        maps = load_ensemble(file)
        facts = {key: float(maps.attrs[f"peer_{key}"]) for key in peers_table.COSTS if f"peer_{key}" in maps.attrs}
        results.append(judged(evaluator, maps) | {"arm": name, "seed": 1, "maps": maps.sizes["sample"]} | facts)
        write_atomically(out, json.dumps(results, indent=1))


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    what, *rest = words
    if what == "run":
        bench = Bench(Path(rest[0]), Path(rest[1]), float(rest[2]))
        campaign(bench, order(rest[3:]), functools.partial(print, flush=True))
    elif what == "judge":
        flagship(Path(rest[0]), dict((n, Path(f)) for n, f in (w.split("=", 1) for w in rest[2:])), Path(rest[1]))
    elif what == "table":
        results = json.loads(Path(rest[0], "results.json").read_text())
        print(peers_table.tables(results, list(PEERS), list(ABLATIONS)))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
