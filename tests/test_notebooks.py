"""The notebooks run from top to bottom in an empty folder, hold no code that belongs in the package, and no outputs."""

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 300

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """The name of a kernel of this interpreter, known in this test alone."""
    specification = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "the interpreter of the tests",
        "language": "python",
    }
    folder = tmp_path / "jupyter" / "kernels" / "physgen-tests"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(specification))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    # a checkout that is not installed is found too
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    return folder.name


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.timeout(SECONDS + 60)
def test_every_cell_runs_and_nothing_stays_behind(path, kernel, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name=kernel, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()  # raises CellExecutionError with the traceback of the cell that failed
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3, "figures are shown, not only made"
    assert not list(folder.iterdir()), "runs belong in a temporary folder"


def test_it_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in code_cells(notebook):
        assert cell.outputs == [] and cell.execution_count is None


def test_it_imports_calls_and_plots_but_defines_nothing(path):
    source = [
        line.strip() for cell in code_cells(nbformat.read(path, as_version=4)) for line in cell.source.split("\n")
    ]
    assert not [line for line in source if line.startswith(("def ", "async def ", "class "))]
    assert not [line for line in source if "matplotlib.pyplot" in line], "figures come from physgen.figures"
