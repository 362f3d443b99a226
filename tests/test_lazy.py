"""Doors: every listed name is there, is what its module holds, and costs nothing before it is used."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import physgen
from physgen.lazy import attach

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [
    module.name
    for module in pkgutil.walk_packages(physgen.__path__, "physgen.")
    if module.ispkg and "physgen.lazy" in (ROOT / Path(*module.name.split(".")) / "__init__.py").read_text()
]


def test_the_core_has_doors():
    assert {"physgen.diffusion", "physgen.networks", "physgen.diffusion.exact"} <= set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_found_and_shown(package):
    door = importlib.import_module(package)
    modules = {module.name for module in pkgutil.iter_modules(door.__path__)}
    for name in door.__all__:
        value = getattr(door, name)
        assert name in dir(door)
        is_module = isinstance(value, type(sys))
        assert is_module or name not in modules, f"{package}.{name} would be hidden by the module of that name"


def test_an_unknown_name_is_an_attribute_error():
    door = importlib.import_module("physgen.diffusion")
    with pytest.raises(AttributeError, match=r"'physgen\.diffusion' has no attribute 'sampel'"):
        _ = door.sampel


def test_a_door_lists_its_own_imports(tmp_path):
    file = tmp_path / "door.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nfrom json import dumps\n"
        "if TYPE_CHECKING:\n    from math import pi as pi\n    from math import sqrt as root\n"
    )
    get, _, names = attach("physgen", str(file))
    assert names == ["pi", "root"]
    with pytest.raises(AttributeError, match="dumps"):
        get("dumps")


def test_a_door_imports_nothing():
    code = (
        "import sys\nimport physgen.diffusion, physgen.networks\nassert 'torch' not in sys.modules\n"
        "import physgen.diffusion.exact, physgen.diffusion.sampling\nassert 'torch' not in sys.modules\n"
        "from physgen.diffusion import SAMPLERS, exact, sample\nassert 'dpmpp_2m' in SAMPLERS and callable(sample)\n"
        "assert exact.GaussianMixture.__name__ == 'GaussianMixture'\n"
        "assert physgen.diffusion.learning.Recipe.__module__ == 'physgen.diffusion.learning.training'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
