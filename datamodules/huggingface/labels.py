"""From a column of labels to numbers and names of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.huggingface.columns import NUMBERS, TEXT, dtype_of, is_classes
from datamodules.huggingface.library import reading
from gcp.errors import DataError, few

if TYPE_CHECKING:
    import pyarrow

BOOLEANS = ("false", "true")
UNKNOWN = -1  # what the library's users write where a label is not published


def column_of(dataset: Any, column: str) -> pyarrow.ChunkedArray:
    """A whole column of a table of the library, of numbers or text and not of images, which it copies."""
    found = dataset.select_columns([column]).with_format("arrow")[:]
    with reading(f"the column {column}", "write it anew"):
        found.validate(full=True)  # offsets beyond the file would end the process
    return found.column(0)


def class_names(feature: Any, values: pyarrow.ChunkedArray, where: str) -> list[str]:
    """Names of the classes, in the order of their labels.

    Args:
        feature: the column's type.
        values: what the training images have there: text is sorted; whole numbers without names have to be 0, 1, 2, ...
        where: split and column, for messages.

    Raises:
        DataError: numbers with gaps, or an empty name.
    """
    if is_classes(feature):
        return list(feature.names)
    if dtype_of(feature) == "bool":
        return list(BOOLEANS)
    distinct = sorted(value for value in values.unique().to_pylist() if value is not None)
    if dtype_of(feature) in TEXT:
        if distinct and not distinct[0].strip():
            raise DataError(f"{where} has an empty text for a label; give it a name")
        return distinct
    if distinct != list(range(len(distinct))):
        raise DataError(
            f"{where} has whole numbers without names that are not 0, 1, 2, ... but {few(distinct)}; make them so, or "
            "give them names as a ClassLabel or as text"
        )
    return [str(value) for value in distinct]


def numbered(feature: Any, values: pyarrow.ChunkedArray, names: list[str], where: str) -> np.ndarray:
    """Labels (N,) int64 in 0 .. number of names - 1. Raises DataError for one that is missing or not among them."""
    import pyarrow.compute as pc

    if values.null_count:
        raise DataError(
            f"{values.null_count:,} of {len(values):,} rows have no label (null) in {where}, the first is row "
            f"{pc.index(values.is_null(), True).as_py()}; give them one, or remove them"
        )
    if is_classes(feature) or dtype_of(feature) == "bool":
        labels = values.cast("int64")
    else:
        import pyarrow as pa

        kind = pa.large_string() if dtype_of(feature) in TEXT else values.type
        known = pa.array(names if dtype_of(feature) in TEXT else range(len(names)), kind)
        labels = pc.index_in(values.cast(kind), known).fill_null(UNKNOWN)
    found: np.ndarray = labels.to_numpy().astype(np.int64)
    wrong = np.flatnonzero((found < 0) | (found >= len(names)))
    if len(wrong):
        value = values[int(wrong[0])].as_py()
        hidden = (
            f"; {UNKNOWN} is written where labels are not published: choose another split" if value == UNKNOWN else ""
        )
        raise DataError(
            f"{len(wrong):,} of {len(values):,} rows in {where} have a label that is none of the {len(names)} classes, "
            f"the first is {value!r} in row {wrong[0]}{hidden or '; mend it, or remove them'}"
        )
    return found


def check_same(feature: Any, other: Any, where: str) -> None:
    """Raise DataError unless the labels of another split, of the type ``other``, are of the same classes."""
    if is_classes(feature) and is_classes(other):
        if list(feature.names) == list(other.names):
            return
        odd = few(sorted(set(feature.names) ^ set(other.names))) or "the same in another order"
        raise DataError(f"{where} has other classes than the training images: {odd}; mend the ClassLabel")
    if (is_classes(feature), _family(feature)) != (is_classes(other), _family(other)):
        raise DataError(f"{where} has labels of another type than the training images; make them alike")


def _family(feature: Any) -> str:
    dtype = dtype_of(feature)
    return "number" if dtype in NUMBERS else "text" if dtype in TEXT else dtype
