"""What a run leaves to be looked at: run.png, and report.html with its results, plots, mistakes and settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime

from markupsafe import Markup

from gcp.errors import DataError
from lightning_modules import metric_names as names
from lightning_modules.plots.confusion import confusion_figure
from lightning_modules.plots.saving import data_uri, write_pdf
from lightning_modules.report.confusion import Confusion, read_confusion
from lightning_modules.report.differences import flat
from lightning_modules.report.files import printable
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
    numbers,
    sentence,
    table,
    write_page,
)
from lightning_modules.report.runs import RunRecord
from lightning_modules.report.series import Series, read_series
from lightning_modules.report.training_figure import panel_figure, panels, training_figure
from lightning_modules.run.summary import ASKED, CONFIG, CONFUSION, FILE, METRICS, SWEEP
from lightning_modules.settings.modes import HTML, PDF, PNG

PAGE = "report.html"
PICTURE, PRINT = "run.png", "run.pdf"
NOTHING = "\N{EN DASH}"  # in the place of a number that is not known
DPI = 110  # of the picture: 1056 pixels wide
LONG = 25  # rows of a table, beyond which it scrolls in itself


def write_run_report(run: RunRecord, formats: Sequence[str]) -> None:
    """Write the files of ``formats``, ``png``, ``html`` and ``pdf``, into the run's directory."""
    series, problem = _series(run)
    drawn = panels(series, run.summary)
    trained = run.summary.get("mode", "fit") == "fit"
    if trained and PNG in formats:
        training_figure(drawn, _headline(run)).savefig(run.directory / PICTURE, dpi=DPI)
    if trained and PDF in formats:
        write_pdf(run.directory / PRINT, [training_figure(drawn, _headline(run))])
    if HTML in formats:
        pictures = [Link(f"{panel.name} by {series.unit}", data_uri(panel_figure(panel))) for panel in drawn]
        write_page(run.directory / PAGE, title_of(run), _about(run), _parts(run, pictures, problem), _links(run))


def title_of(run: RunRecord) -> str:
    """Method, backbone, data and seed."""
    return f"{run.method} · {run.backbone} · {run.dataset} · seed {run.seed}"


def confusion_parts(run: RunRecord) -> Iterator[Markup]:
    """The confusion matrix of a run and its classes, if it has them; a sentence where they are damaged."""
    file = run.directory / CONFUSION
    if not file.exists():
        return
    try:
        found = read_confusion(file)
    except DataError as error:
        yield sentence(f"No confusion matrix: {error}.", "caption")
        return
    picture = data_uri(confusion_figure(found.counts, found.names))
    yield figures([Link("confusion matrix of the test images: true classes in rows, predicted in columns", picture)])
    yield details("Accuracy of each class, worst first", table(_classes(found), len(found.names) > LONG))


def settings_table(config: dict[str, object], asked: dict[str, str]) -> Table:
    """Every option; those that were asked for stand out and come first."""
    options = [(printable(name), printable(value)) for name, value in flat(config)]
    given = {printable(name) for name in asked}
    ordered = sorted(options, key=lambda each: each[0] not in given)
    rows = [TableRow([Cell(name), Cell(value)], name in given) for name, value in ordered]
    return Table([Column("option"), Column("value")], rows)


def percent(value: float | None) -> str:
    """A share as it is read; a dash for none."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.2%}"


def _series(run: RunRecord) -> tuple[Series, str | None]:
    file = run.directory / METRICS
    if not file.exists():
        return Series({}, "epoch"), None
    try:
        series = read_series(file)
    except DataError as error:
        return Series({}, "epoch"), str(error)
    return series, series.damage


def _headline(run: RunRecord) -> str:
    tested, failed = run.value(names.TEST_ACCURACY), "" if run.ok else f", {printable(run.summary.get('status'))}"
    return f"{title_of(run)}" + (f": test {tested:.2%}" if tested is not None else "") + failed


def _about(run: RunRecord) -> str:
    """When it ran, in a line."""
    started, ended = (_time(run.summary.get(name)) for name in ("started", "ended"))
    if started is None:
        return printable(run.directory.name)
    took = "" if ended is None else f", {_duration((ended - started).total_seconds())} in all"
    return f"{printable(run.directory.name)} · {started:%Y-%m-%d %H:%M}{took}"


def _parts(run: RunRecord, pictures: list[Link], problem: str | None) -> Iterator[Markup]:
    if not run.ok:
        error = run.summary.get("error")
        yield sentence(f"{printable(run.summary.get('status'))}: {printable(error) if error else NOTHING}", "failure")
    yield numbers(_numbers(run))
    if pictures:
        yield heading("Training")
        yield figures(pictures)
    if problem:
        yield sentence(printable(problem), "caption")
    mistakes = list(confusion_parts(run))
    if mistakes:
        yield heading("Mistakes")
        yield from mistakes
    if run.config:
        yield heading("Settings")
        yield sentence("Bold: asked for on the command line.", "caption")
        content = settings_table(run.config, run.asked)
        yield details(f"All {len(content.rows)} options", table(content, long=True))


def _numbers(run: RunRecord) -> dict[str, str]:
    best = run.value(names.BEST_EPOCH)
    seconds, speed, loss, params = (
        run.value(name) for name in ("train_seconds", "images_per_second", names.TEST_LOSS, "params")
    )
    found = {
        "test accuracy": percent(run.value(names.TEST_ACCURACY)),
        "top 5": percent(run.value(names.TEST_ACCURACY_5)),
        "test loss": NOTHING if loss is None else f"{loss:.4f}",
        "validation accuracy": percent(run.value(names.VAL_ACCURACY)),
        "best epoch": NOTHING if best is None else f"{best:.0f}",
        "training time": NOTHING if seconds is None else _duration(seconds),
        "images per second": NOTHING if speed is None else f"{speed:.0f}",
        "parameters": NOTHING if params is None else f"{params:,.0f}",
    }
    for name, text in ((names.TEST_BALANCED_ACCURACY, "balanced accuracy"), (names.TEST_MACRO_F1, "macro F1")):
        if run.value(name) is not None:
            found[text] = percent(run.value(name))
    return found


def _classes(found: Confusion) -> Table:
    columns = [Column("class"), Column("images", "number", "down"), Column("accuracy", "number"), Column("taken for")]
    rows = [
        TableRow([Cell(name), number_cell(str(images), images), number_cell(percent(share), share), Cell(taken)])
        for name, images, share, taken in found.worst()
    ]
    return Table(columns, rows)


def _links(run: RunRecord) -> list[Link]:
    kept = [each for each in (METRICS, FILE, CONFIG, ASKED, PICTURE, PRINT) if (run.directory / each).exists()]
    links = [Link(each, address(run.directory / each, run.directory)) for each in kept]
    if (run.directory.parent / SWEEP).exists():
        links.append(Link("the sweep", address(run.directory.parent / PAGE, run.directory)))
    return links


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return NOTHING
    minutes, rest = divmod(round(seconds), 60)
    return f"{seconds:.1f} s" if seconds < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
