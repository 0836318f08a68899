"""What can be known to be wrong with a dataset before it is trained on."""

from __future__ import annotations

import os

import numpy as np

from datamodules.records import Records
from gcp.errors import DataError


def check_labels(class_names: list[str], parts: dict[str, Records]) -> None:
    """Raise DataError for a label that is out of range, a class without training images or a single class."""
    classes = len(class_names)
    for part, records in parts.items():
        wrong = np.flatnonzero((records.labels < 0) | (records.labels >= classes))
        if len(wrong):
            path, label, _ = records[wrong[0]]
            raise DataError(
                f"the {part} list gives {path} the label {label}, counted from 0, and there are {classes} classes; "
                "restore the lists from the archive"
            )
    empty = sorted(set(range(classes)) - set(np.unique(parts["training"].labels).tolist()))
    if empty:
        names = ", ".join(class_names[label] for label in empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise DataError(f"{len(empty)} of {classes} classes have no training image: {names}; restore them")
    if classes < 2:
        raise DataError(
            f"there is one class only, '{class_names[0]}', and nothing to tell it from; check data.root"
            if classes
            else "the lists are empty; restore them from the archive"
        )


def check_files(part: str, records: Records) -> None:
    """Raise DataError for images that are not there, by one look into each folder and not at each file."""
    there: dict[str, set[str]] = {}
    missing = []
    for path in records.paths():
        folder, name = os.path.split(path)
        if folder not in there:
            there[folder] = _files(folder)
        if name not in there[folder]:
            missing.append(path)
    if missing:
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(f"{len(missing)} of {len(records)} {part} images are not there: {named}; restore them")


def _files(folder: str) -> set[str]:
    if not os.path.isdir(folder):
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if not entry.is_symlink() or os.path.exists(entry.path)}
