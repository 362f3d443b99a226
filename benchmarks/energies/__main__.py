"""Energies of trained models beside the true ones: ``python -m benchmarks.energies [TOPIC ...] [--write]``.

About eight CPU minutes; with the environment variable PHYSGEN_CAMPAIGN what was made is kept there. ``--write`` puts
the tables and the figure into docs/energies.md.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.energies import laws
from benchmarks.energies.compare import agreement, energies_of
from benchmarks.energies.models import PLANS, SEEDS, energy, trained
from benchmarks.regimes.drawing import COLOURS, save
from physgen.figures.style import REFERENCE, styled
from physgen.figures.value import format_value

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCORE_LEVELS = {"curie_weiss": (0.3, 0.7, 1.0, 1.5, 3.0), "phi4": (0.05, 0.1, 0.2, 0.4)}
SHOWN = {"pairs": "Curie-Weiss, pairs", "local": "$\\phi^4$, local energy", "local, score": "$\\phi^4$, score"}


def kept(name: str, make) -> dict:
    """A result that is made once."""
    file = laws.FOLDER / f"{name}.json"
    if not file.exists():
        found = make()
        laws.FOLDER.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1))
    return json.loads(file.read_text())


def energies(law: str) -> dict:
    """Agreement of every model on held-out configurations and on those of the wider law, over seeds."""
    known, found = getattr(laws, law)(), {}
    for name, plan in PLANS.items():
        if plan.law != law:
            continue
        rows = []
        for seed in SEEDS:
            denoiser, seconds = trained(name, seed, known.train)
            model, row = energy(name, denoiser), {"seconds": seconds}
            row["parameters"] = sum(p.numel() for p in denoiser.parameters())
            for place, x, unit in zip(("held", "wider"), (known.held, known.wider), known.units, strict=True):
                row[place] = vars(agreement(energies_of(model, x), energies_of(known.energy, x), unit))
            rows.append(row)
        found[name] = rows
    return found


def levels(law: str) -> dict:
    """The energy of the score at several noise levels: at configurations, and at noisy ones beside the exact law."""
    known, found = getattr(laws, law)(), {}
    name = "score" if law == "curie_weiss" else "local, score"
    exact = laws.CurieWeiss(laws.BETA, (1, laws.SPINS))
    for s in SCORE_LEVELS[law]:
        rows = []
        for seed in SEEDS:
            model = energy(name, trained(name, seed, known.train)[0], s)
            row = {"x": vars(agreement(energies_of(model, known.held), known.energy(known.held), known.units[0]))}
            if law == "curie_weiss":
                noise = torch.randn(known.held.shape, generator=torch.Generator().manual_seed(seed))
                y = known.held + s * noise
                true = -exact.log_density(y.double(), torch.tensor(s, dtype=torch.float64))
                row["y"] = vars(agreement(energies_of(model, y), true))
            rows.append(row)
        found[str(s)] = rows
    return found


def summary(rows: list[dict], figure: str) -> str:
    """Mean over seeds with the larger of the bootstrap error and the scatter of the seeds, over the root of three."""
    values = np.array([row[figure] for row in rows])
    error = max(float(np.mean([row[f"{figure}_error"] for row in rows])), float(values.std(ddof=1) / len(rows) ** 0.5))
    return format_value(float(values.mean()), error)


def energies_table(law: str) -> str:
    """Model by model."""
    found = kept(f"energies_{law}", lambda: energies(law))
    rows = [
        "| model | parameters | training, CPU s | r | slope | rms, nats | r, wider law | slope, wider law |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, seeds in found.items():
        held, wider = ([row[place] for row in seeds] for place in ("held", "wider"))
        cells = [name, seeds[0]["parameters"], f"{np.mean([row['seconds'] for row in seeds]):.0f}"]
        cells += [summary(held, "correlation"), summary(held, "slope")]
        cells += [f"{np.mean([row['rms'] for row in held]):.2f} of {held[0]['spread']:.2f}"]
        cells += [summary(wider, "correlation"), summary(wider, "slope")]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows)


def levels_table(law: str) -> str:
    """Level by level."""
    found = kept(f"levels_{law}", lambda: levels(law))
    exact = law == "curie_weiss"
    rows = [
        "| s | r at x | slope at x |" + (" r at y | slope at y |" if exact else ""),
        "|---|---|---|" + "---|---|" * exact,
    ]
    for s, seeds in found.items():
        cells = [s]
        for place in ("x", "y") if exact else ("x",):
            cells += [summary([row[place] for row in seeds], figure) for figure in ("correlation", "slope")]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def draws_table() -> str:
    """Chains and the judge."""
    from benchmarks.energies import draws

    fields, spins = laws.phi4(), laws.curie_weiss()
    found = kept("spin_chains", lambda: draws.spin_chains(spins)) | kept(
        "phi4_chains", lambda: draws.phi4_chains(fields)
    )
    found |= kept("phi4_levels", lambda: draws.phi4_levels(fields))
    titles = {
        "gibbs": "Curie-Weiss, pairs: heat bath", "mala": "$\\phi^4$, local: MALA",
        "unadjusted": "$\\phi^4$, local: the same steps unadjusted",
    } | {name: f"$\\phi^4$, local, score: {name}" for name in found if "levels" in name}  # fmt: skip
    rows = [
        "| draws | acceptance | slowest tau, steps | independent draws | judge: pass | open | fail |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, title in titles.items():
        row = found[name]
        chain = ["", "", ""]
        if "tau" in row:
            slowest = max(row["tau"], key=row["tau"].get)
            chain = [f"{row['acceptance']:.3f}", f"{row['tau'][slowest]:.0f} ({slowest})", f"{row['independent']:.0f}"]
        counts = [str(len(row.get(status, []))) for status in ("pass", "open")]
        failed = ", ".join(row.get("fail", [])) or "0"
        rows.append("| " + " | ".join([title, *chain, *counts, failed]) + " |")
    return "\n".join(rows)


def partition_table() -> str:
    """ln Z from both sides."""
    from benchmarks.energies import draws

    spins = laws.curie_weiss()
    rows = [
        "| model | ln Z | from below | from above | ln Z, true energy | KL(truth, model), nats | p of M, 1024 draws |",
        "|---|---|---|---|---|---|---|",
    ]
    results = {
        "Curie-Weiss, pairs": kept("spin_chains", lambda: draws.spin_chains(spins)),
        "Curie-Weiss, pairs, by gradient": kept(
            "spin_gradient", lambda: draws.spin_chains(spins, "pairs, by gradient", False)
        ),
        "$\\phi^4$, local": kept("phi4_chains", lambda: draws.phi4_chains(laws.phi4())),
    }
    for title, found in results.items():
        row = found["ln Z"]
        cells = [title, format_value(row["ln Z"], row["error"]), f"{row['below']:.2f}", f"{row['above']:.2f}"]
        cells += [
            format_value(row["truth"], row["truth error"]) if row["truth error"] else f"{row['truth']:.4f} (exact)"
        ]
        cells += [format_value(row["divergence"], row["divergence error"])]
        cells += [f"{found['gibbs']['p of M']:.2g}" if "gibbs" in found else ""]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


@styled
def draw() -> Figure:
    """E of a model against the true one, about their means: held-out configurations and those of the wider law."""
    figure = Figure(figsize=(11.4, 3.9), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 3), SHOWN.items(), strict=True):
        known = getattr(laws, PLANS[name].law)()
        model = energy(name, trained(name, 0, known.train)[0])
        sets = {"held out": known.held[:1500], "wider law": known.wider[:1500]}
        pairs = {
            word: (energies_of(known.energy, x).numpy(), energies_of(model, x).numpy()) for word, x in sets.items()
        }
        centre = [values.mean() for values in pairs["held out"]]
        for colour, (word, (true, found)) in zip(COLOURS[1::-1], pairs.items(), strict=True):
            axes.plot(true - centre[0], found - centre[1], "o", ms=2.2, mew=0, alpha=0.35, color=colour, label=word)
        ends = [axes.get_xlim()[i] for i in (0, 1)]
        axes.plot(ends, ends, color=REFERENCE, lw=1, label="slope 1")
        axes.set(title=title, xlabel="true energy (nats)")
        for marker in axes.legend(fontsize=8.5).get_lines():
            marker.set_alpha(1)
    figure.axes[0].set_ylabel("energy of the model (nats)")
    return figure


def one_site_table() -> str:
    """The simulator, and ln Z by annealing, against quadrature."""
    found = kept("one_site", laws.one_site)
    rows = ["| at kappa = 0 | measured | quadrature |", "|---|---|---|"]
    for name, (mean, error, exact) in found.items():
        rows.append(f"| $\\langle\\{name}\\rangle$, hybrid Monte Carlo | {format_value(mean, error)} | {exact:.5f} |")
    file = laws.FOLDER / "phi4_chains.json"
    if file.exists():
        mean, error, exact = json.loads(file.read_text())["ln Z"]["one site"]
        rows.append(f"| ln Z a site, annealing of 200 paths | {format_value(mean, error)} | {exact:.5f} |")
    return "\n".join(rows)


TOPICS = {
    "energies of spins": lambda: energies_table("curie_weiss"),
    "energies of fields": lambda: energies_table("phi4"),
    "levels of spins": lambda: levels_table("curie_weiss"),
    "levels of fields": lambda: levels_table("phi4"),
    "draws": draws_table,
    "ln Z": partition_table,
    "one site": one_site_table,
}


def main(words: list[str]) -> int:
    """Print the tables of these topics, of all by default; with --write they go into the page."""
    torch.set_num_threads(1)
    asked = [word for word in words if word != "--write"] or list(TOPICS)
    page = DOCS / "energies.md"
    for name in asked:
        table = TOPICS[name]()
        print(f"{name}\n\n{table}\n", flush=True)
        if "--write" in words:
            section = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
            text = section.sub(lambda found, table=table: found[1] + table + "\n" + found[2], page.read_text())
            page.write_text(text)
    if "--write" in words:
        folder = DOCS / "figures" / "energies"
        folder.mkdir(parents=True, exist_ok=True)
        save(draw(), folder, "energies")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
