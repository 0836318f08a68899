"""A confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

NAMED = 40  # classes that can all have their name written
WRITTEN = 20  # classes whose percentages fit into the cells


def confusion_figure(matrix: Tensor, class_names: Sequence[str]) -> Figure:
    """Counts (K, K), rows the true classes and columns the predicted ones, drawn as shares of each row.

    Colours are cividis, which the colour-blind see as others do, by the root of the share, so that rare mistakes show.
    With many classes every few names are written; with few, the percentages are. A class without images has an empty
    row. The figure belongs to no window: write it with ``figure.savefig``.
    """
    counts = matrix.double().cpu().numpy()
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    classes = len(counts)
    side = min(max(4.5, 0.28 * classes), 12.0)
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="cividis", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    every = -(-classes // NAMED)
    ticks = range(0, classes, every)
    names = [class_names[tick] for tick in ticks]
    size = 6 if classes > WRITTEN else 8
    axes.set_xticks(ticks, names, rotation=90, fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set_xlabel("predicted" if every == 1 else f"predicted (one name in {every} is written)")
    axes.set_ylabel("true")
    correct = counts.trace() / totals.sum() if totals.sum() else float("nan")
    axes.set_title(f"{int(totals.sum())} images of {classes} classes, {correct:.2%} correct")
    figure.colorbar(image, ax=axes, label="share of the class", fraction=0.046, pad=0.02)
    if classes <= WRITTEN:
        for row, column in zip(*np.nonzero(counts), strict=True):
            share = shares[row, column]
            colour = "black" if share > 0.25 else "white"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=7)
    return figure
