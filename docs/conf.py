"""Sphinx configuration of the documentation; ``make docs`` builds it."""

import shutil
import sys
from pathlib import Path

import physgen

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from generate import write_reference  # noqa: E402

write_reference()

project = "physgen"
author = "the physgen developers"
copyright = "the physgen developers"
version = release = physgen.__version__

extensions = [
    "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.mathjax",
    "sphinx.ext.viewcode", "myst_nb", "sphinx_copybutton",
]  # fmt: skip
exclude_patterns = ["_build", "jupyter_execute", "**.ipynb_checkpoints"]
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

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
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "pydata_sphinx_theme"
html_title = f"physgen {release}"
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False
