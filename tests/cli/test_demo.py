"""The demo of both domains at the size of their smoke configurations: side by side, as `make demo` runs them."""

from pathlib import Path

import pytest

from physgen.cli import demo, main

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "shipped_config", lambda domain, name: CONFIGS / domain / "smoke.yaml")


def test_the_domains_of_a_demo_run_side_by_side_and_both_are_judged(small, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(demo.os, "cpu_count", lambda: 2)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    printed, progress = capfd.readouterr()
    for domain in ("cosmology", "spins"):
        assert (tmp_path / "demo" / domain / "evaluation" / "report.html").is_file()
        assert f"report: {tmp_path}/demo/{domain}/evaluation/report.html" in printed
        assert f"{domain}: train" in progress
    assert printed.index("report:") > printed.rindex(": evaluate")  # the tables stand at the end, unmixed
