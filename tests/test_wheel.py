"""What is installed from a wheel is whole: configurations, the template of the report, the marker of typed code."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from physgen.domains.contract import list_domains

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds the unzipped wheel and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    built = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("physgen-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_every_file_of_the_package_and_the_configurations(installed):
    tracked = [path for path in (ROOT / "physgen").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {path.relative_to(ROOT) for path in tracked}
    wanted |= {Path("physgen") / path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.*")}
    held = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    assert {Path("physgen/py.typed"), Path("physgen/report/report.html.j2")} <= wanted
    assert wanted <= held, wanted - held


def test_the_demo_finds_its_configurations_in_the_wheel(installed, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import physgen\n"
        f"assert physgen.__file__.startswith({str(installed)!r}), physgen.__file__\n"
        "from physgen.cli.demo import shipped_config\n"
        "from physgen.config import load_config\n"
        f"for domain in {list_domains()!r}:\n"
        "    path = shipped_config(domain, 'demo')\n"
        f"    assert str(path).startswith({str(installed)!r}), path\n"
        "    load_config(path)\n"
    )
    # -P and an empty PYTHONPATH: neither this folder nor a checkout stands on the path
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=tmp_path, env={"PATH": ""})


def test_a_demo_without_a_configuration_is_an_error(tmp_path, monkeypatch, capsys):
    from physgen.cli import demo, main

    monkeypatch.setattr(demo, "shipped_config", lambda domain, name: None)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    said = capsys.readouterr()
    assert "has no configuration" in said.err and "reinstall" in said.err
    assert not (tmp_path / "demo").exists()
