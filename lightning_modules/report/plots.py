"""The plots of a comparison one by one, for a page, and panel by panel, for print."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from lightning_modules.plots.saving import data_uri, write_pdf
from lightning_modules.plots.style import method_styles
from lightning_modules.report.groups import Row
from lightning_modules.report.page import Link
from lightning_modules.report.picture import SHOWN, Panel, accuracies, against_time, curves, draw, looks_of, panels

WIDTH, HEIGHT = 4.8, 3.2  # inches of a plot on a page
PRINTED = 11.0  # inches, of A4 on its side
OF_ROW, OF_LEGEND = 0.28, 0.2  # inches of a row of accuracies, and of a line of the legend
IN_LEGEND = 24  # names, as many as there are curves; more are told apart in the table


class Illustrated(NamedTuple):
    """A panel with its plots.

    Attributes:
        title: what its rows have in common.
        rows: its rows.
        pictures: the plots.
    """

    title: str
    rows: list[Row]
    pictures: list[Link]


def illustrated(rows: list[Row]) -> list[Illustrated]:
    """The panels of `picture.panels` that are drawn, each with its plots as images of a page."""
    methods = method_styles(dict.fromkeys(row.method for row in rows))
    return [Illustrated(panel.title, panel.rows, list(_pictures(panel, methods))) for panel in panels(rows)[:SHOWN]]


def print_panels(rows: list[Row], path: Path) -> None:
    """Write every panel as a page of a PDF, on which its letters are of the size of a printed text's."""
    methods = method_styles(dict.fromkeys(row.method for row in rows))
    write_pdf(path, (_page(panel, methods) for panel in panels(rows)))


def _page(panel: Panel, methods: dict[str, dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(PRINTED, 1.5 + max(2.6, 0.3 * len(panel.rows))), layout="constrained")
    draw(figure, panel, methods)
    return figure


def _pictures(panel: Panel, methods: dict[str, dict[str, Any]]) -> Iterator[Link]:
    looks = looks_of(panel, methods)
    figure = Figure(figsize=(WIDTH, max(HEIGHT, 0.9 + OF_ROW * len(panel.rows))), layout="constrained")
    accuracies(figure.subplots(), panel.rows, panel.labels, looks)
    yield Link(f"test accuracy of {panel.title}, row by row", data_uri(figure))
    yield _with_legend(f"test accuracy against time of training of {panel.title}", against_time, panel, looks)
    yield _with_legend(f"validation accuracy by epoch of {panel.title}", curves, panel, looks)


def _with_legend(
    text: str, plot: Callable[[Any, Panel, list[dict[str, Any]]], None], panel: Panel, looks: list[dict[str, Any]]
) -> Link:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    plot(axes, panel, looks)
    handles, names = axes.get_legend_handles_labels()
    handles, names = handles[:IN_LEGEND], names[:IN_LEGEND]
    if handles:
        columns = 3 if max(map(len, names)) < 18 else 2
        figure.set_figheight(HEIGHT + OF_LEGEND * (-(-len(handles) // columns)))
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    return Link(text, data_uri(figure))
