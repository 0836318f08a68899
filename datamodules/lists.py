"""Lists in text files, as datasets come with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcp.errors import DataError


@contextmanager
def parsing(file: Path) -> Iterator[None]:
    """Turn any error in the block, which reads the list ``file``, into a DataError that names it."""
    try:
        yield
    except (KeyError, ValueError, IndexError, TypeError, OverflowError) as error:
        reason = f"unknown entry {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"the list {file} is not as it was published ({reason}); restore it from the archive") from None


def lines(file: Path) -> list[str]:
    """Lines of a list, without empty ones. Raises DataError if it cannot be read."""
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list {file} cannot be read ({error}); restore it from the archive") from None


def by_id(file: Path, ids: dict[str, str] | None = None) -> dict[str, str]:
    """Lines "ID VALUE" of a list. Raises DataError for an ID that is there twice or not among ``ids``."""
    with parsing(file):
        pairs = [line.split(maxsplit=1) for line in lines(file)]
        found: dict[str, str] = dict(pairs)
        if len(found) < len(pairs):
            again = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise ValueError(f"it has the number {again} twice")
        odd = [] if ids is None else sorted(found.keys() ^ ids.keys())
        if odd:
            raise ValueError(f"it and the other lists differ in {len(odd)} numbers: {', '.join(odd[:3])}")
    return found


def in_order(names: dict[int, str], file: Path) -> list[str]:
    """Names of classes by label. Raises DataError, which names the list ``file``, unless labels are 0, 1, 2, ..."""
    with parsing(file):
        if names and (min(names), max(names)) != (0, len(names) - 1):
            raise ValueError(f"labels from {min(names) + 1} to {max(names) + 1} for {len(names)} classes")
    return [names[label] for label in range(len(names))]
