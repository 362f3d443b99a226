"""Does training in bfloat16 cost fidelity? ``python -m benchmarks.precision [--steps N] [--seeds 1 2 3]``

Trains a demo in float32 and in bfloat16 with each seed on one data set, draws, judges, and prints for each figure the
difference of the two precisions, paired by seed (same split of the data, same noise), beside the scatter of float32
over the seeds. With 1500 steps of the cosmology demo (the default) it takes about a quarter of an hour on two cores.
"""

import argparse
import math
import statistics
import tempfile
from pathlib import Path

from physgen.config import load_config
from physgen.stages import evaluate, sample, simulate, train
from physgen.stages.sampling import DrawOptions
from physgen.tracking.journal import read_journal

ROOT = Path(__file__).resolve().parents[1]
PRECISIONS = ("float32", "bfloat16")
VALIDATION = ("validation/ratio_mean",)
HEAD = "| figure | float32 | bfloat16 | difference, paired | scatter over seeds |\n|---|---|---|---|---|"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "cosmology" / "demo.yaml")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--draws", type=int, default=None, help="configurations to draw; left out, those of the demo")
    parser.add_argument("overrides", nargs="*", help="key=value of the configuration")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = figures_of_all(options, Path(folder))
    print(
        f"\n{options.config.parent.name}, {options.steps} steps, seeds {', '.join(map(str, options.seeds))}\n\n{HEAD}"
    )
    for name in sorted(set.intersection(*(set(figures) for figures in found.values()))):
        print(line(name, *([found[seed, precision][name] for seed in options.seeds] for precision in PRECISIONS)))


def figures_of_all(options: argparse.Namespace, folder: Path) -> dict[tuple[int, str], dict[str, float]]:
    """(seed, precision) -> figures."""
    words = [*options.overrides, "tracking.uri=off", f"training.steps={options.steps}"]
    data = folder / "data.h5"
    simulate(load_config(options.config, words), data)
    found = {}
    for seed in options.seeds:
        for precision in PRECISIONS:  # a seed takes them in turn, so that a drifting machine drifts for both
            name = f"{precision}-{seed}"
            more = [f"dataset={data}", f"seed={seed}", f"training.precision={precision}", f"name={name}"]
            run = train(load_config(options.config, [*words, *more]), folder / "runs", device="cpu")
            assert run is not None
            found[seed, precision] = figures(run, folder / name, options.draws)
            print(f"{name}: {found[seed, precision].get('validation/ratio_mean', math.nan):.4f}", flush=True)
    return found


def figures(run: Path, folder: Path, draws: int | None) -> dict[str, float]:
    """The last validation of a run, and all metrics of its samples against the held-out part."""
    folder.mkdir()
    generated = sample(run, folder / "generated.h5", DrawOptions(n=draws), device="cpu")
    evaluation = evaluate(generated, run / "data" / "test.h5", None, folder / "evaluation", run)
    last = {}
    for entry in read_journal(run):
        last |= {key: value for key, value in entry.get("metrics", {}).items() if key in VALIDATION}
    return last | {
        f"{diagnostic}/{metric}": float(entry["value"])
        for diagnostic, metrics in evaluation.metrics.items()
        for metric, entry in metrics.items()
        if isinstance(entry.get("value"), float) and math.isfinite(entry["value"])
    }


def line(name: str, single: list[float], half: list[float]) -> str:
    apart = [b - a for a, b in zip(single, half, strict=True)]
    error = statistics.stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
    scatter = statistics.stdev(single) if len(single) > 1 else math.nan
    return (
        f"| {name} | {statistics.mean(single):.4g} | {statistics.mean(half):.4g} "
        f"| {statistics.mean(apart):+.2g} +- {error:.1g} | {scatter:.2g} |"
    )


if __name__ == "__main__":
    main()
