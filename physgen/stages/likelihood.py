"""The stage of likelihoods: ln p of each configuration of a file under a trained network, with its errors.

:func:`write_likelihood` takes the folder of a run and a file, and writes; :func:`find_likelihood` writes nothing. The
methods are those of :mod:`physgen.stages.likelihood_methods`, side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from physgen.progress import Progress
from physgen.report.found import Found
from physgen.runs.folder import Run, open_run, result_folder
from physgen.runs.model import Model, load_model
from physgen.stages.encoded_data import encoded_data
from physgen.stages.likelihood_methods import Measurement
from physgen.stages.likelihood_options import CHAIN, LikelihoodOptions

if TYPE_CHECKING:
    import xarray as xr

    from physgen.figures.style import Figure

FOLDER = "likelihood"


@dataclass(frozen=True, repr=False)
class LikelihoodOfData(Found):
    """ln p of each configuration under a run, with its errors, by one method or several.

    Attributes:
        subject: what was measured, in words.
        values: Dataset over the sample dims: ``ln_p`` of the first method in nats, ``ln_p_error``,
            ``bits_per_dimension`` of the encoded field at the noise level ``s_min`` (attribute; 0 for discrete values);
            ``ln_p_field`` and ``bits_per_dimension_field`` in units of the field where the domain knows its Jacobian;
            the labels that were used.
        summary: name -> {"value", "error"}, means over independent units; settings and caveats.
        others: ``estimates``, all methods: ``ln_p`` and ``ln_p_error`` over estimate and sample dims, means with
            errors over estimate; with ``vlb`` or ``path`` also ``steps``, the variational bound by ``level``, and
            ``growth``, the path-weight bound by ``paths``.
        folder: where it was written; None before.
    """

    stem: ClassVar[str] = "likelihood"
    columns: ClassVar[tuple[int, int]] = (28, 18)
    subject: str
    values: xr.Dataset
    summary: dict[str, Any]
    others: Mapping[str, xr.Dataset] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def figure(self) -> Figure:
        """Bits per dimension of each configuration with its error, and their histogram; the chain's bounds below."""
        from physgen.figures.likelihoods import likelihood_panel

        return likelihood_panel(self.values, self.others)

    @property
    def groups(self) -> dict[str, xr.Dataset]:
        """``likelihood``, ``estimates``, and where there are bounds of the chain ``steps`` and ``growth``."""
        return {"likelihood": self.values, **self.others}

    @property
    def table(self) -> str:
        """All estimates side by side, the parts of the bounds, the first estimate in words, and the notes."""
        from physgen.stages.likelihood_summary import table_of

        subject, *rest = super().table.split("\n")
        return "\n".join([subject, *table_of(self.others), "", *rest])


def write_likelihood(
    run: str | Path,
    source: str | Path,
    options: LikelihoodOptions | None = None,
    output: str | Path | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> LikelihoodOfData:
    """ln p of a file under a run, written into a folder (``RUN/likelihood`` where ``output`` is None).

    Raises:
        InputError: no run, a file that is not of its physics and lattice, a folder name that is taken, a method that
            its kind of values does not have.
    """
    found_run = open_run(run)
    folder = result_folder(found_run, output, FOLDER)
    return find_likelihood(found_run, source, options, device=device, progress=progress).write(folder)


def find_likelihood(
    run: Run,
    source: Any,
    options: LikelihoodOptions | None = None,
    *,
    device: str = "auto",
    model: Model | None = None,
    progress: Progress | None = None,
) -> LikelihoodOfData:
    """ln p of an ensemble, an array or a file under a run, unwritten.

    Of real numbers the density is that of the encoded field with noise of the smallest level that was trained, s_min:
    each configuration gets noise that belongs to (seed, its number), the same for all methods. Where the domain knows
    the Jacobian of its encoding, the density in units of the field is given too. Of discrete values it is the
    probability of the configuration, without noise.
    """
    from physgen.stages.likelihood_summary import estimates_of, growth_of, steps_of, summary_of, values_of

    plan = options or LikelihoodOptions()
    model = model or load_model(run.folder / "model", device)
    if not model.is_masked:  # which has masked fractions for levels
        model.check_noise("ln p")
    measured = Measurement(run, model, encoded_data(run, model, source), plan, progress)
    estimates = measured.estimates()
    bounded = any(one.method in CHAIN for one in estimates)
    variational = measured.chain.variational.cpu().numpy() if bounded else None
    others = {"estimates": estimates_of(measured, estimates, variational)}
    if bounded:
        others |= {"steps": steps_of(measured), "growth": growth_of(measured)}
    values = values_of(measured, estimates)
    summary = summary_of(measured, values, estimates, others)
    subject = (
        f"ln p of {len(measured.data.x)} configurations under {run.experiment.name}, {values.attrs['dimension']} values"
    )
    return LikelihoodOfData(subject, values, summary, others)
