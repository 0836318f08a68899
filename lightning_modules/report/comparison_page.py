"""report.html of a sweep, or of runs compared: tables, plots, mistakes, settings, and the way to every run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lightning_modules import metric_names as names
from lightning_modules.report.differences import flat
from lightning_modules.report.files import printable
from lightning_modules.report.groups import Row, Section, sections
from lightning_modules.report.page import (
    Cell,
    Column,
    Link,
    Table,
    TableRow,
    address,
    details,
    figures,
    heading,
    number_cell,
    sentence,
    sentences,
    table,
    write_page,
)
from lightning_modules.report.picture import not_drawn
from lightning_modules.report.plots import illustrated
from lightning_modules.report.run_page import LONG, NOTHING, PAGE, confusion_parts, percent, settings_table, title_of
from lightning_modules.report.runs import Found, RunRecord, Skipped
from lightning_modules.report.tables import conclusions, reason, unbalanced_of

OWN = ("hydra", "seed", "path", "ckpt_path")  # options that say nothing of what the runs have in common


def write_comparison(
    rows: list[Row], found: Found, target: Path, links: Iterable[Link] = (), more: Iterable[Markup] = ()
) -> None:
    """Write the page into the folder ``target``; ``more`` are parts that come first."""
    runs = [run for row in rows for run in row.runs]
    failed = sum(len(row.failed) for row in rows)
    about = f"{len(runs)} runs, {len(runs) - failed} finished" + (f", {failed} without a result" if failed else "")
    title = f"Comparison of {printable(target.name)}" if target.name else "Comparison"
    write_page(target / PAGE, title, about, [*more, *_parts(rows, found, target)], links)


def _parts(rows: list[Row], found: Found, target: Path) -> Iterator[Markup]:
    plots = illustrated(rows)
    for section in sections(rows):
        yield heading(section.title)
        yield table(_results(section))
        yield sentences(conclusions(section))
        for panel in plots:
            if panel.rows[0].setting["dataset"] == section.rows[0].setting["dataset"]:
                yield sentence(panel.title, "caption")
                yield figures(panel.pictures)
        yield from _best(section, target)
    if caption := not_drawn(rows):
        yield sentence(caption, "caption")
    yield heading("Runs")
    content = _runs(rows, target)
    yield table(content, len(content.rows) > LONG)
    yield from _left_out(rows, found)
    common = _common([run for row in rows for run in row.runs])
    if common:
        yield heading("Settings that all runs have in common")
        yield details(f"{len(common)} options", table(settings_table(common, {}), long=True))


def _results(section: Section) -> Table:
    more = {names.TEST_BALANCED_ACCURACY: "balanced acc", names.TEST_MACRO_F1: "macro F1"}
    unbalanced = unbalanced_of(section.rows)
    published = any(row.published is not None for row in section.rows)
    heads = ["test acc", "± seeds", "val acc", *(more[name] for name in unbalanced)]
    columns = [Column("method"), *(Column(name) for name in section.columns)]
    columns += [Column(name, "number", "down") for name in heads]
    columns += [Column("test loss", "number"), Column("train s", "number"), Column("images/s", "number", "down")]
    columns += [Column("runs", "number", "down"), Column("failed", "number", "down")]
    columns += [Column("published", "number", "down")] * published
    rows = []
    for row in section.rows:
        shares = [row.mean(), row.spread(), row.mean(names.VAL_ACCURACY), *(row.mean(name) for name in unbalanced)]
        cells = [Cell(row.method), *map(Cell, section.cells(row))]
        cells += [number_cell(percent(share), share) for share in shares]
        for name, form in ((names.TEST_LOSS, ".4f"), ("train_seconds", ".1f"), ("images_per_second", ".0f")):
            value = row.mean(name)
            cells.append(number_cell(NOTHING if value is None else f"{value:{form}}", value))
        cells += [number_cell(str(len(each)), len(each)) for each in (row.runs, row.failed)]
        cells += [number_cell(percent(row.published), row.published)] * published
        rows.append(TableRow(cells))
    return Table(columns, rows)


def _best(section: Section, target: Path) -> Iterator[Markup]:
    """The mistakes of the best run that has counted them."""
    finished = [run for row in section.rows for run in row.finished]
    for run in sorted(finished, key=lambda each: each.value(names.TEST_ACCURACY) or 0.0, reverse=True):
        parts = list(confusion_parts(run))
        if parts:
            yield sentence(f"Mistakes of the best run, {title_of(run)}:", "caption")
            yield from parts
            return


def _runs(rows: list[Row], target: Path) -> Table:
    options = sorted({name for row in rows for name in row.options})
    columns = [Column("run"), Column("method"), Column("backbone"), Column("dataset"), *map(Column, options)]
    columns += [Column("seed", "number"), Column("status"), Column("test acc", "number", "down")]
    columns += [Column("val acc", "number", "down"), Column("train s", "number")]
    lines = []
    for row in rows:
        for run in row.runs:
            seconds = run.value("train_seconds")
            lines.append(
                TableRow(
                    [
                        Cell(printable(run.directory.name), address=_page_of(run, target)),
                        Cell(row.method),
                        Cell(run.backbone),
                        Cell(run.dataset),
                        *(Cell(row.options.get(name, "")) for name in options),
                        Cell(run.seed, run.seed if run.seed.isdecimal() else ""),
                        Cell(printable(run.summary.get("status"))),
                        *(number_cell(percent(each), each) for each in _shares(run)),
                        number_cell(NOTHING if seconds is None else f"{seconds:.1f}", seconds),
                    ]
                )
            )
    return Table(columns, lines)


def _shares(run: RunRecord) -> tuple[float | None, float | None]:
    return run.value(names.TEST_ACCURACY), run.value(names.VAL_ACCURACY)


def _page_of(run: RunRecord, target: Path) -> str:
    page = run.directory / PAGE
    return address(page if page.exists() else run.directory, target)


def _left_out(rows: list[Row], found: Found) -> Iterator[Markup]:
    failed = [Skipped(run.directory, reason(run)) for row in rows for run in row.failed]
    repeats = [each for row in rows for each in row.repeats]
    for title, entries in (("Failed", failed), ("Left out", repeats + found.skipped), ("Damaged", found.damage)):
        if entries:
            yield heading(title)
            yield sentences(f"{printable(each.directory.name)}: {printable(each.reason)}" for each in entries)


def _common(runs: list[RunRecord]) -> dict[str, Any]:
    """The options on which all configurations agree."""
    configs = [
        dict(flat({key: value for key, value in run.config.items() if key not in OWN})) for run in runs if run.config
    ]
    if not configs:
        return {}
    return {name: value for name, value in configs[0].items() if all(each.get(name) == value for each in configs[1:])}
