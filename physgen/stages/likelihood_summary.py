"""What the estimates of ln p say together: their datasets, means with errors over independent units, and the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diagnostics.result import Units, units
from physgen.ensemble import sample_dims
from physgen.runs.model import Model
from physgen.stages.encoded_data import EncodedData
from physgen.stages.likelihood_methods import Estimate, Measurement
from physgen.stages.likelihood_options import FLOWS

if TYPE_CHECKING:
    import xarray as xr

LN_2 = math.log(2)
WIDE = 1.5  # scatter of ln w beyond which a few largest weights make the mean of a few dozen
BANDS = 8  # of levels in the printed table of the variational bound
Told = tuple[float, float]


def over_units(group: Units, per_sample: np.ndarray, shared: float = 0.0) -> Told:
    """Mean of (N,) over independent units, and its standard error with what they share; NaN of a single unit."""
    per_unit = group.mean(np.reshape(per_sample, -1)).reshape(group.count, -1).mean(1)
    error = per_unit.std(ddof=1) / math.sqrt(group.count) if group.count > 1 else math.nan
    return float(per_unit.mean()), math.hypot(error, shared)


# --- datasets -----------------------------------------------------------------------------------------


def values_of(measured: Measurement, estimates: list[Estimate]) -> xr.Dataset:
    """``ln_p`` of the first estimate with the parts of its error, over the sample dims of the data."""
    data, model, plan, first = measured.data, measured.model, measured.plan, estimates[0]
    dims = sample_dims(data.ensemble)
    shape = tuple(data.ensemble.sizes[d] for d in dims)
    size = measured.dimension
    columns = {"ln_p": first.ln_p, "ln_p_error": first.error, **first.errors}
    columns |= {"bits_per_dimension": -first.ln_p / (size * LN_2), "bits_error": first.error / (size * LN_2)}
    jacobian = None if measured.is_discrete else model.domain.log_jacobian(data.ensemble, model.encoding.domain)
    if jacobian is not None:
        columns["ln_p_field"] = first.ln_p + np.asarray(jacobian)
        columns["bits_per_dimension_field"] = -columns["ln_p_field"] / (size * LN_2)
    kept = data.ensemble.drop_vars("field")
    kept = kept.drop_dims([d for d in kept.dims if d not in dims])
    what = "configuration" if measured.is_discrete else "encoded field"
    names = {"ln_p": f"ln p of the {what}", "ln_p_field": "ln p of the field"}
    made = {
        name: (dims, np.reshape(value, shape), {"long_name": names.get(name, name.replace("_", " ")), "units": "nat"})
        for name, value in columns.items()
    }
    for name in made.keys() & {"bits_per_dimension", "bits_per_dimension_field", "bits_error"}:
        made[name][2]["units"] = "bit"
    attrs: dict[str, Any] = {"run": measured.run.experiment.name, "method": first.method, "probes": plan.probes}
    attrs |= {"steps": 0 if first.method == "law" else plan.steps_of(first.method), "paths": plan.paths}
    attrs |= {"seed": plan.seed, "s_min": 0.0 if measured.is_discrete else model.encoding.s_min, "dimension": size}
    attrs["units_of_the_field"] = str(data.ensemble["field"].attrs.get("units", "1"))
    found = kept.assign(made)
    found.attrs = attrs
    return found


def estimates_of(measured: Measurement, estimates: list[Estimate], variational: np.ndarray | None = None) -> xr.Dataset:
    """All estimates: ``ln_p`` and ``ln_p_error`` (its own) over estimate and the sample dims, and means over units.

    ``variational`` (N,) is the variational bound, from which the paired differences ``less_variational`` are taken.
    """
    import xarray as xr

    data, bit = measured.data, measured.dimension * LN_2
    dims, group = sample_dims(data.ensemble), units(data.ensemble)
    shape = tuple(data.ensemble.sizes[d] for d in dims)
    first = estimates[0].ln_p
    means = [over_units(group, one.ln_p, one.shared) for one in estimates]
    common = [math.hypot(one.shared, estimates[0].shared) for one in estimates]
    less = [over_units(group, one.ln_p - first, both) for one, both in zip(estimates, common, strict=True)]
    nats, bits = {"units": "nat"}, {"units": "bit"}
    made = {
        "ln_p": (("estimate", *dims), np.stack([one.ln_p.reshape(shape) for one in estimates]), nats),
        "ln_p_error": (("estimate", *dims), np.stack([one.error.reshape(shape) for one in estimates]), nats),
        "mean": ("estimate", [value for value, _ in means], nats | {"long_name": "mean over independent units"}),
        "mean_error": ("estimate", [error for _, error in means], nats | {"long_name": "its standard error over them"}),
        "own_error": ("estimate", [float(one.error.mean()) for one in estimates], nats | {
            "long_name": "error of one configuration by probes, draws, paths and steps"}),
        "bits": ("estimate", [-value / bit for value, _ in means], bits | {"long_name": "bits per dimension"}),
        "bits_error": ("estimate", [error / bit for _, error in means], bits),
        "less_first": ("estimate", [value for value, _ in less], nats | {"long_name": "less the first, paired"}),
        "less_first_error": ("estimate", [error for _, error in less], nats),
        "evaluations": ("estimate", [one.cost for one in estimates], {"long_name": "of the denoiser, a configuration"}),
        "meaning": ("estimate", [one.meaning for one in estimates]),
    }  # fmt: skip
    if variational is not None:
        above = [over_units(group, one.ln_p - variational, one.shared) for one in estimates]
        made["less_variational"] = ("estimate", [value for value, _ in above], nats)
        made["less_variational_error"] = ("estimate", [error for _, error in above], nats)
    return xr.Dataset(made, {"estimate": [one.method for one in estimates]})


def steps_of(measured: Measurement) -> xr.Dataset:
    """The variational bound by levels: what is paid, what was paid so far, how well x is known; means over units."""
    import xarray as xr

    chain, group = measured.chain, units(measured.data.ensemble)
    terms, unknown = chain.terms.cpu(), chain.squared_error.cpu()
    paid = [over_units(group, row.numpy()) for row in terms]
    so_far = [over_units(group, row.numpy()) for row in terms.cumsum(0)]
    known = [over_units(group, row.numpy()) for row in unknown] + [(math.nan, math.nan)]
    nats = {"units": "nat"}
    made = {
        "paid": ("level", [v for v, _ in paid], nats | {"long_name": "prior, steps, and last the reconstruction"}),
        "paid_error": ("level", [e for _, e in paid], nats),
        "so_far": ("level", [v for v, _ in so_far], nats | {"long_name": "rate so far, at the last level all"}),
        "so_far_error": ("level", [e for _, e in so_far], nats),
        "rms": ("level", [math.sqrt(v) for v, _ in known], {"long_name": "root mean square error of the guess of x"}),
        "rms_error": ("level", [0.5 * e / math.sqrt(v) if v > 0 else math.nan for v, e in known]),
    }
    rate, distortion = over_units(group, chain.rate.cpu().numpy()), over_units(group, chain.distortion.cpu().numpy())
    told = {"rate": rate[0], "rate_error": rate[1], "distortion": distortion[0], "distortion_error": distortion[1]}
    attrs = {"units": "nat", "dimension": measured.dimension, **told}
    return xr.Dataset(made, {"level": chain.levels.cpu().numpy()}, attrs)


def growth_of(measured: Measurement) -> xr.Dataset:
    """The path-weight bound with 1, 2, 4, ... paths: means over units and their errors."""
    import xarray as xr

    chain, group = measured.chain, units(measured.data.ensemble)
    total = len(chain.log_weight)
    counts = sorted({2**i for i in range(total.bit_length()) if 2**i <= total} | {total})
    found = [over_units(group, chain.importance(k).cpu().numpy()) for k in counts]
    gains = [over_units(group, (chain.importance(k) - chain.variational).cpu().numpy()) for k in counts]
    own = [float(chain.importance_error(k).mean()) for k in counts]
    nats = {"units": "nat"}
    made = {
        "bound": ("paths", [v for v, _ in found], nats), "bound_error": ("paths", [e for _, e in found], nats),
        "gain": ("paths", [v for v, _ in gains], nats | {"long_name": "less the variational bound, paired"}),
        "gain_error": ("paths", [e for _, e in gains], nats),
        "own_error": ("paths", own, nats | {"long_name": "error of one configuration by its paths"}),
    }  # fmt: skip
    return xr.Dataset(made, {"paths": counts})


# --- in words -----------------------------------------------------------------------------------------


def summary_of(measured: Measurement, values: xr.Dataset, estimates: list[Estimate], groups: Any) -> dict[str, Any]:
    """name -> {"value", "error", "meaning"} of the first estimate, ``estimates``, ``steps``, settings and notes."""
    group = units(measured.data.ensemble)
    what = "probability of the configuration" if measured.is_discrete else "encoded field at the noise level s_min"
    meanings = {
        "ln_p": f"nats, {what}, by {estimates[0].method}",
        "bits_per_dimension": "bits, the same",
        "ln_p_field": f"nats, in units of the field ({values.attrs['units_of_the_field']})",
        "bits_per_dimension_field": "bits, the same",
        "ln_p_error": "nats, mean error of one configuration",
    }
    found: dict[str, Any] = {}
    for name, meaning in meanings.items():
        if name in values:
            value, error = over_units(group, values[name].values)
            found[name] = {"value": value, "error": error, "meaning": meaning}
    found |= {"configurations": len(measured.data.x), "independent_units": group.count, **values.attrs}
    table = groups["estimates"]
    entries = [name for name in table.data_vars if table[name].dims == ("estimate",)]
    found["estimates"] = {
        str(name): {entry: table[entry].values[i].item() for entry in entries}
        for i, name in enumerate(table["estimate"].values)
    }
    if "steps" in groups:
        found["variational_bound"] = {k: groups["steps"].attrs[k] for k in (*_PARTS, *(f"{p}_error" for p in _PARTS))}
        bounds = groups["growth"]
        found["path_bound"] = {int(k): float(v) for k, v in zip(bounds["paths"], bounds["bound"], strict=True)}
    found["notes"] = notes_of(measured, values, estimates)
    return found


_PARTS = ("rate", "distortion")


def table_of(groups: Any) -> list[str]:
    """The estimates side by side, the variational bound by levels, and the growth of the path-weight bound."""
    from physgen.figures.notation import format_value

    table = groups["estimates"]
    rows = [("", "ln p, nats", "own error", "bits per dim.", "less the first", "evaluations", "of what")]
    for i, name in enumerate(table["estimate"].values):
        at = {entry: table[entry].values[i] for entry in table.data_vars if table[entry].dims == ("estimate",)}
        less = "" if i == 0 else format_value(at["less_first"], at["less_first_error"])
        own = format_value(at["own_error"]) if at["own_error"] else "none"
        rows.append((
            str(name), format_value(at["mean"], at["mean_error"]), own, format_value(at["bits"], at["bits_error"]),
            less, str(at["evaluations"]), str(at["meaning"]),
        ))  # fmt: skip
    lines = _aligned(rows)
    if "steps" not in groups:
        return lines
    steps, size = groups["steps"], groups["steps"].attrs["dimension"] * LN_2
    told = steps.attrs
    said = ", ".join(
        f"{part} {format_value(told[part], told[f'{part}_error'])} nats = "
        f"{format_value(told[part] / size, told[f'{part}_error'] / size)} bits per dim."
        for part in _PARTS
    )
    lines += ["", f"variational bound by levels: {said}", *_aligned(_bands(steps))]
    grown = groups["growth"]
    gains = [format_value(*pair) for pair in zip(grown["gain"].values, grown["gain_error"].values, strict=True)][1:]
    pairs = zip(grown["paths"].values[1:], gains, strict=True)
    return [*lines, "", "path above vlb, nats, by paths: " + ", ".join(f"{k}: {gain}" for k, gain in pairs)]


def _bands(steps: xr.Dataset) -> list[tuple[str, ...]]:
    """Rows of the table by levels: the prior, the steps in bands, the reconstruction."""
    from physgen.figures.notation import format_value

    level, paid, so_far = (steps[name].values for name in ("level", "paid", "so_far"))
    rms, error = steps["rms"].values, steps["so_far_error"].values
    edges = np.unique(np.linspace(0, len(level) - 2, BANDS + 1).round().astype(int))
    rows = [("", "level", "nats", "so far", "rms error of x before")]
    rows.append(("prior", f"{level[0]:.3g}", f"{paid[0]:.4g}", format_value(so_far[0], error[0]), ""))
    for first, last in zip(edges, edges[1:], strict=False):
        nats = f"{paid[first + 1 : last + 1].sum():.4g}"
        rows.append(
            ("steps", f"to {level[last]:.3g}", nats, format_value(so_far[last], error[last]), f"{rms[first]:.3g}")
        )
    last = ("reconstruction", f"to {level[-1]:.3g}", f"{paid[-1]:.4g}", format_value(so_far[-1], error[-1]))
    return [*rows, (*last, f"{rms[-2]:.3g}")]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns, the first and the last one to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    last = len(widths) - 1
    return [
        "  " + "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]  # fmt: skip


def notes_of(measured: Measurement, values: xr.Dataset, estimates: list[Estimate]) -> list[str]:
    """What must be known to compare the numbers."""
    model, names = measured.model, [one.method for one in estimates]
    notes, s_min = [], model.encoding.s_min
    if measured.is_masked:
        notes.append("vlb is the mean over orders in which sites are unmasked, path weighs the orders together: ln P")
    elif measured.is_discrete:
        notes.append(
            "vlb and path are of the chain of weighted paths, whose last step reads values out: ln P, no noise"
        )
    else:
        notes.append(
            f"each configuration carries noise of s_min = {s_min:.3g} of the encoded field, as a last step leaves"
        )
        lost = smoothing(model, measured.data)
        if lost is not None:
            notes.append(f"that noise raises the entropy of the Gaussian surrogate by {lost:.3g} nats a configuration")
        if "ln_p_field" not in values:
            notes.append(
                "this domain states no Jacobian of its encoding: the density is that of the encoded field alone"
            )
    if "bound" in names and measured.is_discrete:
        notes.append("bound is the chain of infinitely many steps, without errors of values that are below s_min")
    elif "bound" in names:
        notes.append(
            "bound is the mean over the noise, and ln p of an exact denoiser alone; of others it is below the chain's"
        )
    if set(names) & {"vlb", "path"}:
        flow = "; the flow has a law of its own" if set(names) & set(FLOWS) else ""
        notes.append(f"vlb <= path <= ln p of the chain, the limit of many paths, as means{flow}")
    if "path" in names:
        scatter = float(measured.chain.log_weight.std(0).mean())
        if scatter > WIDE:
            notes.append(
                f"ln w scatters by {scatter:.2g} nats over the paths of a configuration: path is far below its limit, "
                "with too small an error of its own; take more --steps"
            )
    if "law" in names:
        notes.append("law is what the data have: the mean of a model's ln p over many of them is below it")
    return notes


def smoothing(model: Model, data: EncodedData) -> float | None:
    r"""Entropy :math:`\tfrac12 \sum_k \ln(1 + s_{min}^2/P_k)` that the noise adds, nats; None without a spectrum."""
    spectrum = getattr(model.denoiser, "spectrum", None)
    if spectrum is None:
        return None
    with torch.no_grad():
        power = spectrum({name: value.to(model.device) for name, value in data.condition.items()})
        gained = 0.5 * torch.log1p(model.encoding.s_min**2 / power)
        return float(spectrum.mean_over_modes(gained).mean()) * data.x[0].numel()
