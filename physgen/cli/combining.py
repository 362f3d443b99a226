"""The commands on ensembles of the same random starts: pair and combine."""

from __future__ import annotations

import argparse
import shlex


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
