"""Progress: a bar where someone looks at it, ten lines in a log."""

import io
import re
import sys

from physgen.progress import Board, progress_bar


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


def test_a_board_in_a_log_gets_lines_of_each_task(capsys):
    board = Board(["a", "b"])
    for done in range(1, 4):
        board("b", "b: train", done, 3)
        board("a", "a: simulate", done, 3)
    board("a", "a: train", 1, 3, "loss 1")
    board.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["b: train 1/3", "a: simulate 1/3"] and lines[-1] == "a: train 1/3 loss 1"


def test_each_task_of_a_board_keeps_its_line_of_the_terminal(monkeypatch):
    """What a terminal shows in the end: replayed with the only control codes that tqdm writes."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    board = Board(["a", "b"])
    board("b", "b: simulate", 1, 2)
    board("a", "a: train", 1, 9, "loss 1")
    board("b", "b: simulate", 2, 2)
    board("b", "b: train", 3, 9)
    board("a", "a: train", 9, 9, "loss 0.5")
    board.close()
    lines, row = [""], 0
    for code in re.findall(r"\x1b\[A|\r|\n|[^\x1b\r\n]+", screen.getvalue()):
        if code == "\x1b[A":
            row -= 1
        elif code == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif code != "\r" and code.strip():
            lines[row] = code
    shown = [line for line in lines if line]
    assert len(shown) == 2
    assert shown[0].startswith("a: train: 100%") and "loss 0.5" in shown[0]
    assert shown[1].startswith("b: train:  33%") and "simulate" not in shown[1]
