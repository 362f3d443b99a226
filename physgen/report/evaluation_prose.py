"""The sentences of an evaluation page, from the attributes of the ensembles and the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from physgen.diagnostics.verdict import Verdict
from physgen.ensemble import EXTRAPOLATED, LOG_WEIGHT, sample_count, sample_dims, space_dims
from physgen.figures.notation import format_value
from physgen.report.fidelity import words

if TYPE_CHECKING:
    import xarray as xr

MADE_WITH = ("sampler", "sampler_steps", "local_sweeps", "seed", "average_width", "average_residual")


def evaluation_title(generated: xr.Dataset, reference: xr.Dataset) -> str:
    """Who was judged, by how many configurations."""
    name = generated.attrs.get("run") or "generated"
    return f"{name}: {sample_count(generated)} configurations against {sample_count(reference)} of the reference"


def gallery_caption(reference: xr.Dataset, differing: Sequence[str]) -> str:
    """What the columns of the gallery have in common; ``differing`` names the conditions that they have not."""
    if not space_dims(reference):
        return "In the plane of the two leading principal axes of the reference, with their shares of its variance."
    common = "equal conditions in each column"
    if differing:
        common = f"{' and '.join(differing)} differ, titles name what both have in common"
    return f"Reference above, generated below; {common}."


def made_with(generated: xr.Dataset) -> str:
    """How an ensemble was drawn, as it says itself."""
    return ", ".join(f"{name} {generated.attrs[name]}" for name in MADE_WITH if name in generated.attrs)


def banner_of(generated: xr.Dataset) -> str:
    """What must be known before the verdicts: labels outside the training, what became of weights; or nothing."""
    said = [extrapolation_banner(generated), _weights_left_out(generated), _weights_taken(generated)]
    return " ".join(filter(None, said))


def _weights_left_out(generated: xr.Dataset) -> str:
    if LOG_WEIGHT not in generated:
        return ""
    remedy = "" if "guidance" in generated.attrs else "; --resample M judges that"
    return (
        f"The draws have weights ({LOG_WEIGHT}), which no diagnostic takes: judged is what was drawn, not what the "
        f"weights make of it{remedy}."
    )


def _weights_taken(generated: xr.Dataset) -> str:
    if "certified" not in generated or bool((generated["certified"] == 1).all()):
        return ""
    good, laws = int((generated["certified"] == 1).sum()), generated["certified"].size
    return (
        f"The configurations were taken by their weights; in {laws - good} of {laws} laws fewer draws count than were "
        "kept, or the tail of the weights is heavy (certified = 0): what repeats there is counted as independent, so "
        "that errors of the generated side are too small."
    )


def extrapolation_banner(generated: xr.Dataset) -> str:
    """One sentence where an ensemble was drawn at labels that its training did not hold; empty else."""
    words = str(generated.attrs.get(EXTRAPOLATED, "") or generated.attrs.get("conditions_outside_training", ""))
    if not words:
        return ""
    what = "labels that the model was not trained on"
    return f"Extrapolation: {words} ({what}): the verdicts count these like all others."


def samples_and_lattice(generated: xr.Dataset) -> dict[str, int]:
    """Sizes of the dims that count samples."""
    return {str(d): int(n) for d, n in generated.sizes.items() if d in sample_dims(generated)}


def cost_paragraph(generated: xr.Dataset, reference: xr.Dataset) -> str:
    """The sampler's own bias, what the noise levels do, and the cost of both ensembles, as far as the files say."""
    made, truth = generated.attrs, reference.attrs
    parts, power = [], "P(k)" if space_dims(generated) else "the variance along a principal axis"
    if "sampler_bias_max" in made:
        parts.append(
            f"The sampler itself ({made['sampler']}, {made['sampler_steps']} steps), run with the exact denoiser of "
            f"the Gaussian law that has the training spectrum, changes {power} by "
            f"{100 * made['sampler_bias_max']:.2g} % at most and {100 * made['sampler_bias_mean']:.2g} % on average "
            "over modes: that much of any deviation is not the network's."
        )
    if "levels_power" in made:
        parts.append(_levels_sentence(made))
    if "simulation_cpu_seconds" in truth:
        parts.append(
            f"The data set that the reference was taken from ({truth.get('simulation_count', '?')} configurations) "
            f"cost {truth['simulation_cpu_seconds']:.3g} CPU seconds to simulate."
        )
    if "draw_seconds" in made:
        rate = sample_count(generated) / max(made["draw_seconds"], 1e-9)
        parts.append(f"The generated ones were drawn at {rate:.3g} per second on {made.get('draw_device', '?')}.")
    return " ".join(parts) or "The generated file does not say how it was made."


def _levels_sentence(made: Mapping[str, Any]) -> str:
    """What the noise levels do to samples of this network."""
    sentence = (
        f"On this network itself the noise levels used ({made['levels']}) change the samples by "
        f"{_change(made, 'levels')}, compared with levels eight times finer from the same noise"
    )
    if made["levels"] != "log-uniform":
        sentence += f"; the best log-uniform ones would change them by {_change(made, 'levels_log_uniform')}"
    return f"{sentence}."


def _change(made: Mapping[str, Any], prefix: str) -> str:
    power, distance = (
        format_value(100 * made[f"{prefix}_{key}"], 100 * made[f"{prefix}_{key}_error"])
        for key in ("power", "distance")
    )
    return f"{power} % in P(k) at most and {distance} % in the field"


def not_tested(
    verdicts: Sequence[Verdict], generated: xr.Dataset, comparisons: Sequence[xr.Dataset], memorization: bool
) -> list[str]:
    """What a reader must not conclude from an evaluation, one sentence each.

    Args:
        verdicts: those not computed are named with their reasons.
        generated: its attrs ``frame_notes`` and ``conditions_outside_training`` are quoted.
        comparisons: of all diagnostics; whether any is paired.
        memorization: whether it was tested.
    """
    untested = [f"{words(v.diagnostic)}: {v.reason}." for v in verdicts if v.status == "not computed"]
    untested += [note for note in str(generated.attrs.get("frame_notes", "")).splitlines() if note]
    if outside := str(generated.attrs.get("conditions_outside_training", "")):
        untested.append(f"Drawn at conditions outside those of the training data: {outside}.")
    untested += [
        "What no diagnostic above looks at: agreement in these statistics does not prove equality of the laws.",
        "Conditions outside those of the reference.",
    ]
    if not memorization:
        untested.append("Memorization: no training data were given.")
    if not any(comparison.attrs.get("paired") for comparison in comparisons):
        untested.append("Response to the conditions one by one: reference and generated do not share their conditions.")
    return untested
