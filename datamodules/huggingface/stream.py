"""A split that is read from its files of Parquet as it is needed, each loading process a stretch of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        places = lane.start + np.asarray(wanted, dtype=np.int64)
        turns = np.searchsorted(ends, places, side="right")  # which group in the order
        for turn in np.unique(turns):
            group = order[turn]
            begin = int(ends[turn] - groups.rows[group])
            yield from self._of_group(group, places[turns == turn] - begin)

    def _of_group(self, group: int, wanted: np.ndarray) -> Iterator[Sample]:
        """The rows ``wanted``, which increase, of a row group."""
        groups = self.groups
        before = 0
        for batch in rows_of(groups.files[groups.file[group]], int(groups.group[group]), self.columns):
            inside = wanted[(wanted >= before) & (wanted < before + len(batch))] - before
            for row in inside.tolist():
                yield self._sample(batch, row, int(groups.start[group]) + before + row)
            before += len(batch)
            if before > wanted[-1]:
                return

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
