"""Likelihoods of networks trained on density cubes and slabs by the ordinary configuration, by every road.

The networks are those of ``physgen train`` on cubes of 8^3 and 16^3 (configs/cosmology/demo.yaml in three dimensions)
and the shipped emulators of 64^2 slabs and 32^3 cubes. As many backward passes as values make an exact trace: 8^3 cubes
have it along the whole flow, 16^3 cubes and slabs at one noise level, the 32 768 values of a 32^3 cube not at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks.regimes.row import Row
from benchmarks.steps import ROOT, Steps
from physgen.diffusion.inference.flow_ode import Flow
from physgen.diffusion.inference.likelihood import log_likelihood
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import Stream, noise_like
from physgen.diffusion.traces import exact_trace, probe_traces
from physgen.ensemble import load_ensemble, save_ensemble
from physgen.runs.folder import open_run
from physgen.runs.model import load_model
from physgen.stages.encoded_data import encoded_data, noise_levels, noised

SLOW = True
CONFIG = str(ROOT / "configs" / "cosmology" / "demo.yaml")
SHIPPED = {"slabs64": True, "cubes32": False}  # name -> whether an exact trace at one level is within reach
CUBES = {  # cells -> settings beside those of the configuration
    8: ("data.particles=16", "data.simulations=384", "network.multipliers=[1, 2]", "training.steps=700"),
    16: ("data.particles=32", "data.simulations=96", "network.multipliers=[1, 2]", "training.steps=300"),
}
FIELDS = {"8": 2, "16": 4, "slabs64": 2, "cubes32": 2}
FLOW_STEPS, JACOBIAN_STEPS, PROBES = 12, 20, 8  # Runge-Kutta of fourth order; Heun


def rows() -> list[Row]:
    """All of it: about ten CPU minutes, half of them training."""
    steps, made = Steps("cubes"), []
    for cells in CUBES:
        run, test = trained(steps, cells)
        trained_for = steps.seconds(f"runs/cubes{cells}/model")
        name = f"U-Net on cubes of {cells}^3 in 64 Mpc/h, trained {trained_for:.0f} CPU s"
        made += list(network_rows(steps, str(cells), run, test, name))
        made.append(trace_row(name, run, str(steps.folder / f"few{cells}.h5")))
    for name, traced in SHIPPED.items():
        config = str(ROOT / "configs" / "cosmology" / f"{name}.yaml")
        fields = steps.make(f"{name}.h5", "simulate", config, "data.simulations=1", "seed=77", "-o", f"{name}.h5")
        run = f"emulator:{name}"
        made += list(network_rows(steps, name, run, str(fields), run))
        made += [trace_row(run, run, str(steps.folder / f"few{name}.h5"))] if traced else []
    return made


def trained(steps: Steps, cells: int) -> tuple[str, str]:
    """The run and its test part, made where they are not there."""
    words = (f"data.cells={cells}", "data.dimension=3", "data.box_size=64 Mpc/h", *CUBES[cells])
    data = steps.make(f"cubes{cells}.h5", "simulate", CONFIG, *words, "-o", f"cubes{cells}.h5")
    name = f"cubes{cells}"
    steps.make(f"runs/{name}/model", "train", CONFIG, *words, f"dataset={data}", f"name={name}")
    return str(steps.folder / "runs" / name), str(steps.folder / "runs" / name / "data" / "test.h5")


def network_rows(steps: Steps, which: str, run: str, test: str, name: str) -> Iterator[Row]:
    """ln p of a few test fields by the commands of a user, all roads on 8^3."""
    few, kinds = f"few{which}.h5", ("hutchinson", "bound") + (("exact", "jacobian") if which == "8" else ())
    if not (steps.folder / few).exists():
        save_ensemble(load_ensemble(test).isel(sample=slice(0, FIELDS[which])), steps.folder / few)
    found, seconds = {}, {}
    for kind in kinds:
        number = ("--probes", str(PROBES)) if kind in ("hutchinson", "bound") else ()
        count = () if kind == "bound" else ("--steps", str(JACOBIAN_STEPS if kind == "jacobian" else FLOW_STEPS))
        words = ("likelihood", run, few, "--method", kind, *number, *count, "-o", f"{kind}-{which}")
        table = steps.make(f"{kind}-{which}/likelihood.nc", *words)
        found[kind], seconds[kind] = load_table(table), steps.seconds(f"{kind}-{which}/likelihood.nc") / FIELDS[which]
    note = f"{FIELDS[which]} test fields at their own labels, float32"
    for kind in ("hutchinson", "bound"):
        for column, where in (("bits_per_dimension", "encoded"), ("bits_per_dimension_field", "in units of the field")):
            values = found[kind][column].values
            error = float(values.std(ddof=1) / math.sqrt(len(values)))
            own = float(found[kind]["ln_p_error"].mean())
            said = (
                f"{note}; error is the scatter over fields; {seconds[kind]:.1f} CPU s a field, known to {own:.0f} nats"
            )
            yield Row(
                f"{name}: bits per dimension, {where}, by {kind}", float(values.mean()), error, None, "", None, said
            )
    yield difference(
        name, f"bound less flow ({PROBES} draws, {PROBES} probes)", found["bound"], found["hutchinson"], None, note
    )
    if which == "8":
        yield difference(name, f"{PROBES} probes less exact trace", found["hutchinson"], found["exact"], 0.0, note)
        allowed = heun_step_error(run, str(steps.folder / few))
        said = f"{note}; {seconds['jacobian']:.0f} and {seconds['exact']:.0f} CPU s a field"
        yield difference(
            name,
            f"Jacobian of {JACOBIAN_STEPS} Heun steps less exact trace",
            found["jacobian"],
            found["exact"],
            allowed,
            said,
        )


def difference(name: str, what: str, one: Any, other: Any, allowed: float | None, note: str) -> Row:
    """Mean difference of ln p of the same fields with the same noise; kept within 4 errors and what is allowed.

    ``allowed`` 0: both take the same steps, whose errors are common to them and drop out.
    """
    gap, kind = (one["ln_p"] - other["ln_p"]).values, "probe_error" if allowed == 0 else "ln_p_error"
    error = float(np.sqrt((one[kind] ** 2 + other[kind] ** 2).sum()) / len(gap))
    kept = None if allowed is None else bool(abs(gap.mean()) < 4 * error + allowed)
    rule = "" if allowed is None else f"; kept: 4 errors of ln p and the step error {allowed:.3g}"
    return Row(f"{name}: ln p, {what}, nats", float(gap.mean()), error, 0.0, "", kept, note + rule)


def heun_step_error(run: str, few: str) -> float:
    """Stated error of the steps of Heun's method, mean over the fields."""
    model, data = opened(run, few)
    s_min, s_max = noise_levels(model)
    y = noised(model, data.x, list(range(len(data.x))), 0)
    levels, plan = log_uniform(s_max, s_min, JACOBIAN_STEPS + 1), {"divergence": "hutchinson", "probes": 4}
    found = log_likelihood(model.denoiser, levels, y, data.condition, method="heun", dtype=torch.float32, **plan)
    return float(found.step_error.mean())


