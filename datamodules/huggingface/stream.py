"""A split that is read from its files of Parquet as it is needed, each loading process a stretch of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from datamodules.huggingface.parquet import RowGroups, rows_of
from datamodules.huggingface.rows import REMEDY
from datamodules.lanes import Lane
from datamodules.seeding import private_generator
from datamodules.streams import Sample
from gcp.errors import DataError

if TYPE_CHECKING:
    import pyarrow


class ParquetStream:
    """Rows in the order of their files; in training, files and the row groups in them are in another order each epoch.

    A lane is a contiguous range of that order, so that nothing is read twice but a row group in which two lanes meet.

    Args:
        split: its name.
        groups: the row groups of its files.
        columns: those of images and labels.
        names: of the classes, where labels are text; None: they are numbers.
        seed: of the order.
    """

    def __init__(
        self, split: str, groups: RowGroups, columns: tuple[str, str], names: list[str] | None, seed: int
    ) -> None:
        self.split = split
        self.groups = groups
        self.columns = columns
        self.numbers = None if names is None else {name: number for number, name in enumerate(names)}
        self.seed = seed

    def __len__(self) -> int:
        return self.groups.total

    def read(self, lane: Lane, wanted: Sequence[int]) -> Iterator[Sample]:
        """The samples at the places ``wanted`` of ``lane``, which increase. Raises DataError for what is no sample."""
        groups, order = self.groups, np.arange(len(self.groups.rows))
        if lane.training:
            order = groups.shuffled(private_generator(self.seed, lane.epoch))
        ends = np.cumsum(groups.rows[order])
        if not len(wanted):
            return
        places = lane.start + np.asarray(wanted, dtype=np.int64)
        turns = np.searchsorted(ends, places, side="right")  # which group in the order
        begins = ends[turns] - groups.rows[order[turns]]
        cuts = np.flatnonzero(np.diff(turns)) + 1  # where the next group begins
        visits = zip(order[turns[[0, *cuts]]].tolist(), np.split(places - begins, cuts), strict=True)
        for file, inside in groupby(visits, lambda visit: groups.file[visit[0]]):
            yield from self._of_file(groups.files[file], dict(inside))

    def _of_file(self, file: str, wanted: dict[int, np.ndarray]) -> Iterator[Sample]:
        """The rows ``wanted``, which increase, of each row group of a file."""
        numbers = {int(self.groups.group[group]): group for group in wanted}
        for number, batches in rows_of(file, numbers, self.columns):
            start, rows, before = int(self.groups.start[numbers[number]]), wanted[numbers[number]], 0
            for batch in batches:
                inside = rows[(rows >= before) & (rows < before + len(batch))] - before
                for row in inside.tolist():
                    yield self._sample(batch, row, start + before + row)
                before += len(batch)
                if before > rows[-1]:
                    break

    def _sample(self, batch: pyarrow.RecordBatch, row: int, position: int) -> Sample:
        name = f"{self.split}[{position}]"
        value, label = (batch.column(column)[row].as_py() for column in self.columns)
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            named = isinstance(value, dict) and value.get("path")
            held = f"the name of a file ({named}) and no image" if named else "no image (null)"
            raise DataError(f"the row {name} holds {held}; {REMEDY}, or leave out data.streaming")
        if label is None:
            raise DataError(f"the row {name} has no label (null); {REMEDY}")
        if self.numbers is not None and label not in self.numbers:
            raise DataError(f"the row {name} has the label {label!r}, which no training image has; {REMEDY}")
        return Sample(content, int(label) if self.numbers is None else self.numbers[label], position, name)
