"""The MLflow page of the runs, on this machine only."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from physgen.errors import InputError
from physgen.tracking.database import sqlalchemy_uri
from physgen.tracking.server import Store, chart_link, clean_tracking_uri
from physgen.tracking.shipper import reason


def ui_command(tracking_uri: str, host: str, port: int) -> list[str]:
    """Command line of the MLflow server for a database; it listens on ``host`` only."""
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        sqlalchemy_uri(tracking_uri),
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
    ]


def ui_environment() -> dict[str, str]:
    """Environment of the server: no telemetry, no background jobs (they take 1 GB)."""
    return {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(f"{host}:{port} cannot be used ({error.strerror}); choose a free port") from None


def ui(tracking_uri: str, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Serve the runs and print the address of the page that compares those of the newest experiment.

    Returns when the server ends.

    For an ``http`` tracking URI the page is there already and only its address is printed.

    Args:
        tracking_uri: database or server of the runs.
        host: address to listen on. MLflow has no passwords by default: keep it on the loopback.
        port: port to listen on.

    Raises:
        InputError: no such database, no server, or the port is taken.
    """
    uri = clean_tracking_uri(tracking_uri)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise InputError(f"there is no database {uri.removeprefix('sqlite:///')}; train first, or name another")
    serves = not uri.startswith("http")
    if serves:
        _check_port(host, port)
    try:
        found = Store(uri).client.search_experiments(order_by=["last_update_time DESC"])
    except Exception as error:
        raise InputError(f"MLflow at {uri} is not reached ({reason(error)}); start it or name another") from None
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}" if serves else uri
    print(f"Compare the runs at\n  {chart_link(address, found[0].experiment_id)}", flush=True)
    if not serves:
        return 0
    print("Ctrl-C ends the server.", flush=True)
    try:
        return subprocess.run(ui_command(uri, host, port), env=ui_environment(), check=False).returncode
    except KeyboardInterrupt:
        return 0