def trace_row(name: str, run: str, few: str, level: float = 0.3) -> Row:
    """Trace of the velocity at one noise level of one configuration: as many backward passes as values, 64 probes."""
    model, data = opened(run, few)
    given = {key: value[:1] for key, value in data.condition.items()} or None
    flow, u, x = Flow(model.denoiser, given, torch.float32), math.log(level), data.x[:1].double()
    y = x + level * noise_like(7, "benchmark noise", range(1), tuple(x.shape[1:])).double()
    began = process_time()
    exact = float(exact_trace(flow.velocity(u), y, 64)[1])
    middle = process_time()
    signs = (2 * Stream(0, "probes").integers(2, [0], (64, *y.shape[1:])) - 1).double().transpose(0, 1)
    traces, surprise = probe_traces(flow.velocity(u), y, signs, 64)[1], flow.surprise(u, signs)
    traces = (traces if surprise is None else traces - surprise)[:, 0]
    costs = f"{middle - began:.1f} CPU s against {process_time() - middle:.2f}"
    gap, error = float(traces.mean()) - exact, float(traces.std()) / 8
    note = f"one configuration of {y.numel()} values, float32; {costs}; the trace is {exact:.1f}; kept: 4 errors"
    return Row(
        f"{name}: trace by 64 probes less exact, at s = {level}", gap, error, 0.0, "", abs(gap) < 4 * error, note
    )


def opened(run: str, few: str) -> tuple[Any, Any]:
    """Model and encoded configurations."""
    found = open_run(run)
    model = load_model(found.folder / "model", "cpu")
    return model, encoded_data(found, model, few)


def load_table(path: Any) -> Any:
    import xarray as xr

    with xr.open_dataset(path, group="likelihood", engine="h5netcdf") as table:
        return table.load()
