"""The documentation site: ``python -m sphinx -W -b html docs docs/_build``, without a network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the examples' matrices are small
sys.path[:0] = [str(HERE.parent), str(HERE)]  # in this order: the root has a package of the name conf

from building import gallery  # noqa: E402  the folder beside this file

import gcp  # noqa: E402

project = "gcp"
author = "the gcp-lightning authors"
copyright = "the gcp-lightning authors"
version = release = gcp.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "building",
]
exclude_patterns = ["_build", "_examples", "building", "gallery/index.rst"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache", "myst.header"]  # a page of benchmarks/ may go from # to ###

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autosummary_generate = False  # its tables alone; api.py writes the pages
default_role = "py:obj"
highlight_language = "none"  # of blocks that name none: formulas, layouts
maximum_signature_line_length = 80

sphinx_gallery_conf = gallery.SETTINGS

html_theme = "furo"
html_title = f"gcp {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
