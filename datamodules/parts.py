"""Which folders of a dataset of one's own hold its parts for training, validation and test."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from datamodules.trees import images_in, subfolders
from gcp.errors import DataError

NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "validate", "dev"),
    "test": ("test", "testing"),
}
PART_OF = {name: part for part, names in NAMES.items() for name in names}
KNOWN = "; ".join(f"{part}/ ({', '.join(names[1:])})" for part, names in NAMES.items())


def parts_of(root: Path) -> dict[str, Path]:
    """Folders of "train", "val" and "test" in ``root``, by their common names in any case; None: a folder of classes.

    Raises:
        DataError: two folders for one part, none to train on, or what looks like parts but is not understood.
    """
    found: dict[str, Path] = {}
    odd: list[Path] = []
    for folder in subfolders(root):
        part = PART_OF.get(folder.name.lower())
        if part is None:
            if PART_OF.keys() & set(re.split(r"[^a-z]+", folder.name.lower())):  # test_images, train-2
                odd.append(folder)
        elif not subfolders(folder) and images_in(folder):
            odd.append(folder)  # the class "train" among other vehicles, or a part without folders for its classes
        elif part in found:
            raise DataError(f"{root} has both {found[part].name}/ and {folder.name}/ for one part; keep one")
        else:
            found[part] = folder
    if odd and (found or len(odd) > 1):
        names = " and ".join(f"{folder.name}/" for folder in odd)
        raise DataError(
            f"{names} in {root} look like parts of the data, but not like {KNOWN} with a folder for each class; rename "
            "or restructure them, or move them elsewhere"
        )
    if not found:
        return {}
    if "train" not in found:
        raise DataError(f"{root} has {_names(found)} but nothing to train on; name that train/")
    if len(found) == 1:
        raise DataError(
            f"{root} has {_names(found)} but neither val/ nor test/; add one, or put all classes into {root}"
        )
    return found


def refuse_hidden_parts(root: Path) -> None:
    """Raise DataError if the folders in ``root``, which would be classes, all hold the same folders and no images."""
    inside = {folder: tuple(each.name for each in subfolders(folder)) for folder in subfolders(root)}
    alike = Counter(inside.values()).most_common(1)
    if len(inside) < 2 or not alike or alike[0][1] < len(inside) or len(alike[0][0]) < 2:
        return
    if any(images_in(folder) for folder in inside):
        return
    names, classes = [folder.name for folder in inside], ", ".join(alike[0][0][:3])
    raise DataError(
        f"{' and '.join(names[:3])} in {root} each hold the same folders ({classes}), so that they look like parts and "
        f"not like classes; name them {KNOWN}, or add data.check=off if they are classes"
    )


def _names(found: dict[str, Path]) -> str:
    return " and ".join(f"{folder.name}/" for folder in found.values())
