"""The figure of docs/few-steps.md: ``python -m benchmarks.students_figure FOLDER`` (FOLDER as for benchmarks.students).

Above, the power of each way to draw over that of the end of the flow from the same noise; below, one map and what each
way makes of it.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import matplotlib
import torch

from benchmarks.students import TRUTH, Campaign, Row
from physgen.diffusion.learning.prior_spectrum import shell_power
from physgen.stages.sampling import DrawOptions, draw_ensemble

matplotlib.use("Agg")
from matplotlib import pyplot as plt

OUT = Path(__file__).resolve().parents[1] / "docs" / "figures" / "few-steps.png"
MAPS, SHOWN = 64, 5
COLOURS = {"teacher": "#888888", "progressive": "#0072b2", "mean_flow": "#d55e00", "consistency": "#009e73"}
ROWS = [
    Row("teacher", 4, "modal_4m"), Row("teacher", 8, "modal_4m"),
    *(Row(name, 4) for name in ("progressive-2", "mean_flow-2")),
]  # fmt: skip


def drawn(campaign: Campaign, row: Row) -> torch.Tensor:
    """MAPS encoded maps of a row."""
    run = campaign.teacher if row.maker == "teacher" else None
    from physgen.runs.folder import open_run

    options = DrawOptions(n=MAPS, steps=row.evaluations, sampler=row.sampler or None)
    made = draw_ensemble(run or open_run(campaign.folder / row.maker), options, device="cpu")
    return campaign._encoded(made)


def figure(folder: Path) -> None:
    """Draw and save it."""
    torch.set_num_threads(1)
    campaign = Campaign(folder)
    truth = drawn(campaign, Row("teacher", TRUTH, "modal_4m"))
    rows = [row for row in ROWS if (folder / row.maker / "model" / "weights.safetensors").exists()]
    true = shell_power(truth)
    canvas = plt.figure(figsize=(10, 6.2), constrained_layout=True)
    top, bottom = canvas.subfigures(2, 1, height_ratios=(1.25, 1))
    axis = top.subplots()
    axis.axhspan(-1, 1, color="#eeeeee")
    shown = [("48 evaluations", truth)]
    for row in rows:
        x = drawn(campaign, row)
        power = shell_power(x).power[:, 0]
        ratio = power.mean(0) / true.power[:, 0].mean(0)
        error = (power - ratio * true.power[:, 0]).std(0) / true.power[:, 0].mean(0) / math.sqrt(MAPS)
        method = row.maker.rsplit("-", 1)[0]
        label = f"{method.replace('_', ' ')}, {row.evaluations} evaluations"
        style = {
            "color": COLOURS[method],
            "ls": "--" if row == ROWS[1] else "-",
            "marker": "." if row != ROWS[1] else "",
        }
        axis.errorbar(true.mean_k[1:], 100 * (ratio[1:] - 1), 100 * error[1:], label=label, lw=1.2, **style)
        shown.append((label.replace(", ", "\n"), x))
    axis.set(
        xlabel="k of the lattice",
        ylabel="P(k) from that of 48 evaluations, %",
        xscale="log",
        yscale="symlog",
        ylim=(-20, 150),
    )
    axis.set_yscale("symlog", linthresh=2)
    axis.set_yticks([-10, -2, -1, 0, 1, 2, 10, 100], ["−10", "−2", "−1", "0", "1", "2", "10", "100"])
    axis.legend(frameon=False, fontsize=8)
    for place, (label, x) in zip(bottom.subplots(1, len(shown)), shown, strict=True):
        first = x is truth
        value = x[SHOWN, 0] if first else x[SHOWN, 0] - truth[SHOWN, 0]
        scale = 3.0 if first else 0.3
        place.imshow(value, cmap="viridis" if first else "RdBu_r", vmin=-scale, vmax=scale)
        place.set(title=label if first else f"{label}\n(difference × 10)", xticks=[], yticks=[])
        place.title.set_fontsize(8)
    canvas.savefig(OUT, dpi=110)


if __name__ == "__main__":
    figure(Path(sys.argv[1]))
