"""Files of Parquet, here or on the Hub: what their footers say, and rows from the middle of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from datamodules.huggingface.library import reason_of
from datamodules.huggingface.schemas import check_schema
from gcp.errors import DataError, GCPError

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

AT_ONCE = 16  # files whose footers are fetched together
ROWS = 32  # that are decoded together, each perhaps a large image
REMEDY = "restore it, or mend the connection"


class RowGroups(NamedTuple):
    """All row groups of a list of files, in order.

    Attributes:
        files: the files.
        file: (G,) int64, which of them each group is in.
        group: (G,) int64, its number there.
        start: (G,) int64, number of its first row, counted over all files.
        rows: (G,) int64, its rows.
    """

    files: list[str]
    file: np.ndarray
    group: np.ndarray
    start: np.ndarray
    rows: np.ndarray

    @property
    def total(self) -> int:
        """Rows of all files."""
        return int(self.rows.sum())

    def shuffled(self, generator: torch.Generator) -> np.ndarray:
        """(G,) the groups in another order: files at random, and the groups in each, so that it is opened once."""
        files = torch.randperm(len(self.files), generator=generator).numpy()
        return np.lexsort((torch.randperm(len(self.file), generator=generator).numpy(), files[self.file]))


def read_footers(files: Sequence[str], columns: tuple[str, str], feature: Any, split: str) -> RowGroups:
    """What the footers of ``files`` say.

    Args:
        files: of a split, as fsspec opens them.
        columns: those of images and labels.
        feature: type of the labels that all are to have.
        split: its name, for messages.

    Raises:
        DataError: a file that cannot be read, or has other columns or classes.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        sizes = list(threads.map(lambda file: _footer(file, columns, feature, split), files))
    if not any(map(sum, sizes)):
        raise DataError(f"the split {split} has no rows; name another split")
    rows = np.array([rows for groups in sizes for rows in groups], dtype=np.int64)
    file = np.repeat(np.arange(len(sizes)), [len(groups) for groups in sizes])
    group = np.array([number for groups in sizes for number in range(len(groups))], dtype=np.int64)
    return RowGroups(list(files), file, group, np.cumsum(rows) - rows, rows)


def rows_of(
    file: str, groups: Iterable[int], columns: Sequence[str]
) -> Iterator[tuple[int, Iterator[pyarrow.RecordBatch]]]:
    """Each of ``groups`` and its rows, a few at a time, of a file that is opened once. Raises DataError."""
    with opened(file) as parquet:
        for group in groups:
            yield group, _batches(file, parquet, group, columns)


@contextmanager
def opened(file: str) -> Iterator[pyarrow.parquet.ParquetFile]:
    """A file of Parquet. Raises DataError if it cannot be opened."""
    import fsspec
    import pyarrow.parquet

    with _named(file):
        stream = fsspec.open(file, "rb").open()
    with stream:
        with _named(file):
            parquet = pyarrow.parquet.ParquetFile(stream)
        yield parquet


@contextmanager
def _named(file: str) -> Iterator[None]:
    try:
        yield
    except GCPError:
        raise
    except Exception as error:  # of pyarrow, of the file system, of the transport
        raise DataError(f"{file} cannot be read ({reason_of(error)}); {REMEDY}") from None


def _batches(
    file: str, parquet: pyarrow.parquet.ParquetFile, group: int, columns: Sequence[str]
) -> Iterator[pyarrow.RecordBatch]:
    batches = parquet.iter_batches(ROWS, row_groups=[group], columns=list(columns), use_threads=False)
    while True:
        with _named(file):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _footer(file: str, columns: tuple[str, str], feature: Any, split: str) -> list[int]:
    """Rows of each group of the file."""
    with opened(file) as parquet:
        schema, metadata = parquet.schema_arrow, parquet.metadata
    check_schema(file, schema, columns, feature, split)
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
