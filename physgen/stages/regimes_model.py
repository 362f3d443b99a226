"""What a trained model adds to the regimes of its data: U-turns and clones, the gap of its loss, its copies, a film."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from physgen.diagnostics.memorization import memorization_verdict
from physgen.diagnostics.regimes.classes import nearest_class, principal_class
from physgen.diagnostics.regimes.clones import clone, cloning_gap, u_turn
from physgen.diagnostics.regimes.copies import FEWEST, Measure, binary_measure, field_measure
from physgen.diagnostics.regimes.copying_measures import copying_metrics
from physgen.diagnostics.regimes.trajectories import PathRecorder, collapse_of_trajectories
from physgen.diffusion.learning.validation import sample_losses, summarise_losses
from physgen.diffusion.levels import log_uniform
from physgen.domains.contract import with_units
from physgen.ensemble import units_of_samples
from physgen.errors import InputError
from physgen.runs.folder import Run
from physgen.runs.model import Model, load_model
from physgen.stages.regimes_backward import Backward
from physgen.stages.regimes_classes import class_lines
from physgen.stages.regimes_data import FEWEST_UNSEEN, Found, Samples, encoded_samples
from physgen.stages.regimes_film import film, nearest_search, recorded_descent
from physgen.stages.regimes_journal import measure_journal
from physgen.stages.sampling import DrawOptions, draw_ensemble

FEWEST_STEPS = 24
MOST_TURNS, TURN_TIMES = 64, 6  # samples that turn at each time
TRAJECTORIES = 8
MOST_LOSSES, LOSS_LEVELS = 256, 7  # samples of each part whose loss is taken
MOST_DRAWN = 128


def measure_model(run: Run, train: Samples, found: Found, seed: int, device: str, tell: Callable[[str], None]) -> Found:
    """Add to what was found of the training data what the model of a run does with them."""
    model = load_model(run.folder / "model", device)
    model.check_noise("the backward process of regimes")
    unseen = encoded_samples(run.part("test"), run.domain, train.constants, FEWEST_UNSEEN)
    tell("U-turns and clones")
    _turn(run, model, train, unseen, found, seed)
    tell("loss of training and unseen samples")
    _losses(run, model, train, found, seed)
    tell("copies")
    _copies(run, model, train, unseen, found, seed)
    tell("one trajectory")
    _film(run, model, train, found, seed)
    measure_journal(run, found)
    return found


# --- classes --------------------------------------------------------------------------------------


def turn_times(t_s: float, s_min: float, s_max: float) -> np.ndarray:
    """Times around t_S at which classes are looked at, within the levels of a model."""
    low, high = (0.5 * math.log1p(s * s) for s in (s_min, s_max))
    around = max(t_s, 0.3)
    return np.linspace(max(0.3 * around, 1.05 * low), min(2.2 * around, 0.98 * high), TURN_TIMES)


def _turn(run: Run, model: Model, train: Samples, unseen: Samples, found: Found, seed: int) -> None:
    """U-turns of unseen samples and clones of the model, in the classes of the first principal component."""
    classify = principal_class((unseen if train.chosen else train).x)  # another condition has another component
    count = min(MOST_TURNS, len(unseen.x))
    x0, unit = unseen.x[:count], unseen.unit[:count]
    s_min, s_max = model.encoding.s_min, model.encoding.s_max
    backward = Backward(model.denoiser, _levels(run, model), _rows(unseen.condition, count), model.device)
    times = turn_times(found.metrics["t_S"]["value"], s_min, s_max)
    turned = u_turn(x0, backward.finish, times, classify, seed, unit)
    start = s_max * torch.from_numpy(np.random.default_rng([seed, 77]).standard_normal(tuple(x0.shape))).to(x0)
    cloned = clone(start, s_max, backward.descend, backward.finish, times, classify, seed + 1)
    curves = class_lines(found.results["speciation"], classify.coordinate(train.x).numpy(), times)
    for name, result in (("u_turn", turned), ("clone", cloned)):
        curves[name] = ("t", result["value"].values, result["value"].attrs)
        curves[f"{name}_error"] = ("t", result["error"].values)
    known = found.results["cloning"]
    if "exact" in known:
        kept = known[["exact", "exact_error", "t_exact"]]
        curves = curves.merge(kept.drop_vars([name for name in kept.coords if name != "t_exact"]))
    found.results["cloning"] = curves.drop_vars("information").assign_coords(t=("t", times))
    gap = cloning_gap(cloned, turned)
    worst = int(np.nanargmax(np.abs(gap["value"] / gap["error"])))
    found.results["cloning_gap"] = gap
    found.put("cloning_gap", float(gap["value"][worst]), float(gap["error"][worst]))


def _levels(run: Run, model: Model) -> Tensor:
    steps = max(run.experiment.sampling.steps, FEWEST_STEPS)
    return log_uniform(model.encoding.s_max, model.encoding.s_min, steps)


def _rows(condition: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    return {name: value[:count] for name, value in condition.items()}


# --- losses ---------------------------------------------------------------------------------------


def _losses(run: Run, model: Model, train: Samples, found: Found, seed: int) -> None:
    """Denoising loss by time of training and unseen samples, all conditions, and its relative difference."""
    import xarray as xr

    levels = torch.tensor(np.geomspace(model.encoding.s_min, model.encoding.s_max, LOSS_LEVELS), dtype=torch.float32)
    columns: dict[str, np.ndarray] = {}
    for name, part in (("train", "train"), ("heldout", "test")):
        ensemble = with_units(run.part(part), run.domain)
        x, condition = run.domain.encode(ensemble, train.constants)
        rows = torch.linspace(0, len(x) - 1, min(MOST_LOSSES, len(x))).long()
        given = {key: value[rows].to(model.device) for key, value in condition.items()}
        losses = sample_losses(model.denoiser, x[rows].to(model.device), given, levels.to(model.device), seed)
        loss = summarise_losses(levels, *losses, units_of_samples(ensemble)[rows.numpy()])
        columns |= {name: loss.loss.cpu().numpy(), f"{name}_error": loss.loss_error.cpu().numpy()}
    ratio = columns["heldout"] / columns["train"]
    spread = ratio * np.hypot(*(columns[f"{name}_error"] / columns[name] for name in ("heldout", "train")))
    columns |= {"value": ratio - 1, "error": spread}
    times = 0.5 * np.log1p(levels.double().numpy() ** 2)
    found.results["loss_gap"] = xr.Dataset({name: ("t", v) for name, v in columns.items()}, {"t": times})
    pulls = columns["value"] / spread
    worst = int(np.nanargmax(pulls))
    found.put("loss_gap", columns["value"][worst], spread[worst])
    found.count("loss_gap_at_t", times[worst])


# --- copies ---------------------------------------------------------------------------------------


def measure_of_samples(samples: Samples) -> Measure | str:
    """What is near, by the symmetries of the law."""
    if samples.orbit == "flip":
        return binary_measure()
    if samples.orbit in ("translations", "point_group"):
        return field_measure("point" if samples.orbit == "point_group" else "none", samples.cell_size)
    return "euclidean"


def _copies(run: Run, model: Model, train: Samples, unseen: Samples, found: Found, seed: int) -> None:
    """The domain's own test of copies among drawn samples, and the published measures where all are of one law."""
    domain = run.domain
    drawn = draw_ensemble(run, DrawOptions(n=None if train.chosen else MOST_DRAWN, seed=seed), model=model)
    held = domain.confront(run.part("test"), run.part("test"), "the held-out data")
    generated, part = (domain.confront(held, one, "what is compared") for one in (drawn, run.part("train")))
    tested = domain.memorization(generated, part, held)
    verdict = memorization_verdict(tested)
    facts = {"verdict": verdict.status, "reason": verdict.reason}
    found.results["memorization"] = tested.assign_attrs(facts)
    found.put("f_mem", float(tested["f_mem"]), float(tested["f_mem_error"]))
    found.put("f_mem_heldout", float(tested["f_mem_heldout"]))
    if train.chosen:
        return
    x = domain.encode(with_units(drawn, domain), train.constants)[0]
    units = (units_of_samples(with_units(drawn, domain)), unseen.unit)
    if min(len(np.unique(unit)) for unit in units) < FEWEST:
        return
    try:
        result = copying_metrics(x, train.x, unseen.x, measure_of_samples(train), seed, units)
    except InputError:  # held-out data that are no null, which the test above has told
        return
    found.results["copies"] = result


# --- trajectories ---------------------------------------------------------------------------------


def _film(run: Run, model: Model, train: Samples, found: Found, seed: int) -> None:
    """Some trajectories of the model, when each comes to rest near one training sample, and a film of the first."""
    count = min(TRAJECTORIES, len(train.x))
    condition = _rows(train.condition, count)
    recorder = PathRecorder(model.denoiser, nearest_class(train.x, nearest_search(train)))
    shape = (count, *train.x.shape[1:])
    visits, end = recorded_descent(recorder, _levels(run, model), shape, seed, condition or None, model.device)
    path = collapse_of_trajectories(*recorder.indices(count))
    found.results["trajectories"] = path
    found.take(path, t_C_trajectories="t_C")
    t_s, t_c = (found.metrics[name]["value"] for name in ("t_S", "t_C"))
    found.results["film_strip"] = film(visits, end, train, t_s, t_c, "below $t_C$")
