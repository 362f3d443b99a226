"""The demo of two domains at the size of their smoke configurations: side by side, as `make demo` runs them."""

from pathlib import Path

import pytest

from physgen.cli import demo, main

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "shipped_config", lambda domain, name: CONFIGS / domain / "smoke.yaml")


def test_the_domains_of_a_demo_run_side_by_side_and_all_are_judged(small, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(demo, "list_domains", lambda: ["points", "spins"])
    monkeypatch.setattr(demo.os, "cpu_count", lambda: 2)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    printed, progress = capfd.readouterr()
    for domain in ("points", "spins"):
        assert (tmp_path / "demo" / domain / "evaluation" / "report.html").is_file()
        assert f"report: {tmp_path}/demo/{domain}/evaluation/report.html" in printed
        assert f"{domain}: train" in progress
        assert f"{domain}: evaluate 1/1" in progress


def test_a_domain_that_fails_stops_the_other_and_is_named(small, monkeypatch, tmp_path, capfd):
    broken = tmp_path / "spins" / "demo.yaml"
    broken.parent.mkdir()
    broken.write_text("name: broken\ndomain: spins\ndata: {lenght: 4}\n")
    whole = demo.shipped_config("cosmology", "demo")
    monkeypatch.setattr(demo, "list_domains", lambda: ["cosmology", "spins"])
    monkeypatch.setattr(demo, "shipped_config", lambda domain, name: broken if domain == "spins" else whole)
    monkeypatch.setattr(demo.os, "cpu_count", lambda: 2)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    said = capfd.readouterr().err
    assert "physgen demo: spins failed: " in said and "lenght" in said
    assert f"; cosmology was stopped; what was made is kept in {tmp_path / 'demo'}" in said
    assert "Traceback" not in said


def test_a_fault_is_named_with_the_place_where_it_happened():
    assert demo._stopped([]) == "" and demo._stopped(["a"]) == "; a was stopped"
    assert demo._stopped(["a", "b"]) == "; a and b were stopped"
    failed = demo.JobFailed("spins", "ZeroDivisionError: division by zero", "Traceback ...")
    assert str(demo._explained(failed, Path("demo"))) == (
        "spins failed: ZeroDivisionError: division by zero; what was made is kept in demo\nTraceback ..."
    )
