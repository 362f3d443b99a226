"""Try the judge on fakes, on truth, and on trained networks; write docs/judge.md: ``python -m benchmarks.judge``."""

import argparse
import datetime
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.judge import data, rates, table, trial, two_sample
from physgen.provenance import git_commit
from physgen.stages import evaluate_ensembles

PARTS = ("fields", "spins", "two_sample", "rates")


def main(arguments=None):
    """Parse, run the parts that were asked for, write the page if all of them were."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; default all, written to docs/judge.md")
    parser.add_argument("--trials", type=int, default=300, help="trials of truth against truth")
    parser.add_argument("--minutes", type=float, default=60.0, help="no new law of the trials begins after these")
    parser.add_argument("--run", type=Path, help="also judge the network of this run folder")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    lines = []
    for part in chosen.parts or PARTS:
        started = time.perf_counter()
        lines += SECTIONS[part](chosen)
        print(f"{part}: {time.perf_counter() - started:.0f} s", flush=True)
    if chosen.run:
        lines += trained_section(chosen.run)
    if chosen.parts:
        print("\n".join(lines))
        return 0
    page = data.ROOT / "docs" / "judge.md"
    page.write_text("\n".join([*head(), *lines]) + "\n")
    print(f"wrote {page.relative_to(data.ROOT)}")
    return 0


def head():
    """Title, date, machine, commit."""
    return [
        "# The judge on trial\n",
        "Fakes that share some statistics with the truth and nothing else, each judged beside truth against truth, and",
        "how often the judge errs where both sides follow one law. Written by `make judge` on",
        f"{datetime.date.today()}, commit {git_commit()}, {processor()}, Python {platform.python_version()}.",
        "Diagnostics are counted as they were at that commit, copies only where a training set was given.",
    ]


def processor():
    """Model of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        return next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def fields_section(chosen):
    """Fakes of density maps."""
    return _trial("fields", "Density maps", trial.SIMULATIONS, (
        f"{trial.SIMULATIONS} simulations, each of 12 maps of 64^2 cells, against as many of the same cosmologies with "
        f"other initial conditions. Copies are of {trial.TRAINING_SIMULATIONS} training simulations."
    ))  # fmt: skip


def spins_section(chosen):
    """Fakes of spin configurations."""
    temperatures = ", ".join(f"{t:g}" for t in data.spin_domain().temperatures)
    return _trial("spins", "Spins", data.INSTANCES, (
        f"{data.INSTANCES} instances of the 8 x 8 Gaussian Edwards-Anderson cylinder at T = {temperatures}, "
        f"{data.REPLICAS} exact configurations each. Copies are of other exact configurations of the same instances."
    ))  # fmt: skip


def _trial(kind, title, units, words):
    names = list(trial.KINDS[kind][1])
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        found = dict(zip(names, pool.map(trial.judge_fake, [kind] * len(names), names), strict=True))
    truth = next(verdicts for name, verdicts in found.items() if name.startswith(trial.TRUTH))
    return [
        f"\n## {title}\n", words, "The training set is given to the judge with the truth and with copies.", "",
        *table.markdown(table.fake_row(name, verdicts, units) for name, verdicts in found.items()),
        f"\n### {title}: truth against truth, every diagnostic\n", *table.markdown(table.power_rows(truth)),
    ]  # fmt: skip


def two_sample_section(chosen):
    """The feature test beside PQMass."""
    reference = data.fields("reference", trial.SIMULATIONS)
    maps = trial.density_maps(1)
    return ["\n## Two-sample tests\n", two_sample.WORDS, "", *table.markdown(two_sample.rows(reference, maps))]


def rates_section(chosen):
    """Truth against truth, many times."""
    found = rates.measure_rates(
        chosen.trials, minutes=chosen.minutes, progress=lambda text: print(f"  {text}", flush=True)
    )
    words = (
        f"{chosen.trials} trials each, 95 % intervals. Stated: a page says fail, in any of its diagnostics, in at most "
        f"{100 * rates.STATED:g} % of pages. {len(found)} of {len(rates.LAWS)} laws were run. "
        f"Lognormal 32^2 maps, {rates.MAPS} to a unit, and exact spins."
    )
    return ["\n## Truth against truth\n", words, "", *table.markdown(rates.rate_rows(found))]


def trained_section(folder):
    """The network of a run, judged on its own test part, as ``physgen evaluate`` does."""
    from physgen.ensemble import load_ensemble
    from physgen.runs.folder import Run
    from physgen.stages import sample

    run = Run(folder)
    generated = sample(folder, data.CACHE / f"generated-{folder.resolve().name}.h5")
    parts = [run.part(name) for name in ("test", "train")]
    judged = evaluate_ensembles(load_ensemble(generated), *parts, domain=run.domain)
    rows = list(table.power_rows(judged.summary["verdicts"]))
    return [f"\n## The trained network of {folder.name}\n", *table.markdown(rows)]


SECTIONS = {
    "fields": fields_section, "spins": spins_section, "two_sample": two_sample_section, "rates": rates_section,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
