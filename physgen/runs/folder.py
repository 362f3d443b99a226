"""A run: one folder that is enough to continue, to draw, to judge and to send to MLflow again::

    runs/<name>/
      experiment.yaml          the resolved configuration
      facts.json               what the data in hand are: counts, lattice, label ranges, provenance, digest
      encoding.json            shapes, noise levels and the domain's constants, fitted on the training split
      precision.json           the precision of training that `precision: auto` chose here
      start/                   the weights of another run, where training.start says to begin with them
      data/                    train.h5, validation.h5, test.h5: the parts of the data, each a file that every command
                               reads; corner.h5, where split.corner holds out a corner of the label space. Of up to
                               64 MiB of data they hold the values; of more (``copy_dataset``) they say which samples of
                               the one file of the data they are, with its sha256
        ensemble.h5            that file, where the data came from memory
        encoded/               what the network is trained on, where it is large; made anew where it is missing
      run.json                 who the run is, here and in MLflow (physgen.tracking.identity)
      journal.jsonl            every metric and event, the local truth
      journal.node<N>.jsonl    load of each further node
      journal.discarded.jsonl  what a resume cut off the journal
      shipped.json             how far each MLflow server has the journal
      *.lock                   of the journals and of shipping: held by who writes or sends
      stopped.json             why the training ended before its last step, where a rule of its own said so
      checkpoints/             to resume
      averages/                EMA snapshots, where training.averages asks for them
      model/                   EMA weights (safetensors) + model.json: all that a sampler needs
        levels.json            noise levels that were chosen for this network
        conditions.safetensors some of the conditions that were trained, where labels do not say all
        template.h5            what a served request starts from; conditions.json describes it

Nothing outside of it is needed, save the file of the data where that is large and the parts only point to it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physgen.config import Experiment, check_config
from physgen.domains.contract import Domain, with_units
from physgen.ensemble import (
    CORNER,
    cut_corner,
    load_ensemble,
    move_selection,
    open_conditions,
    open_ensemble,
    sample_count,
    save_ensemble,
    save_selection,
    split,
    splitting_label,
    subset,
)
from physgen.errors import InputError
from physgen.provenance import file_digest
from physgen.runs.encoded import store_folder
from physgen.runs.encoding import Encoding
from physgen.runs.facts import data_facts, is_made_from, settings_in_use
from physgen.runs.shipped import check_own, folder_of
from physgen.storage.disk import write_atomically

FACTS, ENCODING, PRECISION, START = "facts.json", "encoding.json", "precision.json", "start"
PARTS = ("train", "validation", "test")
WHOLE = "ensemble.h5"
COPIED_BYTES = 2**26  # data of up to 64 MiB are kept in the folder of the run, unless ``copy_dataset`` says otherwise
PLACE = "place_in_the_whole"


@dataclass(frozen=True)
class Run:
    """An experiment and the folder that holds what came of it; the module says what stands there.

    Nothing is kept in memory: each part is read when it is asked for.
    """

    folder: Path
    experiment: Experiment

    @property
    def domain(self) -> Domain:
        """The ``data`` section of the configuration, which is the domain."""
        return self.experiment.data

    def part(self, name: str) -> Any:
        """One part of the data in memory: train, validation, test, or the corner that was held out."""
        return with_units(load_ensemble(self.path_of_part(name)), self.domain)

    def open_part(self, name: str) -> Any:
        """One part of the data, opened lazily; close it, or use it in a ``with``."""
        return with_units(open_ensemble(self.path_of_part(name)), self.domain)

    def open_conditions(self, name: str) -> Any:
        """One part of the data for its conditions, opened lazily: of a run that was shipped, they are all there is."""
        return with_units(open_conditions(self.path_of_part(name)), self.domain)

    def path_of_part(self, name: str) -> Path:
        """The ensemble file of a part: its values, or which samples of another file they are."""
        return self.folder / "data" / f"{name}.h5"

    def facts(self) -> dict[str, Any]:
        """Facts of the data in hand; a run of an earlier physgen has those of its training part."""
        path = self.folder / FACTS
        if path.exists():
            return read_json(path)
        with self.open_part("train") as train:
            return _facts(self.experiment, train, None)

    def encoding(self) -> Encoding:
        """Shapes, noise levels and the domain's constants, fitted on the training part."""
        path = self.folder / ENCODING
        return Encoding.from_json(read_json(path), str(path))


def open_run(folder: str | Path) -> Run:
    """The run in ``folder``, or one that comes with the package (``collection:name``,
    :mod:`physgen.runs.shipped`).

    Raises InputError where there is none, or its configuration is damaged.
    """
    folder = folder_of(folder)
    path = folder / "experiment.yaml"
    if not path.is_file():
        raise InputError(f"{folder} is not a run: it has no experiment.yaml. Make one with `physgen train CONFIG`")
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())[:120]}): restore it from a copy") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged (no keys in it): restore it from a copy")
    return Run(folder, check_config(content, str(path)))


def result_folder(run: Run, output: str | Path | None, name: str) -> Path:
    """Where results on a run are written: ``output``, or the folder ``name`` in that of the run.

    Raises InputError where a file has that name, or the run comes with the package and stays as it is.
    """
    if output is None:
        check_own(run.folder, name)
    folder = run.folder / name if output is None else Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose a folder")
    return folder


