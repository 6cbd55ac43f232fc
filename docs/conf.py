"""Sphinx configuration. Builds without network; warnings are errors (see tox.ini)."""

from __future__ import annotations

from pathlib import Path

project = "AEMP for Python"
author = "the AEMP for Python authors"
release = Path(__file__).parent.with_name("VERSION").read_text().strip()
copyright = "2026, the AEMP for Python authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

# Docstrings write `name` for everything that stands in code; where it is documented it is a link.
default_role = "py:obj"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
