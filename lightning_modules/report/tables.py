"""The rows of a report as CSV and as Markdown."""

from __future__ import annotations

import csv
from pathlib import Path

from lightning_modules.report.groups import METRIC, Row, comparisons, described
from lightning_modules.report.significance import significance

HEADER = ["method", "test accuracy", "± over seeds", "validation", "test loss", "train s", "images/s", "runs", "failed"]

NUMBERS = (
    f"{METRIC}_mean",
    f"{METRIC}_std",
    "val/acc1_mean",
    "val/acc1_std",
    "test/acc5_mean",
    "test/loss_mean",
    "train_seconds_mean",
    "images_per_second_mean",
    "published",
)


def write_csv(rows: list[Row], file: Path) -> None:
    """One line per method and setting."""
    columns = sorted({name for row in rows for name in row.setting} - {"backbone", "dataset"})
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["method", "backbone", "dataset", *columns, "runs", "failed", *NUMBERS])
        for row in rows:
            numbers = [
                row.mean(), row.spread(), row.mean("val/acc1"), row.spread("val/acc1"), row.mean("test/acc5"),
                row.mean("test/loss"), row.mean("train_seconds"), row.mean("images_per_second"), row.published,
            ]  # fmt: skip
            setting = [row.setting.get(name, "") for name in ("backbone", "dataset", *columns)]
            texts = ["" if number is None else repr(round(number, 6)) for number in numbers]
            writer.writerow([row.method, *setting, len(row.runs), len(row.failed), *texts])


def markdown(rows: list[Row], picture: str) -> str:
    """Tables, what they show, and the failures."""
    parts = ["# Comparison", f"![accuracy, time and learning curves]({picture})"]
    for setting, group in comparisons(rows):
        parts.append(f"## {described(setting)}")
        ranked = sorted(group, key=lambda row: -1 if (mean := row.mean()) is None else mean, reverse=True)
        published = any(row.published is not None for row in group)
        header = [*HEADER, "published"] if published else HEADER
        lines = [_line(header), _line(["---"] * len(header))]
        for row in ranked:
            lines.append(_line([*cells(row), _percent(row.published)] if published else cells(row)))
        parts += ["\n".join(lines), significance(group).sentence()]
        sources = {run.published["source"] for row in group for run in row.runs if run.published.get("source")}
        parts += [f"Published: {source}." for source in sorted(map(str, sources))]
    failed = [run for row in rows for run in row.failed]
    if failed:
        errors = [f"- `{run.directory.name}`: {_reason(run.summary)}" for run in failed]
        parts += ["## Failed", "\n".join(errors)]
    return "\n\n".join(parts) + "\n"


def _reason(summary: dict[str, object]) -> str:
    return str(summary.get("error") or f"status {summary.get('status')}").split("\n")[0]


def cells(row: Row) -> list[str]:
    """What `HEADER` names, as text."""
    loss, seconds, speed = (row.mean(name) for name in ("test/loss", "train_seconds", "images_per_second"))
    return [
        row.method,
        _percent(row.mean()),
        _percent(row.spread()),
        _percent(row.mean("val/acc1")),
        "" if loss is None else f"{loss:.4f}",
        "" if seconds is None else f"{seconds:.1f}",
        "" if speed is None else f"{speed:.0f}",
        str(len(row.runs)),
        str(len(row.failed)),
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
