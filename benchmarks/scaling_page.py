"""How cost grows, as a page and a picture: what was measured beside what the counts of operations say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks import operations
from benchmarks.parts import PARTS
from benchmarks.report import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = {"channels": "channels C", "positions": "positions N", "batch": "batch B"}
LOOKS = {"gram": {"color": "#0072B2", "marker": "o"}, "dense": {"color": "#D55E00", "marker": "s"}}
ALLOWED = 0.10  # of the slope, where arithmetic dominates
UPPER = 3  # so many of the largest sizes give the slope
ARITHMETIC = 2 / 3  # of the time, that decompositions and products take where arithmetic dominates

Point = dict[str, Any]


def along(report: dict[str, Any], axis: str, path: str) -> list[tuple[float, Point, Point]]:
    """Value on the axis, size and measurement of each point of a path, in order."""
    settings = report["settings"]
    centre = settings["centre"]
    field = "side" if axis == "positions" else axis
    found = []
    for point in report["points"]:
        size = point["size"]
        on_axis = all(size[name] == centre[name] for name in centre if name != field)
        if on_axis and size[field] in settings["axes"][axis] and path in point["layers"]:
            value = size["side"] ** 2 if axis == "positions" else size[field]
            found.append((float(value), size, point["layers"][path]))
    return sorted(found, key=lambda one: one[0])


def prediction(report: dict[str, Any], axis: str, path: str) -> list[tuple[float, float]]:
    """Seconds from the centre's alone: each part times the growth of what it does, Python's calls as they are."""
    centre = report["settings"]["centre"]
    line = along(report, axis, path)
    at_centre = next(((size, row) for _, size, row in line if size == centre), None)
    if at_centre is None:
        return []
    begin = {part: work(part, path, *at_centre) for part in PARTS}
    calls = max(0.0, at_centre[1]["total_s"] - sum(at_centre[1]["parts"][part] for part in PARTS))
    return [
        (
            value,
            calls + sum(at_centre[1]["parts"][part] * work(part, path, size, row) / begin[part] for part in PARTS),
        )
        for value, size, row in line
    ]


def work(part: str, path: str, size: Point, row: Point) -> float:
    """What a part has to do, which its time should grow as: n^3, multiplications, or bytes read and written."""
    if part == "elementwise":
        return float(row["parts"]["moved_bytes"])
    count = operations.decomposition if part == "decomposition" else operations.products
    return float(size["batch"] * count(path, size["channels"], size["side"] ** 2))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Exponent of a power law through the points, by least squares on logarithms.

    >>> round(slope([(1, 2), (10, 200), (100, 20000)]), 6)
    2.0
    """
    logs = [(math.log(x), math.log(y)) for x, y in points]
    x0, y0 = (sum(parts) / len(logs) for parts in zip(*logs, strict=True))
    exponent: float = sum((x - x0) * (y - y0) for x, y in logs) / sum((x - x0) ** 2 for x, _ in logs)
    return exponent


def arithmetic(row: Point) -> float:
    """Share of the decomposition and the products in the time."""
    return float((row["parts"]["decomposition"] + row["parts"]["products"]) / row["total_s"])


