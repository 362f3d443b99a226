"""The commands that read the density of a run: ``physgen likelihood``, ``physgen infer``."""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen.progress import progress_bar


def add_inference(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of ``likelihood`` and ``infer``."""
    likelihood = commands.add_parser("likelihood", help="ln p of each configuration of a file under a run, with errors")
    infer = commands.add_parser("infer", help="posterior of the labels of each configuration of a file under a run")
    for command, draws in ((likelihood, "probes (hutchinson) or draws (bound), default 8"), (infer, "default 4")):
        command.add_argument("run", type=Path, metavar="RUN")
        command.add_argument("file", type=Path, metavar="FILE", help="an ensemble, or an array in .npy or .npz")
        command.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: a folder in that of the run")
        command.add_argument("--probes", type=int, metavar="K", help=f"independent draws behind each error: {draws}")
        command.add_argument("--steps", type=int, metavar="N", help="steps of the flow, or noise levels of a draw")
        command.add_argument("--seed", type=int, default=0, metavar="S")
        command.add_argument("--device", default="auto", help="auto, cpu or cuda")
    likelihood.add_argument(
        "--method", default="all", metavar="NAME[,NAME...]",
        help="flow, hutchinson, exact, jacobian, bound, vlb, path, law, or all (default): those that mean something",
    )  # fmt: skip
    likelihood.add_argument("--paths", dest="count", type=int, default=16, metavar="K", help="paths of vlb and path")
    likelihood.add_argument(
        "--kernel", default="covariance", metavar="NAME", help="of the chain of real numbers: covariance or ancestral"
    )
    infer.add_argument("--method", default="bound", metavar="NAME", help="bound (default, no gradients) or flow")
    infer.add_argument("--labels", nargs="+", metavar="NAME", help="infer these alone; others are as in the file")
    infer.add_argument("--combine", action="store_true", help="one posterior for all configurations of a unit")
    infer.add_argument("--limit", type=int, metavar="N", help="at most N configurations, of as many units as can be")
    infer.add_argument(
        "--calibrate", nargs="?", const="validation", metavar="FILE",
        help="recalibrate on held-out units of known labels: a file, or test; alone: the run's validation part",
    )  # fmt: skip


def likelihood(arguments: argparse.Namespace) -> None:
    """ln p of a file under a run."""
    from physgen.stages.likelihood import LikelihoodOptions, write_likelihood

    probes = {} if arguments.probes is None else {"probes": arguments.probes}
    options = LikelihoodOptions(
        arguments.method, steps=arguments.steps, seed=arguments.seed, paths=arguments.count, kernel=arguments.kernel,
        **probes,
    )  # fmt: skip
    found = write_likelihood(
        arguments.run, arguments.file, options, arguments.output, device=arguments.device,
        progress=progress_bar("likelihood"),
    )  # fmt: skip
    print(found.table)
    print(f"wrote {found.folder}/summary.json, likelihood.nc and figures/")


def infer(arguments: argparse.Namespace) -> None:
    """Posteriors of the labels of a file under a run."""
    from physgen.stages.inference import InferenceOptions, write_inference

    labels = None if arguments.labels is None else tuple(arguments.labels)
    options = InferenceOptions(
        arguments.method, labels, arguments.combine, arguments.probes, arguments.steps, arguments.limit, arguments.seed
    )
    found = write_inference(
        arguments.run, arguments.file, options, arguments.output, device=arguments.device,
        progress=progress_bar("infer"), calibrate=arguments.calibrate,
    )  # fmt: skip
    print(found.table)
    print(f"wrote {found.folder}/summary.json, posteriors.nc and figures/")
