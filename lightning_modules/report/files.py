"""The files of a run directory, read as what they may be: damaged, hostile, or of something else. Free of torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gcp.errors import DataError, first_line
from lightning_modules.metric_names import VAL_ACCURACY
from lightning_modules.metrics_file import Row, read_rows

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # plain values only, in C where PyYAML was built with it
DEEPEST = 32  # levels of a configuration
MOST_BYTES = 2**18  # of a summary, a configuration, a list of overrides: ours have some kilobytes
MOST_BYTES_OF_METRICS = 2**28
MOST_BYTES_OF_A_LINE = 2**16
SHOWN = 200  # characters of a text that is not ours
EPOCH = "epoch"


class Curve(NamedTuple):
    """Validation accuracies of a run.

    Attributes:
        points: (epoch, val/acc1), epochs counted from 1.
        damage: what of the file could not be used, in words; None: all of it could.
    """

    points: list[tuple[int, float]]
    damage: str | None = None


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object. Raises DataError for a file that holds something else."""
    text = text_of(file)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file.name} is not JSON ({_first_line(error)})") from None
    if not isinstance(content, dict):
        raise DataError(f"{file.name} holds {_kind(content)} where a run has names and values")
    return content


def read_yaml(file: Path) -> Any:
    """A YAML document of plain values. Raises DataError for anything else, and for one that grows as it is read."""
    text = text_of(file)
    try:
        _check_events(file.name, yaml.parse(text, Loader=LOADER))
        return yaml.load(text, Loader=LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"{file.name} is not YAML ({_first_line(error)})") from None


def read_curve(file: Path) -> Curve:
    """The column ``val/acc1`` of metrics.csv; lines that are damaged or only half written are counted, not used."""
    if not file.is_file():
        return Curve([])
    try:
        with readable_metrics(file) as (names, rows):
            return _curve(file.name, names, rows)
    except DataError as error:
        return Curve([], str(error))


@contextmanager
def readable_metrics(file: Path) -> Iterator[tuple[list[str], Iterator[Row | None]]]:
    """Names of the columns of metrics.csv, and its rows, None for damaged ones.

    Raises DataError, also while rows are read: it is too large, no table of metrics, or cannot be read.
    """
    try:
        if file.stat().st_size > MOST_BYTES_OF_METRICS:
            raise DataError(f"{file.name} has more than {MOST_BYTES_OF_METRICS >> 20} MiB and is not read")
        try:
            names, rows = read_rows(_lines(file))
        except ValueError:
            names, rows = [], iter(())
        if EPOCH not in names:
            raise DataError(f"{file.name} is not a table of metrics")
        yield names, (row for _, row in rows)
    except OSError as error:
        raise DataError(f"{file.name} cannot be read ({error.strerror})") from None


def printable(value: object) -> str:
    """A text from a file as one line that does nothing to a terminal."""
    text = "".join(character if character.isprintable() else " " for character in str(value)[: SHOWN + 1])
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _check_events(name: str, events: Iterable[yaml.Event]) -> None:
    """Before anything is built: no aliases, by which a small file becomes a large value, and no deep nesting."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise DataError(f"{name} has aliases (*name), which no run writes and which can grow without bound")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise DataError(f"{name} is nested more than {DEEPEST} levels deep, which no run's is")


def _curve(name: str, names: list[str], rows: Iterator[Row | None]) -> Curve:
    if VAL_ACCURACY not in names:
        return Curve([])
    points: dict[int, float] = {}
    damaged = 0
    for row in rows:
        if row is None:
            damaged += 1
        elif row[VAL_ACCURACY]:
            point = _point(row[EPOCH], row[VAL_ACCURACY])
            if point is None:
                damaged += 1
            else:
                points[point[0]] = point[1]
    return Curve(sorted(points.items()), lost_lines(name, damaged))


def lost_lines(name: str, damaged: int) -> str | None:
    """What is said of ``damaged`` lines of a file; None where there are none."""
    return f"{damaged} damaged line{'s'[: damaged > 1]} of {name} left out" if damaged else None


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while line := stream.readline(MOST_BYTES_OF_A_LINE):
            yield line


def _point(epoch: str, accuracy: str) -> tuple[int, float] | None:
    try:
        number, value = float(epoch), float(accuracy)
    except ValueError:
        return None
    return (int(number), value) if math.isfinite(number) and number >= 0 and 0 <= value <= 1 else None


def text_of(file: Path, most: int = MOST_BYTES) -> str:
    """A small text file. Raises DataError for a large one, or one that is no text."""
    try:
        if not file.is_file():
            raise DataError(f"{file.name} is not a file")
        if file.stat().st_size > most:
            raise DataError(f"{file.name} has {file.stat().st_size >> 10} KiB, a run's has a few")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{file.name} is not text in UTF-8") from None
    except OSError as error:
        raise DataError(f"{file.name} cannot be read ({error.strerror})") from None


def _first_line(error: BaseException) -> str:
    return printable(first_line(error))


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", type(None): "nothing"}.get(type(value), "a single value")
