"""How Sphinx makes the documentation: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from sphinx.application import Sphinx

from diffim_decorr import __version__

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

project = "decorr"
author = "The decorr developers"
copyright = "The decorr developers"
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_click",
]
exclude_patterns = ["_build", "_pictures"]
nitpicky = False
language = "en"

# Quotes and ellipses; two hyphens are not a dash, they begin an option.
smartquotes_action = "qe"

html_theme = "pydata_sphinx_theme"
html_title = "decorr"
html_static_path = ["_static"]
html_css_files = ["decorr.css"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "navbar_align": "content",
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False

myst_enable_extensions = ["deflist", "dollarmath", "colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
autodoc_typehints = "none"
autodoc_member_order = "groupwise"

# Only names are looked up there, and only where the machine that builds reaches them.
intersphinx_mapping: dict[str, tuple[str, str | None]] = {}

# What a machine without a connection to the rest of the world can look at: links between pages. Those that lead out
# are looked at with `make docs-links`.
linkcheck_timeout = 20
linkcheck_retries = 2


def _examples(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """What the help of a command has besides: its examples."""
    examples = getattr(context.command, "examples", ())
    if examples:
        lines += ["", ".. code-block:: text", ""]
        lines += [line for typed, purpose in examples for line in (f"    # {purpose}", f"    {typed}")]
        lines.append("")


def setup(app: Sphinx) -> None:
    """Draw the pictures, by running the code, before pages are read that show them; commands with their examples."""
    from pictures import draw  # beside this file

    app.connect("builder-inited", lambda app: draw(HERE / "_pictures"))
    app.connect("sphinx-click-process-usage", _examples)
