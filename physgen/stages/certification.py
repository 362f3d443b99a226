"""The stage that holds configurations against identities of their law: a certificate without a reference.

:func:`certify` takes a file, or a run to draw from; :func:`certify_ensemble` takes a Dataset.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.equivalence import FALSE_ALARMS
from physgen.diagnostics.identity import Absent, Row, judge_identities
from physgen.domains.contract import Domain, domain_of, get_domain
from physgen.ensemble import LOG_WEIGHT, exchangeable_dims, is_template, load_conditions
from physgen.errors import InputError
from physgen.progress import Progress
from physgen.storage.disk import write_atomically

if TYPE_CHECKING:
    import xarray as xr

SIGNS = {"pass": "pass", "fail": "FAIL", "open": "open"}
EXPERIMENT = "experiment.yaml"


@dataclass(frozen=True)
class CertifyOptions:
    """How to certify; all but the last two are for what is drawn from a run.

    Args:
        like: conditions to draw under; None for the test part of the run.
        n: configurations under each condition; None for the run's own number.
        weights: draw with log-weights, and count with them.
        steps: noise levels; None for the run's own.
        seed: of the draws.
        device: ``auto``, ``cpu`` or ``cuda``.
        domain: physics of a file that names none.
        false_alarms: probability that any row fails where the law is exact.
    """

    like: str | Path | None = None
    n: int | None = None
    weights: bool = False
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    domain: str | None = None
    false_alarms: float = FALSE_ALARMS

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < 1:
            raise InputError(f"false_alarms = {self.false_alarms:g} is a probability: give one between 0 and 1")


@dataclass(frozen=True, repr=False)
class Certificate:
    """What identities say of an ensemble.

    Attributes:
        subject: what was certified, in words.
        rows: a verdict on each identity.
        absent: identities that do not apply.
        notes: what a reader must know.
        false_alarms: probability that any row fails where the law is exact.
    """

    subject: str
    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]
    notes: tuple[str, ...]
    false_alarms: float = FALSE_ALARMS

    @property
    def verdict(self) -> str:
        """``fail`` where any row fails, ``pass`` where all pass, else ``open``."""
        told = {row.verdict for row in self.rows}
        return "fail" if "fail" in told else "pass" if told == {"pass"} else "open"

    @property
    def summary(self) -> dict[str, Any]:
        """All numbers, JSON-able."""
        return {
            "subject": self.subject,
            "verdict": self.verdict,
            "false_alarms": self.false_alarms,
            "rows": [row.flat() for row in self.rows],
            "absent": [vars(one) for one in self.absent],
            "notes": list(self.notes),
        }

    @property
    def table(self) -> str:
        """A line for each identity, and what does not apply."""
        from physgen.figures.notation import format_value

        head = ("identity", "at", "value", "expected", "z", "verdict", "would have seen")
        lines = [head]
        for row in self.rows:
            seen = "nothing"
            if np.isfinite(row.detectable):
                size = f"{100 * row.detectable:.2g} % of" if row.detectable < 0.995 else f"{row.detectable:.2g} times"
                seen = f"{size} {row.tolerance_of}"
            value = format_value(row.value, row.error)
            expected = "0" if row.expected == 0 else f"{row.expected:.4g}".replace("-", "−")
            z = f"{row.z:+.1f}".replace("-", "−") if np.isfinite(row.z) else "n/a"
            lines.append((row.name, row.where, value, expected, z, SIGNS[row.verdict], seen))
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        told = [
            "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join([self.subject, *(f"  {line}" for line in told), *self._words()])

    def _words(self) -> list[str]:
        """What stands below the rows."""
        counts = {name: sum(row.verdict == name for row in self.rows) for name in SIGNS}
        reasons: dict[str, list[str]] = {}
        for row in self.rows:
            if row.verdict == "open":
                reasons.setdefault(row.reason, []).append(f"{row.name} at {row.where}")
        told = [f"open: {', '.join(names)}: {reason}" for reason, names in reasons.items()]
        told += [f"absent: {one.name}: {one.reason}" for one in self.absent]
        told += [f"note: {text}" for text in self.notes]
        total = f"{counts['pass']} pass, {counts['fail']} fail, {counts['open']} open"
        words = {
            "fail": "NOT in equilibrium at what the file says",
            "pass": "no identity is broken, and deviations of the sizes above would have been seen",
            "open": "no identity is broken; these data do not decide all of them",
        }
        return [*told, f"{total} (false alarms {100 * self.false_alarms:g} % in all): {words[self.verdict]}"]

    def write(self, path: str | Path) -> Path:
        """Write :attr:`summary` as JSON."""
        path = Path(path)
        write_atomically(path, json.dumps(self.summary, indent=2, ensure_ascii=False) + "\n")
        return path

    def __repr__(self) -> str:
        return self.table


def certify(
    subject: str | Path,
    output: str | Path | None = None,
    options: CertifyOptions | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Certify an ensemble file, or what a run draws; written to ``output`` as JSON where that is given.

    Raises:
        InputError: neither a file nor a run, a physics that knows no identities, options that do not apply.
    """
    options = options or CertifyOptions()
    path = Path(subject)
    if output is not None and (Path(output).is_dir() or Path(output).suffix != ".json"):
        raise InputError(f"{output}: the numbers are written as JSON: give the name of a file that ends in .json")
    if path.is_file():
        given = [name for name in ("like", "n", "weights", "steps") if getattr(options, name)]
        if given:
            raise InputError(f"{given[0]} is of what a run draws, {path} holds its configurations: leave it out")
        ensemble, name = _read(path, options.domain), str(path)
    else:
        if path.suffix and not path.exists():
            raise InputError(f"{path} does not exist: give a file of configurations, or a run to draw from")
        ensemble, name = _drawn(subject, options, progress), f"draws of {subject}"
    found = certify_ensemble(ensemble, name, options.false_alarms)
    if output is not None:
        found.write(output)
    return found


