"""metrics.csv as it is found: a process that died, or a full disk, may have left damaged lines. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

STEP = "step"
FIRST_ROW = 2  # line of the file, below the names

Row = dict[str, str]


def read_rows(lines: Iterable[bytes]) -> tuple[list[str], Iterator[tuple[int, Row | None]]]:
    """Names of the columns, and each line with its number, counted from 1: a row, or None if it is damaged.

    A line counts if it is whole: ended, UTF-8 without NUL, a field for each name, numbers or nothing in them and a step
    among them. The last line of a process that was killed may have lost the end of a number.

    Args:
        lines: with their ends, as a file opened in binary mode gives them.

    Raises:
        ValueError: the line of names is damaged.
    """
    rest = iter(lines)
    names = _fields(next(rest, b""))
    if not names or STEP not in names or len(set(names)) < len(names):
        raise ValueError("no line of names")
    return names, ((number, _row(names, line)) for number, line in enumerate(rest, FIRST_ROW))


def _row(names: list[str], line: bytes) -> Row | None:
    fields = _fields(line)
    if fields is None or len(fields) != len(names) or not _all_numbers(fields):
        return None
    row = dict(zip(names, fields, strict=True))
    return row if row[STEP].isdigit() else None


def _fields(line: bytes) -> list[str] | None:
    """The fields of a line; None: it has no end, or is no text of ours."""
    if not line.endswith(b"\n"):
        return None
    try:
        text = line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return None
    return None if not text.isprintable() or '"' in text else text.split(",")


def _all_numbers(fields: Iterable[str]) -> bool:
    try:
        return all(field == "" or float(field) is not None for field in fields)
    except ValueError:
        return False
