"""Every public name has an example that runs, and a docstring that says more than its name."""

import inspect
import os
import re
import warnings
from pathlib import Path

import pytest

import physgen

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "public.md"
EXAMPLE = re.compile(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROOMS = {"physgen": physgen} | {
    room.__name__: room for name in physgen.__all__ if inspect.ismodule(room := getattr(physgen, name))
}


def examples():
    """(name, its code), in the order of the page."""
    return [(name, "".join(CODE.findall(text))) for name, text in EXAMPLE.findall(PAGE.read_text())]


def test_every_public_name_has_one_example_which_uses_it():
    names = [name for name, _ in examples()]
    assert sorted(names) == sorted(physgen.__all__)
    unused = [name for name, code in examples() if not re.search(rf"\bpg\.{name}\b", code)]
    assert not unused, f"examples that do not use their name: {unused}"


def test_the_examples_run(tmp_path):
    """In the order of the page, which is one session."""
    known = {"__name__": "examples"}
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            for name, code in examples():
                try:
                    exec(compile(code, f"{PAGE.name}: {name}", "exec"), known)  # noqa: S102
                except Exception as error:
                    raise AssertionError(f"the example of {name} fails: {type(error).__name__}: {error}") from error
    finally:
        os.chdir(here)


def public_objects():
    """(where, object) of the functions and classes that the package and its rooms export."""
    for package, module in ROOMS.items():
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isfunction(found) or inspect.isclass(found):
                yield f"{package}.{name}", found


@pytest.mark.parametrize("place", sorted(ROOMS.keys() - {"physgen.report", "physgen.stages"}))  # behind the face
def test_public_docstrings_say_what_is_given_and_what_comes(place):
    """More than one line; or one that states a shape, a unit, an equation, or what each argument of it is."""
    poor = []
    for where, found in public_objects():
        if where.rpartition(".")[0] != place:
            continue
        text = inspect.cleandoc(found.__doc__ or "")
        says = "\n" in text or re.search(r"\([A-Z]|:math:|``|->|[0-9]", text) or not arguments(found)
        if not text or not says or (inspect.isclass(found) and text.startswith(f"{found.__name__}(")):
            poor.append(f"{where}: {text!r}")
    assert not poor, "\n".join(poor)


def arguments(found):
    """Whether a function or class takes any argument that its name and types do not explain."""
    return bool(inspect.signature(found).parameters)
