"""Pages that are one file: all that is in it comes with it, nothing is asked of a network, every text is escaped.

The one script is named by its hash in the page's own policy, so that a browser runs no other.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from gcp import __version__
from lightning_modules.report.files import printable
from lightning_modules.run.storage import whole

TEMPLATES = Path(__file__).with_name("templates")


class Link(NamedTuple):
    """A text and where it leads, or a picture's description and its content."""

    text: str
    address: str


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: its head.
        kind: ``text`` or ``number``: how it is sorted and set.
        first: ``up`` or ``down``: which way the first click sorts.
    """

    name: str
    kind: str = "text"
    first: str = "up"


class Cell(NamedTuple):
    """A cell: its text, what it is sorted by (None: the text; empty: last), and where it leads."""

    text: str
    key: object = None
    address: str | None = None


class TableRow(NamedTuple):
    """A row of cells; ``marked``: its first cell stands out."""

    cells: Sequence[Cell]
    marked: bool = False


class Table(NamedTuple):
    """A table that sorts itself when the head of a column is clicked."""

    columns: Sequence[Column]
    rows: Sequence[TableRow]


def number_cell(text: str, value: float | None) -> Cell:
    """A number under the form it is read in."""
    return Cell(text, "" if value is None or value != value else repr(float(value)))


def heading(text: str) -> Markup:
    """What the parts below it are."""
    return _part("heading", printable(text))


def sentence(text: str, kind: str = "") -> Markup:
    """A paragraph; ``kind``: ``failure`` or ``caption``."""
    return _part("sentence", text, kind)


def sentences(texts: Iterable[str]) -> Markup:
    """A list of sentences."""
    return _part("sentences", list(texts))


def numbers(values: dict[str, str]) -> Markup:
    """The few numbers one looks for first, by name."""
    return _part("numbers", values)


def figures(pictures: Iterable[Link]) -> Markup:
    """Pictures beside each other, or below where the page is narrow."""
    return _part("figures", list(pictures))


def table(content: Table, long: bool = False) -> Markup:
    """A sortable table; a long one scrolls in itself."""
    return _part("table", content, long)


def details(summary: str, *inner: Markup) -> Markup:
    """What is shown when it is asked for."""
    return _part("details", summary, Markup("\n").join(inner))


def address(target: Path, page: Path) -> str:
    """Where ``target`` is, seen from the folder ``page``: relative, so that both can be moved together."""
    relative = Path(os.path.relpath(target, page)).as_posix()
    return f"./{quote(os.fsencode(relative))}"  # never a scheme, whatever the name


def write_page(file: Path, title: str, about: str, parts: Iterable[Markup], links: Iterable[Link] = ()) -> None:
    """Write a page of ``parts``, whole or not at all."""
    script = (TEMPLATES / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = (
        _environment()
        .get_template("page.html")
        .render(
            title=printable(title),
            about=about,
            parts=parts,
            footer=f"gcp {__version__}",
            links=list(links),
            style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=f"sha256-{digest}",
        )
    )
    with whole(file) as partial:
        partial.write_text(text, encoding="utf-8")


def _part(name: str, *values: Any) -> Markup:
    macro = getattr(_environment().get_template("parts.html").module, name)
    return Markup(macro(*values))  # the macro escaped the values


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    environment.globals["zip"] = zip
    return environment
