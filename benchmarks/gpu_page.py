"""What was measured on a GPU, as a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.report import case_lines, table
from benchmarks.scaling_page import slopes, training_steps, winners


def page(report: dict[str, Any]) -> str:
    """The parts that are there; each figure stands under the name of the card and the version of torch."""
    facts = report["environment"]
    card = facts["cuda"] or f"no GPU, {facts['cpu']}"
    where = f"{card}, torch {facts['torch']}, {facts['date']}"
    text = ["# On a GPU", "", f"`python -m benchmarks.gpu`; {where}. Medians of runs in turns.", ""]
    for name, show in SECTIONS.items():
        if name in report["parts"]:
            text += [*show(report["parts"][name], where), ""]
    return "\n".join(text).rstrip() + "\n"


def _decompositions(rows: list[dict[str, Any]], where: str) -> list[str]:
    ways = [name for name in rows[0] if name not in ("rows", "batch", "refined_error")]
    solvers = [way for way in ways if way != "float32 alone"]
    lines = [
        (str(row["rows"]), str(row["batch"]), *(f"{row[way]:.2f}" for way in ways), f"{row['refined_error']:.0e}",
         min(solvers, key=lambda way: row[way]))
        for row in rows
    ]  # fmt: skip
    return [
        "## Ways to decompose", "",
        f"{where}. Milliseconds for a batch of Gram matrices, by `solver`; largest error of eigenvalues by `refined`, "
        "relative to the largest one.", "",
        *table(("rows", "batch", *ways, "error of refined", "fastest"), lines),
    ]  # fmt: skip


def _layers(cases: list[dict[str, Any]], where: str) -> list[str]:
    return [line for case in cases for line in [*case_lines(case), where + ".", ""]]


def _steps(rows: list[dict[str, Any]], where: str) -> list[str]:
    text = ["## Training steps of ResNet-50", ""]
    for precision in dict.fromkeys(row["precision"] for row in rows):
        these = {row["pooling"]: row for row in rows if row["precision"] == precision}
        first = next(iter(these.values()))
        text += [f"{where}; {precision}, batch {first['batch']} at {first['pixels']} px.", "", *training_steps(these)]
    return text


def _looks(rows: list[dict[str, Any]], where: str) -> list[str]:
    lines = [
        (row["layer"], "" if row["waits"] is None else str(row["waits"]), f"{row['eager_ms']:.3f}",
         "" if row["waits"] is None else "not captured" if row["graph_ms"] is None else f"{row['graph_ms']:.3f}")
        for row in rows
    ]  # fmt: skip
    return ["## Waiting, and CUDA graphs", "", f"{where}. Forward and backward.", "",
            *table(("layer", "waits", "ms", "ms in a graph"), lines)]  # fmt: skip


def _collectives(found: dict[str, Any], where: str) -> list[str]:
    size = f"{found['bytes'] / 2**20:.0f} MiB, the classifier's gradient"
    said = (
        f"one GPU: the all-reduce of {size}, was not measured."
        if found["seconds"] is None
        else f"all-reduce of {size}, over {found['processes']} processes: {1e3 * found['seconds']:.2f} ms."
    )
    return ["## Several GPUs", "", f"{where}; {said}", ""]


def _growth(report: dict[str, Any], where: str) -> list[str]:
    head = ("what grows", "path", "time of", "sizes", "measured", "theory", "leading term", "within")
    return ["## Growth", "", f"{where}.", "", *table(head, slopes(report)),
            *table(("C", "N", "gram ms", "dense ms", "faster", "auto"), winners(report))]  # fmt: skip


SECTIONS: dict[str, Callable[[Any, str], list[str]]] = {
    "decompositions": _decompositions,
    "layers": _layers,
    "steps": _steps,
    "looks": _looks,
    "collectives": _collectives,
    "growth": _growth,
}
