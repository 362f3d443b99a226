"""Messages name options that exist."""

import argparse
import ast
import re
from pathlib import Path

from physgen.cli.parser import parser

PACKAGE = Path(__file__).resolve().parents[2] / "physgen"
OTHERS = {"provenance.py", "ui.py"}  # they call git and mlflow with options of theirs


def options(command):
    found = set()
    for action in command._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= options(inner)
    return found


def test_every_option_that_a_string_names_is_one_of_the_command_line():
    known, named = options(parser()), {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())) if path.name not in OTHERS else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*", node.value):
                    named[word] = path
    assert {"--uri", "--resume", "--average"} <= set(named)
    assert set(named) <= known, {word: named[word] for word in set(named) - known}
