"""Measure every row, write docs/sohl-dickstein.md: ``python -m benchmarks.sohl_dickstein [--write] [topic ...]``.

With topics named their tables are printed and nothing is written; with ``--write`` as well, they take the place of
their sections of the page. Each section says when and where it was measured. See :mod:`benchmarks.campaign`.
"""

import sys

from benchmarks.campaign import KEPT, Campaign, number, run

ABOUT = (
    "The experiments of Sohl-Dickstein, Weiss, Maheswaranathan and Ganguli 2015 (arXiv:1503.03585), the first "
    "diffusion models, that need no download, each beside the exact value or a bound. K is their variational bound on "
    "log2 p, in bits; L_null that of independent components of the right mean and variance."
)


def as_line(row):
    """ours | paper | truth or bound | CPU s | kept | note."""
    truth = "" if row.truth is None else number(row.truth, row.truth_error)
    cost = "" if row.cost is None else f"{row.cost:.0f}"
    cells = row.quantity, number(row.measured, row.error), row.paper, truth, cost, KEPT[row.kept], row.note
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


SOHL_DICKSTEIN = Campaign(
    "sohl_dickstein",
    "Sohl-Dickstein et al. 2015",
    ABOUT,
    head="| quantity | ours | paper | truth or bound | CPU s | kept | note |\n" + "|---" * 7 + "|",
    line=as_line,
)

if __name__ == "__main__":
    sys.exit(run(SOHL_DICKSTEIN, sys.argv[1:]))