def slopes(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows: what grows, path, what is fitted, over which values, measured and theoretical slope, judgement."""
    rows: list[tuple[str, ...]] = []
    for axis in AXES:
        for path in LOOKS:
            everything = along(report, axis, path)
            dominated = [one for one in everything if arithmetic(one[2]) >= ARITHMETIC]
            judged = len(dominated) >= UPPER
            line = (dominated if judged else everything)[-UPPER:]
            if len(line) < UPPER:
                continue
            values = [value for value, _, _ in line]
            expected = {"all": [point for point in prediction(report, axis, path) if point[0] in values]}
            found = {"all": [(value, row["total_s"]) for value, _, row in line]}
            for part in PARTS:
                expected[part] = [(value, work(part, path, size, row)) for value, size, row in line]
                found[part] = [(value, row["parts"][part]) for value, _, row in line]
            for part in ("all", *PARTS):
                if not expected[part] or any(second <= 0 for _, second in found[part]):
                    continue
                measured, theory = slope(found[part]), slope(expected[part])
                within = abs(measured - theory) <= ALLOWED * max(abs(theory), 1)
                leading = operations.LEADING[path, axis] if part == "all" else ""
                rows.append((AXES[axis], path, part, f"{values[0]:g} to {values[-1]:g}", f"{measured:.2f}",
                             f"{theory:.2f}", leading, ("yes" if within else "no") if judged else ""))  # fmt: skip
    return rows


def winners(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows: each size measured on both paths, their times, the faster one and the one that ``path=auto`` takes."""
    rows = []
    for point in sorted(report["points"], key=lambda one: tuple(one["size"].values())):
        size, layers = point["size"], point["layers"]
        if size["batch"] != report["settings"]["centre"]["batch"] or len(layers) < 2:
            continue
        times = {path: layers[path]["total_s"] for path in layers}
        auto = "gram" if operations.gram("auto", size["channels"], size["side"] ** 2) else "dense"
        rows.append((str(size["channels"]), str(size["side"] ** 2), *(f"{times[path] * 1e3:.2f}" for path in LOOKS),
                     min(times, key=lambda path: times[path]), auto))  # fmt: skip
    return rows


def measurements(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows: every point."""
    rows = []
    for point in sorted(report["points"], key=lambda one: tuple(one["size"].values())):
        size = point["size"]
        for path, row in point["layers"].items():
            peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:.1f}"
            counted = size["batch"] * operations.kept(path, size["channels"], size["side"] ** 2)
            rows.append((str(size["batch"]), str(size["channels"]), str(size["side"] ** 2), path,
                         *(f"{row[key] * 1e3:.2f}" for key in ("forward_s", "backward_s", "total_s")),
                         *(f"{100 * row['parts'][part] / row['total_s']:.0f} %" for part in PARTS),
                         f"{row['kept_bytes'] / 2**20:.2f}",
                         f"{counted / 2**20:.2f}", peak, str(row["runs"])))  # fmt: skip
    return rows


def training_steps(rows: dict[str, Any]) -> list[str]:
    """A table of training steps of ResNet-50."""
    lines = []
    for name, row in rows.items():
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:.0f}"
        lines.append((name, f"{row['seconds'] * 1e3:.0f}", f"{row['pooling_s'] * 1e3:.1f}",
                      f"{100 * row['pooling_s'] / row['seconds']:.1f} %", peak, f"{row['parameters'] / 1e6:.1f}",
                      f"{row['classifier_parameters'] / 1e6:.1f}"))  # fmt: skip
    head = ("pooling", "step ms", "pooling ms", "share", "peak MiB", "parameters, millions", "of the classifier")
    return table(head, lines)


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    settings = report["settings"]
    centre = settings["centre"]
    facts = ", ".join(f"{key} {value}" for key, value in report["environment"].items() if value is not None)
    text = [
        "# How cost grows", "",
        f"`python -m benchmarks.scaling`; {facts}; device {settings['device']}. Forward and backward of `pade` with "
        f"`precision=mixed`, float32 features, one axis at a time around {centre['channels']} channels, "
        f"{centre['side']} x {centre['side']} positions, batch {centre['batch']}; medians of runs in turns. A path is "
        f"left out where a run would take more than {settings['limit']:g} s.", "",
        "![time over channels, positions and batch](results/scaling.png)", "",
        "## Slopes", "",
        f"Exponents fitted to the {UPPER} largest sizes at which arithmetic dominates: decomposition and products take "
        "two thirds of the time or more. Beside them theory: the time at the centre alone, split into the "
        "decomposition (n^3), products (their multiplications), elementwise work (the bytes it reads and writes) and "
        "calls (constant), each times the growth of its work. Last column: within "
        f"{ALLOWED:.0%} of theory; empty where arithmetic does not dominate at {UPPER} sizes, and the "
        "largest are shown. Decompositions grow more slowly than n^3 while LAPACK's blocks fill better with larger "
        "matrices; elementwise work grows faster than its bytes where they leave the caches.", "",
        *table(("what grows", "path", "time of", "sizes", "measured", "theory", "leading term", "within"),
               slopes(report)),
        "## Which path wins", "",
        "`path=auto` decomposes the smaller matrix.", "",
        *table(("C", "N", "gram ms", "dense ms", "faster", "auto"), winners(report)),
        "## Memory of a training step of ResNet-50", "",
        f"Batch {settings['images']} at {settings['pixels']} px, {settings['device']}, float32, SGD with momentum. "
        "Peak: beyond weights, momentum and images, which stay; it includes the gradients. Pooling: forward and "
        "backward of channel reduction and pooling alone.", "",
        *training_steps(report["steps"]),
        "## All measurements", "",
        "Kept: bytes saved for the backward, beside what U, V and the eigenvalues need; peak: resident memory beyond "
        "what was there, LAPACK's workspace included.", "",
        *table(("B", "C", "N", "path", "forward ms", "backward ms", "total ms", *PARTS, "kept MiB",
                "counted MiB", "peak MiB", "runs"), measurements(report)),
    ]  # fmt: skip
    return "\n".join(text).rstrip() + "\n"


def picture(report: dict[str, Any]) -> Figure:
    """Time over each axis, both logarithmic: points measured, lines predicted from the centre; slopes above."""
    from matplotlib.figure import Figure

    from lightning_modules.plots.style import plain_logarithmic, tidy

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    panels = figure.subplots(1, len(AXES), sharey=True)
    shown: list[float] = []
    fitted = {row[:3]: row[4:6] for row in slopes(report)}
    for axes, (axis, name) in zip(panels, AXES.items(), strict=True):
        xs: list[float] = []
        for path, look in LOOKS.items():
            line = along(report, axis, path)
            if not line:
                continue
            values = [value for value, _, _ in line]
            axes.plot(values, [1e3 * row["total_s"] for *_, row in line], **look, linestyle="none", label=path)
            axes.plot(values, [1e3 * row["parts"]["decomposition"] for *_, row in line], **look, linestyle="none",
                      fillstyle="none", label=f"{path}, its decomposition")  # fmt: skip
            expected = prediction(report, axis, path)
            axes.plot([value for value, _ in expected], [1e3 * seconds for _, seconds in expected],
                      color=look["color"], linewidth=1.2, label=f"{path}, from the centre's operations")  # fmt: skip
            xs += values
            shown += [1e3 * each for *_, row in line for each in (row["total_s"], row["parts"]["decomposition"])]
        plain_logarithmic(axes.xaxis, xs)
        axes.set_xlabel(name)
        of_paths = {path: fitted.get((name, path, "all")) for path in LOOKS}
        said = [f"{path} {found[0]} (theory {found[1]})" for path, found in of_paths.items() if found]
        axes.set_title(f"slope: {', '.join(said)}" if said else "", loc="left", fontsize=9)
        tidy(axes)
    plain_logarithmic(panels[0].yaxis, shown)
    panels[0].set_ylabel("forward + backward, ms")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=9
    )
    return figure
