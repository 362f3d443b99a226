"""The SQLite file of the runs: its address on any path, opened once, followed when its folder was moved.

In memory an address is ``sqlite:///`` and the absolute path, every character standing for itself. In the files of a run
a database beside the run, or below, is written relative to the run's folder (``sqlite:///../mlflow.db``): both may be
moved or copied together.
"""

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

from physgen.errors import InputError

SQLITE, ARTIFACTS = "sqlite:///", "mlartifacts"
# what SQLAlchemy takes out of a path: the start of a query, and what it reads as a character that was quoted
_READ_OTHERWISE = re.compile(r"\?|%(?=[0-9A-Fa-f]{2})")
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def database_path(uri: str) -> Path | None:
    """Path of the file of an ``sqlite:///`` address; None for a server."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def portable_uri(uri: str, run_dir: Path) -> str:
    """The address as it stands in the files of a run: relative to the run where both move together."""
    path, run_dir = database_path(uri), Path(run_dir).resolve()
    if path is None or not path.is_relative_to(run_dir.parent):
        return uri
    return f"{SQLITE}{os.path.relpath(path, run_dir)}"


def absolute_uri(uri: str, run_dir: Path) -> str:
    """The address that :func:`portable_uri` wrote, seen from where the run lies now.

    An absolute one whose folder is gone, of a run that an earlier physgen wrote and somebody moved, is looked for
    beside the run.
    """
    path, run_dir = database_path(uri), Path(run_dir).resolve()
    if path is None:
        return uri
    if path.is_absolute() and not path.parent.exists():
        path = run_dir.parent / path.name
    return f"{SQLITE}{os.path.normpath(run_dir / path)}"


def sqlalchemy_uri(uri: str) -> str:
    """The address as SQLAlchemy and MLflow must be given it, so that they come to the same file.

    From the first folder on that would be read otherwise all is quoted, slashes too: MLflow makes the folders of the
    address as it stands.

    Raises:
        InputError: this SQLAlchemy cannot name the file.
    """
    path = database_path(uri)
    if path is None:
        return uri
    from sqlalchemy.engine import make_url

    start = _READ_OTHERWISE.search(str(path))
    cut = len(str(path)) if start is None else str(path).rindex("/", 0, start.start()) + 1
    quoted = f"{SQLITE}{str(path)[:cut]}{quote(str(path)[cut:], safe='')}"
    for written in (quoted, uri):
        if make_url(written).database == str(path):
            return written
    raise InputError(f"the database {path} cannot be named to MLflow: rename its folder, or give another tracking.uri")


def open_once(uri: str) -> None:
    """Open a database and read from it, before MLflow does so with a minute of retries.

    Raises:
        InputError: it cannot be opened; the message says why.
    """
    remedy = "check the address and the rights there, or give another tracking.uri"
    path = database_path(uri)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path)) as database:
                database.execute("PRAGMA schema_version")
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"the database {path} cannot be opened ({error}): {remedy}") from None
    elif not uri.startswith(("http", "databricks")):
        import sqlalchemy

        try:
            sqlalchemy.create_engine(uri).connect().close()
        except Exception as error:  # of the driver, which may be missing too
            words = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"the database {uri} cannot be opened ({words[:160]}): {remedy}") from None


def follow_artifacts(uri: str) -> None:
    """Let a database that was moved or copied with its artifacts find those beside it; else it is left as it is.

    MLflow keeps absolute paths of artifacts. Those of our own making lie in ``mlartifacts`` beside the database.
    """
    path = database_path(uri)
    if path is None:
        return
    here = (path.parent / ARTIFACTS).as_uri()
    with closing(sqlite3.connect(path, timeout=30)) as database, database:
        for name, location in database.execute("SELECT name, artifact_location FROM experiments").fetchall():
            folder = f"/{artifact_folder(name)}"
            root = (location or "").removesuffix(folder)
            is_ours = root.startswith("file://") and root.endswith(f"/{ARTIFACTS}") and location == root + folder
            if not is_ours or root == here or (_exists(root) and not _exists(here + folder)):
                continue
            for table, column in _LOCATIONS:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",
                    (here, len(root) + 1, len(root + folder) + 1, f"{root}{folder}/"),
                )


def _exists(file_uri: str) -> bool:
    return Path(unquote(file_uri.removeprefix("file://"))).exists()


def artifact_folder(experiment: str) -> str:
    """Folder of an experiment within ``mlartifacts``."""
    return re.sub(r"\W+", "_", experiment)
