"""How a training went: loss, accuracy, learning rate, and the condition number of the covariances if it was watched."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from lightning_modules import metric_names as names
from lightning_modules.plots.style import COLOURS, LINES, label, labels, percent, tidy
from lightning_modules.report.series import Points, Series

WIDTH, HEIGHT = 4.8, 3.3  # inches of a panel
MARGINS = {"left": 0.75, "right": 0.2, "bottom": 0.5, "top": 0.35}  # inches around the axes of a panel
TITLE = 0.35  # inches
MOST_POINTS = 500  # of a line; of longer ones means are drawn
GROUPS = 6  # learning rates with a line of their own
FONT = 9
VALIDATION, TRAINING = {"color": COLOURS[1], "linestyle": LINES[1]}, {"color": COLOURS[0]}


class Panel(NamedTuple):
    """One plot.

    Attributes:
        name: what it shows.
        draw: draws it into axes.
    """

    name: str
    draw: Callable[[Any], None]


def panels(series: Series, summary: Mapping[str, Any]) -> list[Panel]:
    """The plots there are numbers for."""
    points = series.points
    steps, train_loss, val_loss, train_acc, val_acc, condition = (
        points.get(name, [])
        for name in (
            names.of(names.TRAIN, names.LOSS_STEP), names.TRAIN_LOSS, names.VAL_LOSS,
            names.of(names.TRAIN, names.ACCURACY), names.VAL_ACCURACY, names.CONDITION,
        )
    )  # fmt: skip
    found = []
    if steps or train_loss or val_loss:
        found.append(Panel("loss", lambda axes: _losses(axes, steps, train_loss, val_loss)))
    if train_acc or val_acc:
        found.append(Panel("accuracy", lambda axes: _accuracies(axes, train_acc, val_acc, summary)))
    if series.learning_rates:
        found.append(Panel("learning rate", lambda axes: _rates(axes, series)))
    if condition:
        found.append(Panel("condition number of the covariances", lambda axes: _conditions(axes, condition)))
    return [Panel(each.name, _finished(each, series, summary)) for each in found]


def training_figure(drawn: list[Panel], title: str) -> Figure:
    """All plots as one figure, two in a line."""
    columns = min(len(drawn), 2) or 1
    lines = math.ceil(len(drawn) / columns) or 1
    figure = Figure(figsize=(columns * WIDTH, lines * HEIGHT + TITLE))
    figure.text(0.1 / figure.get_figwidth(), 1 - 0.25 / figure.get_figheight(), label(title, 110), fontsize=FONT + 2)
    for position, panel in enumerate(drawn):
        line, column = divmod(position, columns)
        _axes(figure, column * WIDTH, (lines - 1 - line) * HEIGHT, panel)
    if not drawn:
        figure.text(0.5, 0.4, "nothing was logged", ha="center", color="0.4", fontsize=FONT)
    return figure


def panel_figure(panel: Panel) -> Figure:
    """One plot as a figure."""
    figure = Figure(figsize=(WIDTH, HEIGHT))
    _axes(figure, 0, 0, panel)
    return figure


def _axes(figure: Figure, left: float, bottom: float, panel: Panel) -> None:
    """Axes of a fixed size at a place in inches: laying out by what is in them would take longer than drawing."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes(
        (
            (left + MARGINS["left"]) / width,
            (bottom + MARGINS["bottom"]) / height,
            (WIDTH - MARGINS["left"] - MARGINS["right"]) / width,
            (HEIGHT - MARGINS["bottom"] - MARGINS["top"]) / height,
        )
    )
    panel.draw(axes)


def _finished(panel: Panel, series: Series, summary: Mapping[str, Any]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        panel.draw(axes)
        axes.set_title(panel.name, fontsize=FONT + 1, loc="left")
        axes.set_xlabel(series.unit, fontsize=FONT)
        axes.set_xlim(0, 1.02 * series.end)
        switched = summary.get(names.SWITCH_EPOCH)
        if isinstance(switched, int) and series.unit == "epoch":
            axes.axvline(switched - 1, color="0.4", linestyle=LINES[-1], linewidth=1.2, label="method switched")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=FONT - 1, frameon=False, loc="lower right" if panel.name == "accuracy" else "best")
        axes.tick_params(which="both", labelsize=FONT - 1)
        tidy(axes)
        axes.xaxis.get_major_locator().set_params(integer=series.end >= 2)
        if panel.name == "accuracy":
            percent(axes.yaxis)

    return draw


def _losses(axes: Any, steps: Points, train: Points, val: Points) -> None:
    if steps:
        axes.plot(*_thinned(steps), color=COLOURS[4], linewidth=0.8, alpha=0.8, label="training, batches")
    if train:
        _line(axes, train, "training", TRAINING)
    if val:
        _line(axes, val, "validation", VALIDATION)
    axes.set_ylim(bottom=0)


def _accuracies(axes: Any, train: Points, val: Points, summary: Mapping[str, Any]) -> None:
    if train:
        _line(axes, train, "training", TRAINING)
    if val:
        _line(axes, val, "validation", VALIDATION)
    best, tested = summary.get(names.BEST_EPOCH), summary.get(names.TEST_ACCURACY)
    if isinstance(best, int) and isinstance(tested, float):
        axes.plot([best], [tested], "*", color="black", markersize=10, label="test of the best epoch", linestyle="none")


def _rates(axes: Any, series: Series) -> None:
    """Each holds from where it was noted; groups of parameters that go alike are one line."""
    alike: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for name, points in series.learning_rates.items():
        alike.setdefault(tuple(points), []).append(name)
    drawn = list(alike.items())[:GROUPS]
    texts = labels([", ".join(name.rpartition("/")[2] for name in group) for _, group in drawn])
    for position, ((line, _), text) in enumerate(zip(drawn, texts, strict=True)):
        look = {"color": COLOURS[position], "linestyle": LINES[position % len(LINES)]}
        x, y = _thinned([*line, (series.end, line[-1][1])])
        axes.step(x, y, where="post", **look, linewidth=1.4, label=text if len(drawn) > 1 else None)
    values = [value for line in alike for _, value in line if value > 0]
    if values and max(values) > 50 * min(values):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if len(alike) > GROUPS:
        axes.text(
            0.98, 0.02, f"and {len(alike) - GROUPS} more", transform=axes.transAxes, ha="right", fontsize=FONT - 1
        )


def _conditions(axes: Any, points: Points) -> None:
    axes.plot(*_thinned([(x, value) for x, value in points if value > 0]), color=COLOURS[2], linewidth=1.2)
    axes.set_yscale("log")


def _line(axes: Any, points: Points, text: str, look: Mapping[str, Any]) -> None:
    marker = "o" if len(points) <= 30 else None
    axes.plot(*_thinned(points), **look, marker=marker, markersize=3, linewidth=1.5, label=text)


def _thinned(points: Points) -> tuple[list[float], list[float]]:
    """Places and values, as means over neighbours where there are more than can be seen."""
    size = math.ceil(len(points) / MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size or 1)]
    means = [(sum(x for x, _ in each) / len(each), sum(y for _, y in each) / len(each)) for each in groups]
    return [x for x, _ in means], [y for _, y in means]
