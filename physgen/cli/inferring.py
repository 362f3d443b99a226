"""The commands that read the density of a run: ``physgen likelihood``, ``physgen infer``."""

from __future__ import annotations

import argparse

from physgen.progress import progress_bar


def likelihood(arguments: argparse.Namespace) -> None:
    """ln p of a file under a run."""
    from physgen.stages.likelihood import LikelihoodOptions, write_likelihood

    probes = {} if arguments.probes is None else {"probes": arguments.probes}
    options = LikelihoodOptions(arguments.method, steps=arguments.steps, seed=arguments.seed, **probes)
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
        progress=progress_bar("infer"),
    )  # fmt: skip
    print(found.table)
    print(f"wrote {found.folder}/summary.json, posteriors.nc and figures/")
