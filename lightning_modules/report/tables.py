"""The rows of a report as CSV and as Markdown."""

from __future__ import annotations

import math
from pathlib import Path

from lightning_modules import metric_names as names
from lightning_modules.report.files import printable
from lightning_modules.report.groups import PLACE, Row, Section, comparisons, sections
from lightning_modules.report.runs import METRIC, Found, RunRecord, Skipped
from lightning_modules.report.significance import significance
from lightning_modules.run.storage import write_csv

HEADER = ["method", "test acc", "± seeds", "val acc", "test loss", "train s", "images/s", "runs", "failed"]
UNBALANCED = {names.TEST_BALANCED_ACCURACY: "balanced acc", names.TEST_MACRO_F1: "macro F1"}  # where a run has them

NUMBERS = (
    f"{METRIC}_mean",
    f"{METRIC}_std",
    f"{names.VAL_ACCURACY}_mean",
    f"{names.VAL_ACCURACY}_std",
    f"{names.TEST_ACCURACY_5}_mean",
    f"{names.TEST_LOSS}_mean",
    "train_seconds_mean",
    "images_per_second_mean",
    "published",
)


def write_rows(rows: list[Row], file: Path) -> None:
    """One line per method and setting."""
    columns = sorted({name for row in rows for name in row.options})
    unbalanced = unbalanced_of(rows)
    more = [f"{name}_{kind}" for name in unbalanced for kind in ("mean", "std")]
    lines: list[list[object]] = [["method", *PLACE, *columns, "runs", "failed", *NUMBERS, *more]]
    for row in rows:
        numbers = [
            row.mean(), row.spread(), row.mean(names.VAL_ACCURACY), row.spread(names.VAL_ACCURACY),
            row.mean(names.TEST_ACCURACY_5), row.mean(names.TEST_LOSS), row.mean("train_seconds"),
            row.mean("images_per_second"), row.published,
            *(number for name in unbalanced for number in (row.mean(name), row.spread(name))),
        ]  # fmt: skip
        setting = [*(row.setting.get(name, "") for name in PLACE), *(row.options.get(name, "") for name in columns)]
        texts = ["" if number is None else repr(round(number, 6)) for number in numbers]
        lines.append([row.method, *setting, len(row.runs), len(row.failed), *texts])
    write_csv(file, lines)


def markdown(rows: list[Row], picture: str, found: Found | None = None, caption: str = "") -> str:
    """Tables, what they show, the failures, and what is in no table."""
    parts = ["# Comparison", f"![accuracy, time and learning curves]({picture})"] + [caption] * bool(caption)
    for section in sections(rows):
        parts.append(f"## {section.title}")
        published = any(row.published is not None for row in section.rows)
        unbalanced = unbalanced_of(section.rows)
        names_of_more = [UNBALANCED[name] for name in unbalanced]
        header = [HEADER[0], *section.columns, *HEADER[1:], *names_of_more, *["published"] * published]
        lines = [_line(header), _line(["---"] * len(header))]
        for row in section.rows:
            label, *numbers = cells(row)
            more = [_percent(row.mean(name)) for name in unbalanced]
            lines.append(_line([label, *section.cells(row), *numbers, *more, *[_percent(row.published)] * published]))
        parts += ["\n".join(lines), *conclusions(section)]
        sources = {run.published.get("source") for row in section.rows for run in row.runs}
        parts += [f"Published: {source}." for source in sorted(printable(each) for each in sources if each)]
    failed = [Skipped(run.directory, reason(run)) for row in rows for run in row.failed]
    repeats = [each for row in rows for each in row.repeats]
    left_out = repeats + (found.skipped if found else [])
    for title, entries in (("Failed", failed), ("Left out", left_out), ("Damaged", found.damage if found else [])):
        if entries:
            parts += [f"## {title}", "\n".join(f"- `{each.directory.name}`: {each.reason}" for each in entries)]
    return "\n\n".join(parts) + "\n"


def conclusions(section: Section) -> list[str]:
    """What the comparisons of a section show, each under its setting; what holds for all of them once."""
    groups = comparisons(section.rows)
    found = [(setting, sentence) for setting, group in groups if (sentence := significance(group).sentence())]
    if len({sentence for _, sentence in found}) == 1:
        return [found[0][1]]
    return [
        f"{', '.join(f'{name}={setting[name]}' for name in section.columns if name in setting)}: {sentence}"
        for setting, sentence in found
    ]


def reason(run: RunRecord) -> str:
    """Why a run has no result."""
    if run.ok:
        return f"finished without {METRIC}"
    error = run.summary.get("error")
    status = printable(run.summary.get("status"))
    return printable(str(error).split("\n")[0]) if error else f"status {status}: it still runs, or was killed"


def cells(row: Row) -> list[str]:
    """What `HEADER` names, as text."""
    loss, seconds, speed = (row.mean(name) for name in (names.TEST_LOSS, "train_seconds", "images_per_second"))
    return [
        row.method,
        _percent(row.mean()),
        _percent(row.spread()),
        _percent(row.mean(names.VAL_ACCURACY)),
        "" if loss is None else f"{loss:.4f}",
        "" if seconds is None else f"{seconds:.1f}",
        "" if speed is None else f"{speed:.0f}",
        str(len(row.runs)),
        str(len(row.failed)),
    ]


def unbalanced_of(rows: list[Row]) -> list[str]:
    """The metrics of unbalanced data that at least one row has."""
    return [name for name in UNBALANCED if any(row.values(name) for row in rows)]


def _percent(value: float | None) -> str:
    return "" if value is None else "nan" if math.isnan(value) else f"{value:.2%}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
