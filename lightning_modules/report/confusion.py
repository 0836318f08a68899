"""The confusion matrix of a run, read from its table. Free of torch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gcp.errors import DataError
from lightning_modules.report.files import printable, text_of

MOST_BYTES = 2**24
MOST_CLASSES = 1000  # of a page; the picture of more shows nothing
LARGEST = 2**31  # images of a cell


class Confusion(NamedTuple):
    """Which classes were taken for which.

    Attributes:
        names: of the classes.
        counts: (K, K) images, rows the true classes.
    """

    names: list[str]
    counts: NDArray[np.int64]

    def worst(self) -> list[tuple[str, int, float, str]]:
        """Name, images, share that is right, and what the others are taken for most; classes without images last."""
        found = []
        for label, (name, row) in enumerate(zip(self.names, self.counts, strict=True)):
            total, others = int(row.sum()), row.copy()
            others[label] = 0
            taken = f"{self.names[int(others.argmax())]} ({others.max()})" if others.max() > 0 else ""
            found.append((name, total, float(row[label] / total) if total else np.nan, taken))
        return sorted(found, key=lambda each: (np.isnan(each[2]), each[2]))


def read_confusion(file: Path) -> Confusion:
    """A confusion matrix as ``confusion_matrix.csv`` holds it. Raises DataError for a file that does not."""
    try:
        header, *rows = list(csv.reader(text_of(file, MOST_BYTES).splitlines()))
        counts = np.array([[int(cell) for cell in row[1:]] for row in rows], dtype=np.int64)
    except (ValueError, OverflowError, csv.Error):
        raise DataError(f"{file.name} is no confusion matrix") from None
    names = [printable(name) for name in header[1:]]
    if not names or counts.shape != (len(names), len(names)) or counts.min() < 0 or counts.max() > LARGEST:
        raise DataError(f"{file.name} is no confusion matrix")
    if len(names) > MOST_CLASSES:
        raise DataError(f"{file.name} has {len(names)} classes, a page shows {MOST_CLASSES} at most")
    return Confusion(names, counts)