def _facts(experiment: Experiment, ensemble: Any, dataset: Path | None) -> dict[str, Any]:
    return {"made_from_this_section": is_made_from(experiment, ensemble)} | data_facts(ensemble, dataset)


def create_run(experiment: Experiment, folder: Path, ensemble: Any, dataset: Path | None = None) -> Run:
    """A new folder with the configuration, the three parts of the data, from the file ``dataset``, and their facts.

    Raises InputError if the folder holds a run already: nothing is ever overwritten.
    """
    if (folder / "experiment.yaml").exists():
        raise InputError(
            f"{folder} holds a run already: continue it (--resume, in Python resume=True), or choose another name, "
            f"e.g. name={folder.name}-2"
        )
    domain = experiment.data
    if ensemble.attrs.get("domain") != experiment.domain:
        raise InputError(
            f"the data are of domain {ensemble.attrs.get('domain')!r}, the configuration of {experiment.domain!r}: "
            "give the dataset that belongs to it (dataset=FILE)"
        )
    ensemble = with_units(ensemble, domain)
    shares, facts = experiment.split, _facts(experiment, ensemble, dataset)
    fractions = {part: getattr(shares, part) for part in PARTS}
    by = splitting_label(ensemble, domain.split_by, len(fractions))
    dim = str(next(iter(ensemble[by].dims), by)) if by in ensemble.variables else by
    numbered = ensemble.assign({PLACE: (dim, np.arange(ensemble.sizes[dim]))}) if dim in ensemble.dims else ensemble
    corner = None
    if shares.corner:
        numbered, corner = cut_corner(numbered, shares.corner, by)
    if shares.units is not None:
        numbered = subset(numbered, shares.units, experiment.seed, by)
    parts = split(numbered, by, fractions, experiment.seed)
    if shares.train_units is not None:
        parts["train"] = subset(parts["train"], shares.train_units, experiment.seed, by, shares.train_from)
    if corner is not None:
        parts[CORNER] = corner
    places = {part: members[PLACE].values for part, members in parts.items()}
    parts = {part: members.drop_vars(PLACE).assign_attrs(part=part) for part, members in parts.items()}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    copied = experiment.copy_dataset
    if copied or (copied is None and sum(members.nbytes for members in parts.values()) <= COPIED_BYTES):
        for part, members in parts.items():
            save_ensemble(members, folder / "data" / f"{part}.h5")
    else:
        whole = dataset or save_ensemble(ensemble, folder / "data" / WHOLE)
        sha256 = facts.get("sha256") or file_digest(whole)
        for part, members in parts.items():
            save_selection(members, whole, sha256, dim, places[part], folder / "data" / f"{part}.h5")
    counts = {part: sample_count(members) for part, members in parts.items()}
    write_json(folder / FACTS, facts | {"configurations_of_parts": counts})
    write_config(experiment, folder / "experiment.yaml")
    return Run(folder, experiment)


def point_to(run: Run, dataset: Path) -> None:
    """Have the parts of a run, where they are selections, point to the file ``dataset``: it was moved there.

    Raises InputError where it is another file than that of the run.
    """
    if dataset.is_file():
        for part in (*PARTS, *([CORNER] if run.experiment.split.corner else [])):
            move_selection(run.path_of_part(part), dataset)


def withdraw_run(run: Run) -> None:
    """Take back what :func:`create_run` made, of a run without a step, so that its name is free again."""
    for name in (
        "experiment.yaml",
        FACTS,
        ENCODING,
        PRECISION,
        f"data/{WHOLE}",
        *(f"data/{part}.h5" for part in (*PARTS, CORNER)),
    ):
        (run.folder / name).unlink(missing_ok=True)
    for made in (store_folder(run.folder), run.folder / START):
        shutil.rmtree(made, ignore_errors=True)
    for folder in (run.folder / "data", run.folder):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def write_config(experiment: Experiment, path: Path) -> None:
    """Write the resolved experiment as YAML; beside the facts of the data, with a comment on its ``data`` section."""
    import yaml

    text = yaml.safe_dump(experiment.resolved(), sort_keys=False, allow_unicode=True)
    facts = path.with_name(FACTS)
    if facts.exists():
        text = text.replace("\ndata:\n", f"\n{_comment(experiment, read_json(facts))}data:\n", 1)
    write_atomically(path, text)


def _comment(experiment: Experiment, facts: dict[str, Any]) -> str:
    """What stands above the section ``data``: the facts of the data in hand, and whether the section is about them."""
    lines = [f"the data in hand ({FACTS}):", *(f"  {key}: {json.dumps(value)}" for key, value in facts.items())]
    if not facts["made_from_this_section"]:
        used = settings_in_use(experiment, False)
        lines.append(f"they were not simulated from this section: it is not used{f', save {used}' if used else ''}")
    return "".join(f"# {line}\n" for line in lines)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run. Raises InputError where it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: the run was not started, or the folder was moved in parts") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it, or train anew under another name") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that the name holds the old file or the whole new one."""
    write_atomically(path, json.dumps(content, indent=1))
