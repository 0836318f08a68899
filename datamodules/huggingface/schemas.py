"""Whether the files of a split agree about its columns and classes: the library goes by the first one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datamodules.huggingface.columns import is_classes
from datamodules.huggingface.labels import check_same
from datamodules.huggingface.library import reading
from gcp.errors import DataError

if TYPE_CHECKING:
    import pyarrow

PARQUET = (".parquet", ".geoparquet", ".gpq")  # endings of files, as the library knows them
ARROW = (".arrow",)


def is_local(file: str) -> bool:
    """Whether it is a file of this machine."""
    return "://" not in file


def check_files_agree(files: Sequence[str], columns: tuple[str, str], feature: Any, split: str) -> None:
    """Raise DataError for one of ``files`` that has other columns or classes; see `check_schema`.

    Those on the Hub were written together, and files of other kinds have no schema.
    """
    for file in filter(is_local, files):
        if file.lower().endswith((*PARQUET, *ARROW)):
            with reading(file, "restore it"):
                schema = _schema(file)
            check_schema(file, schema, columns, feature, split)


def check_schema(file: str, schema: pyarrow.Schema, columns: tuple[str, str], feature: Any, split: str) -> None:
    """Raise DataError unless the file has both ``columns``, images and labels, and labels of ``feature``'s classes."""
    lacking = [column for column in columns if column not in schema.names]
    if lacking:
        raise DataError(f"{file} has no column {' and '.join(lacking)}, as other files have; mend it")
    with reading(file, "write it anew") as package:
        own = package.Features.from_arrow_schema(schema)[columns[1]]
    if is_classes(own):
        check_same(feature, own, f"{file}, of the split {split},")


def _schema(file: str) -> pyarrow.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.lower().endswith(PARQUET):
        return pq.read_schema(file)
    with pa.OSFile(file) as stream:
        try:
            return pa.ipc.open_stream(stream).schema
        except pa.ArrowInvalid:  # the other form of such files
            return pa.ipc.open_file(stream).schema
