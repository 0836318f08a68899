"""The picture of a sweep: accuracy of each method, accuracy against time, learning curves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from matplotlib.figure import Figure, SubFigure

from lightning_modules.plots.style import LINES, MARKERS, label, labels, method_styles, nested, percent, shades, tidy
from lightning_modules.report.groups import Row, comparisons, described, ranked, sections, short

SHOWN = 8  # panels; more would not be read
CURVES = 24  # of a panel: all methods there are
WIDTH = 14.0  # inches


class Panel(NamedTuple):
    """A line of three plots.

    Attributes:
        title: what its rows have in common.
        rows: its rows.
        labels: what they differ in.
    """

    title: str
    rows: list[Row]
    labels: list[str]


def panels(rows: list[Row]) -> list[Panel]:
    """A panel for the methods under each setting; the settings of methods that stand alone are in one together."""
    found = []
    for section in sections(rows):
        in_order = [row for row in rows if row.setting["dataset"] == section.rows[0].setting["dataset"]]
        groups = comparisons(in_order)
        alone = [row for _, group in groups if len(group) == 1 for row in group]
        found += [Panel(described(setting), group, labels([row.name for row in group]))
                  for setting, group in groups if len(group) > 1]  # fmt: skip
        if alone:
            found.append(Panel(section.title, alone, labels(list(_names(alone, section.columns)))))
    return found


def not_drawn(rows: list[Row]) -> str:
    """A sentence on what the picture leaves out; empty if it is nothing."""
    every = panels(rows)
    left = [f"the last {len(every) - SHOWN} of {len(every)} settings"] if len(every) > SHOWN else []
    crowded = max((len(panel.rows) for panel in every[:SHOWN]), default=0)
    left += [f"all learning curves but the {CURVES} with the best results"] if crowded > CURVES else []
    return f"Not in the picture: {', and '.join(left)}; the tables have every result." if left else ""


def comparison_figure(rows: list[Row]) -> Figure:
    """One line of three plots for each panel; what is left out is said beneath."""
    drawn = panels(rows)[:SHOWN]
    methods = method_styles(dict.fromkeys(row.method for row in rows))
    heights = [1.5 + max(2.6, 0.3 * len(panel.rows)) for panel in drawn] or [2.0]
    left_out = not_drawn(rows)
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.4 * bool(left_out)), layout="constrained")
    if left_out:
        figure.supxlabel(left_out, fontsize=10)
    parts: Any = figure.subfigures(len(drawn), 1, height_ratios=heights, squeeze=False).ravel() if drawn else []
    for part, panel in zip(parts, drawn, strict=True):
        draw(part, panel, methods)
    return figure


def accuracies(axes: Any, group: list[Row], texts: list[str], looks: list[dict[str, Any]]) -> None:
    """Every seed, the mean with the standard deviation, and the published value, in the looks of the rows."""
    for position, (row, look) in enumerate(zip(group, looks, strict=True)):
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
    axes.set_yticks(range(len(group)), texts)
    axes.set_ylim(len(group) - 0.5, -0.5)
    axes.set_xlabel("test accuracy: seeds, mean, std")
    if not any(row.values() for row in group):
        axes.set_xlim(0, 1)
    tidy(axes)
    percent(axes.xaxis)


def draw(part: Figure | SubFigure, panel: Panel, methods: dict[str, dict[str, Any]]) -> None:
    """The three plots of a panel beside each other, with one legend."""
    looks = looks_of(panel, methods)
    part.suptitle(label(textwrap.fill(panel.title, 150), 450), x=0.005, ha="left", fontsize=11)
    axes = part.subplots(1, 3)
    accuracies(axes[0], panel.rows, panel.labels, looks)
    against_time(axes[1], panel, looks)
    curves(axes[2], panel, looks)
    handles: dict[str, Any] = {}
    for each in axes[1:]:  # a row may be in one of them only
        for handle, name in zip(*each.get_legend_handles_labels(), strict=True):
            handles[name] = handle
    if handles:
        part.legend(handles.values(), handles, fontsize=8, frameon=False, loc="outside right center")


def looks_of(panel: Panel, methods: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each row: its method's look, or in shades of the method's colour, where the method is there several times."""
    looks = []
    by_method = {row.method: [each for each in panel.rows if each.method == row.method] for row in panel.rows}
    for row in panel.rows:
        same = by_method[row.method]
        look = methods[row.method]
        if len(same) > 1:
            position = next(k for k, each in enumerate(same) if each is row)
            look = {
                "color": shades(look["color"], len(same))[position],
                "marker": MARKERS[position % len(MARKERS)],
                "linestyle": LINES[position % len(LINES)],
            }
        looks.append(look)
    return looks


def against_time(axes: Any, panel: Panel, looks: list[dict[str, Any]]) -> None:
    """The mean accuracy of each row over its time of training, with the standard deviation of both."""
    for row, text, look in zip(panel.rows, panel.labels, looks, strict=True):
        seconds, accuracy = row.mean("train_seconds"), row.mean()
        if seconds is None or accuracy is None:
            continue
        axes.errorbar(
            seconds, accuracy, xerr=row.spread("train_seconds"), yerr=row.spread(), color=look["color"],
            marker=look["marker"], markersize=7, capsize=2, linewidth=1, label=text, linestyle="none",
        )  # fmt: skip
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("test accuracy")
    _said_if_empty(axes, "no training time is known")
    tidy(axes)
    percent(axes.yaxis)


def curves(axes: Any, panel: Panel, looks: list[dict[str, Any]]) -> None:
    """Validation accuracy by epoch, with the standard deviation over seeds."""
    best = ranked(panel.rows)[:CURVES]
    drawn = [each for each in zip(panel.rows, panel.labels, looks, strict=True) if any(each[0] is row for row in best)]
    drawn = [each for each in drawn if each[0].curve()]
    for position, (row, text, look) in enumerate(drawn):
        curve = row.curve()
        shape = nested(position, len(drawn), len(curve))
        band = row.band()
        if band:
            axes.fill_between(
                *zip(*band, strict=True), color=look["color"], alpha=min(0.15, 0.8 / len(drawn)), linewidth=0
            )
        axes.plot(*zip(*curve, strict=True), **look, **shape, alpha=0.9, label=text)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy: mean, std")
    _said_if_empty(axes, "no validation accuracies")
    tidy(axes)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    percent(axes.yaxis)


def _said_if_empty(axes: Any, sentence: str) -> None:
    if not axes.has_data():
        axes.text(0.5, 0.5, sentence, ha="center", va="center", color="0.4", fontsize=9, transform=axes.transAxes)


def _names(rows: list[Row], columns: list[str]) -> Iterator[str]:
    """The method, if there are several, and the options that differ."""
    several = len({row.method for row in rows}) > 1
    for row in rows:
        values = {"backbone": row.setting["backbone"], **row.options}
        options = short({name: values[name] for name in columns if name in values})
        yield " ".join([row.method] * (several or not options) + options)
