"""Measure every regime, write docs/regimes.md and its figures: ``python -m benchmarks.regimes [--write] [topic ...]``.

With topics named their tables are printed and nothing is written; with ``--write`` as well, they take the place of
their sections of the page. Each section says when and where it was measured. See :mod:`benchmarks.campaign`.
"""

import sys

from benchmarks.campaign import Campaign, run

REGIMES = Campaign(
    "regimes",
    "Dynamical regimes",
    "Figures of the papers on dynamical regimes and memorization, measured beside theory.",
    "Fields and glasses have [a page of their own](regimes-fields.md).",
)

if __name__ == "__main__":
    sys.exit(run(REGIMES, sys.argv[1:]))
