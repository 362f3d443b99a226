"""Likelihoods and posteriors of labels under a run, in a session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen.session.run import OpenRun, open_run

if TYPE_CHECKING:
    from physgen.stages.inference import Inference
    from physgen.stages.likelihood import LikelihoodOfData


def likelihood(run: OpenRun | str | Path, data: Any = None, **options: Any) -> LikelihoodOfData:
    """ln p of each configuration under a run, with its errors, in nats and bits per dimension.

    Args:
        run: an opened run or its folder.
        data: a Dataset, an array or the path of either; None for the run's test part.
        options: those of :meth:`physgen.session.run.OpenRun.log_likelihood`.

    Returns:
        ``values`` over the sample dims, ``summary``, ``table``, ``figure``, ``write(folder)``.
    """
    return _opened(run).log_likelihood(data, **options)


def infer(run: OpenRun | str | Path, data: Any = None, **options: Any) -> Inference:
    """Posterior of the labels of each configuration under a run, with ranks and coverage where they are known.

    Args:
        run: an opened run or its folder.
        data: a Dataset, an array or the path of either; None for the run's test part.
        options: those of :meth:`physgen.session.run.OpenRun.infer`.

    Returns:
        ``posterior``, ``coverage``, ``summary``, ``table``, ``figure``, ``write(folder)``.
    """
    return _opened(run).infer(data, **options)


def _opened(run: OpenRun | str | Path) -> OpenRun:
    return run if isinstance(run, OpenRun) else open_run(run)
