"""The public face: what editors are told is what there is, and importing it costs nothing."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import physgen

ROOT = Path(__file__).resolve().parents[1]
LAZY = ("", "diagnostics.regimes", "figures", "report", "runs", "session", "stages", "tracking")
EAGER = ("config", "diagnostics", "diffusion", "domains", "ensemble", "networks")
PROMISED = """
    from_array open_ensemble load_ensemble save_ensemble load_config Experiment train open_run sample evaluate compare
    power_spectrum memorization exact figures OU VP SubVP VE Cosine RectifiedFlow UNet log_uniform get_domain
    list_domains simulate import_files
"""  # by DESIGN.md, section 4


def package(name):
    return importlib.import_module(f"physgen.{name}" if name else "physgen")


def told_to_editors(module):
    """Names that the imports under TYPE_CHECKING give, with the module of each."""
    tree = ast.parse(Path(module.__file__).read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING")
    return {alias.asname: f"{node.module}.{alias.name}" for node in block.body for alias in node.names}


@pytest.mark.parametrize("name", LAZY)
def test_editors_and_python_see_the_same_names(name):
    module = package(name)
    told = told_to_editors(module)
    assert sorted(told) == module.__all__ == dir(module)
    for public, path in told.items():
        home, _, attribute = path.rpartition(".")
        assert getattr(module, public) is getattr(importlib.import_module(home), attribute), path


@pytest.mark.parametrize("name", EAGER)
def test_sub_packages_export_what_they_hold(name):
    module = package(name)
    missing = [n for n in dir(module) if not n.startswith("_") and not hasattr(module, n)]
    assert not missing


def test_every_promised_name_is_there_and_no_other_module_leaks():
    assert not set(PROMISED.split()) - set(dir(physgen))
    assert not {"importlib", "annotations", "TYPE_CHECKING", "lazy_names"} & set(dir(physgen))
    with pytest.raises(AttributeError, match="no_such_name"):
        physgen.no_such_name  # noqa: B018


def test_importing_physgen_imports_nothing_heavy():
    code = (
        "import sys, physgen\ndir(physgen)\n"
        "heavy = {'torch', 'mlflow', 'xarray', 'numpy', 'astropy', 'matplotlib', 'scipy', 'pydantic', 'h5py', 'tqdm'}\n"
        "found = heavy & set(sys.modules)\nassert not found, found\n"
        "physgen.OU, physgen.sample, physgen.exact.GaussianMixture, physgen.UNet\n"  # the core alone
        "found = {'mlflow', 'matplotlib', 'pydantic', 'astropy', 'xarray'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
