"""A confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lightning_modules.plots.style import labels

NAMED = 40  # classes that can all have their name written
LONGEST = 28  # characters of a name
WRITTEN = 20  # classes whose percentages fit into the cells


def confusion_figure(matrix: ArrayLike, class_names: Sequence[str]) -> Figure:
    """Counts (K, K), rows the true classes and columns the predicted ones, drawn as shares of each row.

    Colours are cividis, which the colour-blind see as others do, by the root of the share, so that rare mistakes show.
    With many classes every few names are written; with few, the percentages are. A class without images has an empty
    row. The figure belongs to no window: write it with ``figure.savefig``.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    classes = len(counts)
    side = min(max(4.5, 0.28 * classes), 12.0)
    every = -(-classes // NAMED)
    ticks = range(0, classes, every)
    names = labels([class_names[tick] for tick in ticks], LONGEST, ticks)
    size = 6 if classes > WRITTEN else 8
    room = size / 72 * 0.62 * max(map(len, names))  # inches that the longest name takes beside and below the matrix
    figure = Figure(figsize=(side + 1.2 + room, side + 0.4 + room), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="cividis", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    axes.set_xticks(ticks, names, rotation=90, fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set_xlabel("predicted" if every == 1 else f"predicted (one name in {every} is written)")
    axes.set_ylabel("true")
    correct = f", {counts.trace() / totals.sum():.2%} correct" if totals.sum() else ""
    axes.set_title(f"{int(totals.sum())} images of {classes} classes{correct}", fontsize=11)
    figure.colorbar(image, ax=axes, label="share of the class", fraction=0.046, pad=0.02)
    if classes <= WRITTEN:
        for row, column in zip(*np.nonzero(counts), strict=True):
            share = shares[row, column]
            colour = "black" if share > 0.25 else "white"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=7)
    return figure
