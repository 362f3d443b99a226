"""Toy domains for the tests that ask for them, the order of the files, and a disk that is not waited for."""

import base64
import gc
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

TOYS = Path(__file__).parent / "toy_domains"
BLANK = {
    ".svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
    ".png": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
    ),
}

# imports and collecting leave 700 000 objects that stay: not gone through while they are made (4 s), nor by each later
# collection (freeze); what the tests make is gone through less often than by default (5 % of their time)
gc.disable()
gc.set_threshold(10_000, 10, 10)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk():
    """No test loses its power, and a training syncs forty times. In what order it does, tests/storage looks at."""
    really, os.fsync = os.fsync, lambda descriptor: None
    yield
    os.fsync = really


def _blank(figure, path, **options):
    Path(path).write_bytes(BLANK[Path(path).suffix])


@contextmanager
def _saved_by(save):
    from matplotlib.figure import Figure

    before, Figure.savefig = Figure.savefig, save
    yield before
    Figure.savefig = before


@pytest.fixture(scope="module")
def blank_figures():
    """Pages are written with the figures that they should have, each a blank file: rendering takes longer than judging.

    For modules whose pages nobody looks at. tests/stages/test_evaluation.py renders those of every domain, as
    tests/figures and tests/cli/test_demo.py do.
    """
    with _saved_by(_blank) as real:
        yield real


@pytest.fixture
def blank_figures_here():
    """The same in one test."""
    with _saved_by(_blank):
        yield


@pytest.fixture
def rendered(blank_figures):
    """One test of such a module whose figures are rendered."""
    with _saved_by(blank_figures):
        yield


@pytest.fixture(scope="module")
def toy_domains():
    """While a module's tests run, the folders of tests/toy_domains are domains like those that are shipped."""
    import physgen.domains

    physgen.domains.__path__.append(str(TOYS))
    yield sorted(path.parent.name for path in TOYS.glob("*/__init__.py"))
    physgen.domains.__path__.remove(str(TOYS))


# minutes in few tests: started first, so that no process waits for the other one at the end
LONG = (
    "test_notebooks", "test_tutorial", "test_resume", "test_scripts", "test_keys", "test_domains", "test_serving",
    "test_training", "test_odd_runs", "test_evaluation", "test_public_examples", "test_comparison", "test_model",
    "test_ema", "test_session",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Files of LONG first, in that order; all else stays as it is."""
    place = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
