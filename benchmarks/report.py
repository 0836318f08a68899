"""The measurements as a Markdown table beside the targets, and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.parts import PARTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LineStyle = Literal["-", "--", ":"]

OVER_FLOOR = {"256x7x7": 1.4}
"""Shape to the largest ratio to the floor a method shall have on a CPU, at every batch; of others `ELSEWHERE`."""

ELSEWHERE = 1.3

SAVED_AT_MOST = {"256x7x7": 1 / 5, "256x14x14": 1 / 2}
"""Shape to the largest share of the transcription's bytes."""


def targets(case: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """What was asked, of what, what was measured, whether it is met; of one case."""
    rows, shape = case["layers"], case["shape"]
    found: list[tuple[str, str, str, bool]] = []
    for name, row in rows.items():
        kind, _, method = name.partition(" ")
        if kind != "gcp":
            continue
        classical = rows.get(f"classical {method}")  # none where no published code has the method

        def at_least(what: str, limit: float, against: str, name: str = name, row: dict[str, Any] = row) -> None:
            ratio = rows[against]["total_s"] / row["total_s"]
            found.append((what, name, f"{ratio:.3g}x", ratio >= limit))

        if case["device"] == "cpu":
            limit = OVER_FLOOR.get(shape, ELSEWHERE)
            ratio = row["total_s"] / rows["floor"]["total_s"]
            found.append((f"floor, {limit}x or less", name, f"{ratio:.3g}x", ratio <= limit))
            if _gram(shape):
                at_least("iSQRT-COV float64, 4x or more", 4, "iSQRT-COV float64")
                at_least("iSQRT-COV float32, 1x or more", 1, "iSQRT-COV float32")
        else:
            if classical is not None:
                at_least("transcription, 20x or more", 20, f"classical {method}")
            if shape == "256x7x7":
                at_least("iSQRT-COV float32, 0.5x or more", 0.5, "iSQRT-COV float32")
        if shape in SAVED_AT_MOST and classical is not None:
            share = row["saved_bytes"] / classical["saved_bytes"]
            limit = SAVED_AT_MOST[shape]
            found.append((f"bytes kept, {limit:g} or less", name, f"{share:.2f}", share <= limit))
    return found


def markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    environment = report["environment"]
    facts = ", ".join(f"{key} {value}" for key, value in environment.items() if value is not None)
    lines = [
        "# Layers: time, memory, error",
        "",
        f"{facts}; precision {report['precision']}. Medians, runs in turns.",
        "",
        "Ratios: time of the transcription of the same method over the layer's; the layer's over the floor, and that "
        "ratio in its parts: decomposition, products of matrices, elementwise work, and calls, which is what is left: "
        "an operator's time counts beyond that of a call on one number. Parts are timed apart from the total, so calls "
        "may come out below 0. Errors: relative, against the exact derivative in float64 (for pi, taylor, topn and "
        "newton this holds their own approximation).",
        "",
    ]
    for case in report["cases"]:
        lines += case_lines(case)
    return "\n".join(lines) + "\n"


def case_lines(case: dict[str, Any]) -> list[str]:
    """A case as a section, its targets below."""
    lines = [f"## {case['shape']}, batch {case['batch']}, {case['device']}", ""]
    lines += table(
        ("layer", "forward ms", "backward ms", "total ms", "times faster", "over floor", *PARTS, "calls", "peak MiB",
         "kept MiB", "value error", "gradient error", "runs"),
        [_row(name, row, case["layers"]) for name, row in case["layers"].items()],
    )  # fmt: skip
    checks = targets(case)
    if checks:
        lines += ["Targets:", ""]
        lines += table(
            ("against", "layer", "measured", ""), [(*c[:3], "met" if c[3] else "**not met**") for c in checks]
        )
    return lines


def plot(report: dict[str, Any], path: Path) -> None:
    """The picture of the times, to ``path``."""
    figure(report).savefig(path, dpi=130)


def figure(report: dict[str, Any]) -> Figure:
    """Total time of each method beside its transcription, one panel per case."""
    from matplotlib.figure import Figure

    from lightning_modules.plots.style import method_styles, plain_logarithmic, tidy

    cases = report["cases"]
    columns = 2 if len(cases) > 1 else 1
    lines = -(-len(cases) // columns)
    picture = Figure(figsize=(6 * columns, 1 + 3.2 * lines), layout="constrained")
    panels = picture.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(cases) :]:
        axes.set_visible(False)
    for axes, case in zip(panels, cases, strict=False):
        rows = case["layers"]
        methods = [name.removeprefix("gcp ") for name in rows if name.startswith("gcp ")]
        looks = method_styles(methods)
        shown = [rows["floor"]["total_s"] * 1e3]
        for position, method in enumerate(methods):
            look = {"color": looks[method]["color"], "marker": looks[method]["marker"], "markersize": 8}
            ours = 1e3 * rows[f"gcp {method}"]["total_s"]
            axes.plot([ours], [position], **look)
            shown.append(ours)
            if f"classical {method}" in rows:
                theirs = 1e3 * rows[f"classical {method}"]["total_s"]
                axes.plot([theirs], [position], **look, fillstyle="none", markeredgewidth=1.5)
                shown.append(theirs)
        for name, style in REFERENCES.items():
            time = rows[name]["total_s"] * 1e3
            axes.axvline(time, linestyle=style, color="black", linewidth=1.2)
            shown.append(time)
        plain_logarithmic(axes.xaxis, shown)
        axes.set_yticks(range(len(methods)), methods)
        axes.invert_yaxis()
        axes.set_title(f"{case['shape']}, batch {case['batch']}, {case['device']}", loc="left", fontsize=11)
        axes.set_xlabel("forward + backward, ms")
        tidy(axes)
    picture.legend(handles=_legend(), loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    return picture


REFERENCES: dict[str, LineStyle] = {"floor": "-", "iSQRT-COV float32": "--", "iSQRT-COV float64": ":"}
"""Lines across a panel: what no method has a part in."""


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    filled: dict[str, Any] = {"color": "0.3", "marker": "o", "markersize": 8, "linestyle": "none"}
    return [
        Line2D([], [], **filled, label="this library"),
        Line2D([], [], **filled, fillstyle="none", markeredgewidth=1.5, label="transcription"),
        *(
            Line2D([], [], color="black", linestyle=style, linewidth=1.2, label=name)
            for name, style in REFERENCES.items()
        ),
    ]


def _gram(shape: str) -> bool:
    channels, height, width = map(int, shape.split("x"))
    return height * width < channels


def _row(name: str, row: dict[str, Any], rows: dict[str, Any]) -> tuple[str, ...]:
    classical = rows.get(f"classical {name.removeprefix('gcp ')}")
    faster = f"{classical['total_s'] / row['total_s']:.1f}" if classical and name.startswith("gcp ") else ""
    times = [f"{row[key] * 1e3:.2f}" for key in ("forward_s", "backward_s", "total_s")]
    sizes = [f"{row[key] / 2**20:.2f}" if row.get(key) is not None else "" for key in ("peak_bytes", "saved_bytes")]
    errors = [f"{row[key]:.1e}" if key in row else "" for key in ("value_error", "gradient_error")]
    floor = rows["floor"]["total_s"]
    over = f"{row['total_s'] / floor:.2f}"
    parts = [""] * (len(PARTS) + 1)
    if "parts" in row:
        left = row["total_s"] - sum(row["parts"][part] for part in PARTS)
        parts = [f"{seconds / floor:.2f}" for seconds in [*(row["parts"][part] for part in PARTS), left]]
    return (name, *times, faster, over, *parts, *sizes, *errors, str(row["runs"]))


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The lines of a Markdown table, with an empty one at the end."""
    return ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)] + [""]
