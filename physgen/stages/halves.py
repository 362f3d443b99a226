"""Two runs that were trained on disjoint sets of one ensemble: do they make the same configurations of the same noise?

    physgen sweep CONFIG split.train_units=64 split.train_from=0,64

trains two such runs: ``train_from`` passes over the units that the other one was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from physgen.config import SplitConfig
from physgen.diagnostics.regimes.two_models import sample_agreement
from physgen.errors import InputError
from physgen.runs.folder import Run, open_run
from physgen.runs.model import load_model
from physgen.stages.sampling import DrawOptions, draw_ensemble

if TYPE_CHECKING:
    import xarray as xr


def agreement_of_runs(
    one: str | Path | Run, other: str | Path | Run, n: int = 64, seed: int = 0, device: str = "auto"
) -> xr.Dataset:
    """Agreement of what two runs on disjoint training sets draw from the same noise, under the same conditions.

    Args:
        one, other: runs of one ensemble, seed and split, which differ in ``split.train_from`` so that no unit is in
            both; drawn by the sampler of the first, which should be a deterministic one.
        n: configurations; under each condition of a physics that has many.

    Returns:
        Dataset of :func:`physgen.diagnostics.regimes.two_models.sample_agreement`, of the values as the first run
        encodes them: 0 for one map from noise to data, 1 for two whose outputs are independent given the noise.

    Raises:
        InputError: runs whose training sets may share a unit.
    """
    runs = [run if isinstance(run, Run) else open_run(run) for run in (one, other)]
    _check_disjoint(*runs)
    first, sampling = runs[0], runs[0].experiment.sampling
    encoding = first.encoding()
    with first.open_part("test") as like:
        asked = DrawOptions(n, like.load(), sampler=sampling.sampler, steps=sampling.steps, seed=seed)
    drawn = []
    for run in runs:
        ensemble = draw_ensemble(run, asked, device=device, model=load_model(run.folder / "model", device))
        drawn.append(first.domain.encode(ensemble, encoding.domain)[0])
    found = sample_agreement(drawn[0], drawn[1], seed)
    return found.assign_attrs(one=str(first.folder), other=str(runs[1].folder), sampler=sampling.sampler)


def _check_disjoint(one: Run, other: Run) -> None:
    """The training sets are stretches of one order of the units, which ensemble, seed and shares decide."""
    of_data = [{k: v for k, v in run.facts().items() if k != "configurations_of_parts"} for run in (one, other)]
    splits = [run.experiment.split for run in (one, other)]
    shares = [
        (run.experiment.seed, run.experiment.split.model_copy(update={"train_units": None, "train_from": 0}))
        for run in (one, other)
    ]
    low, high = sorted(splits, key=lambda s: s.train_from)
    if of_data[0] != of_data[1] or shares[0] != shares[1]:
        raise InputError(
            f"{one.folder} and {other.folder} differ in their data, their seed or the shares of the split: their "
            "training sets may share units; train both on one ensemble with one seed"
        )
    if low.train_units is None or low.train_from + low.train_units > high.train_from:
        raise InputError(
            f"{one.folder} and {other.folder} were trained on units {_stretch(splits[0])} and {_stretch(splits[1])} "
            "of the training part, which overlap: train the second one with split.train_from of at least the first "
            "one's split.train_units"
        )


def _stretch(split: SplitConfig) -> str:
    first, count = split.train_from, split.train_units
    return "all" if count is None else f"{first} to {first + count - 1}"
