"""The picture of a sweep: accuracy of each method, accuracy against time, learning curves."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lightning_modules.plots.style import series_style, tidy
from lightning_modules.report.groups import Row, comparisons, described

SHOWN = 6  # settings; more would not be read


def comparison_figure(rows: list[Row]) -> Figure:
    """One line of three plots for each setting."""
    groups = comparisons(rows)[:SHOWN]
    methods = list(dict.fromkeys(row.method for row in rows))
    style = {method: series_style(position) for position, method in enumerate(methods)}
    tallest = max((len(group) for _, group in groups), default=1)
    height = 1.3 + max(2.6, 0.34 * tallest)
    figure = Figure(figsize=(13, height * max(len(groups), 1)), layout="constrained")
    panels = figure.subplots(max(len(groups), 1), 3, squeeze=False)
    for line, (setting, group) in zip(panels, groups, strict=False):
        accuracies(line[0], group, style)
        _against_time(line[1], group, style)
        _curves(line[2], group, style)
        line[0].set_title(described(setting), loc="left", fontsize=11)
    return figure


def accuracies(axes: Any, group: list[Row], style: dict[str, Any]) -> None:
    """Every seed, the mean with the standard deviation, and the published value; ``style`` by method."""
    for position, row in enumerate(group):
        look = style[row.method]
        values = row.values()
        axes.plot(values, [position] * len(values), "|", color="0.55", markersize=9, zorder=2)
        if values:
            axes.errorbar(
                row.mean(), position, xerr=row.spread(), color=look["color"], marker=look["marker"], markersize=7,
                capsize=3, linewidth=1.5, zorder=3,
            )  # fmt: skip
        if row.failed:
            axes.annotate(
                f"{len(row.failed)} failed", (0.01, position), xycoords=("axes fraction", "data"), va="center",
                fontsize=8, color="0.3",
            )  # fmt: skip
    published = [(row.published, position) for position, row in enumerate(group) if row.published is not None]
    if published:
        axes.plot(*zip(*published, strict=True), "d", color="none", markeredgecolor="black", label="published")
        axes.legend(fontsize=8, frameon=False)
    axes.set_yticks(range(len(group)), [row.method for row in group])
    axes.set_ylim(len(group) - 0.5, -0.5)
    axes.set_xlabel("test accuracy: seeds, mean, standard deviation")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    tidy(axes)


def _against_time(axes: Any, group: list[Row], style: dict[str, Any]) -> None:
    for row in group:
        seconds, accuracy = row.mean("train_seconds"), row.mean()
        if seconds is None or accuracy is None:
            continue
        look = style[row.method]
        axes.errorbar(
            seconds, accuracy, xerr=row.spread("train_seconds"), yerr=row.spread(), color=look["color"],
            marker=look["marker"], markersize=7, capsize=2, linewidth=1, label=row.method, linestyle="none",
        )  # fmt: skip
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("test accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    tidy(axes)


def _curves(axes: Any, group: list[Row], style: dict[str, Any]) -> None:
    for row in group:
        curve = row.curve()
        if curve:
            axes.plot(*zip(*curve, strict=True), **style[row.method], markersize=4, linewidth=1.3, label=row.method)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy, mean over seeds")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    tidy(axes)
