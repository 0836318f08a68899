"""Colours and markers that tell series apart, also in grey and for the colour-blind."""

from __future__ import annotations

from typing import Any

# Okabe and Ito, Color Universal Design (2008), without yellow, which is faint on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
LINES = ("-", "--", "-.", ":")


def series_style(position: int) -> dict[str, Any]:
    """Colour, marker and line of the series at ``position``; no two of the first seventy-seven are alike."""
    return {
        "color": COLOURS[position % len(COLOURS)],
        "marker": MARKERS[position % len(MARKERS)],
        "linestyle": LINES[(position // len(COLOURS)) % len(LINES)],
    }


def tidy(axes: Any) -> None:
    """No box, a faint grid behind the data."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
