"""The report of a sweep: sweep.csv, sweep.md, sweep.png, a page, and a table on the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_modules.report.groups import Row, Section, rows_of, sections
from lightning_modules.report.runs import Found, Skipped
from lightning_modules.report.tables import HEADER, cells, conclusions, markdown, write_rows
from lightning_modules.settings.modes import HTML, PDF

CSV, MARKDOWN, PICTURE, PRINT = "sweep.csv", "sweep.md", "sweep.png", "sweep.pdf"
SPARE = ("images/s", "train s", "test loss", "val acc")  # columns a narrow terminal goes without, in this order
NAMED = 5  # directories written out of those left out for one reason


def write_report(
    found: Found, target: Path, formats: Sequence[str] = (), parts: Iterable[Markup] = (), files: Sequence[str] = ()
) -> list[Row]:
    """Report on the runs that were found into the folder ``target``.

    Args:
        found: the runs.
        target: the folder.
        formats: of them, ``html`` and ``pdf`` count.
        parts: of the page, before its own.
        files: other files of the report, which are there already.
    """
    from lightning_modules.report.picture import comparison_figure, not_drawn

    rows = rows_of(found.runs)
    target.mkdir(parents=True, exist_ok=True)
    write_rows(rows, target / CSV)
    caption = not_drawn(rows)
    (target / MARKDOWN).write_text(markdown(rows, PICTURE, found, caption), encoding="utf-8")
    comparison_figure(rows).savefig(target / PICTURE, dpi=150)
    written = [CSV, MARKDOWN, PICTURE, *files]
    if PDF in formats:
        from lightning_modules.report.plots import print_panels

        print_panels(rows, target / PRINT)
        written.append(PRINT)
    if HTML in formats:
        from lightning_modules.report.comparison_page import write_comparison
        from lightning_modules.report.page import Link, address
        from lightning_modules.report.run_page import PAGE

        links = [Link(each, address(target / each, target)) for each in written]
        write_comparison(rows, found, target, links, parts)
        written.append(PAGE)
    _show(rows, found, caption, [target / written[0], *written[1:]])
    return rows


def _show(rows: list[Row], found: Found, caption: str, files: Iterable[Path | str]) -> None:
    console = Console()
    for section in sections(rows):
        table, needed = _table(section, console.width)
        Console(width=max(needed, console.width)).print(table, highlight=False)  # too wide is better than cut off
        for sentence in conclusions(section):
            console.print(Text(sentence))
    for line in left_out([*(each for row in rows for each in row.repeats), *found.skipped, *found.damage]):
        console.print(Text(line))
    if caption:
        console.print(Text(caption))
    console.print(Text(f"files  {', '.join(map(str, files))}"), soft_wrap=True)


def left_out(entries: Iterable[Skipped]) -> list[str]:
    """A line for each reason, with the directories it holds for."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for each in entries:
        by_reason[each.reason].append(each.directory.name)
    lines = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        lines.append(f"note: {', '.join(names[:NAMED])}{more}: {reason}")
    return lines


def _table(section: Section, width: int) -> tuple[Table, int]:
    """The table without the columns that have no room, and the width that it needs all the same."""
    short = [name.rpartition(".")[2] for name in section.columns]
    columns = short if len(set(short)) == len(short) else section.columns
    header = [HEADER[0], *columns, *HEADER[1:]]
    lines = []
    for row in section.rows:
        name, *numbers = cells(row)
        lines.append([name, *section.cells(row), *numbers])
    widths = {name: max(len(name), *(len(line[k]) for line in lines)) + 2 for k, name in enumerate(header)}
    for name in SPARE:
        if sum(widths.values()) > width:
            del widths[name]
    table = Table(title=Text(section.title), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in widths:
        table.add_column(Text(name), justify="left" if name == HEADER[0] else "right", no_wrap=True)
    for line in lines:
        table.add_row(*(Text(cell) for name, cell in zip(header, line, strict=True) if name in widths))
    return table, sum(widths.values())
