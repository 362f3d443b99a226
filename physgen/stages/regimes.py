"""The stage of the dynamical regimes: when classes and single samples are decided, of data and of a run.

:func:`write_regimes` takes a file or the folder of a run and writes a page; :func:`find_regimes` takes Datasets and
arrays too and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen.domains.any_field import AnyField
from physgen.domains.contract import Domain, check_same_domain, domain_of, get_domain
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.report.regimes import Regimes
from physgen.report.regimes_findings import NOT_TESTED, NOT_TESTED_WITHOUT_MODEL, findings_of
from physgen.runs.facts import data_facts
from physgen.runs.folder import Run, open_run, result_folder
from physgen.stages.regimes_data import Found, Samples, described_lattice, encoded_samples, measure_data
from physgen.stages.sources import as_ensembles, described
from physgen.tracking.evaluation_log import log_regimes

if TYPE_CHECKING:
    import xarray as xr

Tell = Callable[[str], None]
FOLDER = "regimes"
PARTS = 12  # that the progress counts, of data and of a run at most


def write_regimes(
    source: str | Path,
    output: str | Path | None = None,
    *,
    box_size: str | None = None,
    domain: str | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
    processes: int = 1,
) -> Regimes:
    """Find the regimes of a file or a run and write them; of a run, they go to its MLflow run as well.

    Args:
        source: an ensemble, an array in .npy or .npz, or the folder of a run.
        output: folder of the page; None for ``regimes`` in the folder of the run, or the name of the file without its
            suffix and with ``-regimes``.
        box_size: of an array, see :func:`physgen.from_array`.
        domain: physics of a file that names none; None for any field.
        seed: of noise and draws.
        device: where the network of a run computes: ``auto``, ``cpu`` or ``cuda``.
        progress: called with (done, total, what is done).
        processes: how many draw the figures at once.

    Returns:
        The regimes, with their ``folder``.

    Raises:
        InputError: nothing that can be read, too few samples, an unknown domain, a folder name that is taken.
        OSError: the page cannot be written.
    """
    source = Path(source)
    run = _run_in(source)
    folder = _folder(source, run, output)
    found = find_regimes(
        source if run is None else run, box_size=box_size, domain=domain, seed=seed, device=device, progress=progress
    )
    if run is None:
        return found.write(folder, described({"data": source}), processes)
    written = found.write(folder, {"run": str(run.folder)}, processes)
    tracking = run.experiment.tracking
    log_regimes(run.folder, folder, written.summary, run.experiment.name, tracking.experiment, tracking.uri)
    return written


def _folder(source: Path, run: Run | None, output: str | Path | None) -> Path:
    """Where the page goes."""
    if run is not None:
        return result_folder(run, output, FOLDER)
    folder = source.with_name(f"{source.stem}-{FOLDER}") if output is None else Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose a folder")
    return folder


def find_regimes(
    source: Any,
    *,
    box_size: Any = None,
    domain: str | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Regimes:
    """The regimes of an ensemble, an array, a file of either, or a run, unwritten. See :func:`write_regimes`."""
    tell = _teller(progress)
    run = source if isinstance(source, Run) else _run_in(source)
    if run is not None:
        return _of_run(run, domain, seed, device, tell)
    ensemble = as_ensembles({"data": source}, box_size, domain)["data"]
    physics = _physics_of(ensemble, domain)
    if not ensemble.attrs.get("domain"):
        ensemble = type(physics).adopt(ensemble)
    samples = encoded_samples(ensemble, physics)
    found = measure_data(samples, seed, tell)
    return _regimes(samples, found, f"{described_lattice(samples)}", NOT_TESTED_WITHOUT_MODEL)


def _of_run(run: Run, domain: str | None, seed: int, device: str, tell: Tell) -> Regimes:
    from physgen.stages.regimes_model import measure_model

    if domain is not None and domain != run.experiment.domain:
        raise InputError(f"the run {run.folder} is of the domain {run.experiment.domain!r}, not {domain!r}")
    constants = run.encoding().domain
    samples = encoded_samples(run.part("train"), run.domain, constants)
    found = measure_data(samples, seed, tell)
    found = measure_model(run, samples, found, seed, device, tell)
    subject = f"the run {run.experiment.name}, trained on {described_lattice(samples)}"
    return _regimes(samples, found, subject, NOT_TESTED)


def _regimes(samples: Samples, found: Found, subject: str, not_tested: tuple[str, ...]) -> Regimes:
    facts: dict[str, Any] = {"data": data_facts(samples.ensemble), "symmetries left out": samples.orbit}
    if samples.chosen:
        subject = f"{subject} at {samples.chosen}"
        not_tested = (f"Other conditions than {samples.chosen} were left out.", *not_tested)
    return Regimes(subject, found.results, found.metrics, findings_of(found.results, found.metrics), facts, not_tested)


def _run_in(source: Any) -> Run | None:
    """The run whose folder ``source`` is; None where it is no folder."""
    if isinstance(source, str | Path) and Path(source).is_dir():
        return open_run(Path(source))
    return None


def _physics_of(ensemble: xr.Dataset, domain: str | None) -> Domain:
    """The domain asked for, else the one that the ensemble names, else any field."""
    if domain is None:
        return domain_of(ensemble)() if ensemble.attrs.get("domain") else AnyField()
    found = get_domain(domain)
    check_same_domain(ensemble, found.name, "the data", "--domain is")
    return found()


def _teller(progress: Progress | None) -> Tell:
    """A function that is told what begins, and moves the progress on."""
    done = -1

    def tell(what: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(min(done, PARTS - 1) if what else PARTS, PARTS, what)

    return tell
