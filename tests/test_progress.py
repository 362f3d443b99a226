"""Progress: a bar where someone looks at it, ten lines in a log."""

import io
import sys

from physgen.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_each_tenth(capsys):
    show = progress_bar("train")
    for step in range(1, 101):
        show(step, 100, f"loss {step}")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train 1/100 loss 1"
    assert lines[-1] == "train 100/100 loss 100"
    assert len(lines) == 11


def test_a_terminal_gets_a_bar_with_the_time_left_and_the_note(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    show = progress_bar("train")
    for step in range(1, 4):
        show(step, 3, f"loss {step / 2:.3g}")
    show(4, 4, "")  # an adaptive solver may take more steps than it announced
    shown = screen.getvalue()
    assert "train" in shown and "3/3" in shown and "loss 1.5" in shown and "<" in shown
    assert shown.endswith("\n")


def test_a_resumed_task_starts_where_it_stands(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    show = progress_bar("train")
    show(51, 100)
    assert "50/100" in screen.getvalue()
