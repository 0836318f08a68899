"""What the documentation site adds to Sphinx: pages made of the registries and of files outside ``docs/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from building import api, docstrings, gallery, links, options, outside

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages that follow from code before Sphinx looks for pages."""
    for pages in (options, api, outside, gallery):
        pages.write()
    app.connect("source-read", links.rewrite_page)
    app.connect("autodoc-process-docstring", docstrings.escape, priority=400)  # before Napoleon
    return {"parallel_read_safe": True}
