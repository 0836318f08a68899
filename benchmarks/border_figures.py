"""Pictures of `benchmarks.border`."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from benchmarks import historical
from benchmarks.border_gradients import LIBRARY, SWEEPS
from benchmarks.border_training import CONDITIONS, FROZEN
from lightning_modules.plots.style import method_styles, nested, tidy

if TYPE_CHECKING:
    from benchmarks.border_page import Cell

SHOWN = {"library, float64": "this library", "historical, float64": "historical kernel"}
LIMITS = (1e-16, 1e18)


def figures(sweeps: list[dict[str, Any]], found: list[Cell]) -> dict[str, Figure]:
    """By the name of the file."""
    made = {"border": _gradients(sweeps)}
    return {**made, "border_training": _training(found)} if found else made


def _gradients(sweeps: list[dict[str, Any]]) -> Figure:
    """A row for each kernel, a column for each sweep."""
    picture = Figure(figsize=(14, 6.6), layout="constrained")
    panels = picture.subplots(len(SHOWN), len(SWEEPS), sharey=True, sharex="col")
    styles = method_styles(LIBRARY)
    for last, (line, (kind, title)) in enumerate(zip(panels, SHOWN.items(), strict=True)):
        for axes, (sweep, (label, values, _)) in zip(line, SWEEPS.items(), strict=True):
            tied = min((value for value in values if value), default=1.0) / 10
            for row in sweeps:
                if (row["kind"], row["sweep"]) == (kind, sweep):
                    place = LIBRARY.index(row["method"])
                    size = {**nested(place, len(LIBRARY), len(values)), "markersize": 7 - place / 2}
                    x = [value or tied for value in row["values"]]
                    y = [min(max(error, LIMITS[0]), LIMITS[1]) for error in row["errors"]]
                    axes.plot(x, y, **styles[row["method"]], **size, label=row["method"])
            axes.set(xscale="linear" if sweep == "rank" else "log", yscale="log", ylim=LIMITS)
            if sweep == "clusters":
                if last:  # they share the axis
                    axes.invert_xaxis()
                axes.set_xticks([1e-1, 1e-5, 1e-9, 1e-13, tied], ["1e-1", "1e-5", "1e-9", "1e-13", "0"])
            axes.axhspan(1, LIMITS[1], color="0.95", zorder=0)
            axes.axhline(1, color="0.5", linewidth=0.8)
            axes.set_yticks([1e-15, 1e-10, 1e-5, 1, 1e5, 1e10, 1e15])
            tidy(axes)
            axes.set_title(f"{title}: {sweep}", loc="left", fontsize=11)
            if last:
                axes.set_xlabel(label)
        line[0].set_ylabel("relative error of the gradient")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    picture.legend(handles, labels, frameon=False, fontsize=9, loc="outside right center")
    return picture


def _training(found: list[Cell]) -> Figure:
    """Accuracy of every cell, coloured by its difference from the exact derivative; bold where that is significant."""
    columns = [("library", method) for method in (*LIBRARY, FROZEN)]
    columns += [("historical", method) for method in historical.METHODS]
    by_place = {(cell.condition, cell.kind, cell.method): cell for cell in found}
    base = {cell.condition: statistics.fmean(cell.accuracies) for cell in found if cell.difference is None}
    grid = [
        [100 * (statistics.fmean(by_place[(name, *column)].accuracies) - base[name]) for column in columns]
        for name in CONDITIONS
    ]
    picture = Figure(figsize=(14, 5.6), layout="constrained")
    axes = picture.subplots()
    image = axes.imshow(grid, cmap="RdBu", norm=TwoSlopeNorm(0, -20, 20), aspect="auto")
    for row, name in enumerate(CONDITIONS):
        for position, column in enumerate(columns):
            cell = by_place[(name, *column)]
            significant = cell.p is not None and cell.p < 0.05
            text = f"{100 * statistics.fmean(cell.accuracies):.1f}"
            axes.text(
                position, row, text, ha="center", va="center", fontsize=8.5, weight="bold" if significant else "normal",
                color="white" if abs(grid[row][position]) > 13 else "black",
            )  # fmt: skip
    axes.set_xticks(range(len(columns)), [method for _, method in columns], rotation=40, ha="right")
    axes.set_yticks(range(len(CONDITIONS)), list(CONDITIONS))
    edge = len(LIBRARY) + 0.5
    axes.axvline(edge, color="black", linewidth=2)
    axes.text(edge / 2 - 0.25, -0.75, "this library", ha="center", fontsize=11)
    axes.text(edge + len(historical.METHODS) / 2, -0.75, "historical kernel", ha="center", fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    picture.colorbar(
        image, label="points from the exact derivative (lyapunov); bold: p < 0.05", shrink=0.8, extend="both"
    )
    return picture
