"""The table of methods names what there is: modules, calls, commands with their flags, samplers, pages, notebooks."""

import argparse
import importlib
import re
from pathlib import Path

import physgen
from physgen.cli.parser import parser
from physgen.diffusion.sampling import SAMPLERS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "methods.md").read_text()
CODE = sorted(set(re.findall(r"`([^`\n]+)`", PAGE)))


def _found(name):
    """Whether a dotted name is a module or can be had from one by getattr."""
    parts = name.replace("pg.", "physgen.", 1).split(".") if name.startswith("pg.") else name.split(".")
    value, at = physgen, "physgen"
    for part in parts[1:]:
        at = f"{at}.{part}"
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(at)
            except ImportError:
                return False
    return True


def test_every_module_and_call_exists():
    names = [code for code in CODE if re.fullmatch(r"(physgen|pg)(\.\w+)+", code)]
    assert len(names) > 50
    assert [name for name in names if not _found(name)] == []


def test_every_command_exists_with_its_flags():
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    wrong = []
    for code in CODE:
        if not code.startswith("physgen "):
            continue
        name, *words = code.split()[1:]
        known = commands.choices[name]._option_string_actions if name in commands.choices else None
        if known is None or any(word.startswith("-") and word not in known for word in words):
            wrong.append(code)
        samplers = [b for a, b in zip(words, words[1:], strict=False) if a == "--sampler"]
        wrong += [code for sampler in samplers if sampler not in SAMPLERS]
    assert wrong == []


def test_every_page_section_target_and_notebook_exists():
    links = re.findall(r"\]\((\w[\w-]*\.md)\)", PAGE)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
    for page, section in re.findall(r"\]\((\w[\w-]*\.md)\), (\w+)", PAGE):
        assert re.search(rf"^## {section}$", (ROOT / "docs" / page).read_text(), re.M), (page, section)
    notebooks = [code for code in CODE if code.startswith("notebooks/")]
    assert notebooks and [n for n in notebooks if not (ROOT / n).exists()] == []
    targets = [code.split()[1] for code in CODE if code.startswith("make ")]
    makefile = (ROOT / "Makefile").read_text()
    assert [t for t in targets if not re.search(rf"^[^#\t]*\b{t}\b.*:", makefile, re.M)] == []


def test_each_course_that_is_named_is_there():
    numbers = {int(n) for n in re.findall(r"course (\d)", PAGE)}
    stems = [path.stem for path in (ROOT / "notebooks").glob("course_*.ipynb")]
    assert {int(stem.split("_")[1]) for stem in stems} >= numbers
