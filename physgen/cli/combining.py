"""The commands on ensembles of the same random starts: pair and combine."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path


def add_combine(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of ``combine``."""
    combine = commands.add_parser(
        "combine",
        help="means and covariances from few costly configurations and many surrogates of the same random starts",
        epilog="COSTLY and the surrogates are matched by their random starts, never by position: a surrogate of each "
        "costly unit, and many of further starts. The combined mean is unbiased whatever the surrogates get wrong.",
    )
    combine.add_argument("costly", type=Path, metavar="COSTLY", help="an ensemble")
    combine.add_argument("surrogates", type=Path, nargs="+", metavar="SURROGATES", help="one or more ensembles")
    combine.add_argument("--reference", type=Path, metavar="FILE", help="more costly units, to compare with")
    combine.add_argument(
        "--statistic", nargs="+", action="extend", default=[], metavar="NAME", help="default: the power spectrum"
    )
    combine.add_argument(
        "--by", metavar="NAME", help="variable that names the random starts (default: the one that says so)"
    )
    combine.add_argument("--slope", type=float, metavar="B", help="coefficient that is known from elsewhere, e.g. 1")
    combine.add_argument("--multivariate", action="store_true", help="every point of a surrogate controls every point")
    combine.add_argument("--logarithm", action="store_true", help="combine ln of the value of each unit")
    combine.add_argument("--price", type=float, metavar="X", help="what a costly unit costs, in surrogates")
    combine.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: COSTLY-combined")


def pair_command(arguments: argparse.Namespace) -> None:
    """physgen pair: two ensembles of the same random starts become one whose fields are conditioned."""
    from physgen.stages import pair

    path = pair(arguments.target, arguments.source, arguments.output, arguments.name, arguments.by)
    print(f"wrote {path}\nnext: {shlex.join(['physgen', 'train', 'CONFIG', f'dataset={path}'])}")


def combine_command(arguments: argparse.Namespace) -> None:
    """physgen combine: costly units and surrogates become means and covariances."""
    from physgen.stages import CombineOptions, write_combination

    chosen = arguments.statistic, arguments.by, arguments.slope, arguments.multivariate
    options = CombineOptions(*chosen, price=arguments.price, logarithm=arguments.logarithm)
    found = write_combination(arguments.costly, arguments.surrogates, arguments.output, arguments.reference, options)
    print(found.table)
    print(f"wrote {found.folder}/report.html, summary.json, combined.nc and figures/")
