"""Figures drawn by several processes: the same files, and an error of any of them."""

import functools

import pytest

from physgen import figures
from physgen.processes import spawning


@pytest.fixture(autouse=True)
def _spawned_however_short(monkeypatch):
    monkeypatch.setattr(spawning, "START_SECONDS", 0.0)


def losses(scale):
    return [{"step": step, "metrics": {"train/loss": scale / step}} for step in range(1, 20)]


def test_the_files_do_not_depend_on_the_processes(tmp_path):
    drawings = {f"loss{i}": functools.partial(figures.loss_curves, losses(i)) for i in (1, 2, 3)}
    found = [figures.save_figures(drawings, tmp_path / str(n), n) for n in (1, 2)]
    assert list(found[0]) == list(found[1]) == list(drawings)
    for name in drawings:
        for suffix in ("svg", "png"):
            one, two = (svg[name].with_suffix(f".{suffix}").read_bytes() for svg in found)
            assert one == two


def refuse():
    raise ArithmeticError("nothing to draw")


@pytest.mark.parametrize("name", ["first", "last"])
def test_an_error_of_one_figure_is_raised(tmp_path, name):
    good = functools.partial(figures.loss_curves, losses(1))
    drawings = {"first": good, "middle": good, "between": good, "last": good, name: refuse}
    with pytest.raises(ArithmeticError, match="nothing to draw"):
        figures.save_figures(drawings, tmp_path, 2)
