"""Which splits of a dataset are for training, validation and test."""

from __future__ import annotations

from datamodules.parts import NAMES, PART_OF
from gcp.errors import DataError, few
from gcp.registry import nearest

UNUSED = "unused"  # of val_split and test_split: the dataset's own is left alone


def parts_of_splits(splits: list[str], wanted: dict[str, str | None], place: str) -> dict[str, str]:
    """The split of "train", and those of "val" and "test" where there are such; "train" alone is to be divided.

    Args:
        splits: names of all splits.
        wanted: what the options say of "train", "val" and "test"; None: by the common names, see `datamodules.parts`.
        place: the dataset, for messages.

    Raises:
        DataError: no such split, two for one part, one for two, or none to train on.

    >>> parts_of_splits(["train", "validation", "extra"], {"train": None, "val": None, "test": "extra"}, "it")
    {'train': 'train', 'val': 'validation', 'test': 'extra'}
    """
    chosen = {part: name for part, name in wanted.items() if name is not None}
    for part, name in chosen.items():
        if name not in splits and not (name == UNUSED and part != "train"):
            raise DataError(
                f"data.{part}_split={name} is no split of {place}{nearest(name, splits)}; it has {few(splits)}"
            )
    found: dict[str, str] = {}
    for name in splits:
        usual = PART_OF.get(name.lower())
        if usual is None or usual in chosen or (usual != "train" and name in chosen.values()):
            continue
        if usual in found:
            raise DataError(
                f"{place} has both {found[usual]} and {name} for one part; choose one with data.{usual}_split"
            )
        found[usual] = name
    if len(splits) == 1 and not found and not chosen:
        found["train"] = splits[0]  # whatever it is called
    found = {part: name for part, name in (found | chosen).items() if name != UNUSED}
    found = {part: found[part] for part in NAMES if part in found}  # the training split first
    if "train" not in found:
        raise DataError(f"{place} has nothing to train on among {few(splits)}; name it with data.train_split")
    for part in ("val", "test"):
        if found.get(part) == found["train"]:
            raise DataError(
                f"the split {found['train']} of {place} cannot be trained on and be data.{part}_split; use "
                "data.holdout or data.test_fraction to divide it"
            )
    if "test" in found and found.get("val") == found["test"]:
        del found["val"]
    return found
