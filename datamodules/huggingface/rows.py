"""Images in the rows of a table that lies in files of Arrow, which are mapped into memory and not read into it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from datamodules.augmented import FileSource
from datamodules.checks import END, FileContents
from datamodules.decoding import ImageError, decode_contents
from datamodules.huggingface.library import reading
from datamodules.records import Record

if TYPE_CHECKING:
    import pyarrow

AT_A_TIME = 1000  # rows whose lengths are looked at together
ROW = re.compile(r"(.+)\[(\d+)\]")  # train[5], as the library's users write it
REMEDY = "replace it in the dataset"
NOTHING = -1  # length of an image that is not in the table


class Rows:
    """The column of images of one split. Loading processes share the files, and get their names, not what they hold.

    Args:
        dataset: a ``datasets.Dataset`` of the library.
        split: its name.
        column: the images: of the library's type, structs with their bytes, or bytes.
    """

    def __init__(self, dataset: Any, split: str, column: str) -> None:
        self.dataset = dataset.select_columns([column]).with_format("arrow")  # which decodes nothing
        self.split = split

    def __len__(self) -> int:
        return len(self.dataset)

    def contents(self, number: int) -> bytes | None:
        """The file that a row holds; None: it holds none."""
        value = self.dataset[number].column(0)[0].as_py()
        found: bytes | None = value.get("bytes") if isinstance(value, dict) else value
        return found

    def names(self) -> tuple[list[str], np.ndarray]:
        """What each row is to be known by, and the length of the file it holds.

        A row that holds the name of a file instead of what is in it is known by that name.
        """
        names: list[str] = []
        lengths = [np.empty(0, dtype=np.int64)]
        for table in self.dataset.iter(AT_A_TIME):
            with reading(f"the split {self.split}", "write it anew"):
                table.validate(full=True)  # offsets beyond the file would end the process
            sizes, files = _stored(table.column(0))
            first = len(names)
            names += (file or f"{self.split}[{first + place}]" for place, file in enumerate(files))
            lengths.append(sizes)
        return names, np.concatenate(lengths)


class RowSource(FileSource):
    """Images of records whose paths are names of rows, or files of their own."""

    def __init__(self, records: Iterable[Record], backend: str, rows: dict[str, Rows]) -> None:
        super().__init__(records, backend)
        self.rows = rows

    def image(self, path: Path) -> Tensor:
        """Decoded as any file is. Raises ImageError."""
        if row_named(str(path)) is None:
            return super().image(path)
        return decode_contents(self.contents(path), str(path), self.backend, REMEDY)

    def contents(self, path: Path) -> bytes:
        """The image of a row as it is stored. Raises ImageError if it holds none."""
        row = row_named(str(path))
        if row is None:
            return super().contents(path)
        contents = self.rows[row[0]].contents(row[1])
        if contents is None:
            raise ImageError(f"the row {path} holds no image (null); {REMEDY}", "no image (null)")
        return contents


class RowContents(FileContents):
    """What rows hold, and files."""

    def __init__(self, rows: dict[str, Rows], lengths: dict[str, np.ndarray]) -> None:
        self.rows = rows
        self.lengths = lengths

    def size(self, path: str) -> int:
        """In bytes, without reading it."""
        row = row_named(path)
        return super().size(path) if row is None else max(0, int(self.lengths[row[0]][row[1]]))

    def end(self, path: str) -> bytes:
        """The last bytes."""
        row = row_named(path)
        return super().end(path) if row is None else self._held(row)[-END:]

    def digest(self, path: str) -> bytes:
        """A digest of all of it."""
        row = row_named(path)
        return super().digest(path) if row is None else hashlib.sha256(self._held(row)).digest()

    def _held(self, row: tuple[str, int]) -> bytes:
        return self.rows[row[0]].contents(row[1]) or b""


def row_named(path: str) -> tuple[str, int] | None:
    """Split and number of the row that a record's path names; None: it is a file.

    >>> row_named("train[5]"), row_named("/photos/train[5]")
    (('train', 5), None)
    """
    match = None if path.startswith("/") else ROW.fullmatch(path)
    return None if match is None else (match[1], int(match[2]))


def _stored(column: pyarrow.ChunkedArray) -> tuple[np.ndarray, Iterator[str | None]]:
    """Length of each row's file, and the name of the file that is not in the table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    inside, outside = column, None
    if pa.types.is_struct(column.type):
        fields = [field.name for field in column.type]
        inside = pc.struct_field(column, "bytes")
        outside = pc.struct_field(column, "path") if "path" in fields else None
    sizes: np.ndarray = pc.binary_length(inside).fill_null(NOTHING).to_numpy().astype(np.int64)
    if outside is None or not (sizes == NOTHING).any():
        return sizes, iter([None] * len(sizes))
    paths = outside.to_pylist()
    named = (
        os.path.abspath(path) if size == NOTHING and path else None for size, path in zip(sizes, paths, strict=True)
    )
    return sizes, named
