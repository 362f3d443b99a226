"""Try the judge on fakes, on truth, and on trained networks; write docs/judge.md: ``python -m benchmarks.judge``."""

import argparse
import datetime
import platform
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.judge import data, field_fakes, rates, spin_fakes, table, two_sample
from physgen.provenance import git_commit
from physgen.stages.judging import judge_ensembles

SIMULATIONS, TRAINING_SIMULATIONS = 27, 40
PARTS = ("fields", "spins", "two_sample", "rates")
TRUTH = "truth"  # first word of the row that is no fake


def main(arguments=None):
    """Parse, run the parts that were asked for, write the page if all of them were."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; default all, written to docs/judge.md")
    parser.add_argument("--trials", type=int, default=300, help="trials of truth against truth")
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
    reference, training = data.fields("reference", SIMULATIONS), data.fields("training", TRAINING_SIMULATIONS)
    maps = field_fakes.Maps(
        data.fields("independent", SIMULATIONS), training, data.fields("zeldovich", SIMULATIONS),
        np.random.default_rng(1),
    )  # fmt: skip
    words = (
        f"{SIMULATIONS} simulations of {maps.density.shape[0] // SIMULATIONS} maps of {maps.density.shape[-1]}^2 against "
        f"as many of the same cosmologies with other initial conditions, {TRAINING_SIMULATIONS} training simulations."
    )
    return _trial("Density maps", words, field_fakes.FAKES, maps, data.field_domain(), reference, SIMULATIONS)


def spins_section(chosen):
    """Fakes of spin configurations."""
    reference, training = data.spins("reference"), data.spins("training")
    made = spin_fakes.Configurations(data.spins("independent"), training, np.random.default_rng(2))
    words = (
        f"{data.INSTANCES} instances of the 8 x 8 Gaussian Edwards-Anderson cylinder at T = "
        f"{', '.join(f'{t:g}' for t in reference['temperature'].values)}, {data.REPLICAS} exact configurations each; the "
        "training set holds others of the same instances."
    )
    return _trial("Spins", words, spin_fakes.FAKES, made, data.spin_domain(), reference, data.INSTANCES)


def _trial(title, words, fakes, source, domain, reference, units):
    rows, power = [], []
    for name, fake in fakes.items():
        started = time.perf_counter()
        verdicts = judge_ensembles(domain, fake(source), reference, source.training).summary["verdicts"]
        rows.append(table.fake_row(name, verdicts, units))
        print(f"  {name}: {rows[-1]['verdict']} {rows[-1]['smallest p of a fail']} "
              f"{time.perf_counter() - started:.1f} s", flush=True)  # fmt: skip
        if name.startswith(TRUTH):
            power = list(table.power_rows(verdicts))
    return [
        f"\n## {title}\n", words, "", *table.markdown(rows),
        f"\n### {title}: truth against truth, every diagnostic\n", *table.markdown(power),
    ]  # fmt: skip


def two_sample_section(chosen):
    """The feature test beside PQMass."""
    reference = data.fields("reference", SIMULATIONS)
    maps = field_fakes.Maps(
        data.fields("independent", SIMULATIONS), data.fields("training", TRAINING_SIMULATIONS),
        data.fields("zeldovich", SIMULATIONS), np.random.default_rng(1),
    )  # fmt: skip
    return ["\n## Two-sample tests\n", two_sample.WORDS, "", *table.markdown(two_sample.rows(reference, maps))]


def rates_section(chosen):
    """Truth against truth, many times."""
    found = rates.measure_rates(chosen.trials, progress=lambda text: print(f"  {text}", flush=True))
    words = (
        f"{chosen.trials} trials each, 95 % intervals. Stated: a page says fail, in any of its diagnostics, in at most "
        f"{100 * rates.STATED:g} % of pages. Lognormal 32^2 maps, {rates.MAPS} to a unit, and exact spins."
    )
    return ["\n## Truth against truth\n", words, "", *table.markdown(rates.rate_rows(found))]


def trained_section(folder):
    """The network of a run, judged on its own test part, as ``physgen evaluate`` does."""
    from physgen.ensemble import load_ensemble
    from physgen.run import Run
    from physgen.stages import sample

    run = Run(folder)
    generated = sample(folder, data.CACHE / f"generated-{folder.resolve().name}.h5")
    parts = [load_ensemble(folder / "data" / f"{name}.h5") for name in ("test", "train")]
    judged = judge_ensembles(run.domain, load_ensemble(generated), *parts)
    rows = list(table.power_rows(judged.summary["verdicts"]))
    return [f"\n## The trained network of {folder.name}\n", *table.markdown(rows)]


SECTIONS = {
    "fields": fields_section, "spins": spins_section, "two_sample": two_sample_section, "rates": rates_section,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
