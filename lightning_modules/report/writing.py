"""The report of a sweep: sweep.csv, sweep.md, sweep.png, and a table on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lightning_modules.report.groups import Row, comparisons, described, rows_of
from lightning_modules.report.runs import read_runs
from lightning_modules.report.significance import significance
from lightning_modules.report.tables import HEADER, cells, markdown, write_csv

CSV, MARKDOWN, PICTURE = "sweep.csv", "sweep.md", "sweep.png"


def write_report(paths: Iterable[Path], target: Path) -> list[Row]:
    """Report on all runs in ``paths`` into the folder ``target``. Raises DataError if there is none."""
    from lightning_modules.plots.comparison import comparison_figure

    rows = rows_of([run for run in read_runs(paths) if run.summary.get("mode", "fit") in ("fit", "test")])
    target.mkdir(parents=True, exist_ok=True)
    write_csv(rows, target / CSV)
    (target / MARKDOWN).write_text(markdown(rows, PICTURE))
    comparison_figure(rows).savefig(target / PICTURE, dpi=150)
    _show(rows, target)
    return rows


def _show(rows: list[Row], target: Path) -> None:
    console = Console()
    for setting, group in comparisons(rows):
        table = Table(title=described(setting), title_justify="left", box=None, padding=(0, 2, 0, 0))
        for position, name in enumerate(HEADER):
            table.add_column(name, justify="left" if position == 0 else "right")
        for row in group:
            table.add_row(*cells(row))
        console.print(table, highlight=False)
        console.print(significance(group).sentence(), highlight=False)
    console.print(f"files  {target / CSV}, {MARKDOWN}, {PICTURE}", highlight=False, soft_wrap=True)
