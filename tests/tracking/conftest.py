"""An empty MLflow database made once: its migrations take seconds."""

import os

import pytest

from physgen.tracking.server import Store


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """Path of an empty, migrated database; tests copy it."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    Store(f"sqlite:///{path}")
    return path


@pytest.fixture(autouse=True)
def no_tracking_server_from_outside(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MLFLOW_TRACKING")]:
        monkeypatch.delenv(name)
