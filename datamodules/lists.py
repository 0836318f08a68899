"""Lists in text files, as datasets come with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcp.errors import DataError


@contextmanager
def parsing(file: Path) -> Iterator[None]:
    """Make a DataError that names the list ``file`` of whatever its contents lead to."""
    try:
        yield
    except (KeyError, ValueError, IndexError, TypeError, OverflowError) as error:
        reason = f"unknown entry {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"the list {file} is not as it was published ({reason}); restore it from the archive") from None


def lines(file: Path) -> list[str]:
    """Lines of a list, without empty ones. Raises DataError if it cannot be read."""
    try:
        return [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list {file} cannot be read ({error}); restore it from the archive") from None


def by_id(file: Path, ids: dict[str, str] | None = None) -> dict[str, str]:
    """Lines "ID VALUE" of a list. Raises DataError if its IDs are others than those of ``ids``."""
    with parsing(file):
        found: dict[str, str] = dict(line.split(maxsplit=1) for line in lines(file))
        odd = [] if ids is None else sorted(found.keys() ^ ids.keys())
        if odd:
            raise ValueError(f"it and the other lists differ in {len(odd)} numbers: {', '.join(odd[:3])}")
    return found


def in_order(names: dict[int, str]) -> list[str]:
    """Names of classes by label, "?" for a label that has none."""
    return [names.get(label, "?") for label in range(max(names, default=-1) + 1)]
