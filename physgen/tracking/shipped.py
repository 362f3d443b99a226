"""How far the journal of a run has reached each MLflow server: ``shipped.json`` in the run folder."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from physgen.storage.disk import write_atomically
from physgen.tracking.database import absolute_uri, portable_uri

SHIPPED = "shipped.json"


@dataclass
class Shipped:
    """What one tracking URI has received.

    Args:
        run_id: MLflow's id of the run there.
        offsets: bytes sent of each journal file.
        last: newest step sent of each metric.
        skip: steps up to here are there already although the journal, cut back by a resume, comes to them again.
        pending: a batch was on its way when this was written; if it stays so, only the server knows whether it arrived.
    """

    run_id: str = ""
    offsets: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    skip: dict[str, int] = field(default_factory=dict)
    pending: bool = False


def read_shipped(run_dir: Path) -> dict[str, Shipped]:
    """State by tracking URI; empty when nothing was sent or the file is unreadable.

    Each state tells its address as seen from the run's folder too: it is that one which holds where both were moved.
    """
    try:
        stored = json.loads((Path(run_dir) / SHIPPED).read_text())
        return {absolute_uri(s.pop("from_here", uri), run_dir): Shipped(**s) for uri, s in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_shipped(run_dir: Path, uri: str, state: Shipped) -> None:
    """Replace the state of one tracking URI."""
    states = {**read_shipped(run_dir), uri: state}
    stored = {key: {**asdict(value), "from_here": portable_uri(key, run_dir)} for key, value in states.items()}
    write_atomically(Path(run_dir) / SHIPPED, json.dumps(stored))


def rewind_shipped(run_dir: Path, name: str, moved: Callable[[int], int]) -> None:
    """Follow a journal file that was cut back: ``moved`` maps old offsets to new ones; nothing is sent twice."""
    for uri, state in read_shipped(run_dir).items():
        state.offsets[name] = moved(state.offsets.get(name, 0))
        state.skip = dict(state.last)
        write_shipped(run_dir, uri, state)
