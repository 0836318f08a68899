"""Pages of files outside ``docs/``: what ``benchmarks/`` measured, the changelog, how to contribute."""

from __future__ import annotations

from building.links import rewrite
from building.pages import DOCS, ROOT, write_folder

FOLDERS = {
    "benchmarks": sorted((ROOT / "benchmarks").glob("*.md")),
    "project": [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"],
}


def write() -> None:
    """Write the pages."""
    for folder, files in FOLDERS.items():
        write_folder(
            folder, {each.name: rewrite(each.read_text(encoding="utf-8"), each, DOCS / folder) for each in files}
        )
