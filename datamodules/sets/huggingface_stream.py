"""A dataset of the library ``datasets`` that is read as it comes, from files of Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from datamodules.checks import check_classes
from datamodules.huggingface.choosing import Chosen, choose, place_of
from datamodules.huggingface.columns import TEXT, dtype_of, is_classes
from datamodules.huggingface.labels import class_names, numbered
from datamodules.huggingface.opening import Opened, open_dataset, root_of
from datamodules.huggingface.parquet import RowGroups, read_footers, rows_of
from datamodules.huggingface.rows import REMEDY
from datamodules.huggingface.schemas import PARQUET, is_local
from datamodules.huggingface.stream import ParquetStream
from datamodules.options import HuggingFaceOptions
from datamodules.stream_module import StreamDataModule, Streams
from gcp.errors import DataError, few

if TYPE_CHECKING:
    import pyarrow


class HuggingFaceStream(StreamDataModule):
    """Rows of Parquet files on this machine or on the Hub, each read when it is needed, and nothing prepared."""

    options: HuggingFaceOptions
    remedy = REMEDY

    def open(self) -> Streams:
        """Splits and columns as of tables; numbers of rows from the footers of the files."""
        options = self.options
        root = root_of(options)
        opened = open_dataset(root, options.subset, options.revision, streaming=True)
        chosen = choose(opened, options, root)
        _check_possible(opened, chosen, root)
        self._notes = chosen.notes
        columns = (chosen.image, chosen.label)
        groups = {
            part: read_footers(opened.files[split], columns, chosen.feature, split)
            for part, split in chosen.splits.items()
        }
        names, counts = self._classes(chosen, groups, root)
        known = names if dtype_of(chosen.feature) in TEXT else None
        streams = {
            part: ParquetStream(chosen.splits[part], each, columns, known, options.seed)
            for part, each in groups.items()
        }
        test = streams.get("test") or streams["val"]
        return Streams(names, streams["train"], test, streams.get("val") if "test" in streams else None, counts)

    def describe(self) -> str:
        """Also which splits and files are not used."""
        return "; ".join([super().describe(), *self._notes])

    def _classes(self, chosen: Chosen, groups: dict[str, RowGroups], root: str) -> tuple[list[str], np.ndarray | None]:
        """Names, and numbers of training images; the column of labels is read for them where that is cheap."""
        if not all(is_local(file) for each in groups.values() for file in each.files):
            if not is_classes(chosen.feature):
                raise DataError(
                    f"data.streaming=true of {root} on the Hub needs labels of the type ClassLabel, which names the "
                    f"classes, and {chosen.label} is not; leave out data.streaming"
                )
            return list(chosen.feature.names), None
        names: list[str] = []
        counts = None
        for part, each in groups.items():  # the training images first
            where = place_of(chosen.label, chosen.splits[part])
            values = _labels(each, chosen.label)
            names = names or class_names(chosen.feature, values, where)
            labels = numbered(chosen.feature, values, names, where)
            if part == "train":
                check_classes(names, labels)
                counts = np.bincount(labels, minlength=len(names))
        return names, counts


def _labels(groups: RowGroups, column: str) -> pyarrow.ChunkedArray:
    import pyarrow as pa

    found = []
    for number, file in enumerate(groups.files):
        for _, batches in rows_of(file, groups.group[groups.file == number].tolist(), [column]):
            found += [batch.column(column) for batch in batches]
    return pa.chunked_array(found)


def _check_possible(opened: Opened, chosen: Chosen, root: str) -> None:
    """Raise DataError for what cannot be streamed."""
    if len(chosen.splits) == 1:
        raise DataError(
            f"{root} has no split to test on beside {chosen.splits['train']}, and a stream cannot be divided; name one "
            "with data.test_split, or leave out data.streaming"
        )
    files = [file for split in chosen.splits.values() for file in opened.files.get(split, [])]
    others = [file for file in files if not file.lower().endswith(PARQUET)]
    if not files:
        raise DataError(
            f"data.streaming=true reads files of Parquet, and {root} is a table already, which is read as it is "
            "needed; leave it out"
        )
    if others:
        raise DataError(
            f"data.streaming=true reads files of Parquet, and {root} has {few(others, 2)}; leave it out, or, on the "
            "Hub, try data.revision=refs/convert/parquet"
        )
