"""Colours, markers and lines: one look for each method in every figure, and none like another, also in grey."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

from matplotlib.colors import to_rgb
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

# Okabe and Ito, Color Universal Design (2008), without yellow, which is faint on paper; then brown, violet, grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C510A", "#6A3D9A", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (6, 2, 1, 2)), (0, (1, 1.5)))
LOOKS = len(COLOURS) * len(MARKERS)  # before a colour has the same marker again

# The position of a method is its look; others, of plugins, get one beyond by their name.
METHODS = (
    "pade", "taylor", "pi", "newton", "trunc", "topn", "original", "lyapunov", "isqrt", "average", "mpa", "mtp", "seb",
    "logm", "power", "bilinear", "compact_bilinear", "halley", "cholesky", "dropcov", "lorentz",
    "cross_covariance",
)  # fmt: skip
LONGEST = 32  # characters of a label
TICKS = 5  # intervals between the ticks of an axis, at most


def series_style(position: int) -> dict[str, Any]:
    """Colour, marker and line of the series at ``position``; no two of the first hundred and ten are alike."""
    return {
        "color": COLOURS[position % len(COLOURS)],
        "marker": MARKERS[position % len(MARKERS)],
        "linestyle": LINES[(position // len(COLOURS)) % len(LINES)],
    }


def method_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The look of each method: the same in every figure, whichever others are in it.

    A hybrid run, FIRST+SECOND, is dotted in the colour of its second method with the marker of its first. Of two other
    names that are not in `METHODS` and fall on one look, the second takes the next free one.
    """
    taken = set(range(len(METHODS)))
    styles = {}
    for name in names:
        first, _, second = name.partition("+")
        if first in METHODS and second in METHODS:
            colour, marker = series_style(METHODS.index(second))["color"], series_style(METHODS.index(first))["marker"]
            styles[name] = {"color": colour, "marker": marker, "linestyle": LINES[-1]}
            continue
        if name in METHODS:
            position = METHODS.index(name)
        else:
            position = len(METHODS) + crc32(name.encode()) % (LOOKS - len(METHODS))
            while position in taken and len(taken) < LOOKS:
                position = (position + 1) % LOOKS
            taken.add(position)
        styles[name] = series_style(position)
    return styles


def shades(colour: str, count: int) -> list[tuple[float, float, float]]:
    """``count`` shades of a colour, the colour itself first, the faintest still visible on white."""
    base = to_rgb(colour)
    faint = [0.65 * position / max(count - 1, 1) for position in range(count)]
    return [tuple(part + (1 - part) * share for part in base) for share in faint]  # type: ignore[misc]  # three numbers


def nested(position: int, count: int, points: int) -> dict[str, Any]:
    """Width and markers of the curve at ``position`` of ``count``: later ones smaller, so that equal ones both show."""
    narrowest, widest = 1.3, min(1.3 + 0.6 * (count - 1), 3.5)
    share = position / max(count - 1, 1)
    every = min(count, max(points // 4, 1))
    return {
        "linewidth": widest - share * (widest - narrowest),
        "markevery": (position % every, every),
        "markersize": 5 + (1 - share) * min(count, 5),
    }


def label(text: str, longest: int = LONGEST) -> str:
    """``text`` without its middle where it is long, and with nothing in it that is taken for a formula."""
    if len(text) > longest:
        head = (longest - 1) * 2 // 3
        text = f"{text[:head]}…{text[head + 1 - longest :]}"
    return text.replace("$", r"\$")


def labels(texts: Sequence[str], longest: int = LONGEST, numbers: Sequence[int] | None = None) -> list[str]:
    """Each of ``texts`` as `label` writes it; with their ``numbers`` (1, 2, ...) if that makes different ones alike."""
    written = [label(text, longest) for text in texts]
    if len(set(written)) == len(set(texts)):
        return written
    counted = range(1, len(texts) + 1) if numbers is None else numbers
    return [label(f"{number}: {text}", longest) for number, text in zip(counted, texts, strict=True)]


def tidy(axes: Any) -> None:
    """No box, a faint grid behind the data, as many ticks as have room."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "linear" and isinstance(axis.get_major_locator(), MaxNLocator):
            axis.get_major_locator().set_params(nbins=TICKS)


def legend_beside(figure: Any, axes: Any) -> None:
    """One legend to the right of all plots, with the names of one of them."""
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside right center")


def percent(axis: Any) -> None:
    """Fractions as percentages, from 0 to 1 at most."""
    low, high = axis.get_view_interval()
    low, high = max(low, 0.0 if low >= 0 else -0.03 * high), min(high, 1.02)  # a marker at 0 is whole, no tick is below
    axis.axes.set(**{f"{axis.axis_name}lim": (low, high)})
    axis.set_major_formatter(PercentFormatter(1, decimals=None))


def plain_logarithmic(axis: Any, values: Sequence[float]) -> None:
    """A logarithmic axis over ``values`` with plain numbers at 1, 2, 5, 10, ..., or fewer where they would collide."""
    low, high = min(values) / 1.3, max(values) * 1.3
    decades = math.log10(high / low)
    subs = (1, 2, 5) if decades < 2.7 else (1, 3) if decades < 4 else (1,)
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(_Plain())
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(LogLocator(subs=()))


class _Plain(LogFormatter):
    def __call__(self, x: float, pos: Any = None) -> str:
        return f"{x:g}"
