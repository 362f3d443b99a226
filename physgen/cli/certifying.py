"""The command that holds configurations against exact identities: ``physgen certify``."""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen.progress import progress_bar


def add_certify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Its words."""
    certify = commands.add_parser(
        "certify",
        help="hold configurations against identities of their law, without a reference",
        epilog="Exit status 0 where it could judge, whatever the verdicts; they stand in the table and in FILE.",
    )
    certify.add_argument(
        "subject", metavar="SAMPLES|RUN", help="an ensemble of anybody's, or a run or shipped network to draw from"
    )
    certify.add_argument("--like", type=Path, metavar="FILE", help="of a run: conditions to draw under")
    certify.add_argument("-n", type=int, metavar="N", help="of a run: configurations under each condition")
    certify.add_argument("--weights", action="store_true", help="of a run: draw with log-weights, and count with them")
    certify.add_argument("--steps", type=int, metavar="K", help="of a run: noise levels")
    certify.add_argument("--seed", type=int, default=0, metavar="S")
    certify.add_argument("--device", default="auto", help="auto, cpu or cuda")
    certify.add_argument("--domain", metavar="NAME", help="physics of a file that names none")
    certify.add_argument(
        "--false-alarms", type=float, default=0.01, metavar="P", help="that any row fails in equilibrium (0.01)"
    )
    certify.add_argument("-o", "--output", type=Path, metavar="FILE", help="all numbers, as JSON")


def certify_command(arguments: argparse.Namespace) -> None:
    """physgen certify: a table of identities with verdicts."""
    from physgen.stages.certification import CertifyOptions, certify

    options = CertifyOptions(
        arguments.like, arguments.n, arguments.weights, arguments.steps, arguments.seed, arguments.device,
        arguments.domain, arguments.false_alarms,
    )  # fmt: skip
    found = certify(arguments.subject, arguments.output, options, progress_bar("sample"))
    print(found.table)
    if arguments.output is not None:
        print(f"wrote {arguments.output}")
