"""What of an opened dataset is used: its splits, by part, and its columns."""

from __future__ import annotations

from typing import Any, NamedTuple

from datamodules.huggingface.columns import image_column, label_column
from datamodules.huggingface.labels import check_same
from datamodules.huggingface.opening import Opened
from datamodules.huggingface.split_names import parts_of_splits
from datamodules.options import HuggingFaceOptions
from gcp.errors import DataError, few


class Chosen(NamedTuple):
    """What is used.

    Attributes:
        splits: name of the split of "train", and of "val" and "test" where there are such.
        image: name of the column of images.
        label: name of the column of labels.
        feature: the library's type of the labels.
        notes: what is to be said of the rest.
    """

    splits: dict[str, str]
    image: str
    label: str
    feature: Any
    notes: list[str]


def choose(opened: Opened, options: HuggingFaceOptions, root: str) -> Chosen:
    """Splits and columns by the options, or by what they are called and their types.

    Raises DataError if something is not there, or there is no telling which, or splits do not go together.
    """
    wanted = {"train": options.train_split, "val": options.val_split, "test": options.test_split}
    splits = parts_of_splits(list(opened.splits), wanted, root)
    features = opened.splits[splits["train"]].features
    image = image_column(features, options.image_column, root)
    label = label_column(features, options.label_column, root)
    for split in splits.values():
        others = opened.splits[split].features
        lacking = [column for column in (image, label) if column not in others]
        if lacking:
            raise DataError(
                f"the split {split} has no column {' and '.join(lacking)}, as the training images have; it has "
                f"{few(list(others), 8)}"
            )
        check_same(features[label], others[label], place_of(label, split))
    unused = [name for name in opened.splits if name not in splits.values()]
    notes = [*([f"splits not used: {few(unused)}"] if unused else []), *opened.notes]
    return Chosen(splits, image, label, features[label], notes)


def place_of(label: str, split: str) -> str:
    """Where labels are, for messages."""
    return f"the column {label} of the split {split}"
