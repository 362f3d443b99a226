"""``physgen sample --given``: what is asked of it, and what it prints."""

from __future__ import annotations

import argparse

from physgen.progress import progress_bar


def sample_given_observation(arguments: argparse.Namespace, condition: dict[str, float]) -> None:
    """Draw given an observation, and judge the draws where the truth is known."""
    from physgen.errors import InputError
    from physgen.stages import PosteriorOptions, check_posterior, sample_given

    if arguments.given is None and arguments.truth is None:
        raise InputError("--operator says what was done to an observation: give its file by --given FILE")
    for name in ("like", "levels", "average", "guidance", "weights", "reverse", "resample", "metropolis", "sweeps"):
        if getattr(arguments, name) not in (None, False):
            raise InputError(f"--{name} has no effect on draws given an observation: leave it out")
    options = PosteriorOptions(
        operator=None if arguments.operator is None else " ".join(arguments.operator),
        condition=condition,
        sampler=arguments.sampler,
        steps=arguments.steps,
        seed=arguments.seed,
        **({} if arguments.n is None else {"draws": arguments.n}),
    )
    bar = progress_bar("sample")
    path = sample_given(
        arguments.run, arguments.given, arguments.output, options, arguments.device, bar, truth=arguments.truth
    )
    print(f"wrote {path}")
    if arguments.truth is not None:
        print(check_posterior(path, arguments.truth))
