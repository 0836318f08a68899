"""Links written for readers of the files, made to lead to pages of the site."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from building.pages import DOCS, ROOT

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LINK = re.compile(r"\]\((?![a-z]+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")
# Files outside docs/ that have a page of their own.
PAGES = {
    **{path: f"/benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.md")},
    ROOT / "benchmarks": "/benchmarks.md",
    ROOT / "README.md": "/index.md",
    ROOT / "CHANGELOG.md": "/project/CHANGELOG.md",
    ROOT / "CONTRIBUTING.md": "/project/CONTRIBUTING.md",
    **{path: f"/gallery/{path.stem}.rst" for path in (DOCS / "examples").glob("*.py")},
}


def rewrite(text: str, source: Path, folder: Path) -> str:
    """``text`` of the file ``source`` as a page in ``folder``: relative links lead where they led."""

    def moved(match: re.Match[str]) -> str:
        target, anchor = Path(os.path.normpath(source.parent / match[1])), match[2] or ""
        if target in PAGES:
            return f"]({PAGES[target]}{anchor})"
        if target.is_relative_to(DOCS):
            return f"](/{target.relative_to(DOCS)}{anchor})"
        return f"]({os.path.relpath(target, folder)}{anchor})"

    return LINK.sub(moved, text)


def rewrite_page(app: Sphinx, page: str, content: list[str]) -> None:
    """Sphinx's event: the text of a page was read."""
    path = Path(app.env.doc2path(page))
    if path.suffix == ".md" and path.is_relative_to(DOCS):
        content[0] = rewrite(content[0], path, path.parent)
