"""Which image files there are, what they show and what to cut out of them."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gcp.errors import DataError

Box = tuple[int, int, int, int]
Row = tuple[str, int, Box | None]


class Record(NamedTuple):
    """A labelled image file.

    Attributes:
        path: the file.
        label: 0 .. number of classes - 1.
        box: left, upper, right and lower edge of what is to be cut out first, in pixels, as slices take them (they may
            lie beyond the image; right and lower, when negative, count from the end); None: all of it.
    """

    path: Path
    label: int
    box: Box | None = None


class Records(Sequence[Record]):
    """Many records in three arrays, which loading processes share with the one they were started from.

    ImageNet's 1.3 million take 100 MB. As Python objects they would take six times that, and every loading process
    would come to have a copy of its own, because looking at an object writes its reference count.

    Args:
        records: records, or the same as tuples with the path as text. Raises DataError for a label no integer holds.

    Attributes:
        labels: (N,) int64.
    """

    def __init__(self, records: Iterable[Record | Row]) -> None:
        names, ends, labels, boxes = bytearray(), array("q"), array("q"), array("q")
        boxed = array("b")
        for path, label, box in records:
            names += os.fsencode(path)
            ends.append(len(names))
            if abs(label) >= 1 << 62:
                raise DataError(f"the lists give {path} the label {label}; restore them from the archive")
            labels.append(label)
            boxed.append(box is not None)
            boxes.extend(box or ())
        self._names = np.frombuffer(bytes(names), dtype=np.uint8)
        self._ends = np.array(ends, dtype=np.int64)
        self.labels = np.array(labels, dtype=np.int64)
        self._box = np.where(np.array(boxed, dtype=bool), np.cumsum(boxed) - 1, -1)  # row of the box; -1: none
        self._boxes = np.array(boxes, dtype=np.int64).reshape(-1, 4)

    @classmethod
    def of(cls, records: Iterable[Record | Row]) -> Records:
        """``records`` as this class; unchanged if they are already."""
        return records if isinstance(records, cls) else cls(records)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, position: int) -> Record:  # type: ignore[override]  # slices: see `select`
        path, label, box = self._row(range(len(self))[position])  # negative ones; IndexError
        return Record(Path(path), label, box)

    def path(self, position: int) -> str:
        """The file at a position that is not negative."""
        begin = self._ends[position - 1] if position else 0
        return os.fsdecode(self._names[begin : self._ends[position]].tobytes())

    def paths(self) -> Iterator[str]:
        """All files."""
        return map(self.path, range(len(self)))

    def select(self, positions: np.ndarray) -> Records:
        """Those at ``positions``, which are not negative."""
        return Records(map(self._row, positions.tolist()))

    def _row(self, position: int) -> Row:
        row = self._box[position]
        box: Box | None = None if row < 0 else tuple(self._boxes[row].tolist())
        return self.path(position), int(self.labels[position]), box