def certify_ensemble(ensemble: xr.Dataset, name: str = "ensemble", false_alarms: float = FALSE_ALARMS) -> Certificate:
    """The certificate of an ensemble of one physics; nothing is written. Log-weights count where it has them."""
    domain = domain_of(ensemble)()
    ensemble = _with_tails(ensemble)
    found = domain.identities(ensemble)
    if found is None:
        raise InputError(
            f"{domain.name} knows no identities that hold without a reference: use physgen evaluate with one"
        )
    measured, absent = found
    if not measured:
        raise InputError(f"{name}: no identity applies: {'; '.join(f'{one.name}: {one.reason}' for one in absent)}")
    rows = tuple(judge_identities(measured, false_alarms))
    units = len(measured[0].deviations)
    said = f"{name}: {units} independent units, errors from their scatter"
    return Certificate(said, rows, tuple(absent), tuple(_notes(ensemble)), false_alarms)


def _read(path: Path, domain: str | None) -> xr.Dataset:
    """The ensemble of a file, as one of a physics."""
    from physgen.stages.sources import as_ensemble

    kind: type[Domain] | None = get_domain(domain) if domain else None
    if path.suffix.lower() in (".h5", ".nc", ".hdf5") and is_template(load_conditions(path)):
        raise InputError(f"{path} holds conditions without configurations: draw some, or give a file that has them")
    ensemble = as_ensemble(path, dimension=kind.array_dimension if kind else None)
    if ensemble.attrs.get("domain"):
        return ensemble
    if kind is None:
        raise InputError(f"{path} names no physics: give --domain, or bring it in with physgen import")
    return kind.adopt(ensemble)


def _drawn(subject: str | Path, options: CertifyOptions, progress: Progress | None) -> xr.Dataset:
    from physgen.runs.folder import open_run
    from physgen.stages.sampling import DrawOptions, draw_ensemble

    run = open_run(subject)
    asked = DrawOptions(options.n, options.like, steps=options.steps, seed=options.seed, weights=options.weights)
    return draw_ensemble(run, asked, device=options.device, progress=progress)


def _with_tails(ensemble: xr.Dataset) -> xr.Dataset:
    """The ensemble with the Pareto shape of the weights of each law, where it has weights and does not say."""
    if LOG_WEIGHT not in ensemble or "tail" in ensemble:
        return ensemble
    import torch

    from physgen.diffusion.inference.weight_statistics import tail_shape

    weights = ensemble[LOG_WEIGHT]
    inner = [dim for dim in weights.dims if dim in exchangeable_dims(ensemble)]
    laws = [dim for dim in weights.dims if dim not in inner]
    rows = weights.transpose(*laws, *inner).values
    shape = [ensemble.sizes[dim] for dim in laws]
    tails = [
        tail_shape(torch.from_numpy(np.array(row, dtype=np.float64))) for row in rows.reshape(int(np.prod(shape)), -1)
    ]
    return ensemble.assign(tail=(tuple(laws), np.reshape(tails, shape)))


def _notes(ensemble: xr.Dataset) -> list[str]:
    told = []
    if LOG_WEIGHT in ensemble:
        told.append("every configuration counts with its log_weight, self-normalised under each condition")
    if "certified" in ensemble and not bool(ensemble["certified"].values.all()):
        bad, all_of_them = int((ensemble["certified"].values == 0).sum()), ensemble["certified"].size
        told.append(f"kept of too few draws under {bad} of {all_of_them} conditions: those are approximate")
    if "run" in ensemble.attrs:
        moved = ensemble.attrs.get("local_sweeps", 0)
        then = f", then {moved} sweeps of local moves, which mend the local rows by themselves" if moved else ""
        told.append(f"drawn from the run {ensemble.attrs['run']}, seed {ensemble.attrs.get('seed')}{then}")
    elif "method" in ensemble.attrs:
        told.append(f"made by {ensemble.attrs['method']}")
    return told
