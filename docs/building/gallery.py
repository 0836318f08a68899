"""``docs/examples`` by sphinx-gallery: run in a copy, which takes the pictures that they write."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from building.pages import DOCS

COPY = DOCS / "_examples"


def pictures(block: Any, variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """Sphinx-gallery's scraper: the picture that an example has just written in its working directory."""
    from sphinx_gallery.scrapers import figure_rst

    taken = []
    for made in sorted(Path(variables["src_file"]).parent.glob("*.png")):
        taken.append(variables["image_path_iterator"].next())
        shutil.move(made, taken[-1])
    return str(figure_rst(taken, settings["src_dir"]))


def write() -> None:
    """Copy the examples, and nothing else."""
    COPY.mkdir(exist_ok=True)
    (COPY / "GALLERY_HEADER.rst").write_text("Examples\n========\n")
    files = {path.name: path for path in (DOCS / "examples").glob("*.py")}
    for path in COPY.glob("*.py"):
        if path.name not in files:
            path.unlink()
    for name, path in files.items():
        shutil.copy2(path, COPY / name)


SETTINGS = {
    "examples_dirs": str(COPY),
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",  # all of them are run
    "image_scrapers": ("building.gallery.pictures",),
    "reset_modules": (),
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "backreferences_dir": None,
    "show_memory": False,
    "min_reported_time": 10_000,
    "write_computation_times": False,
}
