"""What a part of the analysis gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lightning_modules.run.storage import write_csv


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: name of its files, without ending.
        header: names of the columns.
        rows: numbers and words.
        page: the rows that index.md shows; None: all of them.
    """

    name: str
    header: list[str]
    rows: list[list[Any]]
    page: list[list[Any]] | None = None

    def write(self, folder: Path) -> None:
        """Write it as ``name.csv``, in full precision."""
        write_csv(folder / f"{self.name}.csv", [self.header, *self.rows])

    def markdown(self) -> str:
        """As Markdown, numbers with three digits."""
        rows = self.rows if self.page is None else self.page
        lines = [self.header, ["---"] * len(self.header), *([text(cell) for cell in row] for row in rows)]
        return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


@dataclass(frozen=True)
class Part:
    """A part of the analysis.

    Attributes:
        name: name of its files, without ending.
        title: its heading.
        text: what it shows, in plain words.
        tables: its tables.
        figure: its plot.
    """

    name: str
    title: str
    text: str
    tables: list[Table]
    figure: Figure

    def write(self, folder: Path) -> str:
        """Write tables and plot; returns the section of index.md."""
        for table in self.tables:
            table.write(folder)
        self.figure.savefig(folder / f"{self.name}.png", dpi=150)
        links = ", ".join(f"[{table.name}.csv]({table.name}.csv)" for table in self.tables)
        parts = [f"## {self.title}", self.text, *(table.markdown() for table in self.tables if table.page != [])]
        return "\n\n".join([*parts, f"![{self.title}]({self.name}.png)", f"Numbers: {links}"])


def text(cell: Any) -> str:
    """A cell of a Markdown table."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return "" if cell != cell else f"{cell:.3g}"
    return str(cell)
