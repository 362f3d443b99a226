"""Sphinx configuration of the documentation; ``make docs`` builds it."""

import re
import shutil
import sys
from pathlib import Path

import physgen

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from draw_rooms import write as draw_rooms  # noqa: E402
from generate import write_reference  # noqa: E402

write_reference()
draw_rooms()

project = "physgen"
author = "the physgen developers"
copyright = "the physgen developers"
version = release = physgen.__version__

extensions = [
    "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.mathjax",
    "sphinx.ext.viewcode", "myst_nb", "sphinx_copybutton",
]  # fmt: skip
exclude_patterns = ["_build", "jupyter_execute", "**.ipynb_checkpoints"]
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "ref.python"]  # a name may be exported twice

# notebooks live beside docs/, where tests find them; the site renders copies
shutil.copytree(HERE.parent / "notebooks", HERE / "notebooks", dirs_exist_ok=True)
nb_execution_mode = "auto"
nb_execution_timeout = 900
nb_execution_raise_on_error = True

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False
# packages export what their modules document
autodoc_default_options = {"members": True, "show-inheritance": False, "ignore-module-all": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields of a named tuple have a description of their own: twice is a warning

html_theme = "pydata_sphinx_theme"
html_title = f"physgen {release}"
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "navbar_center": [],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"**": ["globaltoc.html"]}
html_show_sourcelink = False


def _plain_stars_and_bars(app, what, name, obj, options, lines):
    """Docstrings write shapes as (B, C, *grid) and absolute values as |k|: neither is markup, save in formulas."""
    formula = None  # indentation of a math block
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if formula is not None and line.strip() and indent <= formula:
            formula = None
        if line.lstrip().startswith((".. math::", ".. code-block::")):
            formula = indent
        if formula is None:
            parts = re.split(r"(``.*?``|:\w+:`[^`]*`|`[^`]*`)", line)
            parts[::2] = [_escape(part) for part in parts[::2]]
            lines[i] = "".join(parts)


def _escape(text):
    text = re.sub(r"(?<![\\*\w])\*(?!\*)(?![^*]*\w\*(?!\*))", r"\\*", text)  # a star that no other one closes
    text = re.sub(r"(?<![\\*])\*\*(?=\w+[:,])", r"\\*\\*", text)  # **attrs: of an argument list
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", _plain_stars_and_bars)
